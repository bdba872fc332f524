"""Margin selection: which images come into the set, held against a derivation image by image; wrong labels stay out."""

import dataclasses

import jax
import jax.numpy as jnp
import launching
import numpy as np
import pytest

import medjax
from medjax import cost, recipes, store
from medjax.distill import margin
from medjax.distill.margin import MarginConfig
from medjax.experts import ExpertsConfig
from medjax.pipeline import finish, forecast
from medjax.pipeline.session import build_models
from medjax.share import load_set
from medjax.types import Dataset, Trajectories

RNG = np.random.default_rng(0)


def test_margins():
    """The probability of the own class less the largest of another."""
    found = jnp.array([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.2, 0.2, 0.6]])
    margins, own = margin.margins_of(found, jnp.array([0, 2, 1]))
    np.testing.assert_allclose(margins, [0.5, -0.1, -0.4], atol=1e-6)
    np.testing.assert_allclose(own, [0.7, 0.4, 0.2], atol=1e-6)


@pytest.mark.parametrize(("share", "count"), [(0.0, 1), (0.2, 2), (0.21, 3), (0.6, 6), (1.0, 10)])
def test_counts(share, count):
    """Rounded up, but not where binary fractions alone are in the way."""
    assert MarginConfig(replaced=share).count(10) == count
    assert MarginConfig(begin=share).distinct(10) == count


@pytest.mark.parametrize("images", range(1, 60))
def test_rounds_of_the_presets_fill_any_set(images):
    for preset in ("paper", "public", "cpu", "best", "quick"):
        config = medjax.settings("margin", preset, ipc=images).config(MarginConfig)
        assert config.begin < 1 and config.grown(images) == images


@pytest.mark.parametrize(("pack", "words"), [(1, "8 of 10 images"), (2, "32 of 40 images")])
def test_rounds_that_leave_repetitions_are_refused(linear, pack, words):
    """2 + 3 x 2 of 10; packed, 8 + 3 x 8 of 40."""
    values = {"begin": 0.2, "replaced": 0.2, "iterations": 3, "ipc": 10, "pack": pack}
    setup = medjax.settings("margin", **values).setup(linear(64, 3), 3, (60, 8, 8, 1))
    with pytest.raises(medjax.UserError, match=words):
        recipes.find("margin").costs(setup)


@pytest.mark.parametrize(
    ("rows", "share"),
    [([[0, 1, 2], [4, 5, 4]], 1), ([[0, 1, 0], [4, 5, 4]], 0.8), ([[0] * 3, [4] * 3], 0.4)],
)
def test_repetitions_are_counted(rows, share):
    """Of a class with two images, which is used completely, one is no fault."""
    labels = jnp.array([0, 0, 0, 0, 1, 1])
    assert margin.distinct(jnp.array(rows), labels) == pytest.approx(share)


def test_the_set_grows_from_a_few_images(linear):
    """At first 2 of 5 images of each class, which repeat; each round brings others in place of repetitions; after two
    rounds of 2 all differ."""
    labels = jnp.repeat(jnp.arange(2), 9)
    data = Dataset(jnp.asarray(RNG.normal(size=(18, 2, 2, 1)), jnp.float32), labels)
    model = linear(4, 2)
    known = Trajectories(lambda expert, epochs: np.zeros((1, 10), np.float32), 1, 1)
    config = MarginConfig(begin=0.4, replaced=0.4, judges=1, judge_steps=1, judge_batch=4)
    parts = {"model": model, "augment": None, "trajectories": known, "ipc": 5, "classes": 2}
    method, key = margin.margin(config, **parts), jax.random.key(0)
    state = method.init(key, data)
    for number, distinct in enumerate((2, 4, 5)):
        if number:
            assert info.distinct == pytest.approx(distinct / 5)
        assert [len(set(row)) for row in state.chosen.tolist()] == [distinct] * 2
        assert (np.asarray(labels)[state.chosen] == [[0] * 5, [1] * 5]).all()
        np.testing.assert_array_equal(state.images, data.images[state.chosen.reshape(-1)])
        state, info = method.step(key, state, data, jnp.zeros((1, 10)))
        key = jax.random.fold_in(key, distinct)


def replaced(margins, learnable, labels, chosen, share, seed=0):
    """`margin.replace` on lists."""
    arrays = (jnp.asarray(a) for a in (chosen, np.float32(margins), learnable, labels))
    chosen, margins, learnable, labels = arrays
    config = MarginConfig(replaced=share)
    after = margin.replace(jax.random.key(seed), config, chosen, margins, learnable, labels)
    return np.asarray(after)


def test_wrong_images_replace_the_oldest():
    """Against a derivation class by class: learnable wrong images, then learnable others by their margin, then wrong
    ones that cannot be learned; none that is in the set."""
    labels = RNG.permutation(np.repeat([0, 1, 2], [20, 9, 6]))
    margins = RNG.uniform(-1, 1, 35)
    margins[labels == 1] = np.abs(margins[labels == 1])
    learnable = RNG.uniform(size=35) < 0.7
    chosen = np.stack([np.flatnonzero(labels == c)[:5] for c in range(3)])
    after = replaced(margins, learnable, labels, chosen, 0.6)
    for c in range(3):
        free = np.setdiff1d(np.flatnonzero(labels == c), chosen[c])
        kept, new = after[c, :2], after[c, 2:]
        if c == 2:  # one image is free: the two oldest of the others stay
            assert np.isin(free, new).all() and np.isin(chosen[c][1:3], new).all()
            continue
        assert kept.tolist() == chosen[c, 3:].tolist()
        assert np.isin(new, free).all() and len(set(new)) == 3
        wrong = free[(margins[free] < 0) & learnable[free]]
        right = free[(margins[free] >= 0) & learnable[free]]
        wanted = 3 - min(3, len(wrong))
        assert np.isin(new, wrong).sum() == 3 - wanted
        smallest = right[np.argsort(margins[right])][:wanted]
        assert np.isin(smallest, new).all()


def test_wrong_images_are_drawn_at_random():
    """Not the most wrong ones: over many keys each of 18 comes about equally often."""
    labels, margins = np.zeros(20, int), np.linspace(-1, -0.05, 20)
    seen = np.zeros(20)
    for seed in range(120):
        after = replaced(margins, np.ones(20, bool), labels, np.array([[0, 1]]), 0.5, seed)
        seen[after[0, 1]] += 1
    assert seen[:2].tolist() == [0, 0]
    assert seen[2:].min() >= 1 and seen.max() < 20


def test_a_class_that_is_all_in_the_set_stays():
    labels = np.array([0, 0, 1, 1, 1])
    after = replaced([-0.5] * 5, np.ones(5, bool), labels, np.array([[0, 1, 0], [2, 3, 4]]), 1.0)
    assert after.tolist() == [[0, 1, 0], [2, 3, 4]]


def test_wrong_labels_stay_out(linear, jitter):
    """Two classes by one pixel, and some labels exchanged. An expert that knows the rule keeps the exchanged ones out;
    one that believes their labels lets them in."""
    n, side = 80, 4
    images = RNG.normal(size=(n, side, side, 1)).astype(np.float32)
    truth = (images[:, 0, 0, 0] > 0).astype(np.int32)
    labels, exchanged = truth.copy(), np.arange(0, n, 5)
    labels[exchanged] = 1 - labels[exchanged]
    data = Dataset(jnp.asarray(images), jnp.asarray(labels))
    model = linear(side * side, 2)
    rule = np.zeros((2, (side * side + 1) * 2), np.float32)
    rule[1, 2:4] = -9, 9  # bias first, then the weights of the pixel
    share = {}
    for sign in (1, -1):
        known = Trajectories(lambda expert, epochs, sign=sign: sign * rule[epochs], 3, 1)
        config = MarginConfig(iterations=2, replaced=1.0, judges=2, judge_steps=30, judge_batch=8)
        parts = {"model": model, "augment": None, "trajectories": known, "ipc": 6, "classes": 2}
        method = margin.margin(config, **parts)
        key = jax.random.key(0)
        (item,) = method.feed(key, np.array([0]))
        state, info = jax.jit(method.step)(key, method.init(key, data), data, item)
        assert 0 < info.wrong < 1 and info.loss > 0
        assert (labels[state.chosen] == [[0] * 6, [1] * 6]).all()
        np.testing.assert_array_equal(state.images, images[state.chosen.reshape(-1)])
        share[sign] = np.isin(state.chosen, exchanged).mean()
    assert share[1] == 0 and share[-1] > 0.5


def test_networks_that_went_astray_replace_nothing(linear):
    """Their probabilities are not finite: the set stays, and the round counts as skipped."""
    model = linear(4, 2)
    bad = model._replace(apply=lambda p, s, x, train: (jnp.full((len(x), 2), jnp.nan), s))
    data = Dataset(jnp.asarray(RNG.normal(size=(8, 2, 2, 1)), jnp.float32), jnp.arange(8) % 2)
    known = Trajectories(lambda expert, epochs: np.zeros((1, 10), np.float32), 1, 1)
    config = MarginConfig(judges=1, judge_steps=1, judge_batch=4)
    parts = {"model": bad, "augment": None, "trajectories": known, "ipc": 2, "classes": 2}
    method, key = margin.margin(config, **parts), jax.random.key(0)
    begun = method.init(key, data)
    state, info = method.step(key, begun, data, jnp.zeros((1, 10)))
    assert info.skipped and (state.chosen == begun.chosen).all()


def test_val_chooses_the_step_size_of_the_set(tmp_path, monkeypatch):
    """Real images bring none: val chooses, as for the start. The set's file and the final networks have it. There is no
    score of 8-bit images, for these are not shared. The forecast counts both."""
    chosen = {"set-on-val": 0.03, "start-on-val": 0.001}
    monkeypatch.setattr(finish, "choose_step_size", lambda _, name, made: chosen[name])
    values = {"dataset": str(launching.tiny("rgb")), "preset": "quick", "size": 8, "width": 8}
    values |= {
        "ipc": 2,
        "experts": 1,
        "iterations": 1,
        "begin": 0.5,
        "replaced": 0.5,
        "judge_steps": 2,
    }
    values |= {"networks": 1, "eval_epochs": 9, "interim_networks": 1, "interim_epochs": 40}
    values |= {"whiten": "normalise", "depth": 1, "eval_augment": False}
    asked = medjax.settings("margin", **values)
    result = medjax.run("margin", asked, tmp_path)
    tables = {p.stem: store.read_json(p) for p in result.folder.glob("evaluations/*.json")}
    assert {name: tables[name]["step_sizes"] for name in ("test", "start")} == {
        "test": [pytest.approx(0.03)],
        "start": [0.001],
    }
    assert (result.step_size, result.step_size_from) == (pytest.approx(0.03), "val")
    assert load_set(result.folder / "synthetic.npz").synthetic.step_size == pytest.approx(0.03)
    assert "test-uint8" not in tables and result.test_uint8 is None
    assert {row for row, _ in result.table().best} == {0}  # shown bold
    setup = asked.setup(build_models(asked, 3, 3)[0], 3, (60, 8, 8, 3))
    usual = forecast.evaluation_flops(asked, setup, {}, 1)
    costs = recipes.find("margin").costs(setup)
    work = forecast.estimate(asked, setup, {}, costs, 1.0).seconds["evaluation"]
    assert work - usual == cost.GRADIENT * setup.model.flops * 6 * (5 * 40 - 9)


def test_shares_of_a_step_size_are_refused(linear):
    """There is none: the placeholder's shares would choose the round."""
    asked = medjax.settings("margin", eval_step_size="searched", ipc=10, begin=0.4, pack=1)
    setup = asked.setup(linear(64, 3), 3, (60, 8, 8, 1))
    with pytest.raises(medjax.UserError, match="val chooses that of real images"):
        recipes.find("margin").costs(setup)


def test_presets_share_the_experts_of_mtt():
    for preset in ("paper", "public", "cpu", "quick"):
        mtt, mine = (medjax.settings(m, preset).values() for m in ("mtt", "margin"))
        own = {"experts", "expert_epochs"}
        names = {f.name for f in dataclasses.fields(ExpertsConfig)} - own
        assert {n: mtt[n] for n in names} == {n: mine[n] for n in names}


def test_its_images_count_as_real():
    assert recipes.real("margin") and recipes.real("margin, packed 2 x 2")
    assert not recipes.real("mtt") and not recipes.real("unknown")
