"""The evaluation networks (MLP, AlexNet, ViT): their size, values and gradients against PyTorch's, populations."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medjax import evaluate
from medjax.evaluate import EvalConfig
from medjax.models import MODELS, AlexNetConfig, MLPConfig, ViTConfig
from medjax.models.base import parameter_count
from medjax.train import cross_entropy
from medjax.types import Dataset

SMALL = {
    "mlp": MLPConfig(mlp_width=6),
    "alexnet": AlexNetConfig(alexnet_width=4),
    "vit": ViTConfig(vit_width=8, vit_depth=2, vit_heads=2),
}


def build(name, channels=3, **more):
    """A small one for 5 classes of 8 px images."""
    return MODELS[name][1](SMALL[name], classes=5, size=8, channels=channels, **more)


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
    config, factory = MODELS[name]
    model = factory(config(), classes=8, size=32, channels=channels)
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
    model = build(name, images.shape[-1], **({"conv": conv} if conv else {}))

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
    config = dataclasses.replace(SMALL[name], **({"vit_depth": 1} if name == "vit" else {}))
    model = MODELS[name][1](config, classes=5, size=8, channels=3)
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
    """Pooled away, not filled by patches, heads that do not divide a token: said, with what to change."""
    with pytest.raises(ValueError, match="--size"):
        MODELS["alexnet"][1](AlexNetConfig(), classes=2, size=7, channels=3)
    with pytest.raises(ValueError, match="4 px"):
        MODELS["vit"][1](ViTConfig(), classes=2, size=30, channels=3)
    with pytest.raises(ValueError, match="3 heads"):
        MODELS["vit"][1](ViTConfig(vit_heads=3), classes=2, size=32, channels=3)
