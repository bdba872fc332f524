"""The statistics of an audit against closed forms, and against jax-privacy's auditor where it is installed."""

import numpy as np
import pytest
from scipy import stats

from medjax.audit import attack
from medjax.audit.attack import Guesses, clopper_pearson, epsilon_at, epsilon_bound, guess
from medjax.audit.whitening import membership_score
from medjax.data import preprocess
from medjax.guarantee import delta_of_replacement
from medjax.metrics import auc_one_vs_rest

NORMAL = stats.norm


def two_gaussians(distance, shadows, canaries, seed=0, shifts=None):
    """Scores N(0, 1) where a canary was out and N(distance, 1) where it was in, each canary at its own level."""
    rng = np.random.default_rng(seed)
    inside = rng.random((shadows, canaries)).argsort(1) < canaries // 2
    levels = rng.normal(0, 5, canaries) if shifts is None else shifts
    return rng.normal(size=(shadows, canaries)) + distance * inside + levels, inside


def test_two_gaussians_of_known_distance():
    """AUC is Phi(d / sqrt 2), TPR at FPR a is Phi(d - z(1 - a)), however canaries differ in their level."""
    for distance in (0.5, 1.5):
        guesses = guess(*two_gaussians(distance, shadows=200, canaries=100))
        assert guesses.auc == pytest.approx(NORMAL.cdf(distance / 2**0.5), abs=0.015)
        found = attack.true_positives(guesses, 0.01)
        assert found.of == 200 * 50
        assert found.count / found.of == pytest.approx(
            NORMAL.cdf(distance - NORMAL.ppf(0.99)), abs=0.02
        )


@pytest.mark.parametrize("shadows", (4, 16))
def test_nothing_to_find(shadows):
    """Without a difference the AUC is one half, also with few shadows, and its interval says so."""
    aucs = [guess(*two_gaussians(0, shadows, 60, seed)).auc for seed in range(30)]
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.01)
    low, high = attack.auc_interval(guess(*two_gaussians(0, shadows, 60)), seed=0)
    assert low < 0.5 < high and high - low < 0.3


def test_a_leak_without_noise():
    """Scores that say who was in and nothing else: all are found, and no variance of zero is divided by."""
    scores, inside = two_gaussians(1, 8, 20)
    guesses = guess(3.0 * inside, inside)
    assert guesses.auc == 1.0
    assert attack.summary(guesses, 0)["auc_interval"] == (1.0, 1.0)


def test_a_canary_that_was_never_out_is_not_guessed():
    """Where the other shadows show one side alone, the ratio is 0."""
    scores, inside = two_gaussians(2, 6, 10)
    inside[:, 0] = True
    inside[:5, 1], inside[5, 1] = True, False
    ratios = guess(scores, inside).ratios
    assert (ratios[:, 0] == 0).all() and ratios[5, 1] == 0 and (ratios[:, 2:] != 0).any()


def test_a_target_does_not_attack_itself():
    """The ratio of a score comes of the other shadows: a score that is moved far off does not change the Gaussians
    that it is held against."""
    scores, inside = two_gaussians(1, 6, 10)
    before = guess(scores, inside).ratios
    scores[2] = 1e3
    after = guess(scores, inside).ratios
    assert (after[2] != before[2]).all()
    density = attack._log_density(np.zeros(10), np.delete(scores, 2, 0), np.delete(inside, 2, 0))
    assert np.abs(density[np.isfinite(density)]).max() < 1e3


@pytest.mark.parametrize("change", ("surer", "lost", "two scores", "all differ"))
def test_a_shadow_that_is_far_off_does_not_hide_the_others(change):
    """One shadow with ten times the log odds, one whose networks say nothing but certainties, two scores that are
    certain, shadows that are all as sure as they like: the leak of the others is found as it was, or nearly."""
    rng = np.random.default_rng(0)
    scores, inside = two_gaussians(2.5, 16, 200)
    plain = guess(scores, inside).auc
    if change == "surer":
        scores[3] *= 10
    elif change == "lost":
        scores[3] = rng.choice((-200.0, 200.0), 200)
    elif change == "two scores":
        scores[3, 5], scores[7, 9] = 1000, -1000
    else:
        scores *= np.exp(0.3 * rng.normal(size=(16, 1)))
    least = {"lost": 0.85, "two scores": 0.93}.get(change, plain - 0.002)
    assert plain > 0.94 and guess(scores, inside).auc >= least


def test_two_kinds_of_canaries_have_a_variance_each():
    """Where one kind's scores vary little, its members are found that one variance for both would hide."""
    scores, inside = two_gaussians(1.0, 16, 200)
    kinds = np.arange(200) < 100
    scores = np.where(kinds, 0.2 * scores, scores) + inside * kinds
    alone = guess(scores, inside, kinds)
    assert alone.auc > guess(scores, inside).auc + 0.02
    assert alone.of(kinds).auc > 0.99 > 0.8 > alone.of(~kinds).auc


@pytest.mark.parametrize(
    "count, total, low, high",
    # Clopper and Pearson's intervals as tables have them; 0 of n: 1 - (alpha / 2)^(1 / n).
    [
        (0, 10, 0.0, 1 - 0.025**0.1),
        (10, 10, 0.025**0.1, 1.0),
        (5, 10, 0.1871, 0.8129),
        (1, 100, 0.000253, 0.054459),
    ],
)
def test_clopper_pearson(count, total, low, high):
    assert clopper_pearson(count, total) == pytest.approx((low, high), abs=5e-5)


def test_true_positives_need_enough_others():
    """0.1 % takes a thousand that were out; below that nothing is said."""
    rng = np.random.default_rng(0)
    for others, known in ((999, False), (1000, True)):
        ratios = rng.normal(size=(1, others + 500))
        inside = np.arange(others + 500).reshape(1, -1) >= others
        guesses = Guesses(ratios, inside)
        assert (attack.true_positives(guesses, 0.001) is not None) == known


def test_the_threshold_lets_through_no_more_than_allowed():
    """Of 200 that were out at most 2 pass at 1 %, ties among them."""
    others = np.repeat(np.arange(100.0), 2)
    guesses = Guesses(
        np.concatenate([others, [97.5, 98.5, 99.5]])[None],
        (np.arange(203) >= 200)[None],
    )
    found = attack.true_positives(guesses, 0.01)
    assert (found.count, found.of) == (2, 3)


def independent(others, distance, seed):
    """Guesses of as many that were in as were out, two Gaussians apart."""
    rng, inside = np.random.default_rng(seed), np.arange(2 * others) >= others
    return Guesses((rng.normal(size=2 * others) + distance * inside)[None], inside[None])


@pytest.mark.parametrize("others", (100, 400, 1600))
def test_the_interval_of_true_positives_allows_for_the_threshold(others):
    """It holds the share that the true threshold finds, Phi(d - z(1 - a)), at least 95 times of 100. One that held the
    threshold for given would do so about 45 times."""
    truth, given = NORMAL.cdf(2 - NORMAL.ppf(0.99)), 0
    held = []
    for seed in range(100):
        found = attack.true_positives(independent(others, 2, seed), 0.01)
        held.append(found.interval[0] <= truth <= found.interval[1])
        low, high = clopper_pearson(found.count, found.of)
        given += low <= truth <= high
    assert np.mean(held) >= 0.95 and given < 60
    low, high = attack.true_positives(independent(others, 2, 0), 0.01).interval
    assert (low > 0) == (others > 437) and high < 1


def test_the_interval_of_the_auc_allows_for_shadows_that_differ(monkeypatch):
    """Shadows of one procedure give away more or less. With 16 of them, the interval holds the mean of the AUC more
    than 80 times of 100; one that draws canaries alone does so 34 times."""
    monkeypatch.setattr(attack, "RESAMPLES", 200)
    found = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        inside = rng.random((16, 200)).argsort(1) < 100
        distance = 1 + 0.7 * rng.normal(size=(16, 1))
        guesses = guess(rng.normal(size=(16, 200)) + distance * inside, inside)
        found.append((guesses.auc, *attack.auc_interval(guesses, seed)))
    mean = np.mean([auc for auc, _, _ in found])
    assert np.mean([low <= mean <= high for _, low, high in found]) >= 0.8


def randomised_response(epsilon, canaries, seed=0):
    """Each bit of membership is told rightly with probability e^epsilon / (1 + e^epsilon): epsilon-DP, and no more."""
    rng = np.random.default_rng(seed)
    inside = np.arange(canaries) < canaries // 2
    truth = rng.random(canaries) < np.exp(epsilon) / (1 + np.exp(epsilon))
    return Guesses(np.where(truth, inside, ~inside).astype(float)[None], inside[None])


@pytest.mark.parametrize("epsilon", (0.5, 1.0, 3.0))
def test_epsilon_of_randomised_response(epsilon):
    """The bound is below the truth (95 times of 100), and close to it with many canaries."""
    bounds = [
        epsilon_bound(randomised_response(epsilon, 4000, seed), seed=seed)[0] for seed in range(20)
    ]
    assert sum(bound > epsilon for bound in bounds) <= 3
    assert np.mean(bounds) > epsilon - 0.35


def test_delta_is_taken_off_the_true_positives():
    """TPR <= exp(epsilon) FPR + delta; a delta as large as all that is found leaves nothing."""
    members, others = ((np.arange(100) < n).astype(float) for n in (60, 10))
    low, high = clopper_pearson(60, 100)[0], clopper_pearson(10, 100)[1]
    found = [epsilon_at(0.5, members, others, delta) for delta in (0.0, 0.1, 0.9)]
    expected = [np.log(low / high), np.log((low - 0.1) / high), 0.0]
    np.testing.assert_allclose(found, expected)
    guesses = randomised_response(3.0, 400, 0)
    plain, less = (attack.summary(guesses, 0, d)["epsilon_at_least"] for d in (0.0, 0.05))
    assert less < plain


def test_delta_of_one_in_place_of_another():
    """(e, d) twice: P(A) <= e^e P(B) + d and P(B) <= e^e P(C) + d make P(A) <= e^2e P(C) + (1 + e^e) d."""
    found = delta_of_replacement({"epsilon": 2.0, "delta": 1e-3})
    assert found == pytest.approx(np.exp(2) * 1e-3 + 1e-3)
    assert delta_of_replacement({"epsilon": None, "delta": None}) == delta_of_replacement({}) == 0


def test_epsilon_of_nothing_is_nothing():
    assert epsilon_bound(guess(*two_gaussians(0, 8, 100)), seed=0)[0] < 0.5
    assert epsilon_at(0.0, np.zeros(0), np.zeros(5)) == 0.0


def test_no_attack_shows_more_than_a_perfect_one():
    """What that shows is the bound of as many guesses, all right: ln of the one end over the other."""
    inside = np.tile([True, False], (8, 50))
    bound, ceiling = epsilon_bound(Guesses(np.where(inside, 1.0, -1.0), inside), seed=0)
    assert bound == ceiling > 3
    half = np.random.default_rng(0).permutation(100)[50:]
    members, others = (int((inside[:, half] == side).sum()) for side in (True, False))
    low, high = clopper_pearson(members, members)[0], clopper_pearson(0, others)[1]
    assert ceiling == pytest.approx(np.log(low / high))
    assert epsilon_bound(guess(*two_gaussians(1, 8, 100)), seed=0)[0] < 3


def test_the_bound_agrees_with_jax_privacy():
    """The same number as `CanaryScoreAuditor` at a threshold that is given. (Its AUC is of the curve's convex hull,
    which is more than the attack reaches.)"""
    auditing = pytest.importorskip("jax_privacy.auditing", reason="needs the extra privacy")
    rng = np.random.default_rng(1)
    members, others = rng.normal(1.5, 1, 400), rng.normal(0, 1, 400)
    theirs = auditing.CanaryScoreAuditor(members, others)
    for threshold in (0.5, 1.5, 2.5):
        bound = theirs.epsilon_clopper_pearson(
            0.05, threshold_strategy=auditing.Explicit(threshold)
        )
        assert epsilon_at(threshold, members, others) == pytest.approx(bound, abs=1e-9)


def test_roc_rises_from_nothing_to_all():
    guesses = guess(*two_gaussians(1, 16, 100))
    false, true = attack.roc(guesses)
    assert (false[0], true[0]) == (0, 0) and (false[-1], true[-1]) == (1, 1)
    assert (np.diff(false) >= 0).all() and (np.diff(true) >= 0).all() and len(false) <= 201
    assert np.trapezoid(true, false) == pytest.approx(guesses.auc, abs=0.01)


@pytest.mark.parametrize(("count", "low", "high"), [(60, 0.99, 1.0), (3000, 0.4, 0.75)])
def test_the_whitening_map_tells_few_training_images(count, low, high):
    """Fewer images than the 64 values in each: an image among them is told from others almost surely; of many, hardly.
    A map of two numbers for a channel is not attacked."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(64, 64)) / 4
    images = np.clip(128 + 40 * rng.normal(size=(count + 200, 64)) @ base, 0, 255)
    images = images.round().astype(np.uint8).reshape(-1, 8, 8, 1)
    pre = preprocess.fit(preprocess.PreprocessConfig(8, "zca"), images[:count])
    some = np.concatenate([images[: min(count, 200)], images[count:]])
    inside = np.arange(len(some)) < min(count, 200)
    scores = membership_score(pre, some)
    assert low <= auc_one_vs_rest(scores, inside) <= high
    assert (
        membership_score(preprocess.fit(preprocess.PreprocessConfig(8, "normalise"), images), some)
        is None
    )
