"""ConvNet-D-W (Gidaris & Komodakis 2018) with instance norm, the network of the distillation literature.

D x [conv 3x3 -> instance norm -> ReLU -> average pool 2x2], then one linear layer. With D = 3, W = 128, 3 channels,
32 px and 8 classes: 315,912 parameters.
"""

import dataclasses
from collections.abc import Set

import flax.linen as nn
from jaxtyping import Array, Float

from medjax.config import option
from medjax.errors import UserError
from medjax.models import layers
from medjax.models.base import Model, Network, pure
from medjax.models.conv import conv2d, conv_option, lowering, patches_of

#: The norm becomes a factor on the kernel (`norm_of_product`) where a patch has at most this many values; those of a
#: first layer have 9 or 27.
FEW = 64


@dataclasses.dataclass(frozen=True)
class ConvNetConfig:
    """ConvNet-D-W."""

    width: int = option(128, "ConvNet: channels of every convolution (1 to 4096)", low=1, high=4096)
    depth: int = option(
        3,
        "ConvNet: blocks of conv, norm, ReLU, pooling (1 to 16); by size: 4 from 64 px, 5 from 128",
        low=1,
        high=16,
    )
    conv: str = conv_option("ConvNet")


def depth_by_size(config: ConvNetConfig, size: int, given: Set[str]) -> ConvNetConfig:
    """The depth for images of ``size`` px where none was given: 3 blocks, 4 from 64 px, and one more with each
    doubling, so that the last layer reads 4 x 4 to 7 x 7 pixels."""
    depth = (size // 4).bit_length() - 1
    if "depth" in given or depth <= ConvNetConfig.depth:
        return config
    return dataclasses.replace(config, depth=depth)


class ConvNet(nn.Module):
    """The network; see the module's docstring. ``features``: return the input of the last layer instead of logits."""

    classes: int
    config: ConvNetConfig

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], features: bool = False) -> Float[Array, "n k"]:
        x = x.transpose(1, 2, 0, 3)
        for block in range(self.config.depth):
            channels = x.shape[-1]
            kernel = layers.conv_kernel(self, f"conv{block}", 3, channels, self.config.width)
            # The bias belongs to the network and its trajectories, but the norm removes any constant.
            layers.conv_bias(self, f"conv{block}", kernel)
            # The public MTT code pads the first convolution of one-channel images by 3 (MNIST, from 28 to 32 px).
            padding = 3 if block == 0 and channels == 1 else 1
            norm = layers.Affine(name=f"norm{block}")(self.config.width)
            how = lowering(self.config.conv, kernel.shape, len(x))
            if how == "im2col" and 9 * channels <= FEW:
                patches = patches_of(x, (3, 3), padding)
                x = layers.norm_of_product(patches, kernel.reshape(9 * channels, -1), *norm)
            else:
                x = layers.instance_norm(conv2d(x, kernel, padding, how), *norm)
            x = layers.average_pool(layers.relu(x))
        x = layers.flatten(x)
        return x if features else layers.classifier(self, x, self.classes)


def forward_flops(config: ConvNetConfig, size: int, channels: int, classes: int) -> float:
    """Multiply-adds of one image's forward pass, times two."""
    flops, side = 0.0, size + (4 if channels == 1 else 0)
    for _ in range(config.depth):
        flops += 2.0 * side * side * 9 * channels * config.width
        channels, side = config.width, side // 2
    return flops + 2.0 * side * side * channels * classes


def convnet(config: ConvNetConfig, *, classes: int, size: int, channels: int) -> Model:
    """ConvNet-D-W for ``size`` x ``size`` images. Raises UserError if pooling leaves no pixel."""
    if size >> config.depth < 1:
        raise UserError(
            f"--depth={config.depth} pools {size} px images to nothing: lower --depth or raise --size"
        )
    flops = forward_flops(config, size, channels, classes)
    return pure(ConvNet(classes, config), flops, size, channels)


NETWORK = Network(ConvNetConfig, convnet, fit=depth_by_size)
