"""Training one network: the gradient, the optimiser, the order of the images, the cutting of a run."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medjax import devices, train
from medjax.augment import cutmix
from medjax.types import Dataset


def whole_fit(trainer, key, state, data, rates, forget=None, first=0, last=None):
    """`fit`, compiled, over the whole schedule."""
    rates = jnp.asarray(rates, jnp.float32)
    forget = jnp.zeros(rates.shape, bool) if forget is None else jnp.asarray(forget)
    call = jax.jit(functools.partial(train.fit, trainer))
    return call(key, state, data, rates, forget, first, rates.size if last is None else last)


def assert_same_bits(a, b):
    """Two trees agree to the bit."""
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("n,dealt", [(37, False), (16, False), (37, True), (16, True), (1, True)])
def test_gradient_in_pieces(net, tiny, n, dealt):
    """A batch in pieces of 16, with a rest or without, has the gradient of the batch; so has one whose images are dealt
    out to two devices, be they odd in number; 1e-5 of the largest."""
    if devices.device_count() < 2:
        pytest.skip("one device")
    batch = Dataset(tiny.images[:n], tiny.labels[:n])
    params, _ = jax.jit(net.init)(jax.random.key(0))

    def loss(params):
        return train.cross_entropy(net.apply(params, {}, batch.images, True)[0], batch.labels)

    def pieces(params):
        if dealt:
            return train.dealt_gradient(net, params, batch)
        value, model_state, gradients = train.batch_gradient(net, params, {}, batch)
        assert model_state == {}
        return value, gradients

    expected_value, expected = jax.jit(jax.value_and_grad(loss))(params)
    value, got = jax.jit(pieces)(params)
    np.testing.assert_allclose(value, expected_value, rtol=1e-5)
    scale = max(jnp.abs(g).max() for g in jax.tree.leaves(expected))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * scale)


def test_not_separable_is_not_cut(linear):
    """A network whose images influence each other sees its batch whole, and its new state is kept."""
    base = linear(4, 2)
    seen = []

    def apply(params, model_state, images, train):
        seen.append(images.shape[0])
        return base.apply(params, {}, images, train)[0], {"count": model_state["count"] + 1}

    model = base._replace(apply=apply, separable=False)
    batch = Dataset(jnp.ones((40, 1, 4, 1)), jnp.zeros(40, jnp.int32))
    params, _ = base.init(jax.random.key(0))
    _, model_state, _ = train.batch_gradient(model, params, {"count": jnp.int32(3)}, batch)
    assert set(seen) == {40} and model_state["count"] == 4


@pytest.mark.parametrize("batch", [24, 100])
def test_golden_sgd(golden, linear, batch):
    """torch.optim.SGD with momentum and decay, made anew before step 7; a batch that fits and one too large."""
    g = {k[4:]: v for k, v in golden("evaluation").items() if k.startswith("sgd_")}
    data = Dataset(jnp.asarray(g["X"], jnp.float32).reshape(24, 1, 10, 1), jnp.asarray(g["y"]))
    trainer = train.Trainer(linear(10, 3), train.sgd(0.9, 5e-4), None, batch, 3)
    start = {"b": jnp.asarray(g["b0"], jnp.float32), "w": jnp.asarray(g["W0"].T, jnp.float32)}
    state = train.resume(trainer, start, {})
    assert jnp.isnan(state.loss)
    rates, forget = [0.1] * 7 + [0.01] * 5, np.arange(12) == 7
    end = whole_fit(trainer, jax.random.key(0), state, data, rates, forget)
    np.testing.assert_allclose(end.params["w"], g["W_final"].T, atol=1e-5)
    np.testing.assert_allclose(end.params["b"], g["b_final"], atol=1e-5)
    np.testing.assert_allclose(end.loss, g["losses"][-1], rtol=1e-5)
    kept = whole_fit(trainer, jax.random.key(0), state, data, rates)
    assert np.abs(kept.params["w"] - g["W_final"].T).max() > 1e-3  # forgetting matters


def test_plain_sgd():
    """Without momentum and decay the direction is the gradient itself."""
    tx = train.sgd()
    gradient = {"w": jnp.arange(3.0)}
    direction, _ = tx.update(gradient, tx.init(gradient), gradient)
    np.testing.assert_array_equal(direction["w"], gradient["w"])


def test_shuffled_order(linear):
    """An epoch goes through a permutation, and another key through another."""
    trainer = train.Trainer(linear(4, 2), train.sgd(), None, 4, 2)
    labels = jnp.zeros(50, jnp.int32)
    a, b = (train.epoch_order(trainer, jax.random.key(i), labels) for i in (0, 1))
    assert sorted(a.tolist()) == sorted(b.tolist()) == list(range(50))
    assert (a != b).mean() > 0.8 and (a != jnp.arange(50)).mean() > 0.8


def test_balanced_order(linear):
    """Balanced: classes of 400, 80 and 20 images are drawn equally, and the images of each class equally."""
    trainer = train.Trainer(linear(4, 3), train.sgd(), None, 4, 3, balanced=True)
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(3), [400, 80, 20]))
    labels = jnp.asarray(labels, jnp.int32)
    keys = jax.random.split(jax.random.key(0), 30)
    order = jax.jit(jax.vmap(lambda k: train.epoch_order(trainer, k, labels)))(keys)
    assert order.shape == (30, 500) and order.min() >= 0 and order.max() < 500
    counts = np.bincount(np.asarray(labels)[np.asarray(order)].ravel(), minlength=3)
    assert ((counts - 5000) ** 2 / 5000).sum() < 18.4  # chi-square, 2 degrees: one in 10,000
    rare = np.flatnonzero(np.asarray(labels) == 2)
    times = np.bincount(np.asarray(order).ravel(), minlength=500)[rare]
    assert ((times - 250) ** 2 / 250).sum() < 52  # 19 degrees: one in 10,000


def test_epochs_of_so_many_steps(linear):
    """Seven steps of four images, full each: passes through permutations, whatever the number of images."""
    trainer = train.Trainer(linear(4, 2), train.sgd(), None, 4, 2, epoch_steps=7)
    for n in (10, 28, 50):
        order = train.epoch_order(trainer, jax.random.key(0), jnp.zeros(n, jnp.int32)).tolist()
        assert len(order) == 28 and train.steps_per_epoch(trainer, n) == 7
        for first in range(0, 28, n):
            part = order[first : first + n]
            assert len(set(part)) == len(part) and max(part) < n
    assert order[:10] != sorted(order[:10])
    labels = jnp.asarray([0] * 9 + [1], jnp.int32)
    drawn = train.epoch_order(trainer._replace(balanced=True), jax.random.key(0), labels)
    assert drawn.shape == (28,) and 6 < (drawn == 9).sum() < 22


def test_last_partial_batch(linear):
    """Each of 10 images is trained on in an epoch of batches of 4: every one moves its own weight."""
    trainer = train.Trainer(linear(10, 2), train.sgd(), None, 4, 2)
    data = Dataset(jnp.eye(10).reshape(10, 1, 10, 1), jnp.zeros(10, jnp.int32))
    assert train.steps_per_epoch(trainer, 10) == 3 and train.steps_per_epoch(trainer, 8) == 2
    state = train.start(trainer, jax.random.key(0))
    end = whole_fit(trainer, jax.random.key(1), state, data, [0.01])
    moved = np.abs(end.params["w"] - state.params["w"]).max(1)
    # Means over 4 images in the full batches and over 2 in the last: steps of 0.01/8 and 0.01/4 or so.
    assert (moved > 0.0008).all() and (moved > 0.0018).sum() == 2


def test_cut_in_two(linear, jitter, tiny):
    """Epochs 0-1 and then 2-3 are epochs 0-3 to the bit, in one compilation, with everything switched on."""
    trainer = train.Trainer(linear(768, 3), train.sgd(0.9, 5e-4), jitter, 20, 3, balanced=True)
    rates, forget = jnp.float32([0.1, 0.1, 0.01, 0.01]), jnp.arange(4) == 2
    call = jax.jit(functools.partial(train.fit, trainer))
    key, state = jax.random.key(1), train.start(trainer, jax.random.key(0))

    def epochs(state, first, last):
        return call(key, state, tiny, rates, forget, jnp.int32(first), jnp.int32(last))

    whole = epochs(state, 0, 4)
    parts = epochs(epochs(state, 0, 2), 2, 4)
    assert_same_bits(whole, parts)
    assert call._cache_size() == 1
    assert np.abs(whole.params["w"] - state.params["w"]).max() > 1e-3
    nothing = epochs(state, 2, 2)
    assert_same_bits(nothing.params, state.params)


def test_steps_of_an_epoch(linear):
    """An epoch cut between its batches (`train_steps`, `train_tail`) is the epoch of `fit`."""
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(14, 1, 6, 1)), jnp.float32)
    data = Dataset(images, jnp.asarray(rng.integers(0, 3, 14), jnp.int32))
    trainer = train.Trainer(linear(6, 3), train.sgd(0.9), None, 4, 3)
    state, key = train.start(trainer, jax.random.key(0)), jax.random.key(1)
    order_key, step_key = jax.random.split(jax.random.fold_in(key, 0))
    order, rate = train.epoch_order(trainer, order_key, data.labels), jnp.float32(0.3)
    steps = jax.jit(functools.partial(train.train_steps, trainer))
    by_hand = steps(step_key, state, data, order, rate, 0, 1)
    by_hand = steps(step_key, by_hand, data, order, rate, 1, 3)
    tail = jax.jit(functools.partial(train.train_tail, trainer))
    by_hand = tail(step_key, by_hand, data, order, rate)
    end = whole_fit(trainer, key, state, data, [0.3])
    np.testing.assert_allclose(by_hand.params["w"], end.params["w"], atol=1e-6)


def test_learns(net, tiny):
    """Thirty epochs tell the three classes apart."""
    trainer = train.Trainer(net, train.sgd(0.9), None, 15, 3)
    state = train.start(trainer, jax.random.key(0))
    end = whole_fit(trainer, jax.random.key(1), state, tiny, [0.03] * 30)
    assert end.loss < 0.1


def test_more_networks_than_devices_are_refused():
    """A CPU's program has a device for each; more of them would silently be dropped."""
    function = devices.map_per_device(lambda x: x + 1)
    np.testing.assert_array_equal(function(jnp.arange(2)), [1, 2])
    with pytest.raises(ValueError, match="in_groups"):
        function(jnp.arange(4))
    done = devices.map_in_groups(
        lambda at_work, x: jnp.where(at_work, function(x), -1), jnp.arange(5)
    )
    np.testing.assert_array_equal(done, [1, 2, 3, 4, 5])


@pytest.mark.parametrize("count", [1, 4, 5])
def test_dealt_entries(count):
    """Entries dealt out to two devices come back in their order, however many, with what the function closes over."""
    base = jnp.arange(3.0)
    x = jnp.arange(2.0 * count).reshape(count, 2)

    def outer(base, x):
        return devices.map_sharded(lambda row: (row.sum() * base, row[0]))(x)

    products, firsts = jax.jit(outer)(base, x)
    np.testing.assert_array_equal(products, np.outer(x.sum(1), base))
    np.testing.assert_array_equal(firsts, x[:, 0])


def test_shares_of_classes_as_labels(linear):
    """Cross-entropy of shares: one-hot shares are the classes; a step on shares is the weighted sum of both steps."""
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32))
    labels = jnp.arange(6, dtype=jnp.int32) % 4
    by_class = train.cross_entropies(logits, labels)
    np.testing.assert_allclose(
        train.cross_entropies(logits, jax.nn.one_hot(labels, 4)), by_class, rtol=1e-6
    )
    mixed = 0.3 * jax.nn.one_hot(labels, 4) + 0.7 * jax.nn.one_hot((labels + 1) % 4, 4)
    expected = 0.3 * by_class + 0.7 * train.cross_entropies(logits, (labels + 1) % 4)
    np.testing.assert_allclose(train.cross_entropies(logits, mixed), expected, rtol=1e-5)


def test_a_step_with_cutmix_is_a_step_on_what_it_mixed(linear):
    """The images and shares that `cutmix` gives for the step's key, computed by hand."""
    model = linear(48, 3)
    trainer = train.Trainer(model, train.sgd(), None, 6, 3, cutmix=True)
    images = jnp.asarray(np.random.default_rng(1).normal(size=(6, 4, 4, 3)).astype(np.float32))
    data, key = Dataset(images, jnp.arange(6, dtype=jnp.int32) % 3), jax.random.key(3)
    state = train.start(trainer, jax.random.key(0))
    step = jax.jit(functools.partial(train.train_batch, trainer))
    found = step(key, state, data, jnp.arange(6), jnp.float32(0.1))
    mix = jax.jit(cutmix, static_argnums=3)
    mixed, shares = mix(jax.random.fold_in(key, 2), images, data.labels, 3)
    assert (np.asarray(mixed) != np.asarray(images)).any()

    def loss(params):
        return -(shares * jax.nn.log_softmax(model.apply(params, {}, mixed, True)[0])).sum(1).mean()

    gradient = jax.jit(jax.grad(loss))(state.params)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, gradient)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found.params, expected)
