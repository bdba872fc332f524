"""The MLP of the distillation literature: two hidden layers with ReLU, then one linear layer.

With 128 hidden units, 3 channels, 32 px and 8 classes: 410,888 parameters. There is no dropout, as in the public codes.
"""

import dataclasses

import flax.linen as nn
from jaxtyping import Array, Float

from medjax.config import option
from medjax.models.base import Model, Network, pure
from medjax.models.layers import dense, relu


@dataclasses.dataclass(frozen=True)
class MLPConfig:
    """MLP."""

    mlp_width: int = option(128, "MLP: units of each hidden layer (1 to 65536)", low=1, high=65536)


class MLP(nn.Module):
    """The network; see the module's docstring. ``features``: return the input of the last layer instead of logits."""

    classes: int
    config: MLPConfig

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], features: bool = False) -> Float[Array, "n k"]:
        x = x.reshape(x.shape[0], -1)
        for layer in range(2):
            x = relu(dense(x, self.config.mlp_width, f"hidden{layer}"))
        return x if features else dense(x, self.classes, "linear")


def mlp(config: MLPConfig, *, classes: int, size: int, channels: int) -> Model:
    """An MLP for ``size`` x ``size`` images."""
    width = config.mlp_width
    flops = 2.0 * width * (size * size * channels + width + classes)
    return pure(MLP(classes, config), flops, size, channels)


NETWORK = Network(MLPConfig, mlp)
