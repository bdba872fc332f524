"""ResNet-18: its size, its values, gradient and running statistics against PyTorch's layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medjax.models.resnet import ResNetConfig, forward_flops, resnet18
from medjax.train import cross_entropy


def test_parameters():
    """11,173,449 parameters with 9 classes and 3 channels; batch statistics only with batch norm."""
    for norm, parts in (("batch", 20), ("instance", 0)):
        model = resnet18(ResNetConfig(resnet_norm=norm), classes=9, size=32, channels=3)
        params, model_state = jax.eval_shape(model.init, jax.random.key(0))
        assert sum(p.size for p in jax.tree.leaves(params)) == 11_173_449
        assert len(model_state) == parts and model.separable == (norm == "instance")


def test_flops():
    """0.56 G multiply-adds at 32 px, as the literature counts; twice that in operations."""
    assert abs(forward_flops(ResNetConfig(), 32, 3, 10) / 2 / 0.5554e9 - 1) < 0.01


@pytest.mark.parametrize("norm,conv", [("batch", "im2col"), ("instance", "lax")])
def test_golden(golden, resnet_params, norm, conv):
    """Two training passes, the gradient of the second, then a pass with the running statistics; float64, 1e-9."""
    g = golden(f"resnet_{norm}")
    config = ResNetConfig(resnet_width=2, resnet_norm=norm, resnet_conv=conv)
    model = resnet18(config, classes=5, size=16, channels=3)

    def loss(params, state, x):
        logits, after = model.apply(params, state, x, True)
        return cross_entropy(logits, jnp.array([0, 3, 4])), (logits, after)

    training = jax.jit(jax.value_and_grad(loss, has_aux=True))
    testing = jax.jit(lambda *args: model.apply(*args, False))
    fresh = jax.jit(model.init)(jax.random.key(0))[1]
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), fresh)
        x = jnp.asarray(g["x"].transpose(0, 2, 3, 1))
        params = resnet_params(g)
        (_, (first, state)), _ = training(params, wide, x)
        (value, (_, state)), grads = training(params, state, x * 0.5 + 0.2)
        tested, same = testing(params, state, x)
    np.testing.assert_allclose(first, g["first"], atol=1e-9)
    np.testing.assert_allclose(value, g["loss"], rtol=1e-9)
    grad = grads["stem_kernel"].transpose(3, 2, 0, 1)
    np.testing.assert_allclose(grad, g["grad_stem"], atol=1e-9)
    np.testing.assert_allclose(tested, g["tested"], atol=1e-9)
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), state, same))
    if norm == "batch":
        assert not np.allclose(tested, first, atol=1e-3)  # running statistics, not the batch's
