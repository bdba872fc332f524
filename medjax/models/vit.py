"""A small vision transformer (Dosovitskiy et al. 2021) in the plain form of Beyer et al. 2022: no class token, the
tokens' mean goes to one linear layer. Positions are learned.

Patches of 4 px, 4 pre-norm blocks of width 128, 4 heads, hidden layer twice as wide, exact GELU. With 3 channels, 32 px
and 8 classes: 545,672 parameters.

No dropout: networks are pure functions of parameters and images here, without a key, and on a distilled set it is the
augmentation that keeps them from learning it by heart.
"""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from medjax.config import option
from medjax.errors import UserError
from medjax.models.base import Model, stateless
from medjax.models.conv import conv2d, lowering
from medjax.models.convnet import dense, uniform_fan_in

#: The hidden layer of a block is so many times as wide as its tokens.
HIDDEN = 2


@dataclasses.dataclass(frozen=True)
class ViTConfig:
    """Vision transformer."""

    vit_width: int = option(128, "ViT: numbers of a token, a multiple of vit_heads", low=1)
    vit_depth: int = option(4, "ViT: blocks", low=1)
    vit_heads: int = option(4, "ViT: heads of the attention", low=1)
    vit_patch: int = option(4, "ViT: side of a patch, in pixels", low=1)


class ViT(nn.Module):
    """The network itself; see the module's docstring. ``features``: what its last layer sees, instead of logits."""

    classes: int
    config: ViTConfig
    conv: str

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], features: bool = False) -> Float[Array, "n k"]:
        width, patch = self.config.vit_width, self.config.vit_patch
        shape = (patch, patch, x.shape[-1], width)
        init = uniform_fan_in(patch * patch * x.shape[-1])
        kernel = self.param("patch_kernel", init, shape)
        bias = self.param("patch_bias", init, (width,))
        how = lowering(self.conv, shape, x.shape[1], patch)
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
        """Every token as a mixture of all, in each head by its own weights."""
        n, t, d = x.shape
        heads = self.config.vit_heads
        parts = dense(x, 3 * d, f"{name}_qkv").reshape(n, t, 3, heads, d // heads)
        query, key, value = (parts[:, :, i] for i in range(3))
        scores = jnp.einsum("nqhd,nkhd->nhqk", query, key) * (d // heads) ** -0.5
        mixed = jnp.einsum("nhqk,nkhd->nqhd", nn.softmax(scores), value)
        return dense(mixed.reshape(n, t, d), d, f"{name}_out")


def layer_norm(x: Float[Array, "n t d"], name: str) -> Float[Array, "n t d"]:
    """Per token, eps 1e-5 as in PyTorch, affine."""
    return nn.LayerNorm(epsilon=1e-5, name=name)(x)


def forward_flops(config: ViTConfig, size: int, channels: int, classes: int) -> float:
    """Multiply-adds of one image's forward pass, times two."""
    width, tokens = config.vit_width, (size // config.vit_patch) ** 2
    embedding = tokens * config.vit_patch**2 * channels * width
    block = tokens * width * ((4 + 2 * HIDDEN) * width + 2 * tokens)
    return 2.0 * (embedding + config.vit_depth * block + width * classes)


def vit(config: ViTConfig, *, classes: int, size: int, channels: int, conv: str = "auto") -> Model:
    """A ViT for ``size`` x ``size`` images. ``conv``: the lowering of its patches. Raises UserError if patches do not
    fill the image, or heads not a token."""
    if size % config.vit_patch:
        raise UserError(
            f"vit reads patches of {config.vit_patch} px, which do not fill {size} px: choose another --size"
        )
    if config.vit_width % config.vit_heads:
        raise UserError(f"vit_width {config.vit_width} is no multiple of {config.vit_heads} heads")
    net = ViT(classes, config, conv)
    flops = forward_flops(config, size, channels, classes)
    return stateless(net, flops, size, channels)
