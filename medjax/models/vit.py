"""A small vision transformer (Dosovitskiy et al. 2021) in the simpler form of Beyer et al. 2022: it has no class token;
one linear layer reads the mean of the tokens. Positions are learned.

It has patches of 4 px, 4 pre-norm blocks of width 128, 4 heads, hidden layers twice as wide, and exact GELU. With 3
channels, 32 px and 8 classes: 545,672 parameters.

There is no dropout: networks are pure functions of parameters and images here, without a key. On a distilled set,
augmentation limits overfitting.
"""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from medjax.config import option
from medjax.errors import UserError
from medjax.models.base import Model, Network, pure
from medjax.models.conv import conv2d, conv_option, lowering
from medjax.models.layers import conv_bias, conv_kernel, dense, layer_norm

#: Width of a block's hidden layer, in widths of a token.
HIDDEN = 2


@dataclasses.dataclass(frozen=True)
class ViTConfig:
    """Vision transformer."""

    vit_width: int = option(
        128, "ViT: width of a token, a multiple of vit_heads (1 to 4096)", low=1, high=4096
    )
    vit_depth: int = option(4, "ViT: blocks (1 to 64)", low=1, high=64)
    vit_heads: int = option(4, "ViT: heads of the attention (1 to 256)", low=1, high=256)
    vit_patch: int = option(4, "ViT: side of a patch in pixels (1 to 256)", low=1, high=256)
    vit_conv: str = conv_option("ViT")


class ViT(nn.Module):
    """The network; see the module's docstring. ``features``: return the input of the last layer instead of logits."""

    classes: int
    config: ViTConfig

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], features: bool = False) -> Float[Array, "n k"]:
        width, patch = self.config.vit_width, self.config.vit_patch
        kernel = conv_kernel(self, "patch", patch, x.shape[-1], width)
        bias = conv_bias(self, "patch", kernel)
        how = lowering(self.config.vit_conv, kernel.shape, x.shape[1], patch)
        x = conv2d(x.transpose(1, 2, 0, 3), kernel, 0, how, patch)
        x = x.transpose(2, 0, 1, 3).reshape(x.shape[2], -1, width) + bias.reshape(1, 1, -1)
        positions = self.param("positions", nn.initializers.normal(0.02), (x.shape[1], width))
        x = x + positions[None]
        for block in range(self.config.vit_depth):
            x = x + self.attention(layer_norm(x, f"block{block}_norm_a"), f"block{block}")
            y = dense(layer_norm(x, f"block{block}_norm_b"), HIDDEN * width, f"block{block}_up")
            x = x + dense(nn.gelu(y, approximate=False), width, f"block{block}_down")
        x = layer_norm(x, "norm").mean(1)
        return x if features else dense(x, self.classes, "linear")

    def attention(self, x: Float[Array, "n t d"], name: str) -> Float[Array, "n t d"]:
        """Every token as a weighted mean of all tokens; each head has its own weights."""
        n, t, d = x.shape
        heads = self.config.vit_heads
        parts = dense(x, 3 * d, f"{name}_qkv").reshape(n, t, 3, heads, d // heads)
        query, key, value = (parts[:, :, i] for i in range(3))
        scores = jnp.einsum("nqhd,nkhd->nhqk", query, key) * (d // heads) ** -0.5
        mixed = jnp.einsum("nhqk,nkhd->nqhd", nn.softmax(scores), value)
        return dense(mixed.reshape(n, t, d), d, f"{name}_out")


def forward_flops(config: ViTConfig, size: int, channels: int, classes: int) -> float:
    """Multiply-adds of one image's forward pass, times two."""
    width, tokens = config.vit_width, (size // config.vit_patch) ** 2
    embedding = tokens * config.vit_patch**2 * channels * width
    block = tokens * width * ((4 + 2 * HIDDEN) * width + 2 * tokens)
    return 2.0 * (embedding + config.vit_depth * block + width * classes)


def vit(config: ViTConfig, *, classes: int, size: int, channels: int) -> Model:
    """A ViT for ``size`` x ``size`` images. Raises UserError if the image is not a whole number of patches, or a token
    not a whole number of heads."""
    if size % config.vit_patch:
        raise UserError(
            f"vit cannot divide {size} px into patches of {config.vit_patch} px: choose another --size or --vit_patch"
        )
    if config.vit_width % config.vit_heads:
        raise UserError(
            f"--vit_width={config.vit_width} is not a multiple of {config.vit_heads} heads: change it or --vit_heads"
        )
    flops = forward_flops(config, size, channels, classes)
    return pure(ViT(classes, config), flops, size, channels)


NETWORK = Network(ViTConfig, vit)
