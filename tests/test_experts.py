"""Groups of experts that are cut short at awkward moments are finished as if nothing had happened."""

import launching
import numpy as np
import pytest

from medjax import experts, settings, store
from medjax.pipeline import folders, trajectory_files
from medjax.pipeline.experts import experts_folder, train_experts
from medjax.pipeline.progress import Silent
from medjax.pipeline.session import load_data, open_session

#: Options of the tiny set's preprocessing, and of the run.
SMALL = {"size": 4, "depth": 1, "whiten": "normalise", "expert_epochs": 2, "max_start_epoch": 2}


@pytest.fixture
def make_session(linear):
    """A session on the tiny colour set with linear networks."""

    def make(out, **values):
        asked = settings("mtt", "quick", str(launching.tiny("rgb")), **SMALL, **values)
        raw = load_data(asked, Silent())
        session = open_session(asked, raw, folders.home(out, raw) / "experts", Silent())
        return session._replace(model=linear(4 * 4 * 3, 3))

    return make


@pytest.fixture
def train(tmp_path, monkeypatch, make_session):
    """train(out, count, cut=..., group=...): experts of two epochs, [e, t, p], and the (group, epoch) rows that
    training them logged. cut: what the run dies of saving. group: experts side by side."""

    def train(out, count, cut=None, group=2):
        def save(path, tree):
            if path.name == cut:
                raise KeyboardInterrupt
            store.save_tree(path, tree)

        fake = {name: getattr(store, name) for name in ("load_tree", "Damaged")}
        fake = type("Fake", (), fake | {"save_tree": staticmethod(save)})
        monkeypatch.setattr(trajectory_files, "store", fake)
        monkeypatch.setattr(experts, "group_size", lambda: group)
        session = make_session(tmp_path / out, experts=count)
        log = experts_folder(session) / "log.jsonl"
        before = len(store.read_log(log))
        try:
            read = train_experts(session, 2).read
        finally:
            rows = [(row["group"], row["epoch"]) for row in store.read_log(log)[before:]]
        return np.stack([read(i, np.arange(3)) for i in range(count)]), rows

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


def test_one_more_than_a_killed_group_was_of(train):
    """Killed with an odd one alone in its group, then asked for a full one."""
    whole, _ = train("whole", 4)
    with pytest.raises(KeyboardInterrupt):
        train("cut", 3, cut="expert-0002-e0002")
    np.testing.assert_array_equal(train("cut", 4)[0], whole)
