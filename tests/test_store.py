"""The files of a run's folder: whole or not at all, strict JSON, logs that survive a kill, and the lock."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import launching
import numpy as np
import pytest

from medjax import locks, provenance, store
from medjax.errors import UserError


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    """Whatever fails before the renaming, the reader sees what was there."""
    path = tmp_path / "deep" / "value.json"
    store.write_json(path, {"a": 1})

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        store.write_json(path, {"a": 2})
    assert store.read_json(path) == {"a": 1}
    monkeypatch.undo()
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        store.write_bytes(path, b"half")
    assert store.read_json(path) == {"a": 1}
    monkeypatch.undo()
    store.write_json(path, {"a": 3})
    assert store.read_json(path) == {"a": 3}
    assert [p.name for p in path.parent.iterdir()] == ["value.json"]


def test_value_that_is_no_json_leaves_the_old_file(tmp_path):
    """The text is made before the file is touched."""
    path = tmp_path / "value.json"
    store.write_json(path, [1])
    with pytest.raises(TypeError):
        store.write_json(path, {"a": object()})
    assert store.read_json(path) == [1]


def test_json_is_strict(tmp_path):
    """NaN and infinities become null, also inside arrays and tuples; NumPy's numbers become plain ones."""
    path = tmp_path / "value.json"
    value = {
        "nan": float("nan"),
        "list": [1.5, float("inf"), (float("-inf"), 2)],
        "array": np.array([[1.0, np.nan]]),
        "scalar": np.float32(0.5),
        "count": np.int64(3),
        "none": None,
        "yes": True,
    }
    store.write_json(path, value)
    plain = {
        "nan": None,
        "list": [1.5, None, [None, 2]],
        "array": [[1.0, None]],
        "scalar": 0.5,
        "count": 3,
        "none": None,
        "yes": True,
    }
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == plain
    assert store.read_json(path) == plain


def test_missing_and_broken_json_read_as_none(tmp_path):
    """A file that is not whole counts as not there."""
    path = tmp_path / "value.json"
    assert store.read_json(path) is None
    path.write_text('{"a": 1')
    assert store.read_json(path) is None


def test_equal_arrays_give_equal_bytes(tmp_path):
    """Two writes at different times are the same file, and load without pickles."""
    arrays = {"a": np.arange(6.0).reshape(2, 3), "name": np.array(["x", "yz"])}
    store.write_arrays(tmp_path / "a.npz", **arrays)
    time.sleep(2.1)  # a zip archive counts time in steps of two seconds
    store.write_arrays(tmp_path / "b.npz", **arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as z:
        assert sorted(z.files) == ["a", "name"]
        np.testing.assert_array_equal(z["a"], arrays["a"])


def test_log_goes_on_after_a_line_cut_short(tmp_path):
    """The cut line is lost, the rows before and after it are not."""
    path = tmp_path / "log" / "log.jsonl"
    assert store.read_log(path) == []
    store.append_log(path, phase="a", loss=float("nan"))
    store.append_log(path, phase="b")
    path.write_bytes(path.read_bytes()[:-5])
    assert [row["phase"] for row in store.read_log(path)] == ["a"]
    store.append_log(path, phase="c")
    store.append_log(path, phase="d")
    rows = store.read_log(path)
    assert [row["phase"] for row in rows] == ["a", "c", "d"]
    assert rows[0]["loss"] is None
    assert all(abs(row["time"] - time.time()) < 60 for row in rows)


def test_config_hash_names_values_not_their_order():
    """Eight digits that change with any value and with nothing else."""
    one = store.config_hash({"a": 1, "b": 0.1})
    assert len(one) == 8
    assert one == store.config_hash({"b": 0.1, "a": 1})
    assert one != store.config_hash({"a": 1, "b": 0.2})
    assert one != store.config_hash({"a": 1, "c": 0.1})


def test_environment_names_versions_revision_and_device():
    """Everything config.json promises, as JSON."""
    found = provenance.environment()
    assert {"python", *provenance.PACKAGES} == set(found["versions"])
    assert found["versions"]["numpy"] == np.__version__
    assert found["git"] == "unknown" or len(found["git"].removesuffix("+dirty")) == 40
    assert found["device"]["cpus"] == os.cpu_count()
    assert json.loads(json.dumps(found)) == found


def test_revision_of_another_project_is_not_ours(tmp_path, monkeypatch):
    """Installed below a repository that does not hold it, medjax has no revision."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    commit = ["-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", "x"]
    subprocess.run(["git", "-C", tmp_path, *commit], check=True)
    (tmp_path / "provenance.py").touch()
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    assert provenance.environment()["git"] == "unknown"


def test_lock_keeps_others_out_while_it_is_held(tmp_path):
    """A second taker is told who holds the folder; afterwards it is free."""
    with locks.locked(tmp_path):
        with pytest.raises(UserError, match=str(os.getpid())) as caught, locks.locked(tmp_path):
            pass
        assert str(tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)
    with locks.locked(tmp_path):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_lock_of_a_killed_process_is_free(tmp_path):
    """While another process lives its lock holds; killed, it leaves a file that blocks nobody."""
    code = (
        "import sys, time, pathlib; from medjax import locks\n"
        "with locks.locked(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=launching.environment()
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"pid {other.pid}"), locks.locked(tmp_path):
            pass
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert (tmp_path / "lock").read_text() == str(other.pid)
    with locks.locked(tmp_path):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said_once(tmp_path, monkeypatch, code):
    """Nobody else is there: the work goes on. Any other error is one."""

    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", fail)
    monkeypatch.setattr(locks, "_said", set())
    said = []
    for wait in (False, True, False):
        with locks.locked(tmp_path / "a", wait, said.append), locks.locked(tmp_path / "b"):
            pass
    assert len(said) == 1 and f"the file system of {tmp_path / 'a'} has no locks" in said[0]
    code = errno.EIO
    with pytest.raises(OSError, match="Input/output"), locks.locked(tmp_path):
        pass


def test_a_full_disk_is_told_by_the_files_name_and_left_as_it_was(tmp_path, monkeypatch):
    """What the system says of a write has no name in it; half a file would fill the disk for good."""
    path = tmp_path / "a.json"
    store.write_json(path, 1)

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*a\.json"):
        store.write_json(path, [2] * 1000)
    assert store.read_json(path) == 1 and list(tmp_path.iterdir()) == [path]
