"""Distilled against random accuracy over data sets (the study's Figure 5), and the gain, which that figure hides; with
straight lines through the sets, and the uncertainty of r."""

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from medjax.recipes import describe
from medjax.report import style
from medjax.report.baseline import baseline
from medjax.report.paper import study_accuracy, study_datasets
from medjax.report.run_cells import Cell

#: Resamples of the sets, and the share of them that the interval covers.
RESAMPLES, COVER = 20_000, 0.95
#: Fewer points than FEWEST give no line. Fewer than ENOUGH give no interval: most resamples would hold two or three
#: distinct sets.
FEWEST, ENOUGH = 3, 6


class Fit(NamedTuple):
    """y = slope * x + intercept by least squares; Pearson's r, n points, and the bootstrap interval (low, high) of r,
    NaN where there are too few points."""

    slope: float
    intercept: float
    r: float
    n: int
    low: float
    high: float

    def words(self) -> str:
        """'r 0.93 [0.71, 0.99], n 8', or without the interval."""
        if self.n < ENOUGH:
            return f"r {self.r:.2f}, n {self.n} (too few for an interval)"
        return f"r {self.r:.2f} [{self.low:.2f}, {self.high:.2f}], n {self.n}"


def line(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> Fit | None:
    """The line through n points; None for fewer than three, or where all x or all y are equal.

    The interval is SciPy's percentile bootstrap over points, with a fixed seed: the same points give the same words. A
    resample of fewer than three distinct points has no r (two points always lie on a line) and is left out.
    """
    if len(x) < FEWEST or min(np.ptp(x), np.ptp(y)) < 1e-9:
        return None
    found: Any = stats.linregress(x, y)

    def r(drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        distinct = (np.diff(np.sort(drawn, axis=axis), axis=axis) > 0).sum(axis) + 1
        found: Any = stats.pearsonr(x[drawn], y[drawn], axis=axis)
        return np.where(distinct < FEWEST, np.nan, found.statistic)

    low = high = np.nan
    if len(x) >= ENOUGH:
        with warnings.catch_warnings(action="ignore"):  # of resamples that have no r
            points = (np.arange(len(x)),)
            draws = stats.bootstrap(points, r, n_resamples=RESAMPLES, method="percentile", rng=0)
        margin = 100 * (1 - COVER) / 2
        low, high = np.nanpercentile(draws.bootstrap_distribution, [margin, 100 - margin])
    slope, intercept, r_value = map(float, (found.slope, found.intercept, found.rvalue))
    return Fit(slope, intercept, r_value, len(x), float(low), float(high))


class Point(NamedTuple):
    """One data set under one method: test accuracy as fractions."""

    dataset: str
    method: str
    random: float
    distilled: float


class Fits(NamedTuple):
    """Of one method: random and distilled accuracy of its sets (percent), and the lines of distilled accuracy and of
    the gain on random accuracy."""

    method: str
    random: Float[np.ndarray, " n"]
    reached: Float[np.ndarray, " n"]
    distilled: Fit | None
    gain: Fit | None

    def words(self) -> str:
        """The lines in a sentence, and the mean gain."""
        said = f"n {len(self.random)}, too few for a line"
        if self.distilled and self.gain:
            said = f"accuracy {self.distilled.words()}; gain {self.gain.words()}"
        mean = np.mean(self.reached - self.random)
        return f"{describe(self.method).title}: {said}; mean gain {mean:+.1f} points."


def points(cells: list[Cell], ipc: int) -> list[Point]:
    """Every distilled cell of this IPC beside random images, as `baseline` finds them.

    A set counts once for a method: of several settings the one with most runs, for n is the number of sets.
    """
    found: dict[tuple[str, str], Point] = {}
    for cell in sorted(cells, key=lambda c: -len(c.runs)):
        name = (cell.fingerprint, cell.method)
        if cell.ipc == ipc and cell.distilled and name not in found:
            (real, _), mine = baseline(cell, cells), cell.mean()
            if real and real.mean is not None and mine is not None:
                found[name] = Point(cell.dataset, cell.method, real.mean, mine)
    return list(found.values())


def study_points(ipc: int) -> list[Point]:
    """The same from the study's Table 1."""
    return [
        Point(name, method, *(study_accuracy(name, ipc, m) for m in ("random", method)))
        for method in ("dc", "mtt")
        for name in study_datasets()
    ]


def fits(found: list[Point]) -> list[Fits]:
    """The lines of each method, in percent."""
    result = []
    for method in dict.fromkeys(p.method for p in found):
        pairs = [(p.random, p.distilled) for p in found if p.method == method]
        x, y = 100 * np.array(pairs).T
        result.append(Fits(method, x, y, line(x, y), line(x, y - x)))
    return result


def scatter(stem: Path, title: str, found: list[Point]) -> list[Fits]:
    """Two panels over random accuracy: the distilled accuracy, and the gain; gives back the lines it drew. The
    points are numbered, and the sets that the numbers stand for are under the panels."""
    lines = fits(found)
    sets = list(dict.fromkeys(p.dataset for p in sorted(found, key=lambda p: p.random)))
    foot = 0.16 * -(-len(sets) // 3)
    with style.panels(style.both(stem), 7.2, 2, title, foot) as (figure, (upper, lower)):
        key = [f"{i} {style.short(name, 22)}" for i, name in enumerate(sets, 1)]
        three = ["   ".join(key[i : i + 3]) for i in range(0, len(key), 3)]
        figure.text(0.03, 0.01, "\n".join(three), fontsize=style.SMALL, va="bottom")
        upper.plot([0, 100], [0, 100], **style.REFERENCE, label="no gain")
        lower.axhline(0, **style.REFERENCE, label="no gain")
        for fit in lines:
            look, x, y = describe(fit.method), fit.random, fit.reached
            for axes, values, of in ((upper, y, fit.distilled), (lower, y - x, fit.gain)):
                words = of.words() if of else f"n {len(x)}: too few for a line"
                label = f"{style.short(look.title)}: {words}"
                axes.plot(x, values, look.marker, color=look.colour, markersize=5.5, label=label)
                if of:
                    ends = np.array([x.min(), x.max()])
                    axes.plot(ends, of.slope * ends + of.intercept, color=look.colour)
        number = {"fontsize": style.SMALL, "ha": "center", "textcoords": "offset points"}
        for point in found:
            x, text = 100 * point.random, str(1 + sets.index(point.dataset))
            upper.annotate(text, (x, 100 * point.distilled), (0, 5), **number)
            lower.annotate(text, (x, 100 * (point.distilled - point.random)), (0, 5), **number)
        upper.set(ylabel="distilled: test accuracy (%)", ylim=(0, 100), xlim=(0, 100))
        lower.set(ylabel="gain over random (points)", xlim=(0, 100))
        lower.set_xlabel("random: test accuracy (%)")
        low, high = lower.get_ylim()
        room = 0.1 + 0.11 * len(lines)  # for the legend
        lower.set_ylim(low - room * (high - low), high + 0.05 * (high - low))
        style.legend(upper, loc="lower right")
        style.legend(lower, loc="lower left")
    return lines
