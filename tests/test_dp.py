"""The mechanism of differential privacy: its sensitivity, its noise, and what is made of the noisy table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from private import SIDE, cells, sigma_of, without
from scipy import stats

from medjax.audit.attack import Guesses, epsilon_bound
from medjax.data import preprocess
from medjax.data.preprocess import PreprocessConfig
from medjax.distill import dp
from medjax.distill import release as tables
from medjax.distill.release import PrivacyConfig, Release, StatisticsConfig, joint_sums
from medjax.models import ConvNetConfig, convnet
from medjax.pipeline import release as releases

KEY = jax.random.key(0)
STATISTICS = StatisticsConfig(statistic_networks=3, directions=4)


@pytest.fixture(scope="module")
def model():
    return convnet(ConvNetConfig(width=4, depth=1), classes=2, size=SIDE, channels=1)


def table(model, raw):
    """The joint sums of a data set."""
    pre = preprocess.fit(PreprocessConfig(SIDE, "half"), raw.train.images)
    _, place, counts = np.unique(releases.units(raw), return_inverse=True, return_counts=True)
    data = preprocess.to_device(pre, raw.train)
    return joint_sums(STATISTICS, model, KEY, data, 1 / counts[place], 2)[0]


@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(8), 5), np.arange(40) // 39])
def test_no_unit_moves_the_table_by_more_than_its_sensitivity(model, groups):
    """Each unit in turn removed, among them patients with images of both classes and one with 39 images, with images
    that are black, white and flat. The bound is reached by single images: it is not loose either."""
    raw = cells(groups)
    extreme = raw.train.images.copy()
    extreme[0], extreme[1], extreme[2] = 0, 255, 100
    raw = raw._replace(train=raw.train._replace(images=extreme))
    whole = table(model, raw)
    ways = [np.linalg.norm(whole - table(model, without(raw, u))) for u in set(releases.units(raw))]
    assert max(ways) <= tables.SENSITIVITY + 1e-9
    if groups is None:
        assert np.sort(ways)[3:].min() > 0.999


def test_an_image_is_described_alone(model):
    """The bits of an image's description depend on no other image, nor on its place: the proof needs that."""
    raw = cells(count=37)
    pre = preprocess.fit(PreprocessConfig(SIDE, "half"), raw.train.images)
    images = jnp.asarray(preprocess.apply(pre, raw.train.images))
    order = np.random.default_rng(0).permutation(37)

    def rows(chosen, groups):
        centre = jnp.zeros(4)
        shown = jnp.asarray(chosen).reshape(groups, -1)
        return np.asarray(tables._describe(model, 4, KEY, jnp.int32(1), centre, images, shown))

    one = rows(np.arange(36), 9).reshape(36, 4)
    other = rows(order[:36], 9).reshape(36, 4)
    both = order[:36][order[:36] < 36]
    np.testing.assert_array_equal(one[both], other[order[:36] < 36])


def test_the_noise_is_what_two_derivations_say():
    """dp-accounting's multiplier is that of the paper's equation."""
    pytest.importorskip("dp_accounting", reason="needs the extra privacy")
    for epsilon, delta in ((0.1, 1e-5), (1.0, 1e-5), (4.0, 1e-5), (8.0, 1e-6), (20.0, 1e-3)):
        found = releases.noise_multiplier(PrivacyConfig(epsilon, delta))
        assert found == pytest.approx(sigma_of(epsilon, delta), rel=1e-6)


def test_the_noise_is_normal():
    """Against the distribution function, and finite whatever bytes come."""
    drawn = releases.gaussian((400, 500), np.random.default_rng(0).bytes).ravel()
    assert stats.kstest(drawn, "norm").pvalue > 0.01
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.01
    for byte in (b"\x00", b"\xff"):
        assert np.isfinite(releases.gaussian((3,), lambda n, b=byte: b * n)).all()
    assert not np.array_equal(releases.gaussian((5,)), releases.gaussian((5,)))


def test_the_tail_of_the_noise_has_no_gaps():
    """Where a gap is wider than float32 tells apart, a value says from which of two neighbouring tables it comes. The
    second word fills all between one first word and the next."""
    ones = np.uint64(2**52 - 1)

    def drawn(high, low):
        words = np.stack(np.broadcast_arrays(np.uint64(high), np.asarray(low, np.uint64)))
        return releases.gaussian((words[0].size,), lambda n: (words << np.uint64(12)).tobytes())

    for high in (0, 3, 1000):  # 8.2, 7.9 and 7.2 standard deviations
        low = np.random.default_rng(0).integers(0, 2**52, 1000, np.uint64)
        assert len(np.unique(drawn(high, low).astype(np.float32))) > 200
        assert drawn(high, [ones]) == pytest.approx(drawn(high + 1, [0]), abs=1e-12)
    assert abs(drawn(0, [0])) > 11


def test_class_means_and_what_is_left_of_them(model):
    """Without noise they are the means of the descriptions; the noise that was added is what is taken off the signal;
    a faint signal is said."""
    raw = cells()
    exact, key = table(model, raw), np.zeros(2, np.uint32)
    release = Release(exact, 0.0, np.zeros((3, 4), np.float32), key, {})
    counts = np.bincount(raw.train.labels)
    np.testing.assert_allclose(exact[:, -1] / tables.COUNTED, counts)
    means = exact[:, :-1].reshape(2, 3, 4) * 3**0.5 / tables.DESCRIBED / counts.reshape(2, 1, 1)
    np.testing.assert_allclose(tables.class_means(release), means, rtol=1e-5)
    assert tables.signal_to_noise(release) == np.inf
    far = np.repeat(10 * counts.reshape(2, 1), 13, 1) * np.array([[1], [-1]])
    far[:, -1] = counts * tables.COUNTED
    noisy = release._replace(sums=far, sigma=1.0)
    assert tables.signal_to_noise(noisy) == pytest.approx(100 * 20**2 - 0.5)
    assert np.linalg.norm(tables.class_means(noisy), axis=2).max() <= 1 + 1e-6
    rng = np.random.default_rng(0)
    nothing = rng.normal(size=(50, 2, 13))
    nothing[..., -1] += counts[0] * tables.COUNTED
    left = [tables.signal_to_noise(noisy._replace(sums=one)) for one in nothing]
    assert abs(np.mean(left)) < 0.1


def test_the_gradient_of_a_class(model):
    """Against differences of the loss."""
    network = jax.jit(tables.network, static_argnums=(0, 3, 4))
    params, along, _ = network(model, KEY, 0, 4, (SIDE, SIDE, 1))
    embed = jax.jit(model.features)
    rng = np.random.default_rng(0)
    made, way = (jnp.asarray(rng.normal(size=(3, SIDE, SIDE, 1)), jnp.float32) for _ in range(2))
    mean, centre = jnp.asarray([0.5, 0, 0, 0.1]), 0.1 * jnp.ones(4)

    def loss(images):
        features = np.asarray(embed(params, {}, images), np.float64)
        z = features @ np.asarray(along, np.float64) - 0.1
        z /= np.linalg.norm(z, axis=1, keepdims=True)
        return ((np.asarray(mean, np.float64) - z.mean(0)) ** 2).sum()

    match = jax.jit(dp.match_class, static_argnums=0)
    found, gradient = match(model, params, along, centre, mean, made)
    assert float(found) == pytest.approx(loss(made), rel=1e-4)
    slope = (loss(made + 1e-3 * way) - loss(made - 1e-3 * way)) / 2e-3
    assert float((gradient * way).sum()) == pytest.approx(slope, rel=0.02)


@pytest.mark.parametrize(("share", "shown"), [(1, (0, 1)), (0.25, (1, 5)), (0, (5, 9))])
def test_an_attack_on_the_table_stays_below_the_stated_epsilon(monkeypatch, share, shown):
    """An attacker who knows all others takes their sums off a table and looks along the one whose presence is asked:
    4,000 tables, a stated epsilon of 1. With the noise that it asks for the lower bound of an audit is below it; with a
    quarter of that noise, or none, it is above. The noise in the tables is as large as is said."""
    rng, draws, privacy = np.random.default_rng(0), 4000, PrivacyConfig(epsilon=1.0, delta=1e-5)
    monkeypatch.setattr(releases.os, "urandom", rng.bytes)
    multiplier = share * sigma_of(privacy.epsilon, privacy.delta)
    monkeypatch.setattr(releases, "noise_multiplier", lambda p: multiplier)
    one, others = rng.normal(size=(2, 50)), rng.normal(size=(draws, 2, 50))
    one *= tables.SENSITIVITY / np.linalg.norm(one)
    inside = rng.permutation(np.arange(draws) < draws // 2)
    sums = others + inside[:, None, None] * one
    made, sigmas = zip(*(releases.noisy(one_table, privacy) for one_table in sums), strict=True)
    noise, sigma = np.stack(made) - sums, multiplier * tables.SENSITIVITY
    assert noise.std() == pytest.approx(sigma, rel=0.02)
    assert noise.mean() == pytest.approx(0, abs=0.02 * sigma)
    assert set(sigmas) == {sigma}
    scores = (np.stack(made) - others) * one
    told = Guesses(scores.sum((1, 2)).reshape(-1, 20), inside.reshape(-1, 20))
    bound, _ = epsilon_bound(told, seed=0)
    assert shown[0] <= bound < shown[1]
