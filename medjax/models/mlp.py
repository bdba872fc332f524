"""MLP of the distillation literature: two hidden layers with ReLU, one linear layer.

With 128 hidden units, 3 channels, 32 px and 8 classes: 410,888 parameters. No dropout: the public codes have none.
"""

import dataclasses

import flax.linen as nn
from jaxtyping import Array, Float

from medjax.config import option
from medjax.models.base import Model, stateless
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
    flops = 2.0 * width * (size * size * channels + width + classes)
    return stateless(net, flops, size, channels)
