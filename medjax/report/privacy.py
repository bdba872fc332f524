"""What an audit found: the ROC curve of its attack, and the table of procedures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medjax.report import style
from medjax.table import DASH, Table

#: The smallest rate that the axes show.
LEAST = 1e-3
#: What is called what in ``beside`` of privacy.json.
PROCEDURES = {
    "own": "this method, as it was run",
    "noise": "this method, from noise",
    "set": "this method, from another set",
    "real": "random real images, shown as they are",
}
#: What is said under the table of procedures.
OF_CANARIES = (
    "Canaries are drawn from all images. What a set gives away of the few that it shows or began with, they hardly see:"
    " real images give themselves away, whatever the row says."
)


def with_percent(share: float) -> str:
    return f"{100 * share:.1f} %"


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


def beside_table(found: dict[str, Any]) -> Table:
    """A row for each procedure of privacy.json: what it costs in accuracy, and what it gives away."""
    rows = []
    for name, one in found["beside"].items():
        attacked = one["membership"]
        low, high = attacked["auc_interval"]
        rates = [
            with_percent(r["true_positive_rate"]) if "interval" in r else DASH
            for r in attacked["true_positives"]
        ]
        scores = [f"{attacked['auc']:.3f}", f"{low:.3f} to {high:.3f}", *rates]
        about = [PROCEDURES[name], with_percent(one["balanced_accuracy"])]
        rows.append([*about, *scores, f"{attacked['epsilon_at_least']:.2f}"])
    head = (
        "procedure",
        "balanced accuracy",
        "attack AUC",
        "interval",
        "found at 1 % FPR",
        "at 0.1 %",
        "epsilon at least",
    )
    return Table(head, rows, "What each procedure gives away")
