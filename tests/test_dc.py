"""DC, DSA and DM: distances and gradients against golden values and NumPy, loops, and what each method draws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medjax import train
from medjax.augment import augment
from medjax.distill import dc, dm
from medjax.distill.dc import DISTANCES, DCConfig, gradient_distance
from medjax.distill.dm import DMConfig
from medjax.models import ConvNetConfig, convnet, resnet
from medjax.models.base import Model
from medjax.models.resnet import ResNetConfig, resnet18
from medjax.types import Dataset


def network(params):
    return train.FitState(params, {}, (), jnp.float32(0))


@pytest.mark.parametrize("distance,suffix", [("layerwise", ""), ("mse", "_mse"), ("cos", "_cos")])
def test_golden_gradient(golden, convnet_params, distance, suffix):
    """PyTorch's distance of every class and its gradient to the synthetic images; float64."""
    g = golden("dc")
    model = convnet(ConvNetConfig(width=8, conv="im2col"), classes=3, size=16, channels=3)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), convnet_params(g))
        match = jax.jit(functools.partial(dc.match_class, model, None, distance))
        real, made = (g[k].transpose(0, 2, 3, 1).astype(np.float64) for k in ("real", "made"))
        for c in range(3):
            loss, gradient = match(
                network(wide),
                jax.random.key(0),
                jnp.asarray(real[5 * c : 5 * c + 5]),
                jnp.asarray(made[2 * c : 2 * c + 2]),
                jnp.int32(c),
            )
            np.testing.assert_allclose(loss, g[f"losses{suffix}"][c], rtol=1e-9)
            expected = g[f"gradients{suffix}"][c].transpose(0, 2, 3, 1)
            np.testing.assert_allclose(gradient, expected, atol=1e-8 * np.abs(expected).max())


def test_distance_row_by_row():
    """Against loops over layers and rows; vectors count nothing; equal gradients are at distance ~0."""
    rng = np.random.default_rng(0)
    real, made = (
        {
            "kernel": rng.normal(size=(3, 3, 2, 4)),
            "bias": rng.normal(size=4),
            "linear": rng.normal(size=(6, 5)),
        }
        for _ in range(2)
    )
    total = 0.0
    for name in ("kernel", "linear"):
        for row in range(real[name].shape[-1]):
            a, b = real[name][..., row].ravel(), made[name][..., row].ravel()
            total += 1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-6)
    as_jax = [jax.tree.map(jnp.asarray, tree) for tree in (real, made)]
    np.testing.assert_allclose(gradient_distance(*as_jax), total, rtol=1e-5)
    assert abs(gradient_distance(as_jax[0], as_jax[0])) < 1e-4


def test_distances_over_all_values():
    """mse and cos take all layers and vectors as one vector, against NumPy; finite at a gradient of zeros."""
    rng = np.random.default_rng(1)
    real, made = ({"a": rng.normal(size=(2, 3, 4)), "b": rng.normal(size=4)} for _ in range(2))
    one, two = (np.concatenate([t["a"].ravel(), t["b"]]) for t in (real, made))
    cos = one @ two / (np.linalg.norm(one) * np.linalg.norm(two) + 1e-6)
    expected = {"mse": ((one - two) ** 2).sum(), "cos": 1 - cos}
    as_jax = [jax.tree.map(jnp.float32, tree) for tree in (real, made)]
    nothing = jax.tree.map(jnp.zeros_like, as_jax[0])
    for name, value in expected.items():
        np.testing.assert_allclose(DISTANCES[name](*as_jax), value, rtol=1e-5)
        slope = jax.grad(DISTANCES[name], argnums=1)(as_jax[0], nothing)
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(slope))


def test_the_distance_is_chosen(data, regression):
    """Each distance moves the images elsewhere, and the log's loss is that distance."""
    parts = {"model": regression, "augment": None, "ipc": 2, "classes": 4}
    losses = [
        float(course(dc.dc(DCConfig(batch_real=4, distance=name, outer=1), **parts), data)[2].loss)
        for name in DISTANCES
    ]
    assert len({round(loss, 4) for loss in losses}) == len(DISTANCES)


def test_zero_row_has_no_nan():
    """A row without gradient counts 1; a real one pulls nowhere; finite to second order, also where both are zero."""
    real = {"kernel": jnp.ones((2, 3)).at[:, 0].set(0.0)}

    def loss(x):
        return gradient_distance(real, {"kernel": x})

    x = jnp.zeros((2, 3)).at[:, 2].set(jnp.array([1.0, 2.0]))
    value, gradient = jax.value_and_grad(loss)(x)
    assert abs(value - (2 + 1 - 3 / np.sqrt(10))) < 1e-5
    assert np.isfinite(gradient).all() and np.all(gradient[:, :1] == 0)
    assert np.isfinite(jax.grad(lambda x: (jax.grad(loss)(x) ** 2).sum())(x)).all()


@pytest.mark.parametrize(
    "ipc,expected", [(1, (1, 1)), (10, (10, 50)), (20, (20, 25)), (30, (30, 20)), (50, (50, 10))]
)
def test_loops_of_the_public_code(ipc, expected):
    """Outer and inner loops by ipc; flags win."""
    assert dc.loops(DCConfig(), ipc) == expected
    assert dc.loops(DCConfig(outer=7, inner=3), ipc) == (7, 3)


def test_loops_between_the_table():
    """Any other ipc is interpolated, and never an error."""
    for ipc in (2, 5, 15, 45, 80):
        outer, inner = dc.loops(DCConfig(), ipc)
        assert outer == min(ipc, 50) and 1 <= inner <= 50
    assert dc.loops(DCConfig(), 15)[1] == round((50 + 25) / 2)


@pytest.fixture(scope="module")
def data():
    """Four classes of ten images."""
    labels = jnp.arange(40, dtype=jnp.int32) % 4
    noise = jax.random.normal(jax.random.key(0), (40, 16, 16, 3))
    return Dataset(0.5 * noise + jnp.float32(labels).reshape(-1, 1, 1, 1) / 2, labels)


@pytest.fixture(scope="module")
def regression(linear):
    """A model that compiles in no time."""
    return linear(16 * 16 * 3, 4)


@pytest.fixture(scope="module")
def net():
    return convnet(ConvNetConfig(width=4, depth=2), classes=4, size=16, channels=3)


def test_dsa_draws_alike_for_real_and_synthetic(data, regression):
    """The distance of a class is that between gradients under one and the same draw, for all images of both sides."""
    state = network(regression.init(jax.random.key(0))[0])
    real, made, key = data.images[:5], data.images[5:7], jax.random.key(3)

    @jax.jit
    def gradient(images):
        batch = Dataset(augment(key, images, siamese=True), jnp.full(len(images), 1))
        return train.batch_gradient(regression, state.params, {}, batch)[2]

    expected = gradient_distance(gradient(real), gradient(made))
    match = jax.jit(functools.partial(dc.match_class, regression, augment, "layerwise"))
    found, _ = match(state, key, real, made, jnp.int32(1))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert abs(match(state, jax.random.key(4), real, made, jnp.int32(1))[0] - expected) > 1e-3


def course(method, data, iterations=1, seed=0):
    state = method.init(jax.random.key(seed), data)
    begin = state.images
    step = jax.jit(method.step)
    for i in range(iterations):
        state, info = step(jax.random.key(100 + i), state, data, None)
    return begin, state, info


def test_step_size_momentum_and_start(data, regression, jitter):
    """lr_img scales the first step; momentum carries it on; the start is noise or real."""
    parts = {"model": regression, "augment": jitter, "ipc": 2, "classes": 4}
    moved = {}
    for rate in (0.1, 0.2):
        begin, state, _ = course(dc.dc(DCConfig(batch_real=4, lr_img=rate, outer=1), **parts), data)
        moved[rate] = np.asarray(state.images - begin)
    np.testing.assert_allclose(moved[0.2], 2 * moved[0.1], rtol=1e-3, atol=1e-6)
    noise = dc.dc(DCConfig(), **parts).init(jax.random.key(0), data).images
    real = dc.dc(DCConfig(init_images="real"), **parts).init(jax.random.key(0), data).images
    assert all((np.asarray(data.images) == np.asarray(x)).all((1, 2, 3)).any() for x in real)
    assert abs(float(noise.std()) - 1) < 0.1
    heavy, light = (
        course(dc.dc(DCConfig(batch_real=4, img_momentum=m, outer=1), **parts), data, 2)[1].images
        for m in (0.0, 0.9)
    )
    assert not np.allclose(heavy, light, rtol=1e-4)


def test_inner_epochs_train_the_network(data, regression, jitter):
    """More inner epochs on the synthetic set, or a larger step in them, change the second update but not the first."""
    parts = {"model": regression, "augment": jitter, "ipc": 2, "classes": 4}
    base = {"batch_real": 4, "init_images": "real"}
    ends = [
        course(dc.dc(DCConfig(**base, **loops), **parts), data)[1].images
        for loops in (
            {"outer": 2, "inner": 1},
            {"outer": 2, "inner": 30},
            {"outer": 2, "inner": 1, "lr_net": 0.5},
            {"outer": 2, "inner": 1, "batch_train": 3},
        )
    ]
    assert all(not np.array_equal(ends[0], other) for other in ends[1:])


def test_batch_norm_statistics_are_frozen(data, monkeypatch):
    """A network with batch norm distils: statistics from real images, finite gradients."""
    monkeypatch.setattr(resnet, "BLOCKS", (1,))
    model = resnet18(ResNetConfig(resnet_width=2), classes=4, size=8, channels=3)
    small = data._replace(images=data.images[:, ::2, ::2])
    trainer = train.Trainer(model, train.sgd(), None, 8, 4)
    fresh = jax.jit(lambda key: train.start(trainer, key))(jax.random.key(0))
    state = jax.jit(lambda f: dc.set_statistics(model, jax.random.key(1), f, small, 4))(fresh)
    before, after = fresh.model_state["stem_norm"], state.model_state["stem_norm"]
    assert not np.allclose(before["mean"], after["mean"], atol=1e-4)
    match = jax.jit(functools.partial(dc.match_class, model, None, "layerwise"))
    real, made = small.images[:6], small.images[6:8]
    loss, gradient = match(state, jax.random.key(0), real, made, jnp.int32(1))
    assert np.isfinite(loss) and np.abs(gradient).max() > 0


def test_mean_features(data, net):
    """DM's distance against NumPy means of the network's features, and its gradient by central differences."""
    params, _ = net.init(jax.random.key(0))
    real, made = data.images[:6], data.images[6:8]
    features = jax.jit(lambda x: net.features(params, {}, x))
    match = jax.jit(functools.partial(dm.match_class, features, None, jax.random.key(0)))
    loss, gradient = match(real, made)
    means = [np.asarray(features(x)).mean(0) for x in (real, made)]
    np.testing.assert_allclose(loss, ((means[0] - means[1]) ** 2).sum(), rtol=1e-4)
    logits, _ = jax.jit(lambda x: net.apply(params, {}, x, True))(real)
    by_hand = np.asarray(features(real)) @ np.asarray(params["linear_kernel"])
    np.testing.assert_allclose(logits, by_hand + np.asarray(params["linear_bias"]), atol=1e-5)
    way = gradient / jnp.linalg.norm(gradient)
    a, b = (match(real, made + e * way)[0] for e in (1e-2, -1e-2))
    np.testing.assert_allclose((a - b) / 2e-2, (gradient * way).sum(), rtol=0.02)


def test_batch_norm_sees_all_classes_at_once(data):
    """A network whose batch statistics mix the images of a batch: DM's loss and step against NumPy in float64, all
    classes embedded as one batch (class by class, the mean of each would be zero and the loss with it)."""
    kernel = np.random.default_rng(2).normal(size=(16 * 16 * 3, 5)).astype(np.float32) / 10

    def embed(params, state, images):
        found = images.reshape(len(images), -1) @ kernel
        return (found - found.mean(0, keepdims=True)) / jnp.sqrt(found.var(0, keepdims=True) + 1e-5)

    model = Model(lambda key: ({}, {}), lambda *a: (None, {}), 1.0, False, embed)
    config = DMConfig(
        batch_real=10, lr_img=1.0, img_momentum=0.0
    )  # each class has ten: all of them
    begin, state, info = course(dm.dm(config, model=model, augment=None, ipc=2, classes=4), data)

    def means(images):
        found = np.asarray(images, float).reshape(len(images), -1) @ kernel.astype(float)
        found = (found - found.mean(0)) / np.sqrt(found.var(0) + 1e-5)
        return found.reshape(4, -1, 5).mean(1)

    real = np.asarray(data.images)[np.argsort(np.asarray(data.labels), kind="stable")]
    target = means(real)

    def loss(images):
        return ((target - means(images)) ** 2).sum()

    assert loss(begin) > 0.1
    np.testing.assert_allclose(info.loss, loss(begin), rtol=1e-4)
    step = np.asarray(begin - state.images, float)
    way, eps = step / np.linalg.norm(step), 1e-4
    begin = np.asarray(begin, float)
    slope = (loss(begin + eps * way) - loss(begin - eps * way)) / (2 * eps)
    np.testing.assert_allclose(slope, np.linalg.norm(step), rtol=1e-3)


def test_all_classes_at_once_are_the_classes_one_by_one(data, jitter):
    """Where images do not influence each other: the same distances and gradients, each class with its own draw."""

    def embed(images):
        return jnp.tanh(images.reshape(len(images), -1))

    keys = jax.random.split(jax.random.key(0), 4)
    order = jnp.argsort(data.labels, stable=True)
    images = data.images[order].reshape(4, 10, 16, 16, 3)
    real, made = images[:, 2:], images[:, :2]
    losses, gradient = dm.match_together(embed, jitter, keys, real, made)
    for c in range(4):
        loss, own = dm.match_class(embed, jitter, keys[c], real[c], made[c])
        np.testing.assert_allclose(losses[c], loss, rtol=1e-5)
        np.testing.assert_allclose(gradient[c], own, rtol=1e-4, atol=1e-6)
    assert abs(dm.match_class(embed, jitter, keys[1], real[0], made[0])[0] / losses[0] - 1) > 1e-3


@pytest.mark.slow
def test_golden_batch_norm(golden, resnet_params):
    """PyTorch's distances and gradient of DM on a ResNet-18 with batch norm, all classes in one pass; float64."""
    g = golden("dm")
    model = resnet18(ResNetConfig(resnet_width=2), classes=3, size=10, channels=3)
    fresh = jax.jit(model.init)(jax.random.key(0))[1]
    with jax.enable_x64(True):
        state = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), fresh)
        params = jax.tree.map(jnp.asarray, resnet_params(g))
        embed = functools.partial(model.features, params, state)
        match = jax.jit(functools.partial(dm.match_together, embed, None))
        real, made = (
            jnp.asarray(g[k].transpose(0, 2, 3, 1).reshape(3, -1, 10, 10, 3), jnp.float64)
            for k in ("real", "made")
        )
        losses, gradient = match(jax.random.split(jax.random.key(0), 3), real, made)
    np.testing.assert_allclose(losses, g["losses"], rtol=1e-9)
    expected = g["gradient"].transpose(0, 2, 3, 1).reshape(made.shape)
    np.testing.assert_allclose(gradient, expected, atol=1e-9 * np.abs(expected).max())


def test_dm_moves_by_its_step_size(data, net):
    """lr_img scales the first step, and the start is real unless noise is asked for."""
    parts = {"model": net, "augment": None, "ipc": 1, "classes": 4}
    ends = []
    for rate in (1.0, 2.0):
        begin, state, info = course(dm.dm(DMConfig(batch_real=8, lr_img=rate), **parts), data)
        ends.append(np.asarray(state.images - begin))
        assert np.isfinite(info.loss) and not info.skipped
    np.testing.assert_allclose(ends[1], 2 * ends[0], rtol=1e-3, atol=1e-6)
    assert (np.asarray(data.images) == np.asarray(begin[0])).all((1, 2, 3)).any()
