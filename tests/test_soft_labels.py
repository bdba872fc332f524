"""Soft labels that MTT learns beside the images (`medjax.distill.soft`)."""

import json

import jax
import jax.numpy as jnp
import launching
import numpy as np
import pytest
from test_packing import whitened

import medjax
from medjax import share, train
from medjax.augment import cutmix
from medjax.data import preprocess
from medjax.distill import mtt, soft
from medjax.distill.mtt_config import MTTConfig
from medjax.distill.segments import Segments
from medjax.errors import UserError
from medjax.models.base import flattening
from medjax.types import Dataset, Synthetic, Trajectories

CONFIG = MTTConfig(
    labels="soft",
    lr_labels=0.7,
    inner_steps=2,
    expert_span=1,
    max_start_epoch=1,
    lr_init=0.5,
    lr_img=0.1,  # the images hardly move, so that both gradients count
)


@pytest.mark.parametrize("factor", [1, 2])
def test_steps_against_finite_differences(linear, factor):
    """Two iterations move the logits by SGD with momentum 0.9 along the gradient through the student's steps."""
    pre, packing = whitened("normalise", 4, factor=factor)
    rows = 0.1 * np.random.default_rng(3).normal(size=(1, 2, 147)).astype(np.float32)
    model = linear(48, 3)
    parts = {"model": model, "augment": None, "ipc": 1, "classes": 3}
    made = mtt.mtt(CONFIG, trajectories=Trajectories(lambda e, t: rows[e, t], 1, 1), **parts)
    real = preprocess.apply(pre, np.random.default_rng(4).integers(0, 256, (24, 4, 4, 3), np.uint8))
    data = Dataset(jnp.asarray(real), jnp.asarray(np.arange(24) % 3, jnp.int32), packing)
    segment = Segments(jnp.asarray(rows[:1, 0]), jnp.asarray(rows[:1, 1]))
    state, trace = made.init(jax.random.key(0), data), np.zeros(9)
    step = jax.jit(made.step)

    def student(shares, images, rate):
        """The student's steps in float64, by NumPy: a linear network and the softmax cross-entropy."""
        weights = jax.tree.map(lambda a: np.asarray(a, np.float64), flat(rows[0, 0]))
        kernel, bias = weights
        inputs = np.asarray(images, np.float64).reshape(len(images), -1)
        for _ in range(CONFIG.inner_steps):
            logits = inputs @ kernel + bias
            p = np.exp(logits - logits.max(1, keepdims=True))
            wrong = (p / p.sum(1, keepdims=True) - shares) / len(inputs)
            kernel, bias = kernel - rate * inputs.T @ wrong, bias - rate * wrong.sum(0)
        return kernel, bias

    def flat(theta):
        """(kernel, bias) of a flat vector."""
        tree = flattening(model)(jnp.asarray(theta))
        kernel, bias = sorted(jax.tree.leaves(tree), key=lambda a: -np.ndim(a))
        return np.asarray(kernel), np.asarray(bias)

    def loss(logits, images, rate):
        p = np.exp(logits.reshape(3, 3))
        shares = np.tile(p / p.sum(1, keepdims=True), (factor**2, 1))
        ends, starts, targets = (student(shares, images, rate), flat(rows[0, 0]), flat(rows[0, 1]))
        gap = sum(((a - b) ** 2).sum() for a, b in zip(ends, targets, strict=True))
        way = sum(((a.astype(float) - b) ** 2).sum() for a, b in zip(starts, targets, strict=True))
        return gap / way

    for number in (1, 2):
        logits = np.asarray(state.soft.logits, np.float64).ravel()
        seen = packing.decode(state.images), float(state.step_size)
        gradient = np.array(
            [
                (loss(logits + 1e-5 * e, *seen) - loss(logits - 1e-5 * e, *seen)) / 2e-5
                for e in np.eye(9)
            ]
        )
        trace = 0.9 * trace + gradient
        state, info = step(jax.random.key(number), state, data, segment)
        moved = np.ravel(state.soft.logits) - logits
        np.testing.assert_allclose(moved, -0.7 * trace, rtol=2e-3, atol=1e-3 * np.abs(trace).max())
        assert not info.skipped
    kept = made.extract(state)
    np.testing.assert_allclose(kept.soft, jax.nn.softmax(state.soft.logits), atol=1e-6)
    assert kept.labels.tolist() == [0, 1, 2]


def test_hard_labels_keep_none(linear):
    """The state of hard labels has no logits; soft ones without experts are nearly sure of the image's class."""
    labels = jnp.array([0, 2], jnp.int32)
    shares = np.asarray(soft.shares(soft.nearly_hard(labels, 3), labels))
    np.testing.assert_allclose(shares[[0, 1], [0, 2]], soft.SURE, rtol=1e-5)
    np.testing.assert_array_equal(soft.shares(None, labels), labels)


def test_they_begin_as_experts_see_the_images(linear):
    """The mean logits of the last snapshots, averaged over the images in one. Its own class changes places with another
    that experts prefer."""
    model, generator = linear(48, 3), np.random.default_rng(0)
    rows = generator.normal(size=(2, 3, 147)).astype(np.float32)
    read = Trajectories(lambda e, epochs: rows[e, epochs], 2, 2)
    images = jnp.asarray(generator.normal(size=(8, 4, 4, 3)), jnp.float32)
    labels = jnp.array([0, 1, 2, 0], jnp.int32)
    each = [model.apply(flattening(model)(jnp.asarray(r[2])), {}, images, False)[0] for r in rows]
    mean = np.mean(each, axis=0).reshape(2, 4, 3).mean(0)
    found = np.asarray(soft.of_experts(model, read, images, labels).logits)
    assert (mean.argmax(1) != labels).any() and (mean.argmax(1) == labels).any()
    for i, label in enumerate(labels.tolist()):
        expected, top = mean[i].copy(), int(mean[i].argmax())
        expected[[label, top]] = expected[[top, label]]
        np.testing.assert_allclose(found[i], expected, rtol=1e-4, atol=1e-5)
        assert found[i].argmax() == label


def test_networks_train_on_them():
    """The loss of shares is the cross-entropy to them; CutMix mixes them as it mixes classes."""
    shares = jnp.array([[0.7, 0.3], [0.2, 0.8]])
    logits = jnp.array([[1.0, -1.0], [0.5, 0.25]])
    expected = -(np.asarray(shares) * np.asarray(jax.nn.log_softmax(logits))).sum(1)
    np.testing.assert_allclose(train.cross_entropies(logits, shares), expected, rtol=1e-6)
    images, labels = jnp.zeros((4, 6, 6, 1)), jnp.arange(4) % 2
    for seed in range(4):
        one = cutmix(jax.random.key(seed), images, labels, 2)
        other = cutmix(jax.random.key(seed), images, jax.nn.one_hot(labels, 2), 2)
        np.testing.assert_array_equal(one[1], other[1])
    made = Synthetic(images, labels, jnp.float32(0.1))
    assert made.training.labels is labels
    assert made._replace(soft=jax.nn.one_hot(labels, 2)).training.labels.shape == (4, 2)


def test_a_file_keeps_them(tmp_path):
    """They are read back and decoded tile by tile; rows that are no distributions are refused."""
    pre, _ = whitened("normalise", 6)
    images = jnp.asarray(preprocess.apply(pre, np.full((2, 6, 6, 3), 100, np.uint8)))
    shares = jnp.array([[0.75, 0.25], [0.0, 1.0]], jnp.float32)
    made = Synthetic(images, jnp.array([0, 1], jnp.int32), jnp.float32(0.1), shares)
    path = tmp_path / "set.npz"
    share.save_set(path, made, pre, ("a", "b"), network=None, pack=2)
    shared = share.load_set(path)
    np.testing.assert_array_equal(shared.synthetic.soft, shares)
    for decoded in (share.decoded(shared), share.as_shared(shared)):
        np.testing.assert_array_equal(decoded.soft, np.tile(shares, (4, 1)))
        assert decoded.images.shape[0] == 8
    with np.load(path) as file:
        arrays = dict(file)
    for wrong in (shares[:1], -shares, 2 * shares, shares.astype(jnp.int32), shares * jnp.nan):
        np.savez(path, allow_pickle=False, **arrays | {"soft_labels": np.asarray(wrong)})
        with pytest.raises(UserError, match="soft_labels do not fit"):
            share.load_set(path)


@pytest.mark.slow
def test_a_run(tmp_path):
    """A run with soft labels is a row of its own, and its set scores alone as in its run."""
    values = {"dataset": launching.tiny("rgb"), "size": 8, "model": "mlp", "networks": 1}
    values |= {"iterations": 2, "eval_every": 2, "eval_epochs": 2, "interim_epochs": 2, "ipc": 2}
    values |= {"experts": 1, "max_start_epoch": 2, "lr_init": 0.0, "pack": 2, "labels": "soft"}
    values |= {"augment": "none", "expert_augment": "none", "eval_augment": False}
    result = medjax.run("mtt", medjax.settings("mtt", "quick", **values), tmp_path)
    assert result.soft_labels and result.kind == "mtt, packed 2 x 2, soft labels"
    log = [json.loads(line) for line in (result.folder / "log.jsonl").read_text().splitlines()]
    (searched,) = [row for row in log if row["phase"] == "search"]
    assert 1 / 3 < searched["own_class"] <= 1 and searched["step_size"] > 0
    saved = result.folder / "synthetic.npz"
    assert medjax.load_set(saved).synthetic.soft.shape == (6, 3)
    asked = medjax.evaluation_settings(saved, dataset=str(values["dataset"]), networks=1)
    alone = medjax.evaluate_saved(asked, tmp_path / "alone")
    assert alone.soft_labels and alone.test.accuracy.mean == result.test.accuracy.mean


@pytest.mark.parametrize(
    ("given", "words"),
    [({"labels": "soft"}, "compares hard labels"), ({"eval_recipe": "cutmix"}, "study's recipe")],
)
def test_no_ranking_of_soft_or_mixed_labels(tmp_path, given, words):
    """DD-Ranking's scores compare hard labels."""
    values = {"dataset": "phantom", "ranking": str(tmp_path)} | given
    with pytest.raises(UserError, match=words):
        medjax.run("mtt", medjax.settings("mtt", "quick", **values), tmp_path)
