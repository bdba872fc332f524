"""What scores tell of membership: LiRA (Carlini et al. 2022, "Membership Inference Attacks From First Principles"), in
NumPy.

A score is that of one canary in one shadow. Each shadow in turn is the target, and the attacker knows the others: of
each canary the mean of its scores where it was in, and where it was out. The log-likelihood ratio of the two Gaussians
is the attacker's guess. Guesses of all targets and canaries are pooled.

All intervals are two-sided with 95 % confidence, `epsilon_bound` is one-sided. That of the AUC draws shadows and
canaries anew; all others take guesses for independent, and those of one canary, or of one shadow, are so only in part.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from medjax.metrics import auc_one_vs_rest

#: Confidence of every interval, and resamples for that of the AUC.
CONFIDENCE, RESAMPLES = 0.95, 1000
#: Rates of false positives at which true positives are counted.
FALSE_POSITIVES = (0.01, 0.001)
#: Median deviations from the median of a shadow beyond which no score counts.
FAR = 10
#: The smallest variance of scores: those of a deterministic leak have none.
LEAST_VARIANCE = 1e-6
#: Points of a ROC curve that are kept.
POINTS = 200


class Guesses(NamedTuple):
    """The attacker's guesses [s, n] of s shadows and n canaries (larger: in), and who was in."""

    ratios: Float[np.ndarray, "s n"]
    inside: Bool[np.ndarray, "s n"]

    def of(self, canaries: np.ndarray, shadows: np.ndarray | slice = slice(None)) -> "Guesses":
        """Those of some canaries, in some shadows or in all (indices, which may repeat, or a mask)."""
        return Guesses(self.ratios[shadows][:, canaries], self.inside[shadows][:, canaries])

    @property
    def sides(self) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, " q"]]:
        """The guesses of those that were in, and of those that were out."""
        return self.ratios[self.inside], self.ratios[~self.inside]

    @property
    def auc(self) -> float:
        """The chance that one that was in is ranked above one that was out; NaN where a kind is missing."""
        return auc_one_vs_rest(self.ratios.reshape(-1), self.inside.reshape(-1))


def guess(
    scores: Float[np.ndarray, "s n"],
    inside: Bool[np.ndarray, "s n"],
    kinds: Bool[np.ndarray, " n"] | None = None,
) -> Guesses:
    """Attack each shadow with the others. kinds: tells two kinds of canaries apart, whose scores may differ in their
    spread.

    Few shadows give no variance for each canary, so that one variance of all canaries of a kind (around the mean of
    each) stands for each side, as LiRA has it. The mean of few scores is uncertain too: a Gaussian is as wide as a next
    score would be. Where a canary was in all of the others, or in none, nothing can be said, and the ratio is 0.
    """
    scores = comparable(scores)
    ratios = np.zeros(scores.shape)
    masks = [np.ones(scores.shape[1], bool)] if kinds is None else [kinds, ~kinds]
    for target, mask in itertools.product(range(len(scores)), masks):
        rest = np.arange(len(scores)) != target
        sides = [
            _log_density(scores[target, mask], scores[rest][:, mask], side[:, mask])
            for side in (inside[rest], ~inside[rest])
        ]
        ratios[target, mask] = np.nan_to_num(sides[0] - sides[1], nan=0.0)
    return Guesses(ratios, inside)


def comparable(scores: Float[np.ndarray, "s n"]) -> Float[np.ndarray, "s n"]:
    """Each shadow's scores at mean 0 and standard deviation 1, after those beyond `FAR` median deviations were brought
    in. The networks of one shadow may be surer of themselves than those of another: one such shadow, or one such score,
    would hide what all others show."""
    centred = scores - np.median(scores, 1, keepdims=True)
    far = FAR * np.median(np.abs(centred), 1, keepdims=True)
    centred = np.where(far > 0, np.clip(centred, -far, far), centred)
    centred -= centred.mean(1, keepdims=True)
    spread = centred.std(1, keepdims=True)
    return centred / np.where(spread > 0, spread, 1)


def _log_density(
    seen: Float[np.ndarray, " n"], scores: Float[np.ndarray, "r n"], side: Bool[np.ndarray, "r n"]
) -> Float[np.ndarray, " n"]:
    """The log density of each canary's score under the Gaussian of one side; NaN where it has no score there."""
    counts = side.sum(0)
    known = counts > 0
    means = np.where(known, np.where(side, scores, 0).sum(0) / np.maximum(counts, 1), np.nan)
    squares = np.where(side, (scores - np.where(known, means, 0)) ** 2, 0).sum()
    freedom = int((counts[known] - 1).sum())
    if not freedom:
        return np.full(len(seen), np.nan)
    variance = max(squares / freedom, LEAST_VARIANCE) * (1 + 1 / np.maximum(counts, 1))
    return -0.5 * (np.log(variance) + (seen - means) ** 2 / variance)


def clopper_pearson(count: int, total: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The two-sided interval of a probability of which ``count`` of ``total`` trials came true."""
    rest = (1 - confidence) / 2
    low = stats.beta.ppf(rest, count, total - count + 1) if count else 0.0
    high = stats.beta.ppf(1 - rest, count + 1, total - count) if count < total else 1.0
    return float(low), float(high)


def auc_interval(guesses: Guesses, seed: int) -> tuple[float, float]:
    """The interval of the AUC by a bootstrap of shadows and canaries at once (Owen 2007, "The pigeonhole bootstrap"),
    which is somewhat too wide. All of it where none can be drawn."""
    rng, (shadows, canaries) = np.random.default_rng(seed), guesses.ratios.shape
    draws = [
        (rng.integers(canaries, size=canaries), rng.integers(shadows, size=shadows))
        for _ in range(RESAMPLES)
    ]
    drawn = np.array([guesses.of(*one).auc for one in draws])
    known = drawn[np.isfinite(drawn)]  # few canaries may all have been in
    if not len(known):
        return 0.0, 1.0
    rest = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, (rest, 1 - rest))
    return float(low), float(high)


class TruePositives(NamedTuple):
    """At some rate of false positives: the members that are found, of how many, and the interval of that share."""

    count: int
    of: int
    interval: tuple[float, float]


def true_positives(guesses: Guesses, rate: float) -> TruePositives | None:
    """What is found at the threshold that lets through this share of those that were out; None where these are too few
    for one false positive.

    That threshold is an estimate too. So the interval's ends are at one that lets through no more than the rate, and
    at one that lets through no less, each but for a quarter of what the confidence leaves; the other half is for the
    two bounds of Clopper and Pearson there. How many of n that were out are above the threshold of the true rate is
    binomial: that gives the two thresholds.
    """
    members, others = guesses.sides
    ordered, total = np.sort(others)[::-1], len(others)
    allowed = int(rate * total + 1e-9)
    if not allowed or not len(members):
        return None
    count = int((members > ordered[min(allowed, total - 1)]).sum())
    rest, low, high = (1 - CONFIDENCE) / 4, 0.0, 1.0
    below = int(stats.binom.ppf(rest, total, rate)) - 1
    above = int(stats.binom.isf(rest, total, rate))
    if below >= 0:
        surely = int((members > ordered[below]).sum())
        low, _ = clopper_pearson(surely, len(members), 1 - 2 * rest)
    if above < total:
        perhaps = int((members >= ordered[above]).sum())
        _, high = clopper_pearson(perhaps, len(members), 1 - 2 * rest)
    return TruePositives(count, len(members), (low, high))


def epsilon_at(
    threshold: float,
    members: Float[np.ndarray, " p"],
    others: Float[np.ndarray, " q"],
    delta: float = 0.0,
) -> float:
    """The lower bound of epsilon from one threshold that was chosen without these guesses: under (epsilon, delta)-DP,
    TPR <= exp(epsilon) FPR + delta."""
    # Two one-sided bounds share what the confidence leaves.
    true, _ = clopper_pearson(int((members >= threshold).sum()), len(members))
    _, false = clopper_pearson(int((others >= threshold).sum()), len(others))
    return float(max(0.0, np.log((true - delta) / false))) if true > delta else 0.0


def epsilon_bound(guesses: Guesses, seed: int, delta: float = 0.0) -> tuple[float, float]:
    """The lower bound of epsilon at this delta: the threshold is chosen on one half of the canaries, the bound is of
    the other. And the largest bound that so many guesses can give, that of an attack which is never wrong."""
    count = guesses.ratios.shape[1]
    order = np.random.default_rng(seed).permutation(count)
    chosen = guesses.of(order[: count // 2]).sides
    bounds = {float(t): epsilon_at(t, *chosen, delta) for t in np.unique(np.concatenate(chosen))}
    best = max(bounds, key=lambda threshold: bounds[threshold], default=0.0)
    members, others = guesses.of(order[count // 2 :]).sides
    ceiling = epsilon_at(0.5, np.ones(len(members)), np.zeros(len(others)), delta)
    return epsilon_at(best, members, others, delta), ceiling


def roc(guesses: Guesses) -> tuple[list[float], list[float]]:
    """(false positive rates, true positive rates) of `POINTS` thresholds at most, rising."""
    members, others = (np.sort(side) for side in guesses.sides)
    thresholds = np.unique(guesses.ratios)[::-1]
    kept = np.unique(np.linspace(0, len(thresholds) - 1, POINTS).astype(int))
    rates = []
    for side in (others, members):
        above = len(side) - np.searchsorted(side, thresholds[kept], side="left")
        rates.append([0.0, *(above / max(1, len(side))).tolist()])
    return rates[0], rates[1]


def summary(guesses: Guesses, seed: int, delta: float = 0.0) -> dict[str, Any]:
    """All of it as plain values: AUC, true positives at `FALSE_POSITIVES`, epsilon at this delta, counts."""
    members, others = guesses.sides
    found: dict[str, Any] = {"members": len(members), "non_members": len(others)}
    found |= {"auc": guesses.auc, "auc_interval": auc_interval(guesses, seed)}
    rates = []
    for rate in FALSE_POSITIVES:
        row: dict[str, Any] = {"false_positive_rate": rate, "non_members_needed": round(1 / rate)}
        if counted := true_positives(guesses, rate):
            row |= {"true_positive_rate": counted.count / counted.of}
            row |= {"interval": counted.interval}
        rates.append(row)
    bound, ceiling = epsilon_bound(guesses, seed, delta)
    return found | {
        "true_positives": rates,
        "epsilon_at_least": bound,
        "delta": delta,
        "epsilon_of_perfect_guesses": ceiling,
    }
