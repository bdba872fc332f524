"""The networks, by name.

A new network is one file in this folder that defines ``NETWORK`` (`Network`), and one line in ``MODELS``. From there
its options become flags, `build` makes it, and `medjax.share` stores its configuration with a distilled set.
"""

import dataclasses
import functools
import importlib
from collections.abc import Callable, Mapping, Set
from typing import Any

from medjax.config import from_values
from medjax.errors import UserError
from medjax.models.base import Model, Network
from medjax.models.convnet import ConvNetConfig, convnet
from medjax.models.resnet import ResNetConfig


def _of(file: str) -> Network:
    return importlib.import_module(f"medjax.models.{file}").NETWORK


#: name -> `Network`. A network of your own may be added from outside: MODELS["mine"] = Network(MyConfig, my_build).
MODELS = {
    "convnet": _of("convnet"),
    "resnet18": _of("resnet"),
    "mlp": _of("mlp"),
    "alexnet": _of("alexnet"),
    "vit": _of("vit"),
}


def network(name: str) -> Network:
    """The network of this name. Raises UserError for an unknown one."""
    if name not in MODELS:
        raise UserError(f"network {name!r} is not known: choose one of {', '.join(MODELS)}")
    return MODELS[name]


def build(name: str, config: Any, *, classes: int, size: int, channels: int) -> Model:
    """The network ``name`` for ``size`` x ``size`` images of ``channels`` channels and ``classes`` classes.

    Equal arguments give the same object, so that functions compiled for a network are compiled once. Raises UserError
    for an unknown name, and where the images do not fit the network.
    """
    return _built(network(name).build, config, classes=classes, size=size, channels=channels)


@functools.cache
def _built(factory: Callable[..., Model], config: Any, **sizes: int) -> Model:
    return factory(config, **sizes)


def network_config(name: str, values: Mapping[str, Any]) -> Any:
    """The configuration of the network ``name`` from plain values (those of a JSON or TOML file), {option: value};
    defaults where an option is missing. Raises UserError for an unknown name or option and for a value that does not
    fit."""
    return from_values(network(name).config, values)


def fit_config(name: str, config: Any, size: int, given: Set[str]) -> Any:
    """The configuration with the options that follow from the images' side in pixels (`Network.fit`). given: names of
    the options that the user chose; they stay."""
    fit = network(name).fit
    return fit(config, size, given) if fit else config


def same_network(first: tuple[str, Any] | None, second: tuple[str, Any] | None) -> bool:
    """Whether two pairs (name, config) are the same network: the same name, and options that are equal, apart from
    those that only decide how it is computed. False where a configuration is not known (None)."""
    if first is None or second is None or None in (first[1], second[1]) or first[0] != second[0]:
        return False
    names = [field.name for field in dataclasses.fields(first[1]) if not field.metadata["speed"]]
    return all(getattr(first[1], name) == getattr(second[1], name) for name in names)


__all__ = [
    "MODELS",
    "ConvNetConfig",
    "Model",
    "Network",
    "ResNetConfig",
    "build",
    "convnet",
    "fit_config",
    "network",
    "network_config",
    "same_network",
]
