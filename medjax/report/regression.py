"""A straight line through the sets of a scatter plot, and its uncertainty."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

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
