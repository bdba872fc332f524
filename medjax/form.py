"""What tables add to the name of a method, so that rows are told apart that were not made or not measured alike."""

from collections.abc import Mapping
from typing import Any

from medjax.eval_config import CUTMIX


def form(
    pack: int | None,
    soft: bool | None,
    evaluation: Mapping[str, Any],
    guarantee: Mapping[str, Any] | None,
) -> str:
    """ ", packed 2 x 2, soft labels, epsilon 4, CutMix", or as much of it as holds.

    pack: factor of `medjax.packing`. soft: whether networks train on soft labels. evaluation, guarantee: of
    result.json.
    """
    words = [f"packed {pack} x {pack}"] if pack and pack > 1 else []
    words += ["soft labels"] if soft else []
    if guarantee:
        epsilon = guarantee.get("epsilon")
        words += ["no noise" if epsilon is None else f"epsilon {epsilon:g}"]
    words += ["CutMix"] if evaluation.get("recipe") == CUTMIX else []
    return "".join(f", {word}" for word in words)
