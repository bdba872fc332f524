"""A score: mean ± standard deviation over networks, and the one way to write it."""

import math
from typing import Annotated, NamedTuple

import numpy as np

from medjax.result_file import Fraction, Positive, known
from medjax.table import DASH

#: What tables call a metric.
HEADINGS = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "auc": "AUC"}


def percent(fraction: float | None) -> str:
    """'75.1' for 0.751, a dash for None."""
    return DASH if fraction is None else f"{100 * fraction:.1f}"


class Score(NamedTuple):
    """Mean and (population) standard deviation of a metric over n networks; None where it is not defined."""

    mean: Fraction | None
    std: Fraction | None
    n: Positive

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


_Known = Annotated[Score, known(*Score._fields)]


class Scores(NamedTuple):
    """One row of scores: those of the networks that were trained on one set of images."""

    accuracy: _Known
    balanced_accuracy: _Known
    auc: _Known


def pool(scores: list[Score]) -> Score | None:
    """Mean and (population) standard deviation over all networks of several runs, from each run's own."""
    known = [(s.n, s.mean, s.std or 0.0) for s in scores if s.mean is not None]
    if not known:
        return None
    counts, means, stds = np.array(known).T
    mean = np.average(means, weights=counts)
    variance = np.average(stds**2 + means**2, weights=counts) - mean**2
    return Score(float(mean), math.sqrt(max(variance, 0.0)), int(counts.sum()))
