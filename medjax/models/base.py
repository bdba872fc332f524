"""What a network is to the rest of medjax: two pure functions. Linen is used inside `medjax.models` only."""

import functools
from collections.abc import Callable, Set
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from medjax.errors import UserError
from medjax.types import PyTree


class Model(NamedTuple):
    """A network as pure functions.

    init: key -> (params, model_state).
    apply: (params, model_state, images [n, h, w, c], train) -> (logits [n, k], model_state). ``model_state`` holds
        batch statistics; it is empty for networks without them.
    flops: floating-point operations of one image's forward pass, for forecasts and chunk sizes.
    features: (params, model_state, images) -> the input of the last layer [n, f], or None; for
        methods that match or compare features.
    separable: True where the images of a batch do not influence each other (no batch statistics), so that a batch may
        be processed in pieces and the gradients added.
    """

    init: Callable[[Array], tuple[PyTree, PyTree]]
    apply: Callable[[PyTree, PyTree, Float[Array, "n h w c"], bool], tuple[Any, PyTree]]
    flops: float
    separable: bool
    features: Callable[[PyTree, PyTree, Float[Array, "n h w c"]], Any] | None = None


def require(model: Model, method: str, *, features: bool, separable: bool) -> None:
    """UserError for a network without what a method needs: one that says what its features are, or whose images do not
    influence each other."""
    lacking = ["with features"] * (features and model.features is None)
    lacking += ["without batch statistics"] * (separable and not model.separable)
    if lacking:
        raise UserError(f"{method} needs a network {' and '.join(lacking)}; choose --model=convnet")


class Network(NamedTuple):
    """A kind of network, as `medjax.models.MODELS` lists it.

    config: its options, a frozen dataclass of `medjax.config.option` fields. Each field is a flag, so that a field's
        name must be unique among all networks.
    build: (config, *, classes, size, channels) -> Model for images of ``size`` x ``size`` pixels. Raises UserError
        where the images do not fit the network.
    fit: (config, size, given) -> config, or None: the options that follow from the size of the images where the user
        did not choose them. given: names of the fields that a flag, a preset or a distilled set chose; these stay.
    """

    config: type
    build: Callable[..., Model]
    fit: Callable[[Any, int, Set[str]], Any] | None = None


def pure(net: nn.Module, flops: float, size: int, channels: int, batch_norm: bool = False) -> Model:
    """The Model of a Linen network, called as net(images, features=False), or, where it has batch norm, as
    net(images, train=False, features=False)."""

    # Compiled, for Linen runs the network to find the shapes: called as it is, each operation would be compiled alone.
    @jax.jit
    def init(key: Array) -> tuple[PyTree, PyTree]:
        variables = net.init(key, jnp.zeros((1, size, size, channels), jnp.float32))
        return variables["params"], variables.get("batch_stats", {})

    def apply(params: PyTree, state: PyTree, images: Array, train: bool, features=False) -> Any:
        variables = {"params": params, "batch_stats": state}
        if not (train and batch_norm):
            return net.apply(variables, images, features=features), state
        found, changed = net.apply(variables, images, True, features, mutable=["batch_stats"])
        return found, changed["batch_stats"]

    def features(params: PyTree, state: PyTree, images: Array) -> Any:
        # An untrained network has no running statistics, so those of the batch are used, as in the public code.
        return apply(params, state, images, True, True)[0]

    return Model(init, apply, flops, not batch_norm, features)


@functools.cache  # one object for equal arguments, so that programs that hold it compile once
def in_bf16(model: Model) -> Model:
    """The network with activations of 16 bits (bfloat16); its parameters, statistics, sums and logits stay float32."""

    def narrow(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda params, state, images, *rest: function(
            params, state, images.astype(jnp.bfloat16), *rest
        )

    features = model.features

    def wide(params: PyTree, state: PyTree, images: Array) -> Array:
        assert features
        return narrow(features)(params, state, images).astype(jnp.float32)

    return model._replace(apply=narrow(model.apply), features=features and wide)


def flattening(model: Model) -> Callable[[Float[Array, " p"]], PyTree]:
    """The map from a flat vector to the network's parameters, the inverse of `ravel_pytree`."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))[0]
    return ravel_pytree(jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes))[1]


def parameter_count(model: Model) -> int:
    """p, the length of that vector."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))[0]
    return sum(s.size for s in jax.tree.leaves(shapes))
