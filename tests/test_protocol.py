"""Every method keeps the interface: init -> step -> extract, pure, finite, compiled once, vmapped, resumed.

Nearly all of the time goes into compiling, so the tests of a method share its compiled `init` and `step`.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medjax import graphs
from medjax.data import preprocess
from medjax.distill import Distiller, dc, dm, dp, margin, mtt, run, tgdd
from medjax.distill.average import AverageConfig, averaged
from medjax.distill.dc import DCConfig
from medjax.distill.dm import DMConfig
from medjax.distill.dp import DPConfig
from medjax.distill.margin import MarginConfig
from medjax.distill.moments import Moments, Snapshot
from medjax.distill.mtt_config import MTTConfig
from medjax.distill.release import Release
from medjax.distill.seeds import nth, stacked, together
from medjax.distill.tgdd import TGDDConfig
from medjax.recipes import RECIPES
from medjax.types import Dataset, Synthetic, Trajectories

SIDE = 4
CONFIGS = {
    "dc": {"config": DCConfig(batch_real=5, inner=2, outer=2)},
    "dsa": {"config": DCConfig(batch_real=5, inner=2, outer=2, init_images="real")},
    "dm": {"config": DMConfig(batch_real=5)},
    "tgdd": {"config": TGDDConfig(max_start_epoch=3, ahead=1, draws=2)},
    "dp": {"config": DPConfig()},
    "margin": {"config": MarginConfig(judges=2, judge_steps=3, judge_batch=2)},
    "mtt": {"config": MTTConfig(inner_steps=2, max_start_epoch=3, expert_span=1)},
}
FACTORIES = {"dc": dc.dc, "dsa": dc.dc, "dm": dm.dm, "tgdd": tgdd.tgdd, "mtt": mtt.mtt}
FACTORIES |= {"dp": dp.dp, "margin": margin.margin}
#: channels, classes, images per class: both ends of each; and images that hold four each.
CASES = {"grey": (1, 2, 3), "rgb": (3, 11, 1), "packed": (1, 2, 3)}


class Made(NamedTuple):
    """A method for one case, its data, and its functions compiled."""

    method: Distiller
    data: Dataset
    init: Callable[..., Any]
    step: Any


@pytest.fixture(scope="module")
def make(linear, jitter):
    """(name, case) -> Made, the same each time."""

    @functools.cache
    def build(name, case="grey"):
        channels, classes, ipc = CASES[case]
        features = SIDE * SIDE * channels
        parts = {"model": linear(features, classes), "augment": jitter} | CONFIGS[name]
        parts |= {"augment": None} if name == "dc" else {}
        if name in ("tgdd", "margin", "mtt"):
            rows = np.random.default_rng(0).normal(size=(4, (features + 1) * classes))
            rows = np.cumsum(0.1 * rows, axis=0).astype(np.float32)
            parts["trajectories"] = Trajectories(lambda expert, epochs: rows[epochs], 2, 3)
        if name == "tgdd":
            means = np.random.default_rng(1).normal(size=(2, classes, features))
            cached = Snapshot(means.astype(np.float32), np.float32(1))
            parts["moments"] = Moments(lambda expert, epoch: cached, np.zeros(2, np.uint32))
        if name == "dp":
            sums = np.random.default_rng(1).normal(size=(classes, 2 * 3 + 1)) + 5
            centres, key = np.zeros((2, 3), np.float32), np.zeros(2, np.uint32)
            parts["release"] = Release(sums.astype(np.float32), 1.0, centres, key, {})
            parts["image"] = (SIDE, SIDE, channels)
            del parts["augment"]
        rng = np.random.default_rng(classes)
        images = jnp.asarray(rng.normal(size=(7 * classes, SIDE, SIDE, channels)), jnp.float32)
        raw = rng.integers(0, 256, (20, SIDE, SIDE, channels)).astype(np.uint8)
        pre = preprocess.fit(preprocess.PreprocessConfig(SIDE, "zca"), raw)
        packing = preprocess.packing_of(pre, 2 if case == "packed" else 1)
        data = Dataset(images, jnp.arange(7 * classes, dtype=jnp.int32) % classes, packing)
        method = FACTORIES[name](**parts, ipc=ipc, classes=classes)
        if name == "mtt":
            method = averaged(AverageConfig(0.9), method)
        return Made(method, data, jax.jit(method.init), jax.jit(method.step))

    return build


def item(method, number):
    """What iteration ``number`` reads."""
    if method.feed is None:
        return None
    return jax.tree.map(
        lambda a: a[0], method.feed(jax.random.key(1), jnp.arange(number, number + 1))
    )


def test_every_method_is_walked():
    """A new method needs a row here."""
    assert set(CONFIGS) == {name for name, recipe in RECIPES.items() if recipe.build}


@pytest.mark.parametrize("name", CONFIGS)
def test_signatures(make, name):
    """What `run` and vmap call, by position."""
    method = make(name).method
    assert list(inspect.signature(method.init).parameters) == ["key", "data"]
    assert list(inspect.signature(method.step).parameters) == ["key", "state", "data", "item"]
    assert len(inspect.signature(method.extract).parameters) == 1
    assert method.feed is None or next(iter(inspect.signature(method.feed).parameters)) == "key"


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("case", CASES)
def test_walk(make, name, case):
    """Three steps: a set of the right shape, finite, labelled, that moved; the step's program is made once; equal keys
    give equal bits, and what a step was given it leaves alone."""
    channels, classes, ipc = CASES[case]
    made = make(name, case)
    begin = state = made.init(jax.random.key(0), made.data)
    before = jax.tree.map(np.array, (state, made.data))
    for number in range(3):
        inputs = jax.random.key(number), state, made.data, item(made.method, number)
        state, info = made.step(*inputs)
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(info))
    assert made.step._cache_size() == 1
    again, _ = made.step(*inputs)
    jax.tree.map(np.testing.assert_array_equal, again, state)
    jax.tree.map(np.testing.assert_array_equal, (begin, made.data), before)
    start, end = (made.method.extract(s) for s in (begin, state))
    assert isinstance(end, Synthetic) and end.images.shape == (classes * ipc, SIDE, SIDE, channels)
    np.testing.assert_array_equal(end.labels, np.repeat(np.arange(classes), ipc))
    assert np.isfinite(end.images).all() and end.step_size > 0
    assert not np.array_equal(start.images, end.images)


def other_images(data, number):
    """Images, labels and preprocessing that differ from these; the class of label 0 has more of them."""
    labels = data.labels.at[-number:].set(0) if number else data.labels
    packing = jax.tree.map(lambda a: a * (1 + 0.2 * number), data.packing)
    return Dataset(jnp.roll(data.images, number, axis=0) * (1 + 0.1 * number), labels, packing)


@pytest.mark.parametrize("own", [False, True], ids=["one set", "own images"])
@pytest.mark.parametrize(("name", "case"), [(n, "grey") for n in CONFIGS] + [("mtt", "packed")])
def test_seeds_side_by_side(make, name, case, own, monkeypatch):
    """Three seeds in one program (a call of the device serves them all) end where each ends alone, on the same images
    or each on its own."""
    made, called = make(name, case), []
    keys, starts = jax.random.split(jax.random.key(4), 3), jax.random.split(jax.random.key(5), 3)
    data = [other_images(made.data, number * own) for number in range(3)]
    begun = [made.init(*pair) for pair in zip(starts, data, strict=True)]

    def end(method, key, state, data):
        def counted(function, **more):
            compiled = jax.jit(function, **more)
            return lambda *args: (called.append(1), compiled(*args))[1]

        with monkeypatch.context() as patch:
            patch.setattr(graphs, "jit", counted)
            *_, last = run(method, key, data, state, first=0, iterations=4, chunk=2)
        return last

    alone = [end(made.method, *parts) for parts in zip(keys, begun, data, strict=True)]
    assert len(called) == 3 * 2
    called.clear()
    last = end(together([made.method] * 3), keys, stacked(begun), stacked(data) if own else data[0])
    assert len(called) == 2
    for i, one in enumerate(alone):
        close = functools.partial(np.testing.assert_allclose, rtol=2e-3, atol=2e-4)
        jax.tree.map(close, nth(last.state, i), one.state)
        jax.tree.map(close, nth(last.infos, i), one.infos)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_method_says_whether_it_reads_images(make, name):
    """One that does not takes the same step without any."""
    made = make(name)
    assert made.method.reads_images == (name not in ("mtt", "tgdd", "dp"))
    if not made.method.reads_images:
        state, key = made.init(jax.random.key(0), made.data), jax.random.key(1)
        without = made.data._replace(images=made.data.images[:0], labels=made.data.labels[:0])
        both = [made.step(key, state, data, item(made.method, 0)) for data in (made.data, without)]
        jax.tree.map(np.testing.assert_array_equal, *both)


@pytest.mark.parametrize("name", CONFIGS)
def test_resumed(make, name):
    """Four iterations in one go and in two are the same bits."""
    made = make(name)

    def states(first, state):
        key = jax.random.key(10)
        calls = run(made.method, key, made.data, state, first=first, iterations=4, chunk=2)
        return [jax.tree.map(np.array, call.state) for call in calls]

    half, whole = states(0, made.init(jax.random.key(0), made.data))
    (again,) = states(2, jax.tree.map(jnp.asarray, half))
    jax.tree.map(np.testing.assert_array_equal, again, whole)
    assert not np.array_equal(half.images, whole.images)


@pytest.mark.parametrize("name", CONFIGS)
def test_two_seeds_at_once(make, name):
    """vmapped over keys, init and step are those of each; float32, 1e-4."""
    made = make(name)
    keys, first = jax.random.split(jax.random.key(5), 2), item(made.method, 0)

    @jax.jit
    def both(keys, data, first):
        begun = jax.vmap(made.method.init, (0, None))(keys, data)
        return jax.vmap(made.method.step, (0, 0, None, None))(keys, begun, data, first)[0]

    together = both(keys, made.data, first)
    for i, key in enumerate(keys):
        single, _ = made.step(key, made.init(key, made.data), made.data, first)
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(single), strict=True):
            np.testing.assert_allclose(a[i], b, atol=1e-4, rtol=1e-4)
    assert not np.allclose(together.images[0], together.images[1])
