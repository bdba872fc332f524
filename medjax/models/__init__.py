"""The networks, by name."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from medjax.models.alexnet import AlexNetConfig, alexnet
from medjax.models.base import Model
from medjax.models.convnet import ConvNetConfig, convnet
from medjax.models.mlp import MLPConfig, mlp
from medjax.models.resnet import ResNetConfig, resnet18
from medjax.models.vit import ViTConfig, vit


#: name -> (its configuration, factory(config, *, classes, size, channels) -> Model)
class Network(NamedTuple):
    config: Any
    build: Any
    fit: Callable | None = None


def _depth(config, size, given):
    import dataclasses

    depth = (size // 4).bit_length() - 1
    if "depth" in given or depth <= 3:
        return config
    return dataclasses.replace(config, depth=depth)


MODELS = {
    "convnet": Network(ConvNetConfig, convnet, _depth),
    "resnet18": Network(ResNetConfig, resnet18),
    "mlp": Network(MLPConfig, mlp),
    "alexnet": Network(AlexNetConfig, alexnet),
    "vit": Network(ViTConfig, vit),
}


@functools.cache
def build(name, config, *, classes, size, channels):
    return MODELS[name].build(config, classes=classes, size=size, channels=channels)


__all__ = [
    "MODELS",
    "AlexNetConfig",
    "ConvNetConfig",
    "MLPConfig",
    "Model",
    "ResNetConfig",
    "ViTConfig",
    "alexnet",
    "convnet",
    "mlp",
    "resnet18",
    "vit",
]
