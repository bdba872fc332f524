"""k-means selection: Lloyd against loops, what is chosen, where the features come from, and a run that is killed."""

import itertools
import json

import jax
import jax.numpy as jnp
import launching
import numpy as np
import pytest

import medjax
from medjax import cost, recipes
from medjax.distill import kmeans
from medjax.experts import ExpertsConfig
from medjax.models import ConvNetConfig, convnet
from medjax.models.base import flattening
from medjax.pipeline import real, trajectory_files
from medjax.recipes import Setup
from medjax.types import Dataset, Trajectories

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(60, 5)).astype(np.float32) + 3


def inertia(points, centres):
    """The sum of squared distances to the nearest centre, in float64."""
    each = points.astype(float)[:, None] - centres.astype(float)
    return (each**2).sum(-1).min(1).sum()


def lloyd_by_loops(points, centres):
    """Lloyd's iterations point by point in float64: every set of centres on the way."""
    points, centres, owners, way = points.astype(float), centres.astype(float), None, []
    while True:
        now = [int(np.argmin([np.sum((p - c) ** 2) for c in centres])) for p in points]
        if now == owners:
            return way
        owners, centres = now, centres.copy()
        for k in range(len(centres)):
            members = [p for p, owner in zip(points, owners, strict=True) if owner == k]
            if members:
                centres[k] = sum(members) / len(members)
        way.append(centres)


@pytest.mark.parametrize("seed", range(3))
def test_lloyd_against_loops(seed, monkeypatch):
    """From the same starts the same centres; on the way inertia never rises, and in the end it is lower."""
    draws = np.random.default_rng(seed).uniform(size=6)
    points = kmeans.points_of(POINTS)
    begun = kmeans.starts(draws, points)
    way = lloyd_by_loops(POINTS, begun)
    assert len(way) > 2
    np.testing.assert_allclose(kmeans.lloyd(points, begun), way[-1], rtol=1e-4)
    course = [inertia(POINTS, begun)]
    for i in range(len(way)):
        monkeypatch.setattr(kmeans, "MOST", i + 1)
        course.append(inertia(POINTS, kmeans.lloyd(points, begun)))
    assert all(b <= a * (1 + 1e-6) for a, b in itertools.pairwise(course))
    assert course[-1] < 0.9 * course[0]


def test_starts_are_drawn_in_proportion_to_the_squared_distance():
    """Points of the set, none twice while another is away from those drawn; how often the second is which."""
    begun = kmeans.starts(RNG.uniform(size=60), kmeans.points_of(POINTS))
    assert len(np.unique(begun, axis=0)) == 60
    line = kmeans.points_of(np.array([[0.0], [1.0], [3.0]], np.float32))
    # The first is 0 with draws below 1/3; of the others 1 and 9 parts in 10.
    second = [kmeans.starts(np.array([0.1, u]), line)[1, 0] for u in np.arange(0.05, 1, 0.1)]
    assert second == [1.0] + [3.0] * 9
    twins = kmeans.points_of(np.zeros((4, 2), np.float32))
    assert kmeans.starts(np.array([0.5, 0.5, 0.99]), twins).shape == (3, 2)
    assert sorted(kmeans.nearest(twins, kmeans.lloyd(twins, np.zeros((3, 2))))) == [0, 1, 2]


def test_blocks_choose_what_all_points_at_once_choose(monkeypatch):
    """The same starts, centres and images, bit for bit, however few points are in float64 at once."""

    def found():
        points = kmeans.points_of(POINTS)
        begun = kmeans.starts(np.linspace(0.05, 0.95, 6), points)
        return begun, kmeans.lloyd(points, begun), kmeans.nearest(points, begun)

    whole = found()
    monkeypatch.setattr(kmeans, "BLOCK", 7)
    for one, other in zip(whole, found(), strict=True):
        np.testing.assert_array_equal(one, other)


def clusters(sizes, classes=2):
    """Images of 2 x 2 pixels in tight clusters far from each other, every cluster of one class: (data, cluster)."""
    centres = 100 * RNG.permutation(len(sizes) * classes).reshape(classes, len(sizes))
    rows = [(c, k) for c in range(classes) for k, size in enumerate(sizes) for _ in range(size)]
    rows = [rows[i] for i in RNG.permutation(len(rows))]
    values = np.array([centres[row] for row in rows], float).reshape(-1, 1, 1, 1)
    images = jnp.asarray(values + RNG.uniform(size=(len(rows), 2, 2, 1)), jnp.float32)
    data = Dataset(images, jnp.asarray([c for c, _ in rows], jnp.int32))
    return data, np.array([k for _, k in rows]), np.asarray(images, float).reshape(len(rows), -1)


def test_every_cluster_is_hit_by_an_image_of_its_class():
    """However unequal the clusters are: one image of each, which random images nearly never are."""
    data, cluster, features = clusters([40, 2, 9, 1, 20])
    for seed in range(5):
        images, labels = kmeans.kmeans_images(
            kmeans.points_of(features), jax.random.key(seed), data, 5, 2
        )
        assert labels.tolist() == [0] * 5 + [1] * 5
        pixels, images = np.asarray(data.images), np.asarray(images)
        rows = [int(np.flatnonzero((pixels == image).all((1, 2, 3)))[0]) for image in images]
        assert np.asarray(data.labels)[rows].tolist() == labels.tolist()
        for first in (0, 5):
            assert sorted(cluster[rows[first : first + 5]]) == [0, 1, 2, 3, 4]
            mine = np.asarray(data.labels)[rows[first]]
            for row in rows[first : first + 5]:  # the nearest to its cluster's mean
                members = (cluster == cluster[row]) & (np.asarray(data.labels) == mine)
                mean = features[members].mean(0)
                distances = ((features[members] - mean) ** 2).sum(1)
                own = ((features[row] - mean) ** 2).sum()
                assert own == pytest.approx(distances.min(), rel=1e-3)


def test_no_image_twice_while_the_class_has_enough():
    """Asked for nearly all of a class, for all, and for more; equal keys choose the same, others other starts."""
    data, _, features = clusters([3, 4])

    def rows(ipc, seed=0):
        images, _ = kmeans.kmeans_images(
            kmeans.points_of(features), jax.random.key(seed), data, ipc, 2
        )
        return np.asarray(images).reshape(2, ipc, -1)

    for ipc in (1, 6, 7):
        assert all(len(np.unique(own, axis=0)) == ipc for own in rows(ipc))
    more = rows(10)
    np.testing.assert_array_equal(more[:, :3], more[:, 7:])
    np.testing.assert_array_equal(rows(4), rows(4))
    assert any(not np.array_equal(rows(4), rows(4, seed)) for seed in range(1, 4))
    before = features.copy()
    rows(4)
    np.testing.assert_array_equal(features, before)


@pytest.mark.parametrize("count", [1, 64, 70])
def test_features_of_all_images(count):
    """In chunks what one call gives, the padding dropped."""
    model = convnet(ConvNetConfig(width=4, depth=1), classes=2, size=8, channels=1)
    params, images = (
        model.init(jax.random.key(0))[0],
        jnp.asarray(RNG.normal(size=(count, 8, 8, 1))),
    )
    images = images.astype(jnp.float32)
    found = kmeans.embed(model, params, {}, images)
    at_once = jax.jit(model.features)(params, {}, images)
    np.testing.assert_allclose(found, at_once, rtol=1e-5, atol=1e-5)


def setup(model, **values):
    """The recipe's situation on 30 grey images of 8 x 8."""
    groups = medjax.settings("kmeans", preset="quick", size=8, **values).groups
    return Setup(groups, model, 3, 2, (30, 8, 8, 1))


def test_features_are_those_of_the_last_epoch_asked_for(linear):
    """Of expert 0, however much longer its trajectory is on disk."""
    model = convnet(ConvNetConfig(width=4, depth=1), classes=3, size=8, channels=1)
    count = sum(leaf.size for leaf in jax.tree.leaves(model.init(jax.random.key(0))[0]))
    rows = RNG.normal(size=(9, count)).astype(np.float32)
    asked = []

    def read(expert, epochs):
        asked.append((expert, list(epochs)))
        return rows[epochs]

    made = setup(model, expert_epochs=5)._replace(trajectories=Trajectories(read, 1, 5))
    images = jnp.asarray(RNG.normal(size=(30, 8, 8, 1)), jnp.float32)
    data = Dataset(images, jnp.arange(30, dtype=jnp.int32) % 3)
    select, key = recipes.find("kmeans").select(made, data), jax.random.key(0)
    assert asked == [(0, [5])]
    features = kmeans.embed(model, flattening(model)(jnp.asarray(rows[5])), {}, images)
    points = kmeans.points_of(features)
    for one, other in zip(
        select(key, data, 2, 3), kmeans.kmeans_images(points, key, data, 2, 3), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_costs_and_what_cannot_work(linear):
    """The expert and the features are counted beside what random images cost; each fault is one line."""
    model, recipe = linear(64, 3), recipes.find("kmeans")
    found = recipe.costs(setup(model, ipc=2)).work
    assert found["experts"] == 3 * model.flops * 3 * 30 and found["features"] == model.flops * 30
    random = recipes.find("random").costs(setup(model, ipc=2)).work
    assert found["evaluation"] == random["evaluation"]
    for wrong in (model._replace(separable=False), model._replace(features=None)):
        with pytest.raises(medjax.UserError, match="choose --model=convnet"):
            recipe.costs(setup(wrong))
    with pytest.raises(medjax.UserError, match=r"--experts=2: .* give --experts=1"):
        recipe.costs(setup(model, experts=2))
    with pytest.raises(medjax.UserError, match=r"--expert_epochs=0 .* give 1 or more"):
        recipe.costs(setup(model, expert_epochs=0))


@pytest.mark.parametrize("preset", ["paper", "public", "cpu", "quick"])
def test_the_expert_is_one_of_mtt(preset):
    """All that names experts is as in the same preset of MTT, and MTT reads at least as far; so nothing is trained
    twice."""
    mtt, mine = (medjax.settings(m, preset) for m in ("mtt", "kmeans"))
    one, other = (s.config(ExpertsConfig).__dict__ for s in (mtt, mine))
    differing = {name for name in one if one[name] != other[name]}
    assert differing <= {"experts", "expert_epochs"}
    made = Setup(mtt.groups, None, 8, 1, (100, 32, 32, 3))
    assert recipes.find("mtt").expert_epochs(made) == other["expert_epochs"]


VALUES = {"preset": "quick", "ipc": 2, "width": 4, "depth": 1, "size": 8, "expert_epochs": 2}
VALUES |= {"networks": 3, "eval_epochs": 4, "interim_networks": 1, "interim_epochs": 2}
VALUES |= {"expert_augment": "none", "eval_augment": False}


def start(folder, **more):
    """A small run."""
    chosen = medjax.settings("kmeans", dataset=launching.tiny("rgb"), **VALUES | more)
    return medjax.run("kmeans", chosen, folder)


def scores(folder):
    """result.json without the times."""
    (path,) = folder.glob("*/kmeans-*/result.json")
    return {k: v for k, v in json.loads(path.read_text()).items() if k != "seconds"}


@pytest.mark.slow
def test_a_run_that_is_killed_and_resumed(tmp_path, monkeypatch):
    """In the expert's training and in the networks' it ends with the same result; MTT finds the expert."""
    monkeypatch.setattr(cost, "matrix_rate", lambda: 1e10)
    monkeypatch.setitem(cost.WORK_PER_CALL, "cpu", launching.WORK / 100)
    seen, chosen = [], real.chosen

    def watched(*args):
        seen.append(np.asarray(chosen(*args).images))
        return chosen(*args)

    monkeypatch.setattr(real, "chosen", watched)
    result = start(tmp_path / "whole")
    assert (result.method, result.subsets, result.test.accuracy.n) == ("kmeans", 3, 3)
    assert set(result.seconds) == {"data", "experts", "select", "evaluate"}
    assert "k-means" in recipes.describe(result.kind).title and recipes.real(result.kind)
    assert len(seen) == 3 and not np.array_equal(seen[0], seen[1])
    shown = np.stack(seen[0]).reshape(6, -1)
    assert len(np.unique(shown, axis=0)) == 6

    save_epoch, save_step = trajectory_files.save_epoch, real.store.save_step
    for module, name, save, count in (
        (trajectory_files, "save_epoch", save_epoch, 2),
        (real.store, "save_step", save_step, 3),
    ):
        calls = []

        def dying(*args, save=save, count=count, calls=calls):
            save(*args)
            calls.append(args)
            if len(calls) == count:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(module, name, dying)
            with pytest.raises(KeyboardInterrupt):
                start(tmp_path / "killed")
    start(tmp_path / "killed")
    assert scores(tmp_path / "killed") == scores(tmp_path / "whole")

    (folder,) = (tmp_path / "whole").glob("*/experts-*")
    before = launching.contents(folder)
    words = {"iterations": 1, "experts": 1, "expert_sampling": "balanced", "inner_steps": 1}
    words |= {"max_start_epoch": 1, "expert_span": 1, "lr_init": 0.1}
    shared = {k: v for k, v in VALUES.items() if k != "expert_epochs"}
    values = medjax.settings("mtt", dataset=launching.tiny("rgb"), **shared | words)
    medjax.run("mtt", values, tmp_path / "whole")
    assert list((tmp_path / "whole").glob("*/experts-*")) == [folder]
    after = launching.contents(folder)
    trained = {name for name in before if "config.json" not in name and "lock" not in name}
    assert trained and all(after[name] == before[name] for name in trained)


@pytest.mark.slow
def test_packed_subsets(tmp_path, monkeypatch):
    """Four images to each stored one."""
    monkeypatch.setattr(cost, "matrix_rate", lambda: 1e10)
    result = start(tmp_path, ipc=1, pack=2)
    assert (result.pack, result.stored, result.decoded) == (2, 3, 12)
