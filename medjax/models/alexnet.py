"""AlexNet for 32 px images, in the form that the public codes of DC and MTT use for evaluation.

conv 5x5 -> pool -> conv 5x5 -> pool -> three conv 3x3 -> pool -> one linear layer; ReLU after each convolution, pooling
is the maximum of 2x2 squares; there is no norm. Widths 128, 192, 256, 192, 192. With 3 channels, 32 px and 8 classes:
1,866,056 parameters.

It departs from Krizhevsky et al. 2012 as the public codes do: one linear layer instead of three, and therefore no
dropout between them.
"""

import dataclasses

import flax.linen as nn
from jaxtyping import Array, Float

from medjax.config import option
from medjax.errors import UserError
from medjax.models.base import Model, Network, pure
from medjax.models.conv import conv2d, conv_option, lowering
from medjax.models.layers import conv_bias, conv_kernel, dense, flatten, max_pool, relu

#: For each convolution: side of the kernel, channels in halves of the width, whether pooling follows.
LAYERS = ((5, 2, True), (5, 3, True), (3, 4, False), (3, 3, False), (3, 3, True))


@dataclasses.dataclass(frozen=True)
class AlexNetConfig:
    """AlexNet."""

    alexnet_width: int = option(
        128, "AlexNet: channels of its first convolution (2 to 4096)", low=2, high=4096
    )
    alexnet_conv: str = conv_option("AlexNet")


class AlexNet(nn.Module):
    """The network; see the module's docstring. ``features``: return the input of the last layer instead of logits."""

    classes: int
    config: AlexNetConfig

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], features: bool = False) -> Float[Array, "n k"]:
        x = x.transpose(1, 2, 0, 3)
        for layer, (taps, halves, pooled) in enumerate(LAYERS):
            channels, width = x.shape[-1], halves * self.config.alexnet_width // 2
            kernel = conv_kernel(self, f"conv{layer}", taps, channels, width)
            bias = conv_bias(self, f"conv{layer}", kernel)
            padding = first_padding(channels) if layer == 0 else taps // 2
            how = lowering(self.config.alexnet_conv, kernel.shape, len(x))
            x = relu(conv2d(x, kernel, padding, how) + bias.reshape(1, 1, 1, -1))
            x = max_pool(x) if pooled else x
        x = flatten(x)
        return x if features else dense(x, self.classes, "linear")


def first_padding(channels: int) -> int:
    """The padding of the first convolution. The public codes pad one-channel images by 4 (MNIST, from 28 to 32 px)."""
    return 4 if channels == 1 else 2


def forward_flops(config: AlexNetConfig, size: int, channels: int, classes: int) -> float:
    """Multiply-adds of one image's forward pass, times two."""
    flops, side = 0.0, size + 2 * first_padding(channels) - 4
    for taps, halves, pooled in LAYERS:
        width = halves * config.alexnet_width // 2
        flops += 2.0 * side * side * taps * taps * channels * width
        channels, side = width, side // 2 if pooled else side
    return flops + 2.0 * side * side * channels * classes


def alexnet(config: AlexNetConfig, *, classes: int, size: int, channels: int) -> Model:
    """AlexNet for ``size`` x ``size`` images. Raises UserError if pooling leaves no pixel."""
    if size < 8:
        raise UserError(f"alexnet cannot pool {size} px images three times: give --size=8 or more")
    flops = forward_flops(config, size, channels, classes)
    return pure(AlexNet(classes, config), flops, size, channels)


NETWORK = Network(AlexNetConfig, alexnet)
