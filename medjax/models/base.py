"""What a network is to the rest of medjax: two pure functions. Linen stays inside `medjax.models`."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, Float

from medjax.types import PyTree


class Model(NamedTuple):
    """A network as pure functions.

    init: key -> (params, model_state).
    apply: (params, model_state, images [n, h, w, c], train) -> (logits [n, k], model_state). ``model_state`` holds
        batch statistics; it is empty for networks without them.
    flops: floating-point operations of one image's forward pass, for forecasts and chunk sizes.
    separable: True where images of a batch do not influence each other (no batch statistics), so that a batch may
        be worked on in pieces and the gradients added.
    """

    init: Callable[[Array], tuple[PyTree, PyTree]]
    apply: Callable[[PyTree, PyTree, Float[Array, "n h w c"], bool], tuple[Any, PyTree]]
    flops: float
    separable: bool
