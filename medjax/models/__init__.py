"""The networks, by name."""

from medjax.models.base import Model
from medjax.models.convnet import ConvNetConfig, convnet
from medjax.models.resnet import ResNetConfig, resnet18

#: name -> (its configuration, factory(config, *, classes, size, channels) -> Model)
MODELS = {"convnet": (ConvNetConfig, convnet), "resnet18": (ResNetConfig, resnet18)}

__all__ = ["MODELS", "ConvNetConfig", "Model", "ResNetConfig", "convnet", "resnet18"]
