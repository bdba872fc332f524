"""The networks, by name."""

from medjax.models.base import Model
from medjax.models.convnet import ConvNetConfig, convnet

#: name -> factory(config, *, classes, size, channels) -> Model
MODELS = {"convnet": convnet}

__all__ = ["MODELS", "ConvNetConfig", "Model", "convnet"]
