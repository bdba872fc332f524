"""From random images alone: what accuracy distillation is likely to reach, and what it is likely to gain.

The study correlates distilled with random accuracy over sets. That says how easy a set is: random images of the same
set score high too. A user wants to know the GAIN over random images. So the gain is forecast, and accuracy is the set's
own random accuracy plus that gain. Two forecasts of the gain are tried: its mean over known sets, and a line on how
much random accuracy rises from 1 to 50 images per class. Each is judged by leaving one set out.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from medjax.recipes import describe
from medjax.report.paper import study_accuracy, study_datasets
from medjax.report.run_cells import Cell
from medjax.table import one_line, templates

IPCS, METHOD = (1, 10, 50), "mtt"
#: Share of new sets that an interval is to hold.
COVER = 0.8
#: Neighbours that are named.
NEAREST = 3


class Known(NamedTuple):
    """A set whose outcome is known. random, distilled: {ipc: test accuracy as a fraction}."""

    name: str
    source: str
    random: dict[int, float]
    distilled: dict[int, float]

    def gain(self, ipc: int) -> float:
        return self.distilled[ipc] - self.random[ipc]


class GainForecast(NamedTuple):
    """Of one IPC, all fractions: the gain with its interval, and how it was judged.

    how: "mean" or "slope", whichever errs less. error, error_slope, error_mean: root mean square error of the gain, one
    set left out, of this forecast, of the slope and of the mean gain; error_none: of no gain; accuracy_error_mean: of
    predicting the mean distilled accuracy. n sets.
    """

    ipc: int
    random: float
    gain: float
    low: float
    high: float
    how: str
    error: float
    error_slope: float
    error_mean: float
    error_none: float
    accuracy_error_mean: float
    n: int

    @property
    def accuracy(self) -> tuple[float, float, float]:
        """(forecast, low, high), within [0, 1]."""
        values = (self.random + gain for gain in (self.gain, self.low, self.high))
        middle, low, high = (min(max(v, 0.0), 1.0) for v in values)
        return middle, low, high

    @property
    def possible(self) -> tuple[float, float, float]:
        """The gain and its interval, as far as accuracies of at most 1 allow."""
        middle, low, high = (value - self.random for value in self.accuracy)
        return middle, low, high


def study_sets() -> list[Known]:
    """The study's eight: random images under ResNet-18, MTT under ConvNet."""
    found = []
    for name in study_datasets():
        random, distilled = (
            {i: study_accuracy(name, i, m) for i in IPCS} for m in ("random", METHOD)
        )
        found.append(Known(name, "study", random, distilled))
    return found


def own_sets(cells: list[Cell], without: str) -> list[Known]:
    """Sets of finished runs with random images at every IPC and MTT at some, under one network.

    without: the fingerprint of the set that is asked about.
    """
    found = []
    for fingerprint in dict.fromkeys(c.fingerprint for c in cells if c.fingerprint != without):
        mine = [c for c in cells if c.fingerprint == fingerprint]
        random, distilled = (_by_ipc(mine, m) for m in ("random", METHOD))
        if set(IPCS) <= set(random) and set(IPCS) & set(distilled):
            found.append(Known(mine[0].dataset, "results at hand", random, distilled))
    return found


def _by_ipc(cells: list[Cell], method: str) -> dict[int, float]:
    """Accuracy by IPC under ConvNet; of several settings the first. Results of the preset `quick` do not count."""
    found: dict[int, float] = {}
    for cell in cells:
        mean = cell.mean()
        fits = cell.method == method and cell.model == "convnet" and cell.preset != "quick"
        if fits and cell.ipc and mean is not None:
            found.setdefault(cell.ipc, mean)
    return found


def forecast(random: dict[int, float], known: list[Known], ipc: int) -> GainForecast:
    """The gain at one IPC from known sets; at least three must have MTT at this IPC.

    random: the new set's accuracy with random images, {1: .., 10: .., 50: ..}, fractions.
    """
    usable = [k for k in known if ipc in k.distilled]
    gains = np.array([k.gain(ipc) for k in usable])
    slopes = np.array([slope(k.random) for k in usable])
    tried = {"mean": _left_out(slopes, gains, 0), "slope": _left_out(slopes, gains, 1)}
    how = min(tried, key=lambda name: _rms(tried[name]))
    gain = float(np.polyval(np.polyfit(slopes, gains, int(how == "slope")), slope(random)))
    errors = tried[how]
    # The rank among n errors below which a new one falls with probability COVER, if sets are exchangeable.
    rank = min(math.ceil(COVER * (len(gains) + 1)), len(gains))
    margin = float(np.sort(np.abs(errors))[rank - 1])
    accuracies = np.array([k.distilled[ipc] for k in usable])
    plain = _rms(_left_out(slopes, accuracies, 0))
    return GainForecast(
        ipc,
        random[ipc],
        *(gain, gain - margin, gain + margin, how),
        *(_rms(errors), _rms(tried["slope"]), _rms(tried["mean"]), _rms(gains), plain),
        len(gains),
    )


def slope(random: dict[int, float]) -> float:
    """Accuracy gained from 1 to 50 random images per class."""
    return random[50] - random[1]


def _left_out(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], degree: int
) -> Float[np.ndarray, " n"]:
    """Errors on each set of a line on x (degree 1), or of the mean (degree 0), fitted to the others."""
    errors = []
    for i, others in enumerate(~np.eye(len(y), dtype=bool)):
        level = degree == 0 or np.ptp(x[others]) < 1e-9
        line = np.polyfit(x[others], y[others], 0 if level else 1)
        errors.append(y[i] - np.polyval(line, x[i]))
    return np.array(errors)


def _rms(errors: Float[np.ndarray, " n"]) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def nearest(random: dict[int, float], known: list[Known]) -> list[Known]:
    """The known sets whose random accuracies are most like these, nearest first."""
    return sorted(known, key=lambda k: sum((k.random[i] - random[i]) ** 2 for i in IPCS))[:NEAREST]


def sentences(
    name: str, made: GainForecast, known: list[Known], random: dict[int, float]
) -> list[str]:
    """Two sentences: what is likely, and how far to trust it."""
    text = templates().get_template("indicator.txt")
    own = sum(k.source != "study" for k in known if made.ipc in k.distilled)
    about = {"method": describe(METHOD).title, "cover": COVER, "near": nearest(random, known)}
    said = text.render(name=name, made=made, own=own, **about)
    return [one_line(sentence) for sentence in said.split("---\n")]


def rule(cells: list[Cell], fingerprint: str, random: dict[int, float]) -> str:
    """The study's own rule: distil 50 images per class and compare with 50 random ones."""
    reached: dict[str, float] = {}
    for cell in cells:
        mean = cell.mean()
        fits = cell.fingerprint == fingerprint and cell.ipc == 50 and cell.preset != "quick"
        if fits and cell.distilled and mean is not None:
            reached[cell.title] = max(mean, reached.get(cell.title, 0.0))
    if not reached:
        return "The study's own rule needs a distillation at 50 images per class; there is none among the runs."
    best = max(reached, key=lambda title: reached[title])
    pays = reached[best] > random[50]
    return (
        f"The study's own rule: {best} at 50 images per class reaches {100 * reached[best]:.1f} %, 50 random ones "
        f"{100 * random[50]:.1f} %: {'distilling this set pays' if pays else 'it may not work well on this set'}."
    )
