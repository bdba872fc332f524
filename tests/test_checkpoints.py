"""Rolling series of saves: whatever happened to the newest, the one before it is used, and that is said."""

import shutil

import launching
import numpy as np
import pytest

from medjax import store

LIKE = {"a": np.zeros((40, 5), np.float32), "n": np.zeros((), np.int32)}


def tree(step):
    return {"a": np.full((40, 5), step, np.float32), "n": np.int32(step)}


def files(path):
    """The files of a save, the one with the arrays' bytes first."""
    found = [p for p in path.rglob("*") if p.is_file() and p.stat().st_size]
    found = [p for p in found if p.name != store.SUMS]
    return sorted(found, key=lambda p: (-p.stat().st_size, str(p)))


def flip(path):
    for file in files(path):
        data = file.read_bytes()
        middle = len(data) // 2
        file.write_bytes(data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :])


def cut(path):
    for file in files(path):
        file.write_bytes(file.read_bytes()[:10])


def lose_a_file(path):
    files(path)[0].unlink()


def empty(path):
    shutil.rmtree(path)
    path.mkdir()


@pytest.fixture
def series(tmp_path):
    for step in (2, 4, 6):
        store.save_step(tmp_path, step, tree(step))
    return tmp_path


def test_sound_series_gives_the_newest_and_says_nothing(series):
    step, found = store.load_latest(series, LIKE, pytest.fail)
    assert step == 6 and found["n"] == 6 and (found["a"] == 6).all()
    assert sorted(p.name for p in series.iterdir()) == ["00000004", "00000006"]
    assert store.load_latest(series / "none", LIKE, pytest.fail) is None


@pytest.mark.parametrize("harm", [flip, cut, lose_a_file, empty])
def test_damaged_newest_is_passed_over_and_said(series, harm):
    harm(series / "00000006")
    said = []
    step, found = store.load_latest(series, LIKE, said.append)
    assert step == 4 and (found["a"] == 4).all()
    assert len(said) == 1 and "\n" not in said[0]
    assert str(series / "00000006") in said[0] and "passed over" in said[0]
    assert [p.name for p in series.iterdir()] == ["00000004"]


def test_deleted_newest_leaves_the_one_before(series):
    shutil.rmtree(series / "00000006")
    assert store.load_latest(series, LIKE, pytest.fail)[0] == 4


def test_where_all_are_damaged_there_is_none(series):
    flip(series / "00000004")
    cut(series / "00000006")
    said = []
    assert store.load_latest(series, LIKE, said.append) is None
    assert len(said) == 2


def test_list_of_sums_that_is_lost_or_junk_is_no_loss(series):
    for junk in (None, b"", b"[]", b"{}"):
        path = series / "00000006" / store.SUMS
        path.unlink() if junk is None else path.write_bytes(junk)
        assert store.load_latest(series, LIKE, pytest.fail)[0] == 6


def test_arrays_of_another_shape_are_refused(tmp_path):
    store.save_tree(tmp_path / "pair", np.zeros((2, 5), np.float32))
    with pytest.raises(store.Damaged, match="another shape"):
        store.load_tree(tmp_path / "pair", np.zeros((1, 5), np.float32))


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path):
    """Wherever in a save the byte lies: what is loaded is what was saved."""
    rng, said, path = np.random.default_rng(0), [], tmp_path / "00000001"
    store.save_tree(path, tree(1))
    whole = launching.contents(path)
    for _ in range(60):
        name = rng.choice([n for n, (_, data) in whole.items() if data])
        data = bytearray(whole[name][1])
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        with open(name, "wb") as file:
            file.write(data)
        found = store.load_latest(tmp_path, LIKE, said.append)
        assert found is None or ((found[1]["a"] == 1).all() and found[1]["n"] == 1)
        if found is None:
            store.save_tree(path, tree(1))
            whole = launching.contents(path)
        else:
            (_, sound) = whole[name]
            with open(name, "wb") as file:
                file.write(sound)
    assert 5 < len(said) <= 60
