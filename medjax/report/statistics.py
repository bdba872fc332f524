"""A straight line through the sets of a scatter, and how sure it is."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

#: Resamples of the sets, and the share of them that the interval covers.
RESAMPLES, COVER = 20_000, 0.95
#: With fewer points a line says nothing; with fewer than ENOUGH most resamples hold two or three sets, and an interval
#: of their r says nothing.
FEWEST, ENOUGH = 3, 6


class Line(NamedTuple):
    """y = slope * x + intercept by least squares; Pearson's r, n points, and r's bootstrap interval (low, high), NaN
    where there are too few points."""

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


def line(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> Line | None:
    """The line through n points; None for fewer than three, or where all x or all y are equal.

    The interval is the percentile bootstrap over points, drawn with a fixed seed: the same points give the same words.
    """
    if len(x) < FEWEST or min(np.ptp(x), np.ptp(y)) < 1e-9:
        return None
    slope, intercept = np.polyfit(x, y, 1)
    low = high = np.nan
    if len(x) >= ENOUGH:
        drawn = np.sort(np.random.default_rng(0).integers(0, len(x), (RESAMPLES, len(x))), axis=1)
        # Through two points goes a line, r = 1 or -1, whatever they are.
        drawn = drawn[(np.diff(drawn, axis=1) > 0).sum(1) + 1 >= FEWEST]
        rs = _pearson(x[drawn], y[drawn])
        margin = 100 * (1 - COVER) / 2
        low, high = np.percentile(rs[np.isfinite(rs)], [margin, 100 - margin])
    r = _pearson(x[None], y[None])[0]
    return Line(float(slope), float(intercept), float(r), len(x), float(low), float(high))


def _pearson(x: Float[np.ndarray, "b n"], y: Float[np.ndarray, "b n"]) -> Float[np.ndarray, " b"]:
    """Pearson's r of each row; NaN where x or y does not vary."""
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    scale = np.sqrt((x**2).sum(1) * (y**2).sum(1))
    return np.where(scale > 1e-12, (x * y).sum(1) / np.maximum(scale, 1e-12), np.nan)
