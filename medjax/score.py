"""A score: mean ± standard deviation over networks, and the one way to write it."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from medjax.table import DASH

#: What tables call a metric.
HEADINGS = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "auc": "AUC"}


def percent(fraction: float | None) -> str:
    """'75.1' for 0.751, a dash for None."""
    return DASH if fraction is None else f"{100 * fraction:.1f}"


class Score(NamedTuple):
    """Mean and (population) standard deviation of a metric over n networks; None where it is not defined."""

    mean: float | None
    std: float | None
    n: int

    def __str__(self) -> str:
        """In percent, "75.1 ± 1.3". One network has no deviation. The only place that writes a score."""
        alone = self.mean is None or self.std is None or self.n < 2
        return percent(self.mean) + ("" if alone else f" ± {percent(self.std)}")


def shown(score: Score | None) -> str:
    """The score, or a dash."""
    return DASH if score is None else str(score)


def gain(score: Score | None, over: Score | None) -> str:
    """'+17.0': one score minus another, in points; a dash where either is not there."""
    if score is None or over is None or score.mean is None or over.mean is None:
        return DASH
    return f"{100 * (score.mean - over.mean):+.1f}"


class Scores(NamedTuple):
    """One row of scores: those of the networks that were trained on one set of images."""

    accuracy: Score
    balanced_accuracy: Score
    auc: Score

    @classmethod
    def of(cls, row: Mapping[str, Mapping[str, Any]]) -> "Scores":
        """From {metric: {mean, std, n}}, as `medjax.metrics.summary` returns it; NaN becomes None."""
        found = (row[metric] for metric in HEADINGS)
        return cls(*(Score(_finite(s["mean"]), _finite(s["std"]), s["n"]) for s in found))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
