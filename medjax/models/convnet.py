"""ConvNet-D-W (Gidaris & Komodakis 2018), the network of the distillation literature, in its instance-norm form.

D x [conv 3x3 -> instance norm -> ReLU -> average pool 2x2], then one linear layer. With D = 3, W = 128, 3 channels,
32 px and 8 classes: 315,912 parameters.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from medjax.config import option
from medjax.errors import UserError
from medjax.models.base import Model, stateless
from medjax.models.conv import LOWERINGS, conv2d, lowering, patches_of
from medjax.models.norm import Affine, instance_norm, norm_of_product

#: Values a patch has at most where the norm goes into the kernel: of a first layer, 9 or 27.
FEW = 64


@dataclasses.dataclass(frozen=True)
class ConvNetConfig:
    """ConvNet-D-W."""

    width: int = option(128, "ConvNet: channels of every convolution", low=1)
    depth: int = option(
        3, "ConvNet: blocks (conv, norm, ReLU, pooling); 4 from 64 px, 5 from 128, ...", low=1
    )
    conv: str = option(
        "auto",
        "convolution lowering; auto: by device, size and use (docs/performance.md)",
        choices=("auto", *LOWERINGS),
    )


def uniform_fan_in(fan_in: int) -> Any:
    """PyTorch's default initialisation: U(-1/sqrt(fan_in), 1/sqrt(fan_in)), for weights and biases."""

    def init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def dense(x: Float[Array, "*m f"], width: int, name: str) -> Float[Array, "*m d"]:
    """A linear layer, initialised as PyTorch does; inside a compact method."""
    init = uniform_fan_in(x.shape[-1])
    return nn.Dense(width, kernel_init=init, bias_init=init, name=name)(x)


def average_pool(x: Float[Array, "h w n c"]) -> Float[Array, "h2 w2 n c"]:
    """Mean of 2x2 squares; an odd last row or column is dropped."""
    h, w = x.shape[0] // 2, x.shape[1] // 2
    return x[: 2 * h, : 2 * w].reshape(h, 2, w, 2, *x.shape[2:]).mean((1, 3))


class ConvNet(nn.Module):
    """The network itself; see the module's docstring. ``features``: what its last layer sees, instead of logits."""

    classes: int
    config: ConvNetConfig

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], features: bool = False) -> Float[Array, "n k"]:
        x = x.transpose(1, 2, 0, 3)
        for block in range(self.config.depth):
            channels = x.shape[-1]
            init = uniform_fan_in(9 * channels)
            kernel = self.param(f"conv{block}_kernel", init, (3, 3, channels, self.config.width))
            # Part of the network's size and of its trajectories, but the norm takes any constant away.
            self.param(f"conv{block}_bias", init, (self.config.width,))
            # The public MTT code pads the first convolution of one-channel images by 3 (28 px MNIST became 32).
            padding = 3 if block == 0 and channels == 1 else 1
            norm = Affine(name=f"norm{block}")(self.config.width)
            how = lowering(self.config.conv, kernel.shape, len(x))
            if how == "im2col" and 9 * channels <= FEW:
                patches = patches_of(x, (3, 3), padding)
                x = norm_of_product(patches, kernel.reshape(9 * channels, -1), *norm)
            else:
                x = instance_norm(conv2d(x, kernel, padding, how), *norm)
            x = average_pool(nn.relu(x))
        x = x.transpose(2, 0, 1, 3).reshape(x.shape[2], -1)
        if features:
            return x
        init = uniform_fan_in(x.shape[-1])
        kernel = self.param("linear_kernel", init, (x.shape[-1], self.classes))
        bias = self.param("linear_bias", init, (self.classes,))
        return x @ kernel + bias.reshape(1, -1)


def forward_flops(config: ConvNetConfig, size: int, channels: int, classes: int) -> float:
    """Multiply-adds of one image's forward pass, times two."""
    flops, side = 0.0, size + (4 if channels == 1 else 0)
    for _ in range(config.depth):
        flops += 2.0 * side * side * 9 * channels * config.width
        channels, side = config.width, side // 2
    return flops + 2.0 * side * side * channels * classes


def convnet(config: ConvNetConfig, *, classes: int, size: int, channels: int) -> Model:
    """ConvNet-D-W for ``size`` x ``size`` images. Raises UserError if pooling leaves nothing of the image."""
    if size >> config.depth < 1:
        raise UserError(
            f"--depth {config.depth} pools {size} px images away; lower depth or raise size"
        )
    net = ConvNet(classes, config)
    flops = forward_flops(config, size, channels, classes)
    return stateless(net, flops, size, channels)
