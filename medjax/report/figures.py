"""The course of a distillation, drawn from the rows of a run's log.jsonl."""

import os

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, NullLocator

LOSS, STEP, SKIPPED = "#1f4e79", "#7a4b94", "#c0392b"
#: Of the interim scores: the split's colour, and the metric's line and marker.
SPLITS = {"val": "#2e7d5b", "test": "#b8651b"}
METRICS = (
    ("accuracy", "accuracy", "-", "o"),
    ("balanced_accuracy", "balanced accuracy", "--", "s"),
)


def curves(path: str | os.PathLike, rows: list[dict]) -> None:
    """Write a PNG of three panels over the iterations: matching loss, step size, interim scores.

    rows: as read from log.jsonl, in the order of writing. Phase "distill": iteration, loss, step_size, skipped (so
        far); phase "interim": iteration, accuracy, balanced_accuracy (fractions), split. Other phases are ignored.
        A resumed run logs the iterations of its last chunk twice: the last row of an iteration counts.
    """
    distill = last_of_each(rows, "distill")
    interim = last_of_each(rows, "interim")
    layout = ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1)
    figure = Figure(figsize=(7, 6.4), dpi=150, layout=layout)
    FigureCanvasAgg(figure)
    loss, step, scores = figure.subplots(3, 1, sharex=True)

    _log_panel(loss, distill, "loss", LOSS, "matching loss")
    _mark_skipped(loss, distill)
    _log_panel(step, distill, "step_size", STEP, "step size")
    _scores_panel(scores, interim)
    scores.set_xlabel("iteration")
    scores.xaxis.set_major_locator(MaxNLocator(integer=True))
    if not distill and not interim:
        # An axis from 0 to 1 would look like a measurement.
        scores.set_xticks([])
    for axes in (loss, step, scores):
        axes.grid(which="major", color="0.9", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.align_ylabels()
    # Without the writer's version the same rows give the same bytes.
    figure.savefig(path, format="png", metadata={"Software": None})


def last_of_each(rows: list[dict], phase: str) -> list[dict]:
    """The rows of a phase by iteration (and split); of several for one iteration the last."""
    kept = {(r["iteration"], r.get("split", "")): r for r in rows if r["phase"] == phase}
    return [kept[key] for key in sorted(kept)]


def column(rows: list[dict], key: str) -> np.ndarray:
    """One key of all rows, float64 [rows]; null becomes NaN."""
    return np.array([np.nan if row.get(key) is None else row[key] for row in rows], float)


def _log_panel(axes: Axes, rows: list[dict], key: str, colour: str, label: str) -> None:
    """A line on a logarithmic axis; what is not finite and positive is a gap."""
    axes.set_ylabel(label)
    values = column(rows, key)
    shown = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    if np.all(np.isnan(shown)):
        _say(axes, "no finite value logged" if rows else "nothing logged yet")
        return
    axes.set_yscale("log")
    many = len(rows) > 200
    axes.plot(
        column(rows, "iteration"),
        shown,
        color=colour,
        linewidth=0.8 if many else 1.4,
        marker=None if many else ".",
        markersize=4,
    )
    plain_within_a_decade(axes, np.nanmin(shown), np.nanmax(shown))


def plain_within_a_decade(axes: Axes, low: float, high: float) -> None:
    """Ticks for a log axis of values that span less than a decade: it has no major ticks of its own there."""
    if high < 10 * low:
        margin = max((high / low) ** 0.08, 1.02)
        axes.set_ylim(low / margin, high * margin)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
        axes.yaxis.set_minor_locator(NullLocator())


def _mark_skipped(axes: Axes, rows: list[dict]) -> None:
    """Red marks on the lower edge where steps were skipped, with their number; nothing if there were none."""
    skipped = np.nan_to_num(column(rows, "skipped"))
    if not len(rows) or skipped[-1] <= 0:
        return
    at = column(rows, "iteration")[np.diff(skipped, prepend=0) > 0]
    axes.plot(
        at,
        np.full(len(at), 0.03),
        "|",
        color=SKIPPED,
        markersize=8,
        markeredgewidth=1.4,
        transform=axes.get_xaxis_transform(),
        clip_on=False,
        label=f"steps skipped: {int(skipped[-1])}",
    )
    axes.legend(frameon=False, loc="upper right", fontsize=9)


def _scores_panel(axes: Axes, rows: list[dict]) -> None:
    """Accuracy and balanced accuracy in percent, one colour for each split."""
    axes.set_ylabel("interim score (%)")
    if not rows:
        _say(axes, "no interim evaluation yet")
        return
    for split in sorted({row["split"] for row in rows}):
        of_split = [row for row in rows if row["split"] == split]
        for key, label, line, marker in METRICS:
            axes.plot(
                column(of_split, "iteration"),
                100 * column(of_split, key),
                line,
                marker=marker,
                markersize=4.5,
                markerfacecolor=SPLITS[split] if marker == "o" else "white",
                color=SPLITS[split],
                linewidth=1.4,
                label=f"{label} ({split})",
            )
    axes.legend(frameon=False, loc="best", fontsize=9)


def _say(axes: Axes, text: str) -> None:
    """A word in place of a curve that is not there."""
    axes.set_yticks([])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="0.5")
