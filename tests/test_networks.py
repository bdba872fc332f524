"""The table of networks, and the evaluation networks (MLP, AlexNet, ViT) against PyTorch's: size, values, gradients."""

import dataclasses
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medjax import evaluate, models, share
from medjax.config import option
from medjax.data import preprocess
from medjax.errors import UserError
from medjax.eval_config import EvalConfig
from medjax.models import MODELS, ConvNetConfig, Model, Network, ResNetConfig, resnet
from medjax.models.alexnet import AlexNetConfig
from medjax.models.base import parameter_count
from medjax.models.layers import relu
from medjax.models.mlp import MLPConfig
from medjax.models.vit import ViTConfig
from medjax.train import cross_entropy
from medjax.types import Dataset, Synthetic

SMALL = {
    "mlp": MLPConfig(mlp_width=6),
    "alexnet": AlexNetConfig(alexnet_width=4),
    "vit": ViTConfig(vit_width=8, vit_depth=2, vit_heads=2),
}


def small(name, channels=3, **changed):
    """A small one for 5 classes of 8 px images."""
    config = dataclasses.replace(SMALL[name], **changed)
    return models.build(name, config, classes=5, size=8, channels=channels)


# --- the table


def test_no_two_networks_share_a_flag():
    """Every option is a flag, and a flag belongs to one network. The command line's own names are taken, too."""
    names = Counter(f.name for n in MODELS.values() for f in dataclasses.fields(n.config))
    assert {"width", "resnet_norm", "alexnet_conv", "vit_conv", "resnet_conv"} <= set(names)
    assert set(names.values()) == {1}
    assert not set(names) & {"size", "seed", "model", "ipc", "networks"}


def test_every_option_changes_its_network(monkeypatch):
    """No option is without effect: each gives other parameters or another program."""
    monkeypatch.setattr(resnet, "BLOCKS", (1,))
    start = {name: MODELS[name].config() for name in MODELS} | SMALL
    # A width of its own: networks are built once, and this one has fewer blocks.
    start |= {"convnet": ConvNetConfig(width=4, depth=2), "resnet18": ResNetConfig(resnet_width=3)}

    def program(name, config):
        model = models.build(name, config, classes=3, size=8, channels=3)
        shapes = jax.eval_shape(model.init, jax.random.key(0))
        image = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)
        return str(jax.make_jaxpr(lambda p, x: model.apply(*p, x, True)[0])(shapes, image))

    for name, config in start.items():
        plain = program(name, config)
        for field in dataclasses.fields(config):
            value, choices = getattr(config, field.name), field.metadata["choices"]
            new = "lax" if "lax" in choices else choices[-1] if choices else 2 * value
            new = 1 if field.name in ("depth", "vit_heads") else new
            changed = dataclasses.replace(config, **{field.name: new})
            assert program(name, changed) != plain, field.name


def test_one_object_for_equal_arguments():
    """In any order; other arguments give another; an unknown name is one line."""
    first = models.build("mlp", MLPConfig(), classes=3, size=8, channels=1)
    assert models.build("mlp", MLPConfig(), channels=1, size=8, classes=3) is first
    assert models.build("mlp", MLPConfig(), classes=3, size=8, channels=3) is not first
    with pytest.raises(UserError, match="'vgg' is not known: choose one of convnet"):
        models.build("vgg", MLPConfig(), classes=3, size=8, channels=1)


def test_configuration_from_plain_values():
    """Missing options have their defaults."""
    found = models.network_config("resnet18", {"resnet_norm": "instance"})
    assert found == ResNetConfig(resnet_norm="instance")
    for name, config in SMALL.items():
        assert models.network_config(name, dataclasses.asdict(config)) == config


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"width": 8}, "'width' is not an option: choose among vit_width"),
        ({"vit_width": "8"}, "--vit_width='8' is not a whole number"),
        ({"vit_width": True}, "--vit_width=True is not a whole number"),
        ({"vit_width": 8.0}, "--vit_width=8.0 is not a whole number"),
        ({"vit_width": 0}, "--vit_width=0 is too small"),
        ({"vit_width": 10**400}, "is too large"),
        ({"vit_width": 5000}, "--vit_width=5000 is too large: the largest value is 4096"),
        ({"vit_conv": "strassen"}, "--vit_conv=strassen is not known: choose one of auto"),
        ({"vit_depth": None}, "--vit_depth=None is not a whole number"),
    ],
)
def test_values_that_do_not_fit(values, words):
    """One line says which and what to do."""
    with pytest.raises(UserError) as caught:
        models.network_config("vit", values)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_options_that_follow_from_the_size():
    """The ConvNet's depth, unless somebody chose one; other networks have no such rule."""
    depths = {64: 4, 127: 4, 128: 5, 224: 5, 63: 3, 32: 3, 8: 3}
    for size, depth in depths.items():
        config = ConvNetConfig(width=8)
        assert models.fit_config("convnet", config, size, {"width"}) == ConvNetConfig(8, depth)
        assert models.fit_config("convnet", config, size, {"depth"}) is config
    for name in set(MODELS) - {"convnet"}:
        config = MODELS[name].config()
        assert models.fit_config(name, config, 224, set()) is config


def test_when_two_networks_are_the_same():
    """Name and options count; how a convolution is computed does not; an unknown configuration is never the same."""
    batch, instance = (("resnet18", ResNetConfig(resnet_norm=n)) for n in ("batch", "instance"))
    assert models.same_network(batch, ("resnet18", ResNetConfig(resnet_conv="lax")))
    assert not models.same_network(batch, instance)
    assert not models.same_network(batch, ("resnet18", None))
    assert not models.same_network(("resnet18", None), ("resnet18", None))
    assert not models.same_network(batch, None)
    assert not models.same_network(("convnet", ConvNetConfig()), ("convnet", ConvNetConfig(64)))


@dataclasses.dataclass(frozen=True)
class SoftmaxConfig:
    """A network of a user's own."""

    softmax_scale: float = option(1.0, "Softmax: factor on the logits", low=0)
    softmax_bias: bool = option(True, "Softmax: whether there is a bias")


def softmax(config, *, classes, size, channels):
    """Softmax regression."""
    features = size * size * channels

    def init(key):
        bias = {"b": jnp.zeros(classes)} if config.softmax_bias else {}
        return bias | {"w": 0.1 * jax.random.normal(key, (features, classes))}, {}

    def apply(params, model_state, images, train):
        logits = images.reshape(images.shape[0], -1) @ params["w"]
        logits = logits + params["b"].reshape(1, -1) if config.softmax_bias else logits
        return config.softmax_scale * logits, model_state

    return Model(init, apply, flops=2.0 * features * classes, separable=True)


def test_a_network_from_outside(monkeypatch, tmp_path, tiny):
    """One entry in the table: it is built, trained and scored, and its configuration travels with a set; where it is
    not known, the set loads without it."""
    monkeypatch.setitem(MODELS, "softmax", Network(SoftmaxConfig, softmax))
    config = models.network_config("softmax", {"softmax_scale": 2, "softmax_bias": False})
    assert config == SoftmaxConfig(2.0, False)
    model = models.build("softmax", config, classes=3, size=16, channels=3)
    trainer = evaluate.trainer(EvalConfig(), model, 3, None)
    people = evaluate.population(EvalConfig(), jax.random.key(0), 2, 40, jnp.float32([0.01]))
    made = Synthetic(tiny.images, tiny.labels, jnp.float32(0.01))
    for found in evaluate.evaluate(trainer, people, made, tiny):
        assert found.accuracy > 0.9

    raw = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3)).astype(np.uint8)
    pre = preprocess.fit(preprocess.PreprocessConfig(16, "normalise"), raw)
    path, names = tmp_path / "synthetic.npz", ("a", "b", "c")
    share.save_set(path, made, pre, names, network=("softmax", config), method="random")
    assert share.load_set(path).network == ("softmax", config)
    assert models.same_network(share.load_set(path).network, ("softmax", config))
    monkeypatch.delitem(MODELS, "softmax")
    assert share.load_set(path).network == ("softmax", None)
    assert share.load_set(path).origin == {"method": "random"}


# --- the evaluation networks


@pytest.mark.parametrize(
    "name,channels,parameters,products",
    [
        ("mlp", 3, 410_888, 3072 * 128 + 128 * 128 + 128 * 8),
        ("mlp", 1, 148_744, 1024 * 128 + 128 * 128 + 128 * 8),
        ("alexnet", 3, 1_866_056, None),
        ("alexnet", 1, 1_859_656, None),
        ("vit", 3, 545_672, None),
        ("vit", 1, 541_576, None),
    ],
)
def test_size(name, channels, parameters, products):
    """Parameters at full width, 32 px, 8 classes (PyTorch's layers have as many); work as XLA counts it."""
    model = models.build(name, MODELS[name].config(), classes=8, size=32, channels=channels)
    params, model_state = jax.eval_shape(model.init, jax.random.key(0))
    assert parameter_count(model) == parameters
    assert model_state == {} and model.separable
    if products is not None:
        assert model.flops == 2 * products
    image = jax.ShapeDtypeStruct((1, 32, 32, channels), jnp.float32)
    program = jax.jit(lambda p, x: model.apply(p, {}, x, False)[0]).lower(params, image)
    counted = program.cost_analysis()["flops"]
    assert 0.9 < counted / model.flops < 1.1


def converted(name, g):
    """PyTorch's names and layouts -> ours."""
    p = {k.removeprefix("p_"): v for k, v in g.items() if k.startswith("p_")}

    def linear(source, joint="."):
        return {"kernel": p[f"{source}{joint}weight"].T, "bias": p[f"{source}{joint}bias"]}

    def norm(source):
        return {"scale": p[f"{source}.weight"], "bias": p[f"{source}.bias"]}

    params = {"linear": linear("linear")}
    if name == "mlp":
        by_place = p["first.weight"].reshape(6, -1, 8, 8).transpose(2, 3, 1, 0)
        params["hidden0"] = {"kernel": by_place.reshape(-1, 6), "bias": p["first.bias"]}
        params["hidden1"] = linear("second")
    if name == "alexnet":
        for i, source in enumerate(("first", "rest.2", "rest.5", "rest.7", "rest.9")):
            params[f"conv{i}_kernel"] = p[f"{source}.weight"].transpose(2, 3, 1, 0)
            params[f"conv{i}_bias"] = p[f"{source}.bias"]
    if name == "vit":
        params["patch_kernel"] = p["first.weight"].transpose(2, 3, 1, 0)
        params["patch_bias"], params["positions"] = p["first.bias"], p["positions"][0]
        params["norm"] = norm("norm")
        for i in range(2):
            source, block = f"blocks.{i}", f"block{i}"
            params[f"{block}_norm_a"] = norm(f"{source}.norm1")
            params[f"{block}_norm_b"] = norm(f"{source}.norm2")
            params[f"{block}_qkv"] = linear(f"{source}.self_attn.in_proj", "_")
            params[f"{block}_out"] = linear(f"{source}.self_attn.out_proj")
            params[f"{block}_up"] = linear(f"{source}.linear1")
            params[f"{block}_down"] = linear(f"{source}.linear2")
    return params


@pytest.mark.parametrize("colour", ["grey", "rgb"])
@pytest.mark.parametrize("name,conv", [("mlp", None), ("alexnet", "im2col"), ("vit", "lax")])
def test_golden(golden, name, conv, colour):
    """Logits, loss and gradient of PyTorch in float64, 1e-9; gradients of all parameters and of the images finite."""
    g = golden(f"{name}_{colour}")
    images = g["x"].transpose(0, 2, 3, 1)
    model = small(name, images.shape[-1], **({f"{name}_conv": conv} if conv else {}))

    def loss(params, images):
        logits, _ = model.apply(params, {}, images, True)
        return cross_entropy(logits, jnp.array([0, 3, 4, 1])), logits

    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), (converted(name, g), images))
        gradient = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
        (value, logits), grads = gradient(*wide)
    shapes = jax.eval_shape(model.init, jax.random.key(0))[0]
    assert jax.tree.map(jnp.shape, grads[0]) == jax.tree.map(jnp.shape, shapes)
    np.testing.assert_allclose(logits, g["logits"], atol=1e-9)
    np.testing.assert_allclose(value, g["loss"], rtol=1e-9)
    if name == "mlp":
        first = grads[0]["hidden0"]["kernel"].reshape(8, 8, -1, 6).transpose(3, 2, 0, 1)
        first = first.reshape(6, -1)
    else:
        first = grads[0]["patch_kernel" if name == "vit" else "conv0_kernel"]
        first = first.transpose(3, 2, 0, 1)
    np.testing.assert_allclose(first, g["grad_first"], atol=1e-9)
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(grads))
    assert np.abs(grads[1]).max() > 0


@pytest.mark.parametrize("name", SMALL)
def test_population(name):
    """Two networks trained at once by the evaluation: different ones, finite, and they learn their images; logits are
    a linear map of the features; vmapped over weights, a network is itself."""
    model = small(name, **({"vit_depth": 1} if name == "vit" else {}))
    images = jax.random.normal(jax.random.key(0), (5, 8, 8, 3))
    made = Dataset(images, jnp.arange(5, dtype=jnp.int32))
    trainer = evaluate.trainer(EvalConfig(), model, 5, None)
    people = evaluate.population(EvalConfig(), jax.random.key(1), 2, 80, jnp.float32([0.03]))
    fresh = evaluate.start_networks(trainer, people)
    *_, (_, state) = evaluate.train_networks(trainer, people, made, fresh)
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(state.params))
    assert (state.loss < np.log(5)).all() and state.loss[0] != state.loss[1]

    @jax.jit
    def both(params):
        logits = jax.vmap(lambda p: model.apply(p, {}, images, False)[0])(params)
        one = jax.tree.map(lambda a: a[1], params)
        return logits[1], model.apply(one, {}, images, True)[0], model.features(one, {}, images)

    side_by_side, alone, features = both(state.params)
    np.testing.assert_allclose(side_by_side, alone, atol=1e-4)
    last = jax.tree.map(lambda a: np.asarray(a)[1], state.params["linear"])
    by_hand = np.asarray(features) @ last["kernel"] + last["bias"].reshape(1, -1)
    np.testing.assert_allclose(alone, by_hand, atol=1e-4)


def test_images_that_do_not_fit():
    """Images too small to pool, no whole number of patches or of heads: the message says what to change."""
    with pytest.raises(UserError, match="--size=8 or more"):
        models.build("alexnet", AlexNetConfig(), classes=2, size=7, channels=3)
    with pytest.raises(UserError, match="30 px into patches of 4 px: choose another --size"):
        models.build("vit", ViTConfig(), classes=2, size=30, channels=3)
    with pytest.raises(UserError, match="multiple of 3 heads"):
        models.build("vit", ViTConfig(vit_heads=3), classes=2, size=32, channels=3)


def test_a_network_starts_as_one_program():
    """Not as one for each of its operations, which take seconds to compile."""
    compiled = []

    def listen(event, seconds, **_):
        compiled.extend([event] if event == "/jax/core/compile/backend_compile_duration" else [])

    model = MODELS["convnet"].build(ConvNetConfig(width=3), classes=5, size=8, channels=3)
    key = jax.random.key(0)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        model.init(key)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert len(compiled) == 1


def test_a_derivative_keeps_a_mask_of_a_relu():
    """Of a gradient whose gradient is taken: no array of zeros, beside the factor that the square multiplies by."""
    x = jnp.ones(1000)

    def gradient(x):
        return jax.grad(lambda x: (relu(x) ** 2).sum())(x)

    kept = jax.eval_shape(lambda x: jax.vjp(gradient, x)[1], x)
    assert sorted(str(leaf.dtype) for leaf in jax.tree.leaves(kept)) == ["bool", "bool", "float32"]
