"""The picture of a membership attack: its ROC curve."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medjax.report import style

#: The smallest rate that the axes show.
LEAST = 1e-3


def draw_roc(
    path: Path, false_positives: Sequence[float], true_positives: Sequence[float], auc: float
) -> None:
    """Write a PNG of true against false positive rates, both logarithmic: what counts is found at few false ones."""
    with style.panels([path], 3.2, 1, "Membership attack") as (_, (axes,)):
        shown = [np.maximum(values, LEAST) for values in (false_positives, true_positives)]
        axes.plot(*shown, color=style.BLUE, label=f"attack (AUC {auc:.3f})")
        axes.plot([LEAST, 1], [LEAST, 1], label="guessing", **style.REFERENCE)
        axes.set(xscale="log", yscale="log", xlim=(LEAST, 1), ylim=(LEAST, 1))
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
        style.legend(axes, loc="lower right")
