"""AlexNet for 32 px images, as the public codes of DC and MTT have it to evaluate with.

conv 5x5 -> pool -> conv 5x5 -> pool -> three conv 3x3 -> pool -> one linear layer; ReLU after each convolution, pooling
is the maximum of 2x2 squares, there is no norm. Widths 128, 192, 256, 192, 192. With 3 channels, 32 px and 8 classes:
1,866,056 parameters.

Two departures from Krizhevsky et al. 2012, both the public codes': one linear layer instead of three, and so
none of the dropout between those.
"""

import dataclasses

import flax.linen as nn
from jaxtyping import Array, Float

from medjax.config import option
from medjax.errors import UserError
from medjax.models.base import Model, stateless
from medjax.models.conv import conv2d, lowering
from medjax.models.convnet import dense, uniform_fan_in

#: Of each convolution: side of the kernel, channels in halves of the width, whether pooling follows.
LAYERS = ((5, 2, True), (5, 3, True), (3, 4, False), (3, 3, False), (3, 3, True))


@dataclasses.dataclass(frozen=True)
class AlexNetConfig:
    """AlexNet."""

    alexnet_width: int = option(128, "AlexNet: channels of its first convolution", low=2)


class AlexNet(nn.Module):
    """The network itself; see the module's docstring. ``features``: what its last layer sees, instead of logits."""

    classes: int
    config: AlexNetConfig
    conv: str

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], features: bool = False) -> Float[Array, "n k"]:
        x = x.transpose(1, 2, 0, 3)
        for layer, (taps, halves, pooled) in enumerate(LAYERS):
            channels, width = x.shape[-1], halves * self.config.alexnet_width // 2
            shape, init = (taps, taps, channels, width), uniform_fan_in(taps * taps * channels)
            kernel = self.param(f"conv{layer}_kernel", init, shape)
            bias = self.param(f"conv{layer}_bias", init, (width,))
            padding = first_padding(channels) if layer == 0 else taps // 2
            x = conv2d(x, kernel, padding, lowering(self.conv, shape, len(x)))
            x = nn.relu(x + bias.reshape(1, 1, 1, -1))
            x = max_pool(x) if pooled else x
        x = x.transpose(2, 0, 1, 3).reshape(x.shape[2], -1)
        return x if features else dense(x, self.classes, "linear")


def first_padding(channels: int) -> int:
    """Of the first convolution. The public codes pad one-channel images by 4 (28 px MNIST became 32)."""
    return 4 if channels == 1 else 2


def max_pool(x: Float[Array, "h w n c"]) -> Float[Array, "h2 w2 n c"]:
    """Maximum of 2x2 squares; an odd last row or column is dropped."""
    h, w = x.shape[0] // 2, x.shape[1] // 2
    return x[: 2 * h, : 2 * w].reshape(h, 2, w, 2, *x.shape[2:]).max((1, 3))


def forward_flops(config: AlexNetConfig, size: int, channels: int, classes: int) -> float:
    """Multiply-adds of one image's forward pass, times two."""
    flops, side = 0.0, size + 2 * first_padding(channels) - 4
    for taps, halves, pooled in LAYERS:
        width = halves * config.alexnet_width // 2
        flops += 2.0 * side * side * taps * taps * channels * width
        channels, side = width, side // 2 if pooled else side
    return flops + 2.0 * side * side * channels * classes


def alexnet(
    config: AlexNetConfig, *, classes: int, size: int, channels: int, conv: str = "auto"
) -> Model:
    """AlexNet for ``size`` x ``size`` images. ``conv``: the lowering of its convolutions. Raises UserError if pooling
    leaves nothing of the image."""
    if size < 8:
        raise UserError(f"alexnet pools {size} px images away: give --size=8 or more")
    net = AlexNet(classes, config, conv)
    flops = forward_flops(config, size, channels, classes)
    return stateless(net, flops, size, channels)
