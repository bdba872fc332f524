"""Every method keeps the interface: init -> step -> extract, pure, finite, compiled once, vmapped, resumed."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medjax.distill import METHODS, run
from medjax.distill.dc import DCConfig
from medjax.distill.dm import DMConfig
from medjax.distill.mtt import MTTConfig
from medjax.types import Dataset, Synthetic, Trajectories

SIDE = 8
CONFIGS = {
    "dc": {"config": DCConfig(batch_real=5, inner=2, outer=2)},
    "dsa": {"config": DCConfig(method="dsa", batch_real=5, inner=2, outer=2, init_images="real")},
    "dm": {"config": DMConfig(batch_real=5)},
    "mtt": {"config": MTTConfig(inner_steps=2, max_start_epoch=3, expert_span=1, average=0.9)},
}


@pytest.fixture
def make(linear, jitter):
    """(name, channels, classes, ipc) -> (method, data)."""

    def build(name, channels=3, classes=3, ipc=2):
        features = SIDE * SIDE * channels
        parts = {"model": linear(features, classes), "augment": jitter} | CONFIGS[name]
        if name == "mtt":
            rows = np.random.default_rng(0).normal(size=(4, (features + 1) * classes))
            rows = np.cumsum(0.1 * rows, axis=0).astype(np.float32)
            parts["trajectories"] = Trajectories(lambda expert, epochs: rows[epochs], 2, 3)
        rng = np.random.default_rng(classes)
        images = jnp.asarray(rng.normal(size=(7 * classes, SIDE, SIDE, channels)), jnp.float32)
        data = Dataset(images, jnp.arange(7 * classes, dtype=jnp.int32) % classes)
        factory = METHODS["dc" if name == "dsa" else name]
        return factory(**parts, ipc=ipc, classes=classes), data

    return build


def states(method, data, iterations, first=0, state=None, seed=0, chunk=2):
    """The states after each device call, as NumPy trees."""
    state = method.init(jax.random.key(seed), data) if state is None else state
    key = jax.random.key(seed + 10)
    calls = run(method, key, data, state, first=first, iterations=iterations, chunk=chunk)
    return [jax.tree.map(np.array, call.state) for call in calls]


def test_every_method_is_walked():
    """A new method needs a row here."""
    assert set(METHODS) == set(CONFIGS) - {"dsa"}


@pytest.mark.parametrize("name", CONFIGS)
def test_signatures(make, name):
    """What `run` and vmap call, by position."""
    method, _ = make(name)
    assert list(inspect.signature(method.init).parameters) == ["key", "data"]
    assert list(inspect.signature(method.step).parameters) == ["key", "state", "data", "item"]
    assert len(inspect.signature(method.extract).parameters) == 1
    assert method.feed is None or next(iter(inspect.signature(method.feed).parameters)) == "key"


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("channels,classes,ipc", [(1, 2, 3), (3, 11, 1)])
def test_shapes(make, name, channels, classes, ipc):
    """Grey and colour, few and many classes: a set of the right shape, finite, labelled, that moved."""
    method, data = make(name, channels, classes, ipc)
    begin = method.extract(method.init(jax.random.key(0), data))
    end = method.extract(states(method, data, 3)[-1])
    assert isinstance(end, Synthetic) and end.images.shape == (classes * ipc, SIDE, SIDE, channels)
    np.testing.assert_array_equal(end.labels, np.repeat(np.arange(classes), ipc))
    assert np.isfinite(end.images).all() and end.step_size > 0
    assert not np.array_equal(begin.images, end.images)


@pytest.mark.parametrize("name", CONFIGS)
def test_resumed(make, name):
    """Four iterations in one go and in two are the same bits."""
    method, data = make(name)
    half, whole = states(method, data, 4)
    again = states(method, data, 4, first=2, state=jax.tree.map(jnp.asarray, half))[-1]
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", CONFIGS)
def test_compiled_once(make, name):
    """The second call of the step finds its program."""
    method, data = make(name)
    step, state = jax.jit(method.step), method.init(jax.random.key(0), data)
    for i in range(2):
        item = None
        if method.feed is not None:
            item = jax.tree.map(
                lambda a: a[0], method.feed(jax.random.key(1), jnp.arange(i, i + 1))
            )
        state, _ = step(jax.random.key(i), state, data, item)
    assert step._cache_size() == 1


@pytest.mark.parametrize("name", CONFIGS)
def test_two_seeds_at_once(make, name):
    """vmapped over keys, a step is the step of each; float32, 1e-4."""
    method, data = make(name)
    keys = jax.random.split(jax.random.key(5), 2)
    item = None
    if method.feed is not None:
        item = jax.tree.map(lambda a: a[0], method.feed(jax.random.key(1), jnp.arange(1)))
    begun = jax.vmap(lambda k: method.init(k, data))(keys)
    both, _ = jax.jit(jax.vmap(lambda k, s: method.step(k, s, data, item)))(keys, begun)
    one = jax.jit(lambda k, s: method.step(k, s, data, item))
    for i in range(2):
        single, _ = one(keys[i], jax.tree.map(lambda a, i=i: a[i], begun))
        for a, b in zip(jax.tree.leaves(both), jax.tree.leaves(single), strict=True):
            np.testing.assert_allclose(a[i], b, atol=1e-4, rtol=1e-4)
