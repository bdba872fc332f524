"""MLP of the distillation literature: two hidden layers with ReLU, one linear layer.

With 128 hidden units, 3 channels, 32 px and 8 classes: 410,888 parameters. No dropout: the public codes have none.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from medjax.config import option
from medjax.models.base import Model
from medjax.models.convnet import dense


@dataclasses.dataclass(frozen=True)
class MLPConfig:
    """MLP."""

    mlp_width: int = option(128, "MLP: units of both hidden layers", low=1)


class MLP(nn.Module):
    """The network itself; see the module's docstring. ``features``: what its last layer sees, instead of logits."""

    classes: int
    config: MLPConfig

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], features: bool = False) -> Float[Array, "n k"]:
        x = x.reshape(x.shape[0], -1)
        for layer in range(2):
            x = nn.relu(dense(x, self.config.mlp_width, f"hidden{layer}"))
        return x if features else dense(x, self.classes, "linear")


def mlp(config: MLPConfig, *, classes: int, size: int, channels: int) -> Model:
    """An MLP for ``size`` x ``size`` images."""
    net, width = MLP(classes, config), config.mlp_width

    def init(key: Array) -> tuple[Any, Any]:
        return net.init(key, jnp.zeros((1, size, size, channels), jnp.float32))["params"], {}

    def apply(params: Any, model_state: Any, images: Array, train: bool) -> tuple[Any, Any]:
        return net.apply({"params": params}, images), model_state

    def features(params: Any, model_state: Any, images: Array) -> Any:
        return net.apply({"params": params}, images, features=True)

    flops = 2.0 * width * (size * size * channels + width + classes)
    return Model(init, apply, flops, separable=True, features=features)
