"""TGDD: what is cached of the real images, the loss and its gradient, the draws, and runs that share and resume."""

import functools

import jax
import jax.numpy as jnp
import launching
import numpy as np
import pytest

import medjax
from medjax import cost, store
from medjax.augment import DSA
from medjax.distill import moments, tgdd
from medjax.distill.moments import STATISTICS, Moments, Snapshot, Wanted
from medjax.distill.tgdd import TGDDConfig
from medjax.models.base import Model
from medjax.pipeline import moments as files
from medjax.pipeline import trajectory_files
from medjax.pipeline.experts import experts_folder
from medjax.pipeline.folders import home
from medjax.pipeline.progress import Silent
from medjax.pipeline.session import load_data, open_session
from medjax.types import Trajectories


def deviations(values):
    return np.sqrt(((values - values.mean(0)) ** 2).mean(0))


@pytest.fixture(scope="module")
def two_layers():
    """(features, classes) -> a network whose features are tanh(x W), 6 of them, with a last layer above."""

    def model(features, classes):
        def init(key):
            first, last = jax.random.split(key)
            w = 0.3 * jax.random.normal(first, (features, 6))
            return {"v": jax.random.normal(last, (6, classes)), "w": w}, {}

        def embed(params, model_state, images):
            return jnp.tanh(images.reshape(images.shape[0], -1) @ params["w"])

        def apply(params, model_state, images, train):
            return embed(params, model_state, images) @ params["v"], model_state

        return Model(init, apply, 2.0 * features * 6, separable=True, features=embed)

    return model


def unravelled(row, features, classes):
    """(v, w) of a row of parameters of `two_layers`, in float64."""
    row = np.asarray(row, np.float64)
    return row[: 6 * classes].reshape(6, classes), row[6 * classes :].reshape(features, 6)


# --- what is cached


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("augment", [DSA(), None])
def test_cached_moments_are_those_of_a_loop_over_all_images(two_layers, name, augment):
    """Each image by itself through NumPy's network, under the draw of its class; unbalanced classes, the last pieces
    padded."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(3), [24, 15, 6]))
    images = rng.normal(size=(45, 4, 4, 3)).astype(np.float32)
    model, key = two_layers(48, 3), jax.random.key(1)
    row = 0.3 * rng.normal(size=48 * 6 + 18).astype(np.float32)
    groups = moments.cut(labels, at_once=3, size=7)
    assert sum(int(p.weights.sum()) for p in groups) == 45
    assert len({p.rows.shape for p in groups}) == 1 and len(groups) > 1
    told, wanted, real = [], Wanted(name, augment, 2, 1), jnp.asarray(images)
    found = moments.of_snapshot(
        wanted, model, key, (4, 5), row, real, groups, 3, lambda done: told.append(done)
    )
    assert told == [1, 2] and found.means.dtype == np.float32
    _, w = unravelled(row, 48, 3)
    embedded, change = [], augment and jax.jit(functools.partial(augment, siamese=True))
    for draw in range(2):
        keys, own = moments.draw_keys(key, draw, 3), []
        for image, label in zip(images, labels, strict=True):
            seen = image[None]
            seen = seen if change is None else change(keys[label], seen)
            own.append(np.tanh(np.asarray(seen, np.float64).reshape(-1) @ w))
        embedded.append(np.asarray(own))
    scale = np.linalg.norm(embedded[0], axis=1).mean()
    assert found.scale == pytest.approx(scale if name == "characteristic" else 1, rel=1e-5)
    waves = np.asarray(moments.frequencies(key, 4, 5, 6, 1.0), np.float64) / scale
    of = {
        "means": lambda x: x,
        "moments": lambda x: np.concatenate([x, x**2], 1),
        "characteristic": lambda x: np.concatenate([np.cos(x @ waves), np.sin(x @ waves)], 1),
    }
    expected = [[of[name](x[labels == c]).mean(0) for c in range(3)] for x in embedded]
    np.testing.assert_allclose(found.means, expected, atol=2e-6)


def test_draws_and_frequencies_are_those_of_their_snapshot():
    """A draw is the same for all snapshots and differs by class; frequencies differ by snapshot, and more draws leave
    the first ones as they are."""
    key = jax.random.key(0)
    data = [jax.random.key_data(moments.draw_keys(key, a, 3)) for a in range(3)]
    assert len({tuple(row.tolist()) for keys in data for row in keys}) == 9
    one = moments.frequencies(key, 0, 1, 6, 2.0)
    for other in ((1, 0), (0, 0), (1, 1)):
        assert not np.allclose(one, moments.frequencies(key, *other, 6, 2.0))
    assert np.std(one) == pytest.approx(0.5, rel=0.05)


# --- the loss


@pytest.mark.parametrize("name,ce", [("means", 0.0), *((name, 0.7) for name in STATISTICS)])
def test_loss_and_gradient_of_an_iteration(two_layers, jitter, name, ce):
    """A whole step in float64 against the equation in NumPy, and finite differences of that."""
    rng, classes, ipc, rate = np.random.default_rng(2), 3, 2, 0.1
    with jax.enable_x64(True):
        model, key = two_layers(16, classes), jax.random.key(3)
        rows = 0.5 * rng.normal(size=(5, 16 * 6 + 18))
        real = [np.tanh(rng.normal(size=(8, 6))) for _ in range(classes)]
        waves = np.asarray(moments.frequencies(key, 1, 2, 6, 1.7))
        of = {
            "means": (lambda x: x.mean(0), lambda x: x.mean(0)),
            "moments": (
                lambda x: np.concatenate([x.mean(0), (x**2).mean(0)]),
                lambda x: np.concatenate([x.mean(0), deviations(x)]),
            ),
            "characteristic": (
                lambda x: np.append(np.cos(x @ waves).mean(0), np.sin(x @ waves).mean(0)),
                lambda x: np.append(np.cos(x @ waves).mean(0), np.sin(x @ waves).mean(0)),
            ),
        }
        cached, described = of[name]
        means = np.stack([cached(x) for x in real])
        level = np.stack([described(x) if name == "characteristic" else x.mean(0) for x in real])
        level = ((level - level.mean(0)) ** 2).sum(1).mean()
        config = TGDDConfig(lr_img=rate, img_momentum=0, statistics=name, ce=ce, max_start_epoch=2)
        method = tgdd.tgdd(
            config,
            model=model,
            augment=jitter,
            trajectories=Trajectories(lambda e, t: rows[t], 1, 4),
            moments=Moments(lambda e, s: Snapshot(means[None], 1.7), jax.random.key_data(key)),
            ipc=ipc,
            classes=classes,
        )
        keys = moments.draw_keys(key, 6, classes)
        shifts = [0.2 * float(jax.random.normal(k, (1,))[0]) for k in keys]

        def loss(images):
            total = 0.0
            for c in range(classes):
                seen = images[ipc * c : ipc * (c + 1)].reshape(ipc, -1) + shifts[c]
                (_, w), (v, later) = (unravelled(rows[t], 16, classes) for t in (2, 4))
                gap = described(real[c]) - described(np.tanh(seen @ w))
                odds = np.exp(np.tanh(seen @ later) @ v)
                named = np.log(odds / odds.sum(1, keepdims=True))[:, c]
                total += (gap**2).sum() / level - ce * named.mean()
            return total

        images = rng.normal(size=(classes * ipc, 4, 4, 1))
        data = medjax.Dataset(jnp.zeros((3, 4, 4, 1)), jnp.arange(3, dtype=jnp.int32))
        state = method.init(jax.random.key(0), data)._replace(images=jnp.asarray(images))
        item = tgdd.Matched(rows[2], rows[4], means, 1.7, jax.random.key_data(key), 1, 2, 6)
        item = jax.tree.map(jnp.asarray, item)
        after, info = jax.jit(method.step)(jax.random.key(9), state, data, item)
        np.testing.assert_allclose(info.loss, loss(images), rtol=1e-9)
        gradient = (images - np.asarray(after.images)) / rate
        for _ in range(3):
            way = rng.normal(size=images.shape)
            slope = (loss(images + 1e-5 * way) - loss(images - 1e-5 * way)) / 2e-5
            np.testing.assert_allclose((gradient * way).sum(), slope, rtol=1e-6)
        np.testing.assert_allclose(info.grad_images, np.linalg.norm(gradient), rtol=1e-9)


def test_one_image_has_no_deviation_and_a_finite_gradient():
    """The root of a variance of zero; and class means that are equal divide by 1."""
    statistics, images = STATISTICS["moments"], jnp.asarray([[0.3, 0.0, -2.0]])

    def described(features):
        return statistics.describe(statistics.of_images(features, None).mean(0))

    np.testing.assert_allclose(described(images), [0.3, 0, -2, 0, 0, 0], atol=1e-7)
    np.testing.assert_array_equal(jax.jacobian(described)(images)[3:], 0)
    assert moments.spread(statistics, jnp.ones((3, 6))) == 1
    assert moments.spread(statistics, jnp.asarray([[0.0, 5.0], [2.0, 50.0]])) == 1


def test_what_iterations_draw():
    """Every expert, start below T+, later epoch up to ``ahead`` and to the last one, and draw; the same for an
    iteration whatever else is drawn with it."""
    config = TGDDConfig(max_start_epoch=5, ahead=3, draws=2)
    experts, starts, later, draws = (
        np.asarray(a)
        for a in tgdd.draw_snapshots(config, 3, 6, 2, jax.random.key(0), jnp.arange(600))
    )
    assert set(experts) == {0, 1, 2} and set(draws) == {0, 1}
    pairs = {(s, e) for s in range(5) for e in range(s, min(s + 3, 6) + 1)}
    assert set(zip(starts.tolist(), later.tolist(), strict=True)) == pairs
    again = tgdd.draw_snapshots(config, 3, 6, 2, jax.random.key(0), jnp.arange(7, 9))
    assert [int(a[0]) for a in again] == [a[7] for a in (experts, starts, later, draws)]


def test_mistakes_are_one_line(linear):
    """A network with batch statistics, one that hides its features, and experts that are too short."""
    model = linear(4, 2)
    for config, wrong, epochs, said in (
        (TGDDConfig(), model._replace(separable=False), 25, "without batch statistics"),
        (TGDDConfig(), model._replace(features=None), 25, "with features"),
        (TGDDConfig(max_start_epoch=9), model, 7, "reach epoch 7, .*=9 read epoch 8: train longer"),
    ):
        with pytest.raises(medjax.UserError, match=said):
            tgdd.check(config, wrong, epochs)
    tgdd.check(TGDDConfig(max_start_epoch=9), model, 8)


# --- files

SMALL = {"size": 4, "depth": 1, "whiten": "normalise", "expert_epochs": 3, "max_start_epoch": 2}
SMALL |= {"augment": "flip"}


@pytest.fixture
def compute(tmp_path, linear, monkeypatch):
    """compute(**values): the moments of a session with linear networks, and which (expert, epoch)s were computed."""
    rows = np.random.default_rng(0).normal(size=(3, 5, 147)).astype(np.float32)
    model = linear(48, 3)

    def compute(stop=None, **values):
        asked = medjax.settings("tgdd", "quick", launching.tiny("rgb"), **SMALL | values)
        raw = load_data(asked, Silent())
        session = open_session(asked, raw, home(tmp_path, raw) / "run", Silent())
        session = session._replace(model=model)
        setup = session.setup()
        wanted, said, made = medjax.recipes.find("tgdd").moments(setup), [], []
        monkeypatch.setattr(Silent, "say", lambda self, text: said.append(text))

        def append(path, **row):
            store_append(path, **row)
            made.append((row["expert"], row["epoch"]))
            if made[-1] == stop:
                raise KeyboardInterrupt

        store_append = store.append_log
        read = Trajectories(lambda e, t: rows[e, t], asked.values()["experts"], 3)
        with monkeypatch.context() as patch:
            patch.setattr(store, "append_log", append)
            try:
                found = files.compute_moments(session, read, wanted)
            except KeyboardInterrupt:
                return None, made, said
        places = [(e, s) for e in range(read.experts) for s in range(wanted.snapshots)]
        values = {place: found.read(*place).means for place in places}
        folder = files.moments_folder(session, wanted)
        assert folder.parent == experts_folder(session)
        assert files.moments_seconds(session, wanted) >= 0
        return values, made, folder if not said else (folder, said)

    return compute


def test_moments_are_computed_once_and_grow(compute):
    """By all runs that share the experts, whatever their IPC, packing and seed; more or longer experts add files."""
    first, made, folder = compute(experts=1)
    assert made == [(0, 0), (0, 1)]
    for same in ({"ipc": 3}, {"pack": 2}, {"seed": 0, "expert_seed": 0}, {"lr_img": 1.0}):
        again, made, place = compute(experts=1, **same)
        assert made == [] and place == folder
        np.testing.assert_array_equal(again[0, 1], first[0, 1])
    assert compute(experts=1, seed=7, expert_seed=0)[1] == []
    assert compute(experts=2)[1] == [(1, 0), (1, 1)]
    assert compute(experts=2, max_start_epoch=3)[1] == [(0, 2), (1, 2)]
    for other in ({"seed": 7}, {"draws": 3}, {"statistics": "moments"}, {"augment": "color"}):
        found, made, place = compute(experts=1, **other)
        assert len(made) == 2 and place != folder
    assert found[0, 0].shape == first[0, 0].shape == (4, 3, 48)
    assert compute(experts=1, augment="none")[0][0, 0].shape == (1, 3, 48)


def test_killed_and_damaged_moments_are_made_again(compute):
    """What was finished before a kill stays; a file that is damaged, or of another shape, is named and made again."""
    assert compute(experts=2, stop=(0, 1))[1] == [(0, 0), (0, 1)]
    whole, made, folder = compute(experts=2)
    assert made == [(1, 0), (1, 1)]
    path = folder / "expert-0001-e0000.npz"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    np.savez(folder / "expert-0000-e0001.npz", means=np.zeros((4, 3, 5)), scale=1.0)
    again, made, (_, said) = compute(experts=2)
    assert made == [(0, 1), (1, 0)] and path.read_bytes() == content
    assert len(said) == 2 and all("made again" in line for line in said) and path.name in said[1]
    for place, means in whole.items():
        np.testing.assert_array_equal(again[place], means)
    assert not list(folder.glob("*.tmp"))


def test_moments_of_a_damaged_expert_go_with_it(tmp_path):
    """It may be trained again to other numbers; those of the other experts stay."""
    names = [f"expert-000{i}-e000{s}.npz" for i in (0, 1) for s in (0, 1)]
    for index in (0, 1):
        trajectory_files.save_expert(tmp_path, index, np.ones((2, 5), np.float32))
    for name in names:
        store.write_arrays(tmp_path / "moments-means-0a" / name, means=np.ones(3), scale=1.0)
    (tmp_path / "expert-0001-e0001" / "sums.json").write_text('{"gone": "0"}')
    said = []
    read = trajectory_files.cached(tmp_path, 1, 5)
    stored = [trajectory_files.epochs_stored(tmp_path, i, read, said.append) for i in (0, 1)]
    assert stored == [1, 0] and len(said) == 1
    assert sorted(p.name for p in tmp_path.glob("moments-*/*")) == names[:2]


def test_moments_of_an_expert_that_changed_go_with_it(tmp_path):
    """Experts with momentum are trained anew to become longer. What was computed of one stays where its epochs are the
    same bits."""
    store_moments = ["expert-0000-e0000.npz", "expert-0001-e0000.npz"]
    for index in (0, 1):
        trajectory_files.save_expert(tmp_path, index, np.ones((2, 5), np.float32))
        place = tmp_path / "moments-means-0a" / store_moments[index]
        store.write_arrays(place, means=np.ones(3), scale=1.0)
    longer = np.ones((3, 5), np.float32)
    trajectory_files.save_expert(tmp_path, 0, longer)
    longer[1, 2] = 1.5
    trajectory_files.save_expert(tmp_path, 1, longer)
    assert [p.name for p in tmp_path.glob("moments-*/*")] == store_moments[:1]
    assert sorted(p.name for p in tmp_path.glob("expert-*")) == [
        "expert-0000-e0002",
        "expert-0001-e0002",
    ]


def test_an_expert_is_read_once(tmp_path, monkeypatch):
    """By what counts its epochs and by what reads them."""
    trajectory_files.save_expert(tmp_path, 0, np.arange(10, dtype=np.float32).reshape(2, 5))
    loads, load = [], trajectory_files._read
    monkeypatch.setattr(trajectory_files, "_read", lambda *a: loads.append(a) or load(*a))
    read = trajectory_files.cached(tmp_path, 1, 5)
    assert trajectory_files.epochs_stored(tmp_path, 0, read, print) == 1
    rows = trajectory_files.reader(tmp_path, 1, 1, read).read(0, np.arange(2))
    np.testing.assert_array_equal(rows, np.arange(10).reshape(2, 5))
    assert len(loads) == 1


# --- whole runs

#: A run of seconds. Its networks are perceptrons, which compile in no time.
RUN = {"preset": "quick", "model": "mlp", "mlp_width": 8, "size": 8, "whiten": "normalise"}
RUN |= {"experts": 2, "max_start_epoch": 2, "ahead": 1, "draws": 2, "expert_batch": 30}
RUN |= {"iterations": 6, "eval_every": 3, "networks": 2, "eval_epochs": 3}
RUN |= {"interim_networks": 2, "interim_epochs": 3}


@pytest.fixture
def run(monkeypatch):
    """run(folder, stop=..., **values): the result, or None where it was stopped at a row of a log."""
    monkeypatch.setitem(cost.WORK_PER_CALL, "cpu", 1e8)
    monkeypatch.setattr(cost, "matrix_rate", lambda: 1e10)

    def run(folder, stop=None, seeds=1, **values):
        settings = medjax.settings("tgdd", **RUN | {"dataset": launching.tiny("rgb")} | values)

        def append(path, **row):
            kept(path, **row)
            if stop and stop.items() <= row.items():
                raise InterruptedError

        kept = store.append_log
        with monkeypatch.context() as patch:
            patch.setattr(store, "append_log", append)
            try:
                results = medjax.run_seeds("tgdd", settings, folder, seeds)
            except InterruptedError:
                return None
        return results if seeds > 1 else results[0]

    return run


def plain(result):
    return {k: v for k, v in result.to_json().items() if k != "seconds"}


@pytest.mark.slow
def test_stopped_runs_end_as_the_run_in_one_go(run, tmp_path, monkeypatch):
    """Inside the experts, the moments and the distillation; and what the phases took is in the result."""
    monkeypatch.setitem(cost.WORK_PER_CALL, "cpu", 1e6)  # several calls
    whole = run(tmp_path / "whole")
    assert {"data", "experts", "moments", "distill", "evaluate"} == set(whole.seconds)
    place = tmp_path / "stopped"
    for stop in (
        {"phase": "experts", "epoch": 1},
        {"phase": "moments", "expert": 1, "epoch": 0},
        {"phase": "distill", "iteration": 4},
    ):
        assert run(place, stop=stop) is None
    again = run(place)
    assert plain(again) == plain(whole)
    mine, theirs = ((r.folder / "synthetic.npz").read_bytes() for r in (again, whole))
    assert mine == theirs
    (log,) = place.glob("*/experts-*/moments-*/log.jsonl")
    rows = [(row["expert"], row["epoch"]) for row in store.read_log(log)]
    assert rows == [(0, 0), (0, 1), (1, 0), (1, 1)], "none was computed twice"


@pytest.mark.slow
def test_seeds_share_experts_and_moments(run, tmp_path):
    """With --expert_seed, two seeds side by side, and a third alone at another IPC, read the files of the first."""
    two = run(tmp_path, seeds=2, expert_seed=0)
    third = run(tmp_path, seed=5, expert_seed=0, ipc=2)
    assert [r.seed for r in (*two, third)] == [0, 1, 5]
    assert all(r.to_json()["expert_seed"] == 0 for r in (*two, third))
    (log,) = tmp_path.glob("*/experts-*/moments-*/log.jsonl")
    assert len(store.read_log(log)) == 4
    images = [medjax.load_set(r.folder / "synthetic.npz").synthetic.images for r in two]
    assert not np.allclose(*images)
    own = run(tmp_path, seed=1)
    assert "expert_seed" not in own.to_json()
    assert len(list(tmp_path.glob("*/experts-*-seed1-*/moments-*"))) == 1


@pytest.mark.slow
def test_the_phantom_set_is_distilled(run, tmp_path):
    """A short run at one image per class beats the random images that it began with."""
    found = run(
        tmp_path,
        dataset="phantom",
        size=16,
        mlp_width=32,
        experts=2,
        max_start_epoch=3,
        ahead=2,
        iterations=400,
        eval_every=400,
        networks=5,
        select="last",
        eval_epochs=100,
        interim_networks=1,
    )
    assert found.test.balanced_accuracy.mean > found.start.balanced_accuracy.mean + 0.03
