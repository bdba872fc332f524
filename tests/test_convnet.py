"""ConvNet: its size, its values and gradients against PyTorch's, its start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medjax.models import ConvNetConfig, convnet
from medjax.models.conv import LOWERINGS
from medjax.train import cross_entropy


def test_parameters():
    """315,912 parameters at full width, as in the papers; no batch statistics."""
    model = convnet(ConvNetConfig(), classes=8, size=32, channels=3)
    params, model_state = jax.eval_shape(model.init, jax.random.key(0))
    assert sum(p.size for p in jax.tree.leaves(params)) == 315_912
    assert model_state == {} and model.separable
    by_hand = 2 * 9 * 128 * (1024 * 3 + 256 * 128 + 64 * 128) + 2 * 2048 * 8
    assert model.flops == by_hand


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("name", ["rgb", "grey"])
def test_golden(golden, convnet_params, name, lowering):
    """Logits, loss and gradients of PyTorch in float64; logits of Winograd, which errs most, also in float32."""
    g = golden(f"convnet_{name}")
    config = ConvNetConfig(width=16, conv=lowering)
    images = g["images"].transpose(0, 2, 3, 1)
    model = convnet(config, classes=5, size=32, channels=images.shape[-1])
    params = convnet_params(g)

    def loss(params, images):
        logits, _ = model.apply(params, {}, images, True)
        return cross_entropy(logits, jnp.asarray(g["labels"])), logits

    if lowering == "winograd":
        logits = jax.jit(loss)(params, images)[1]
        assert logits.dtype == jnp.float32
        np.testing.assert_allclose(logits, g["logits"], atol=1e-4)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), (params, images))
        gradient = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
        (value, logits), (g_params, g_images) = gradient(*wide)
    np.testing.assert_allclose(logits, g["logits"], atol=1e-10)
    np.testing.assert_allclose(value, g["loss"], rtol=1e-11)
    kernel = np.transpose(g_params["conv0_kernel"], (3, 2, 0, 1))
    np.testing.assert_allclose(kernel, g["grad_conv0_weight"], atol=1e-10)
    g_images = np.transpose(g_images, (0, 3, 1, 2))
    np.testing.assert_allclose(g_images, g["grad_images"], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("channels", [1, 3])
def test_initialisation(channels):
    """Weights and biases fill U(-1/sqrt(fan_in), 1/sqrt(fan_in)); norms start at scale 1, shift 0."""
    model = convnet(ConvNetConfig(width=16, depth=2), classes=4, size=16, channels=channels)
    params, _ = jax.jit(model.init)(jax.random.key(3))
    features = 16 * (5 if channels == 1 else 4) ** 2
    for name, fan_in in (("conv0", 9 * channels), ("conv1", 9 * 16), ("linear", features)):
        bound = fan_in**-0.5
        kernel, bias = params[f"{name}_kernel"], params[f"{name}_bias"]
        assert kernel.size == fan_in * bias.size
        assert 0.9 * bound < jnp.abs(kernel).max() <= bound and jnp.abs(bias).max() <= bound
        assert abs(kernel.std() / bound - 3**-0.5) < 0.1 and abs(kernel.mean()) < 0.15 * bound
        assert jnp.unique(bias).size == bias.size
    for block in ("norm0", "norm1"):
        assert (params[block]["scale"] == 1).all() and (params[block]["shift"] == 0).all()


def test_flat_images_are_finite():
    """A constant image has variance 0 in every norm: value and gradients stay finite."""
    model = convnet(ConvNetConfig(width=4, depth=2), classes=2, size=8, channels=3)

    @jax.jit
    def gradient(key):
        images = jnp.full((2, 8, 8, 3), 7.3)
        params, _ = model.init(key)
        return jax.grad(lambda p, x: model.apply(p, {}, x, True)[0].sum(), (0, 1))(params, images)

    assert all(np.isfinite(a).all() for a in jax.tree.leaves(gradient(jax.random.key(0))))


def test_too_deep():
    """Pooling to nothing is refused; pooling to one pixel is not."""
    with pytest.raises(ValueError, match="16 px"):
        convnet(ConvNetConfig(width=4, depth=5), classes=2, size=16, channels=3)
    model = convnet(ConvNetConfig(width=4, depth=4), classes=2, size=16, channels=3)
    params, _ = jax.eval_shape(model.init, jax.random.key(0))
    assert params["linear_kernel"].shape == (4, 2)
