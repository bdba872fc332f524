"""The course of a distillation, drawn from the rows of a run's log.jsonl: of one run, and of several."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from medjax.report import style

#: Colours of the splits of interim scores.
SPLITS = {"val": style.GREEN, "test": style.ORANGE}
METRICS = (("accuracy", "accuracy", "-"), ("balanced_accuracy", "balanced accuracy", "--"))
#: Line styles of several runs, in turn.
DASHES = ("-", "--", ":", "-.")


class Course(NamedTuple):
    """The rows of one run's log, and how figures show them."""

    name: str
    colour: str
    marker: str
    rows: list[dict]


def last_of_each(rows: list[dict], phase: str) -> list[dict]:
    """The rows of a phase by iteration (and split); of several for one iteration the last."""
    kept = {(r["iteration"], r.get("split", "")): r for r in rows if r["phase"] == phase}
    return [kept[key] for key in sorted(kept)]


def column(rows: list[dict], key: str) -> Float[np.ndarray, " rows"]:
    """One key of all rows, float64; null becomes NaN."""
    return np.array([np.nan if row.get(key) is None else row[key] for row in rows], float)


def curves(path: str | os.PathLike, rows: list[dict]) -> None:
    """Write a PNG of three panels over the iterations: matching loss, step size, interim scores.

    rows: as read from log.jsonl, in the order of writing. Phase "distill": iteration, loss, step_size, skipped (so
        far); phase "interim": iteration, accuracy, balanced_accuracy (fractions), split. Other phases are ignored.
        A resumed run logs the iterations of its last chunk twice: the last row of an iteration counts.
    """
    with style.panels([path], 6.4, 3) as (figure, (loss, step, scores)):
        _log_panels((loss, step), [Course("", style.BLUE, "", rows)], "no finite value logged")
        _mark_skipped(loss, last_of_each(rows, "distill"))
        _scores_panel(scores, last_of_each(rows, "interim"))
        _label([loss, step, scores], ("matching loss", "step size", "interim score (%)"), rows)
        figure.align_ylabels()


def courses(stem: Path, title: str, found: list[Course]) -> None:
    """Loss, step size and interim balanced accuracy of several runs over their iterations, as PNG and SVG."""
    foot = style.foot_of([style.short(course.name) for course in found])
    with style.panels(style.both(stem), 6.0, 3, title, foot) as (figure, axes):
        _log_panels(axes[:2], found, "nothing logged")
        for index, course in enumerate(found):
            rows = last_of_each(course.rows, "interim")
            scores = 100 * column(rows, "balanced_accuracy")
            look = _look(course, index) | {"marker": course.marker, "markersize": 4}
            if np.isfinite(scores).any():
                axes[2].plot(column(rows, "iteration"), scores, **look)
        if not axes[2].lines:
            style.say(axes[2], "nothing logged")
        rows = [row for course in found for row in course.rows]
        _label(axes, ("loss (each its own)", "step size", "interim bal. acc. (%)"), rows)
        style.legend_below(figure, axes[0])


def _look(course: Course, index: int) -> dict[str, Any]:
    dash, name = DASHES[index % len(DASHES)], style.short(course.name)
    return {"color": course.colour, "linestyle": dash, "label": name}


def _log_panels(panels: Sequence[Axes], found: list[Course], otherwise: str) -> None:
    """Loss and step size of each course on logarithmic axes; a gap where a value is not finite and positive. otherwise:
    the text of a panel without a line."""
    for axes, key in zip(panels, ("loss", "step_size"), strict=True):
        drawn = np.zeros(0)
        for index, course in enumerate(found):
            rows = last_of_each(course.rows, "distill")
            y = column(rows, key)
            good = np.isfinite(y) & (y > 0)
            look: dict[str, Any] = {"marker": ".", "markersize": 4} if len(rows) <= 60 else {}
            if good.any():
                y = np.where(good, y, np.nan)
                axes.plot(column(rows, "iteration"), y, **look | _look(course, index))
            drawn = np.append(drawn, y[good])
        if len(drawn):
            style.log_axis(axes, drawn.min(), drawn.max())
        else:
            style.say(axes, otherwise)


def _label(panels: Sequence[Axes], labels: Sequence[str], rows: list[dict]) -> None:
    """A label for each panel, and the same axis of iterations; no ticks where there are no rows."""
    phases = ("distill", "interim")
    last = max((r["iteration"] for r in rows if r["phase"] in phases), default=None)
    for axes, label in zip(panels, labels, strict=True):
        axes.set_ylabel(label)
        axes.set_xlim(-0.02 * (last or 1), 1.02 * (last or 1))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if last is None:
            axes.set_xticks([])
    panels[-1].set_xlabel("iteration")


def _mark_skipped(axes: Axes, rows: list[dict]) -> None:
    """Red marks on the lower edge where steps were skipped, with their number; nothing if there were none."""
    skipped = np.nan_to_num(column(rows, "skipped"))
    if not len(rows) or skipped[-1] <= 0:
        return
    at = column(rows, "iteration")[np.diff(skipped, prepend=0) > 0]
    look: dict[str, Any] = {"color": style.RED, "markersize": 8, "markeredgewidth": 1.4}
    look |= {"transform": axes.get_xaxis_transform(), "clip_on": False}
    axes.plot(at, np.full(len(at), 0.03), "|", label=f"steps skipped: {int(skipped[-1])}", **look)
    style.legend(axes, loc="upper right")


def _scores_panel(axes: Axes, rows: list[dict]) -> None:
    """Accuracy and balanced accuracy in percent, one colour for each split."""
    if not rows:
        style.say(axes, "no interim evaluation yet")
        return
    for split in sorted({row["split"] for row in rows}):
        mine, colour = [row for row in rows if row["split"] == split], SPLITS[split]
        for key, label, dash in METRICS:
            face = colour if key == "accuracy" else "white"
            look = {"color": colour, "linestyle": dash, "marker": "o", "markersize": 4.5}
            x, y = column(mine, "iteration"), 100 * column(mine, key)
            axes.plot(x, y, markerfacecolor=face, label=f"{label} ({split})", **look)
    style.legend(axes, loc="best")
