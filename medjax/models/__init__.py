"""The networks, by name."""

from medjax.models.alexnet import AlexNetConfig, alexnet
from medjax.models.base import Model
from medjax.models.convnet import ConvNetConfig, convnet
from medjax.models.mlp import MLPConfig, mlp
from medjax.models.resnet import ResNetConfig, resnet18
from medjax.models.vit import ViTConfig, vit

#: name -> (its configuration, factory(config, *, classes, size, channels) -> Model)
MODELS = {
    "convnet": (ConvNetConfig, convnet),
    "resnet18": (ResNetConfig, resnet18),
    "mlp": (MLPConfig, mlp),
    "alexnet": (AlexNetConfig, alexnet),
    "vit": (ViTConfig, vit),
}

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
