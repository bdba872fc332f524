"""ResNet-18 (He et al. 2016) with the 3x3 stem of 32 px images, as the study's upper bound and second opinion.

A 3x3 stem, four stages of two basic blocks with widths 64 to 512, global average pooling, one linear layer: 11,173,449
parameters with 3 channels and 9 classes. The norm is batch norm with PyTorch's running statistics (momentum 0.1,
unbiased variance) or, as in a variant of the public codes, instance norm.
"""

import dataclasses

import flax.linen as nn
from jaxtyping import Array, Float

from medjax.config import option
from medjax.models.base import Model, Network, pure
from medjax.models.conv import conv2d, conv_option, lowering
from medjax.models.layers import Affine, BatchNorm, classifier, conv_kernel, instance_norm, relu

#: Blocks of each stage.
BLOCKS = (2, 2, 2, 2)


@dataclasses.dataclass(frozen=True)
class ResNetConfig:
    """ResNet-18."""

    resnet_width: int = option(
        64, "ResNet: channels of the first stage (1 to 1024)", low=1, high=1024
    )
    resnet_norm: str = option("batch", "ResNet: normalisation", choices=("batch", "instance"))
    resnet_conv: str = conv_option("ResNet")


class ResNet(nn.Module):
    """The network; see the module's docstring. ``features``: return the input of the last layer instead of logits."""

    classes: int
    config: ResNetConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], train: bool = False, features: bool = False
    ) -> Float[Array, "n k"]:
        x = x.transpose(1, 2, 0, 3)
        x = relu(self.layer(x, "stem", self.config.resnet_width, 3, 1, train))
        for stage, blocks in enumerate(BLOCKS):
            width = self.config.resnet_width * 2**stage
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                name = f"stage{stage}_block{block}"
                y = relu(self.layer(x, f"{name}_a", width, 3, stride, train))
                y = self.layer(y, f"{name}_b", width, 3, 1, train)
                if x.shape != y.shape:
                    x = self.layer(x, f"{name}_short", width, 1, stride, train)
                x = relu(x + y)
        x = x.mean((0, 1))
        return x if features else classifier(self, x, self.classes)

    def layer(self, x: Array, name: str, width: int, taps: int, stride: int, train: bool) -> Array:
        """A convolution without bias, and its norm."""
        kernel = conv_kernel(self, name, taps, x.shape[-1], width)
        how = lowering(self.config.resnet_conv, kernel.shape, len(x), stride)
        x = conv2d(x, kernel, taps // 2, how, stride)
        if self.config.resnet_norm == "instance":
            return instance_norm(x, *Affine(name=f"{name}_norm")(width))
        return BatchNorm(name=f"{name}_norm")(x, train)


def forward_flops(config: ResNetConfig, size: int, channels: int, classes: int) -> float:
    """Multiply-adds of one image's forward pass, times two."""
    width = config.resnet_width
    flops, side, before = 2.0 * size * size * 9 * channels * width, size, width
    for stage, blocks in enumerate(BLOCKS):
        after, stride = width * 2**stage, 2 if stage else 1
        side = -(-side // stride)
        area = 2.0 * side * side * after
        flops += area * 9 * (before + (2 * blocks - 1) * after)
        flops += area * before if stage else 0
        before = after
    return flops + 2.0 * before * classes


def resnet18(config: ResNetConfig, *, classes: int, size: int, channels: int) -> Model:
    """ResNet-18 for ``size`` x ``size`` images."""
    flops = forward_flops(config, size, channels, classes)
    batch_norm = config.resnet_norm == "batch"
    return pure(ResNet(classes, config), flops, size, channels, batch_norm)


NETWORK = Network(ResNetConfig, resnet18)
