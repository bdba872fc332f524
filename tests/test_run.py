"""The driver of all methods: however a run is cut the result is one, and nothing is compiled twice."""

import jax
import numpy as np
import pytest

from medjax import cost
from medjax.distill import base, mtt
from medjax.distill.mtt_config import MTTConfig
from medjax.types import Trajectories


@pytest.fixture
def method(linear, jitter):
    """MTT with a linear student, augmentation, minibatches and two segments an iteration."""
    p = 768 * 3 + 3

    def read(expert, epochs):
        rng = np.random.default_rng(expert)
        start, way = 0.1 * rng.normal(size=(2, p))
        return np.asarray(start + 0.1 * epochs[:, None] * way, np.float32)

    config = MTTConfig(inner_steps=3, max_start_epoch=4, lr_img=10.0, batch_syn=4, meta_batch=2)
    return mtt.mtt(
        config,
        model=linear(768, 3),
        augment=jitter,
        trajectories=Trajectories(read, experts=5, epochs=8),
        ipc=2,
        classes=3,
    )


def collected(method, data, state, first=0, iterations=7, chunk=7):
    """All of a run: (the states after each call as NumPy trees, the infos joined, the counts)."""
    states, infos, done = [], [], []
    for part in base.run(
        method, jax.random.key(3), data, state, first=first, iterations=iterations, chunk=chunk
    ):
        states.append(jax.tree.map(np.array, part.state))
        infos.append(part.infos)
        done.append(part.done)
    return states, jax.tree.map(lambda *a: np.concatenate(a), *infos), done


def assert_same(a, b):
    """Two trees agree to the bit (NaN with NaN)."""
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(left, right)


def test_chunks(method, tiny):
    """Seven iterations in calls of 1, 3 and 7: the same end and the same log; and twice the same bits."""
    start = method.init(jax.random.key(0), tiny)
    whole, infos, done = collected(method, tiny, start)
    assert done == [7] and infos.loss.shape == (7,) and not infos.skipped.any()
    assert np.abs(whole[-1].images - start.images).max() > 0.01
    for chunk, expected in ((1, [1, 2, 3, 4, 5, 6, 7]), (3, [3, 6, 7])):
        states, others, done = collected(method, tiny, start, chunk=chunk)
        assert done == expected
        np.testing.assert_allclose(states[-1].images, whole[-1].images, atol=1e-4)
        np.testing.assert_allclose(states[-1].step_size, whole[-1].step_size, rtol=1e-5)
        np.testing.assert_allclose(others.loss, infos.loss, rtol=1e-4)
    again, infos, _ = collected(method, tiny, start, chunk=3)
    assert_same((again, infos.loss), (states, others.loss))


def test_calls_end_where_they_are_asked_to(method, tiny):
    """At multiples of a number that the chunk does not divide, too, wherever the run is taken up."""

    def ends(first, chunk):
        calls = base.run(
            method,
            jax.random.key(3),
            tiny,
            method.init(jax.random.key(0), tiny),
            first=first,
            iterations=13,
            chunk=chunk,
            every=5,
        )
        return [part.done for part in calls]

    assert ends(0, 3) == [3, 5, 8, 10, 13]
    assert ends(4, 3) == [5, 8, 10, 13]
    assert ends(0, 99) == [5, 10, 13]


@pytest.mark.parametrize(
    ("every", "wanted", "found"),
    [(60, 7.5, 6), (100, 30, 25), (97, 60, 49), (1009, 60, 60), (5, 99, 5), (5, 0.1, 1)],
)
def test_iterations_of_a_call(every, wanted, found):
    """A divisor where one is near; a prime number is not cut into single iterations."""
    assert cost.per_call(every, wanted) == found


def test_resume(method, tiny):
    """From the middle on it is the run in one go, to the bit where the calls are cut alike."""
    start = method.init(jax.random.key(0), tiny)
    whole, infos, _ = collected(method, tiny, start, chunk=2)
    rest, others, done = collected(method, tiny, whole[1], first=4, chunk=2)
    assert done == [6, 7]
    assert_same(rest, whole[2:])
    assert_same(others, jax.tree.map(lambda a: a[4:], infos))
    assert (
        list(base.run(method, jax.random.key(3), tiny, start, first=7, iterations=7, chunk=2)) == []
    )


def test_state_is_not_taken(method, tiny):
    """The caller's state survives, though `run` donates its own."""
    start = method.init(jax.random.key(0), tiny)
    before = np.array(start.images)
    collected(method, tiny, start, iterations=2, chunk=1)
    np.testing.assert_array_equal(start.images, before)


def test_a_method_without_feed(method, tiny):
    """`feed` may be None: the step gets None, and keys of its own for every iteration."""

    def step(key, state, data, item):
        assert item is None
        return state, jax.random.uniform(key) + 0 * data.labels[0]

    method = base.Distiller(method.init, None, step, method.extract)
    start = method.init(jax.random.key(0), tiny)
    _, draws, _ = collected(method, tiny, start, chunk=3)
    assert len(set(draws.tolist())) == 7
    np.testing.assert_array_equal(draws, collected(method, tiny, start, chunk=1)[1])


def test_stops_when_the_caller_stops(method, tiny):
    """Nothing runs on after a caller has left the loop, and feeds are read at most one call ahead."""
    asked = []

    def feed(key, iterations):
        asked.extend(np.asarray(iterations).tolist())
        return method.feed(key, iterations)

    start = method.init(jax.random.key(0), tiny)
    for part in base.run(
        method._replace(feed=feed), jax.random.key(3), tiny, start, first=0, iterations=9, chunk=2
    ):
        if part.done == 4:
            break
    assert asked == [0, 1, 2, 3, 4, 5]


def test_no_second_compilation(method, tiny):
    """The second call of `step` does not trace, nor compile, anything again."""
    traces = []

    def step(key, state, data, item):
        traces.append(len(traces))
        return method.step(key, state, data, item)

    start = method.init(jax.random.key(0), tiny)
    counts = [
        len(traces)
        for _ in base.run(
            method._replace(step=step),
            jax.random.key(3),
            tiny,
            start,
            first=0,
            iterations=9,
            chunk=3,
        )
    ]
    assert len(counts) == 3 and counts[0] >= 1 and counts == [counts[0]] * 3


def test_feed_compiles_once(method, caplog):
    """The host's part of an iteration is compiled at the first feed alone."""
    method.feed(jax.random.key(0), np.arange(0, 3))
    with jax.log_compiles(True):
        method.feed(jax.random.key(0), np.arange(3, 6))
    assert [r.getMessage() for r in caplog.records if "Compiling" in r.getMessage()] == []
