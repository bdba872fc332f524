"""Evaluation: populations of networks, their schedule, and their predictions."""

import jax
import jax.numpy as jnp
import launching
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from medjax import cost, evaluate, settings, store
from medjax.data import sources
from medjax.eval_config import EvalConfig, epochs_of
from medjax.evaluate import Population
from medjax.models import ConvNetConfig, convnet
from medjax.pipeline import interim, score
from medjax.pipeline.progress import Silent
from medjax.pipeline.session import open_session
from medjax.types import Dataset, Synthetic


@pytest.fixture
def small(tiny):
    """Six images as a synthetic set."""
    return Synthetic(tiny.images[:6], tiny.labels[:6], jnp.float32(0.05))


def real(synthetic):
    """Its images as a data set."""
    return Dataset(synthetic.images, synthetic.labels)


def trained(trainer, people, synthetic, first=0, state=None):
    """The population at the end of its training, and after how many epochs each device call ended."""
    state = evaluate.start_networks(trainer, people) if state is None else state
    calls = list(evaluate.train_networks(trainer, people, real(synthetic), state, first))
    return calls[-1][1], [epochs for epochs, _ in calls]


def test_population_is_its_networks(small, jitter):
    """Three networks in one vmap are the same three one by one; float32, 1e-4."""
    net = convnet(ConvNetConfig(width=4, depth=1), classes=3, size=16, channels=3)
    trainer = evaluate.trainer(EvalConfig(), net, 3, jitter)
    people = evaluate.population(EvalConfig(), jax.random.key(0), 3, 4, jnp.float32([0.05]))
    together, done = trained(trainer, people, small)
    assert done == [4]
    for i in range(3):
        alone = Population(people.keys[i : i + 1], people.rates[i : i + 1], people.forget)
        single, _ = trained(trainer, alone, small)
        for a, b in zip(
            jax.tree.leaves(together.params), jax.tree.leaves(single.params), strict=True
        ):
            np.testing.assert_allclose(a[i], b[0], atol=1e-4)
    kernels = together.params["linear_kernel"]
    assert np.abs(kernels[0] - kernels[1]).max() > 0.01  # different networks


def test_networks_with_images_of_their_own(small, jitter):
    """Trained side by side on parts of a set, each is what it is when trained on its part alone; float32, 1e-4."""
    net = convnet(ConvNetConfig(width=4, depth=1), classes=3, size=16, channels=3)
    trainer = evaluate.trainer(EvalConfig(eval_batch=2), net, 3, jitter)
    people = evaluate.population(EvalConfig(), jax.random.key(0), 3, 4, jnp.float32([0.05]))
    rows = np.random.default_rng(0).permutation(len(small.labels)).reshape(3, -1)
    together, _ = trained(trainer, people._replace(rows=jnp.asarray(rows)), small)
    for i in range(3):
        alone = Population(people.keys[i : i + 1], people.rates[i : i + 1], people.forget)
        own = small._replace(images=small.images[rows[i]], labels=small.labels[rows[i]])
        single, _ = trained(trainer, alone, own)
        for a, b in zip(
            jax.tree.leaves(together.params), jax.tree.leaves(single.params), strict=True
        ):
            np.testing.assert_allclose(a[i], b[0], atol=1e-4)


def test_schedule():
    """x 0.1 after half of the epochs, momentum kept."""
    people = evaluate.population(EvalConfig(), jax.random.key(0), 1, 10, jnp.float32([0.5]))
    np.testing.assert_allclose(people.rates, [[0.5] * 5 + [0.05] * 5], rtol=1e-6)
    assert people.forget.shape == (10,) and not people.forget.any()


@pytest.mark.parametrize("epochs", [10, 11, 300])
def test_schedule_of_the_public_code(epochs):
    """Parity: a loop over E+1 epochs that, after epoch index E//2+1, lowers the rate and makes the optimiser anew."""
    rates, forget, rate, anew = [], [], 0.5, False
    for epoch in range(epochs + 1):
        rates.append(rate)
        forget.append(anew)
        anew = epoch in [epochs // 2 + 1]
        rate = rate * 0.1 if anew else rate
    people = evaluate.population(
        EvalConfig(decay_parity=True), jax.random.key(0), 2, epochs, jnp.float32([0.5])
    )
    np.testing.assert_allclose(people.rates, [rates] * 2, rtol=1e-6)
    np.testing.assert_array_equal(people.forget, forget)


def test_step_sizes_in_pairs():
    """Each step size of a grid has the same networks; networks have keys of their own, whatever their number."""
    config, key = EvalConfig(), jax.random.key(3)
    grid = evaluate.population(config, key, 3, 4, jnp.float32([0.1, 0.01]))
    data = jax.random.key_data(grid.keys)
    np.testing.assert_array_equal(data[:3], data[3:])
    np.testing.assert_allclose(grid.rates[:, 0], [0.1] * 3 + [0.01] * 3)
    assert len({tuple(row) for row in data[:3].tolist()}) == 3
    fewer = evaluate.population(config, key, 2, 4, jnp.float32([0.1]))
    np.testing.assert_array_equal(jax.random.key_data(fewer.keys), data[:2])


def test_cut_anywhere(linear, small, monkeypatch):
    """Calls of few epochs, and a training taken up again, end where one call ends, to the bit."""
    trainer = evaluate.trainer(EvalConfig(eval_batch=4), linear(768, 3), 3, None)
    people = evaluate.population(
        EvalConfig(decay_parity=True), jax.random.key(0), 2, 6, small.step_size.reshape(1)
    )
    whole, done = trained(trainer, people, small)
    assert done == [7]
    work = cost.GRADIENT * trainer.model.flops * 6 * 2
    monkeypatch.setattr(cost, "work_per_call", lambda: 2.5 * work)
    parts, done = trained(trainer, people, small)
    assert done == [2, 4, 6, 7]
    begun = evaluate.start_networks(trainer, people)
    _, begun = next(evaluate.train_networks(trainer, people, real(small), begun))
    rest, done = trained(trainer, people, small, first=2, state=begun)
    assert done == [4, 6, 7]
    for other in (parts, rest):
        for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(other), strict=True):
            np.testing.assert_array_equal(a, b)


def test_best_epoch_of_each_network(linear, small, tiny):
    """Each network keeps the parameters of its best AUC on val, the first of equals; undefined is the worst."""
    trainer = evaluate.trainer(EvalConfig(), linear(768, 3), 3, None)
    rates = jnp.tile(jnp.array([[0.05, -0.5, 0.01], [0.0, 0.0, 0.05]]), 1)
    keys = jax.random.split(jax.random.key(0), 2)
    people = Population(keys, rates, jnp.zeros(3, bool))
    state = evaluate.start_networks(trainer, people)
    best, auc, weights = evaluate.none_yet(state), [], []
    calls = evaluate.train_networks(trainer, people, real(small), state, every_epoch=True)
    for epoch, state in calls:
        best = evaluate.best_of(trainer.model, best, state, tiny)
        auc.append([m.auc for m in evaluate.score(trainer.model, state, *tiny[:2])])
        weights.append(np.asarray(state.params["w"]))
        assert epoch == len(auc)
    chosen = np.argmax(auc, axis=0)
    assert chosen.tolist() == [0, 2], (
        "the first network gets worse, the second stands still at first"
    )
    for network, epoch in enumerate(chosen):
        np.testing.assert_array_equal(best.params["w"][network], weights[epoch][network])
        assert best.auc[network] == auc[epoch][network]
    one_class = tiny._replace(labels=jnp.zeros_like(tiny.labels))
    kept = evaluate.best_of(trainer.model, best, state, one_class)
    np.testing.assert_array_equal(kept.auc, best.auc)


def test_predict_in_chunks(net, tiny, monkeypatch):
    """Chunks that do not divide the images give every image's log odds, in order."""
    trainer = evaluate.trainer(EvalConfig(), net, 3, None)
    people = evaluate.population(EvalConfig(), jax.random.key(1), 2, 1, jnp.float32([0.1]))
    state = evaluate.start_networks(trainer, people)
    assert cost.chunk_size(net, tiny.images.shape[1:], 2) == 16, "fastest on a CPU"
    chunks = evaluate.predict(net, state, tiny.images)
    monkeypatch.setattr(cost, "CPU_PIECE", 45)
    whole = evaluate.predict(net, state, tiny.images)
    assert chunks.shape == (2, 45, 3)
    np.testing.assert_allclose(chunks, whole, atol=1e-5)
    np.testing.assert_allclose((1 / (1 + np.exp(-whole))).sum(-1), 1, atol=1e-5)
    assert np.ptp(whole, axis=1).min() > 1e-4
    params = jax.tree.map(lambda a: jnp.asarray(a[1]), state.params)
    one = jax.nn.softmax(net.apply(params, {}, tiny.images[40:41], False)[0])
    np.testing.assert_allclose(1 / (1 + np.exp(-whole[1, 40:41])), one, atol=1e-5)


def test_scores(linear, tiny):
    """Networks trained on one image a class score well on the real ones, and badly with a step size of zero."""
    first = [int(np.argmax(tiny.labels == c)) for c in range(3)]
    labels = jnp.arange(3, dtype=jnp.int32)
    synthetic = Synthetic(tiny.images[jnp.array(first)], labels, jnp.float32(0.02))
    trainer = evaluate.trainer(EvalConfig(), linear(768, 3), 3, None)
    people = evaluate.population(EvalConfig(), jax.random.key(0), 2, 20, jnp.float32([0.02, 0.0]))
    scores = evaluate.evaluate(trainer, people, synthetic, tiny)
    assert len(scores) == 4
    for good, untrained in zip(scores[:2], scores[2:], strict=True):
        assert good.balanced_accuracy > 0.9 and good.auc > 0.95
        assert untrained.balanced_accuracy < 0.8


@pytest.mark.parametrize("select", ["val", "test"])
def test_networks_of_interim_evaluations(tmp_path, monkeypatch, select):
    """Val compares the sets of two iterations on the same networks. Where the test split chooses, each evaluation has
    networks of its own, as in the public code: its best then is the luckiest draw, too."""
    small = {"size": 4, "whiten": "half", "width": 2, "depth": 1}
    asked = settings("dm", "quick", **small, interim_epochs=1, interim_networks=2, select=select)
    raw = sources.load(str(launching.tiny("rgb")))
    session = open_session(asked, raw, tmp_path / "run", Silent())
    made = Synthetic(session.train.images[:3], jnp.arange(3, dtype=jnp.int32), jnp.float32(0.1))
    drawn, population = [], evaluate.population

    def seen(config, key, *more):
        drawn.append(jax.random.key_data(key).tolist())
        return population(config, key, *more)

    monkeypatch.setattr(evaluate, "population", seen)
    for iteration in (0, 5):
        interim.evaluate(session, iteration, made)
    assert (drawn[0] == drawn[1]) == (select == "val")


def test_a_changed_set_is_logged_again(tmp_path):
    """The log says of each iteration what its evaluation says, and says it once."""
    small = {"size": 4, "whiten": "half", "width": 2, "depth": 1}
    asked = settings("dm", "quick", **small | {"width": 8}, interim_epochs=40, interim_networks=1)
    raw = sources.load(str(launching.tiny("rgb")))
    session = open_session(asked, raw, tmp_path / "run", Silent())
    images = jnp.stack([session.train.images[session.train.labels == c].mean(0) for c in range(3)])
    logged = []
    for labels in ([0, 1, 2], [0, 1, 2], [1, 2, 0]):
        made = Synthetic(images, jnp.array(labels, jnp.int32), jnp.float32(0.05))
        interim.evaluate(session, 5, made)
        rows = [r for r in store.read_log(session.log) if r["phase"] == "interim"]
        logged.append(len(rows))
        table = interim.selected_scores(session.folder, 5, "val")
        assert rows[-1]["balanced_accuracy"] == table["balanced_accuracy"]["mean"]
    assert logged == [1, 1, 2]


def test_networks_half_trained_on_another_set_do_not_go_on(tmp_path, monkeypatch):
    """Killed half way, an evaluation goes on with its own saves; those of another set are no part of its scores."""
    values = {"size": 4, "whiten": "half", "width": 2, "depth": 1, "networks": 1, "eval_epochs": 4}
    raw = sources.load(str(launching.tiny("rgb")))
    said = []
    monkeypatch.setattr(Silent, "say", lambda _, text: said.append(text))
    monkeypatch.setattr(cost, "work_per_call", lambda: 1)  # a save after each epoch

    def session(name):
        return open_session(settings("dm", "quick", **values), raw, tmp_path / name, Silent())

    def scored(name, made):
        return score.final_scores(session(name), "test", made, session(name).test(), 0.1)

    def killed(name, made):
        with monkeypatch.context() as patch:
            patch.setattr(evaluate, "predict", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                scored(name, made)
        assert len(list((tmp_path / name / "evaluations" / "test").glob("0*"))) > 0

    images = session("whole").train.images
    labels = jnp.arange(3, dtype=jnp.int32)
    one, other = (Synthetic(images[i : i + 3], labels, jnp.float32(0.1)) for i in (0, 9))
    killed("run", other)
    assert scored("run", one) == scored("whole", one)
    assert ["of another set" in line for line in said if "evaluation" in line] == [True]
    killed("again", one)
    assert scored("again", one) == scored("whole", one)
    assert any("evaluation test goes on after 3 of 4" in line for line in said)


def test_steps_of_full_batches(linear):
    """Where steps are counted an epoch has full batches alone: what does not fill one is left out of it; a set smaller
    than a batch is one step."""
    net, config = linear(48, 3), EvalConfig(eval_batch=4)
    images = np.random.default_rng(0).normal(size=(10, 4, 4, 3)).astype(np.float32)
    data = Dataset(jnp.asarray(images), jnp.asarray(np.arange(10) % 3, jnp.int32))
    people = evaluate.population(config, jax.random.key(0), 1, 1, jnp.array([0.1]))

    def trained(trainer, data):
        fresh = evaluate.start_networks(trainer, people)
        *_, (_, state) = evaluate.train_networks(trainer, people, data, fresh)
        return np.asarray(ravel_pytree(state.params)[0])

    order_key = jax.random.split(jax.random.fold_in(jax.random.fold_in(people.keys[0], 1), 0))[0]
    order = np.asarray(jax.random.permutation(order_key, 10))
    changed = data._replace(images=data.images.at[order[8:]].set(100.0))  # the last, partial batch
    by_steps = evaluate.trainer(config, net, 3, None, 100)
    np.testing.assert_array_equal(trained(by_steps, data), trained(by_steps, changed))
    by_epochs = evaluate.trainer(config, net, 3, None)
    assert np.abs(trained(by_epochs, data) - trained(by_epochs, changed)).max() > 0.1
    few = jax.tree.map(lambda a: a[:3], data)
    np.testing.assert_array_equal(trained(by_steps, few), trained(by_epochs, few))
    assert [epochs_of(100, n, 64) for n in (8, 64, 80, 128, 320)] == [100, 100, 100, 50, 20]
