"""Distilled against random accuracy over data sets (the study's Figure 5), and what it hides: the gain."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from medjax.report.charts import drawing, legend, short, style
from medjax.report.paper import table1
from medjax.report.results import REAL, Cell, baseline
from medjax.report.statistics import Line, line


class Point(NamedTuple):
    """One data set under one method: test accuracy as fractions."""

    dataset: str
    method: str
    random: float
    distilled: float


class Fits(NamedTuple):
    """Of one method: the line of distilled on random accuracy, that of the gain, and the mean gain (points)."""

    method: str
    distilled: Line | None
    gain: Line | None
    mean_gain: float
    n: int


def points(cells: list[Cell], ipc: int) -> list[Point]:
    """Every distilled cell of this IPC beside random real images, as `baseline` finds them.

    A set counts once for a method: of several settings the one with most runs, for n is the number of sets.
    """
    found, seen = [], set()
    for cell in sorted(cells, key=lambda c: -len(c.entries)):
        name = (cell.fingerprint, cell.method)
        if cell.ipc == ipc and cell.method not in REAL and name not in seen:
            (real, _), mine = baseline(cell, cells), cell.score("accuracy")
            if real and mine:
                seen.add(name)
                found.append(Point(cell.dataset, cell.method, real["mean"], mine["mean"]))
    return found


def study_points(ipc: int) -> list[Point]:
    """The same from the study's Table 1."""
    table = table1()
    return [
        Point(name, method, table[name, ipc, "random"].mean, table[name, ipc, method].mean)
        for method in ("dc", "mtt")
        for name in dict.fromkeys(key[0] for key in table)
    ]


def fits(found: list[Point]) -> list[Fits]:
    """The lines of each method, in percent."""
    result = []
    for method in dict.fromkeys(p.method for p in found):
        x, y = _percent(found, method)
        result.append(Fits(method, line(x, y), line(x, y - x), float(np.mean(y - x)), len(x)))
    return result


def _percent(found: list[Point], method: str) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(p.random, p.distilled) for p in found if p.method == method]
    x, y = 100 * np.array(pairs).T
    return x, y


def scatter(stem: Path, title: str, found: list[Point]) -> list[Fits]:
    """Two panels over random accuracy: the distilled accuracy, and the gain; gives back the lines it drew."""
    lines = fits(found)
    sets = list(dict.fromkeys(p.dataset for p in sorted(found, key=lambda p: p.random)))
    key = [f"{i} {short(name, 22)}" for i, name in enumerate(sets, 1)]
    rows = ["   ".join(key[i : i + 3]) for i in range(0, len(key), 3)]
    with drawing(stem, 7.2, 2, 0.16 * len(rows)) as (figure, (upper, lower)):
        figure.text(0.03, 0.01, "\n".join(rows), fontsize=7, va="bottom")
        upper.set_title(short(title), fontsize=10, loc="left", weight="bold")
        upper.plot([0, 100], [0, 100], ":", color="0.55", linewidth=1, label="no gain")
        lower.axhline(0, color="0.55", linestyle=":", linewidth=1, label="no gain")
        for fit in lines:
            colour, marker, name = style(fit.method)
            x, y = _percent(found, fit.method)
            for axes, values, of in ((upper, y, fit.distilled), (lower, y - x, fit.gain)):
                words = of.words() if of else f"n {fit.n}: too few for a line"
                dots = axes.plot(x, values, marker, color=colour, markersize=5.5)
                dots[0].set_label(f"{name}: {words}")
                if of:
                    ends = np.array([x.min(), x.max()])
                    axes.plot(ends, of.slope * ends + of.intercept, color=colour, linewidth=1.2)
        look = {"fontsize": 6.5, "ha": "center", "textcoords": "offset points"}
        for point in found:
            x, number = 100 * point.random, str(1 + sets.index(point.dataset))
            upper.annotate(number, (x, 100 * point.distilled), (0, 5), **look)
            lower.annotate(number, (x, 100 * (point.distilled - point.random)), (0, 5), **look)
        upper.set(ylabel="distilled: test accuracy (%)", ylim=(0, 100), xlim=(0, 100))
        lower.set(ylabel="gain over random (points)", xlim=(0, 100))
        lower.set_xlabel("random real images: test accuracy (%)")
        low, high = lower.get_ylim()
        lower.set_ylim(
            low - (0.1 + 0.11 * len(lines)) * (high - low), high + 0.05 * (high - low)
        )  # room for the legend
        legend(upper, loc="lower right")
        legend(lower, loc="lower left")
    return lines
