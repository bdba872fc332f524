"""The lowerings of the convolution are one function, also differentiated twice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from medjax.models.conv import LOWERINGS, conv2d, lowering
from medjax.models.grouped_conv import conv_grouped
from medjax.models.winograd import conv_winograd

#: As one program.
conv = jax.jit(conv2d, static_argnums=(2, 3, 4))


def by_hand(x, kernel, padding):
    """Cross-correlation written as sums over the nine taps."""
    x = np.pad(x, ((padding, padding), (padding, padding), (0, 0), (0, 0)))
    h, w = x.shape[0] - 2, x.shape[1] - 2
    taps = [(i, j) for i in range(3) for j in range(3)]
    return sum(np.einsum("hwnc,cd->hwnd", x[i : i + h, j : j + w], kernel[i, j]) for i, j in taps)


@pytest.fixture(params=[(1, 1), (1, 3), (3, 1), (3, 3)], ids=lambda p: f"pad{p[0]}-channels{p[1]}")
def case(request):
    """Oblong images, a kernel, and the padding."""
    padding, channels = request.param
    rng = np.random.default_rng(1)
    return rng.normal(size=(5, 7, 2, channels)), rng.normal(size=(3, 3, channels, 4)), padding


def test_value(case):
    """Every lowering gives the sum over taps."""
    x, kernel, padding = case
    with jax.enable_x64(True):
        for lowering in LOWERINGS:
            got = conv(x, kernel, padding, lowering)
            np.testing.assert_allclose(got, by_hand(x, kernel, padding), atol=1e-12)


def test_derivatives(case):
    """First and second derivatives, to images and kernel, agree in float64."""
    x, kernel, padding = case

    def derivatives(x, kernel, lowering):
        def loss(x, kernel):
            return jnp.sin(conv2d(x, kernel, padding, lowering)).sum()

        first = jax.grad(loss, (0, 1))

        def length(x, kernel):
            a, b = first(x, kernel)
            return (a**2).sum() + (b**3).sum()

        return first(x, kernel), jax.grad(length, (0, 1))(x, kernel)

    with jax.enable_x64(True):
        a, *others = (jax.jit(derivatives, static_argnums=2)(x, kernel, n) for n in LOWERINGS)
    for b in others:
        for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
            assert np.abs(left).max() > 0.1
            np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-9 * np.abs(left).max())


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_vmap_over_weights(lowering):
    """Several networks at once are the same as one after the other; float32, 1e-5 (Winograd 1e-4)."""
    rng = np.random.default_rng(2)
    x = jnp.asarray(rng.normal(size=(4, 6, 6, 2, 3)), jnp.float32)
    kernels = jnp.asarray(rng.normal(size=(4, 3, 3, 3, 5)), jnp.float32)
    together = jax.vmap(lambda x, k: conv(x, k, 1, lowering))(x, kernels)
    shared = jax.vmap(lambda k: conv(x[0], k, 1, lowering))(kernels)
    for i, kernel in enumerate(kernels):
        error = 1e-4 if lowering == "winograd" else 1e-5
        np.testing.assert_allclose(together[i], conv(x[i], kernel, 1, lowering), atol=error)
        np.testing.assert_allclose(shared[i], conv(x[0], kernel, 1, lowering), atol=error)


def test_unknown_lowering():
    """A misspelt name is named."""
    with pytest.raises(ValueError, match="strassen"):
        conv2d(jnp.zeros((4, 4, 1, 1)), jnp.zeros((3, 3, 1, 2)), 1, "strassen")


@pytest.mark.parametrize("side", [1, 2, 3, 4, 8, 9, 16])
@pytest.mark.parametrize("padding", [1, 2, 3])
def test_winograd_of_any_side(side, padding):
    """Tiles that do not fill the image, and padding of any width."""
    rng = np.random.default_rng(side)
    x, kernel = rng.normal(size=(side, side + 2, 2, 3)), rng.normal(size=(3, 3, 3, 2))
    with jax.enable_x64(True):
        got = conv(x, kernel, padding, "winograd")
    np.testing.assert_allclose(got, by_hand(x, kernel, padding), atol=1e-12)


def test_winograd_in_single_precision():
    """At the width in use, float32 errs by a few millionths of the values' spread, at worst 5e-5 of it."""
    rng = np.random.default_rng(3)
    x, kernel = rng.normal(size=(16, 16, 2, 128)), rng.normal(size=(3, 3, 128, 128))
    got = conv2d(jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32), 1, "winograd")
    truth = by_hand(x, kernel, 1)
    error = (got - truth) / truth.std()
    assert error.std() < 5e-6 and np.abs(error).max() < 5e-5


def test_choice_of_a_lowering():
    """Few channels and large images are not for Winograd; a name asked for is kept."""

    def chosen(name, channels=128, side=16, taps=3, stride=1):
        return lowering(name, (taps, taps, channels, 8), side, stride)

    assert [chosen("winograd", c) for c in (1, 3, 16, 128)] == ["im2col"] * 2 + ["winograd"] * 2
    assert chosen("winograd", taps=5) == chosen("winograd", stride=2) == "im2col"
    assert [chosen("winograd", side=side) for side in (3, 4)] == ["im2col", "winograd"]
    assert chosen("im2col") == "im2col" and chosen("lax", 3) == "lax"
    if jax.default_backend() == "cpu":
        assert chosen("auto") == "winograd" and chosen("auto", side=112) == "im2col"


@pytest.mark.parametrize("side", [1, 2, 3])
def test_gradients_of_zero_stay_zero(side):
    """On maps smaller than a tile, where one pixel is not zero: a weight that never meets it has gradient exactly zero
    (rounding of 1e-6 would become whole steps of Adam)."""
    rng = np.random.default_rng(5)
    x = jnp.zeros((side, side, 2, 16)).at[0, 0].set(rng.normal(size=(2, 16)))
    kernel = jnp.asarray(rng.normal(size=(3, 3, 16, 16)), jnp.float32)

    def gradient(how):
        return jax.grad(lambda k: (conv2d(x, k, 1, how) ** 2).sum())(kernel)

    chosen, exact = (gradient(n) for n in (lowering("winograd", kernel.shape, side), "im2col"))
    assert (exact == 0).any() and ((chosen == 0) == (exact == 0)).all()


@pytest.mark.parametrize("taps,padding,stride", [(1, 0, 2), (3, 1, 2), (5, 2, 1), (4, 0, 4)])
def test_other_kernels_and_strides(taps, padding, stride):
    """im2col and lax agree, on odd and even sides."""
    rng = np.random.default_rng(4)
    for side in (8, 9):
        x = rng.normal(size=(side, side + 1, 2, 3))
        kernel = rng.normal(size=(taps, taps, 3, 4))
        a, b = (conv(x, kernel, padding, name, stride) for name in ("im2col", "lax"))
        assert a.shape == b.shape and a.shape[0] == (side + 2 * padding - taps) // stride + 1
        np.testing.assert_allclose(a, b, atol=1e-4)


def library(x, kernel, padding, stride):
    """JAX's own convolution with its own derivatives."""
    pads = ((padding, padding),) * 2
    order = ("HWNC", "HWIO", "HWNC")
    return lax.conv_general_dilated(x, kernel, (stride, stride), pads, dimension_numbers=order)


@pytest.mark.parametrize("side,taps,padding,stride", [(8, 3, 1, 1), (9, 3, 1, 2), (8, 1, 0, 2)])
@pytest.mark.parametrize("shared", ["nothing", "images", "kernel"])
def test_derivatives_of_derivatives_side_by_side(side, taps, padding, stride, shared):
    """Of the three convolutions that are written as each other's derivatives, under two `vmap`s, against JAX's."""
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (2, 2, side, side, 3, 4))
    kernel = 0.3 * jax.random.normal(keys[1], (2, 2, taps, taps, 4, 5))
    axes = {"nothing": (0, 0), "images": (None, 0), "kernel": (0, None)}[shared]
    x, kernel = (a if axis == 0 else a[0, 0] for a, axis in zip((x, kernel), axes, strict=True))

    def second(conv):
        def loss(x, kernel):
            return jnp.tanh(conv(x, kernel, padding, stride)).sum()

        def total(x, kernel):
            return sum(jnp.sin(g).sum() for g in jax.grad(loss, (0, 1))(x, kernel))

        inner = jax.vmap(jax.grad(total, (0, 1)), axes)
        return jax.jit(jax.vmap(inner, axes))(x, kernel)

    for a, b in zip(second(conv_grouped), second(library), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5 * np.abs(b).max())


def test_weight_gradients_side_by_side_are_grouped():
    """JAX's own rule under `vmap` has windows as large as the image, for which cuDNN has no good kernel."""
    x, kernel = jnp.ones((3, 8, 8, 5, 4)), jnp.ones((3, 3, 3, 4, 6))

    def windows(conv):
        gradient = jax.vmap(jax.grad(lambda k, x: (conv(x, k, 1, 1) ** 2).sum()))
        return str(jax.make_jaxpr(gradient)(kernel, x)).count("batch_group_count=3")

    assert windows(conv_grouped) == 1 and windows(library) == 0


def test_winograd_keeps_images_and_kernel():
    """For the derivative of its gradients: images, their gradient and the kernel, nothing transformed."""
    x, kernel = jnp.ones((8, 8, 4, 16)), jnp.ones((3, 3, 16, 16))

    def gradients(x, kernel):
        y, back = jax.vjp(lambda *both: conv_winograd(*both, 1), x, kernel)
        return back(y)

    kept = jax.eval_shape(lambda *both: jax.vjp(gradients, *both)[1], x, kernel)
    assert {leaf.shape for leaf in jax.tree.leaves(kept)} == {x.shape, kernel.shape}


def test_a_cotangent_that_networks_share():
    """The gradient of a plain sum is the same for all images, and so is no part of their batch."""
    x, kernel = jax.random.normal(jax.random.key(0), (3, 8, 8, 5, 4)), jnp.ones((3, 3, 4, 6))

    def gradients(conv):
        return jax.vmap(jax.grad(lambda k, x: conv(x, k, 1, 1).sum()), (None, 0))(kernel, x)

    np.testing.assert_allclose(gradients(conv_grouped), gradients(library), atol=1e-4)
