"""Groups of experts that are cut short at awkward moments are finished as if nothing had happened."""

import launching
import numpy as np
import pytest

from medjax import experts, settings, store
from medjax.pipeline import folders, trajectory_files
from medjax.pipeline.experts import experts_folder, experts_seconds, train_experts
from medjax.pipeline.progress import Silent
from medjax.pipeline.session import load_data, open_session

#: Options of the tiny set's preprocessing, and of the run.
SMALL = {"size": 4, "depth": 1, "whiten": "normalise", "expert_epochs": 2, "max_start_epoch": 2}
SMALL |= {"expert_augment": "flip"}  # what is drawn matters here, and DSA compiles for long


@pytest.fixture
def make_session(linear):
    """A session on the tiny colour set with linear networks."""

    def make(out, **values):
        asked = settings("mtt", "quick", str(launching.tiny("rgb")), **SMALL | values)
        raw = load_data(asked, Silent())
        session = open_session(asked, raw, folders.home(out, raw) / "experts", Silent())
        return session._replace(model=linear(4 * 4 * 3, 3))

    return make


@pytest.fixture
def train(tmp_path, monkeypatch, make_session):
    """train(out, count, cut=..., group=...): experts of two epochs, [e, t, p], and the (group, epoch) rows that
    training them logged. cut: what the run dies of saving. group: experts side by side."""

    def train(out, count, cut=None, group=2, epochs=2, **values):
        def save(path, tree):
            if path.name == cut:
                raise KeyboardInterrupt
            store.save_tree(path, tree)

        fake = {name: getattr(store, name) for name in ("load_tree", "Damaged")}
        fake = type("Fake", (), fake | {"save_tree": staticmethod(save)})
        monkeypatch.setattr(trajectory_files, "store", fake)
        monkeypatch.setattr(experts, "group_size", lambda: group)
        session = make_session(tmp_path / out, experts=count, **values)
        log = experts_folder(session) / "log.jsonl"
        before = len(store.read_log(log))
        try:
            read = train_experts(session, epochs).read
        finally:
            rows = [(row["group"], row["epoch"]) for row in store.read_log(log)[before:]]
        return np.stack([read(i, np.arange(epochs + 1)) for i in range(count)]), rows

    return train


def test_killed_between_two_experts_that_are_stored(train):
    """The second of a pair is neither trained again nor taken for the first."""
    whole, _ = train("whole", 2)
    with pytest.raises(KeyboardInterrupt):
        train("cut", 2, cut="expert-0001-e0002")
    again, rows = train("cut", 2)
    assert rows == []
    np.testing.assert_array_equal(again, whole)
    assert not np.array_equal(whole[0], whole[1])


@pytest.mark.parametrize("group", [1, 2])
def test_killed_and_continued_on_another_number_of_devices(train, group):
    """Fewer go on from what the larger group left; more begin anew. The experts are the same ones."""
    whole, _ = train("whole", 2, group=group)
    with pytest.raises(KeyboardInterrupt):
        train("cut", 2, cut="00000002", group=3 - group)
    again, rows = train("cut", 2, group=group)
    np.testing.assert_array_equal(again, whole)
    assert rows == ([(0, 2), (1, 2)] if group == 1 else [(0, 0), (0, 1), (0, 2)])


def test_seconds_are_those_of_the_experts_that_a_run_uses(make_session, tmp_path, monkeypatch):
    """Not of others in their folder, nor of later epochs; of every run that trained a part."""
    monkeypatch.setattr(experts, "group_size", lambda: 2)
    session = make_session(tmp_path, experts=3)
    rows = [(0, 2, 1.0), (0, 2, 2.0), (0, 3, 4.0), (1, 1, 8.0), (2, 1, 16.0)]
    for group, epoch, seconds in rows:
        log = experts_folder(session) / "log.jsonl"
        store.append_log(log, phase="experts", group=group, epoch=epoch, seconds=seconds)
    store.append_log(log, phase="experts on val", epoch=2, seconds=32.0)
    assert experts_seconds(session, 2) == 1 + 2 + 8 + 32
    assert experts_seconds(make_session(tmp_path, experts=5), 3) == sum(r[2] for r in rows) + 32


def test_one_more_than_a_killed_group_was_of(train):
    """Killed with an odd one alone in its group, then asked for a full one."""
    whole, _ = train("whole", 4)
    with pytest.raises(KeyboardInterrupt):
        train("cut", 3, cut="expert-0002-e0002")
    np.testing.assert_array_equal(train("cut", 4)[0], whole)


def test_momentum_survives_a_kill(train):
    """Experts with momentum go on from a killed epoch with the same bits; longer ones are trained from their start,
    because a finished trajectory holds no momentum."""
    heavy = {"expert_momentum": 0.9, "expert_weight_decay": 0.01}
    whole, _ = train("whole", 2, **heavy)
    plain, _ = train("plain", 2)
    assert not np.allclose(whole[:, 1], plain[:, 1])
    with pytest.raises(KeyboardInterrupt):
        train("cut", 2, cut="00000002", **heavy)
    again, rows = train("cut", 2, **heavy)
    assert rows == [(0, 2)]
    np.testing.assert_array_equal(again, whole)
    longer, rows = train("cut", 2, epochs=3, **heavy)
    assert rows == [(0, 0), (0, 1), (0, 2), (0, 3)]
    np.testing.assert_array_equal(longer[:, :3], whole)


def test_momentum_and_weight_decay_are_those_of_pytorch(train, make_session, tmp_path):
    """Two epochs of one batch without augmentation against NumPy: v = 0.9 v + g + 0.01 theta, theta -= 0.1 v."""
    rows, _ = train(
        "numpy",
        1,
        expert_momentum=0.9,
        expert_weight_decay=0.01,
        expert_augment="none",
        expert_batch=60,
        expert_lr=0.1,
        expert_sampling="shuffled",
    )
    data, theta = make_session(tmp_path / "data").train, rows[0].astype(float)
    x, truth = np.asarray(data.images).reshape(60, -1), np.eye(3)[np.asarray(data.labels)]
    velocity = 0.0
    for epoch in range(2):
        bias, weights = theta[epoch, :3], theta[epoch, 3:].reshape(-1, 3)
        odds = np.exp(x @ weights + bias)
        error = (odds / odds.sum(1, keepdims=True) - truth) / 60
        gradient = np.concatenate([error.sum(0), (x.T @ error).ravel()])
        velocity = 0.9 * velocity + gradient + 0.01 * theta[epoch]
        np.testing.assert_allclose(theta[epoch + 1], theta[epoch] - 0.1 * velocity, atol=1e-5)


def test_the_names_of_large_groups(tmp_path):
    """Eighty experts of eight GPUs, and what is left of a group: a name that a folder can have, read back."""
    for members in (list(range(80)), [0, 1, 3, 80, 81], [7]):
        trajectory_files.save_epoch(tmp_path, members, 0, np.zeros((len(members), 2), np.float32))
        (path,) = tmp_path.iterdir()
        assert len(path.name) < 100
        assert trajectory_files._groups(tmp_path) == [(path, members)]
        trajectory_files.remove_epochs(tmp_path, members)
        assert not list(tmp_path.iterdir())
    (tmp_path / "group-0000-0003").mkdir()  # of an earlier version
    assert trajectory_files._groups(tmp_path) == [(tmp_path / "group-0000-0003", [0, 3])]
