"""The environment of a user: variables, home folders, names, limits, outputs; more in tests/faults/environments.py."""

import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import jax
import launching
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # pytest gives the folder of this file alone

import medjax
from medjax import locks, memory, store
from medjax.cli import compilation_cache
from medjax.cli.command import Command
from medjax.cli.launch import _run
from medjax.cli.sweep.jobs import Job
from medjax.data import named
from medjax.data.catalog import CATALOG
from medjax.errors import UserError
from medjax.paths import PATTERN, results_path, user_path
from medjax.pipeline import folders
from tests.faults import environments


def values(words):
    """{option: value} of a command line."""
    pairs = (word.removeprefix("--").split("=") for word in words if word != "--preset=quick")
    return {name: int(v) if v.isdigit() else False if v == "false" else v for name, v in pairs}


def distilled(folder):
    """The images of a tiny distillation, and the name of its run."""
    words = values((*launching.NETWORK, *launching.MATCHING))
    settings = medjax.settings("dm", "quick", launching.tiny("grey"), **words)
    result = medjax.run("dm", settings, folder)
    with np.load(result.folder / "synthetic.npz") as z:
        return z["images"], result.folder.name, result.test


@pytest.mark.slow
def test_what_is_set_in_jax_changes_no_result(tmp_path):
    """Doubles, another generator, no NaN, no promotion: the run is the same to the bit, and the settings hold again
    after it."""
    plain = distilled(tmp_path / "plain")
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("strict"),
        jax.default_prng_impl("rbg"),
        jax.threefry_partitionable(False),
        jax.debug_nans(True),
        jax.debug_infs(True),
    ):
        other = distilled(tmp_path / "other")
        assert jax.config.jax_enable_x64 and jax.config.jax_default_prng_impl == "rbg"
    np.testing.assert_array_equal(plain[0], other[0])
    assert plain[1:] == other[1:]


SPACES = pytest.param("spaces", marks=pytest.mark.slow)
ALL = pytest.param("all at once", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", [ALL, "no GPU", "no such value", "twice", SPACES])
def test_environments(tmp_path, name):
    """Some of those of `tests.faults.environments`; those that distil end with the images of a plain environment."""
    (tmp_path / "tiny.npz").write_bytes(launching.tiny("grey").read_bytes())
    assert environments.attempt(name, tmp_path) == ""
    assert len(list(tmp_path.glob("*/*/*/synthetic.npz"))) == (name in ("all at once", "spaces"))


@pytest.mark.parametrize("backend", ["svg", "nonsense"])
def test_a_users_backend_is_kept(backend):
    """A notebook names its own, which is there or is not; drawing needs none, and changes none."""
    code = "import os, sys; from medjax.report.style import canvas; canvas(); import matplotlib; "
    code += "assert 'matplotlib.pyplot' not in sys.modules; "
    code += "print(os.environ['MPLBACKEND'], matplotlib.get_backend(auto_select=False))"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=launching.environment() | {"MPLBACKEND": backend},
        capture_output=True,
        text=True,
    )
    expected = f"{backend} {backend if backend == 'svg' else None}\n"
    assert (ended.stdout, ended.stderr) == (expected, "")


def test_an_output_that_is_closed_or_poor(tmp_path):
    """A file that is opened does not get the number of an output, and then what is printed; ± is replaced in ASCII."""
    code = "from medjax.cli.streams import prepare_streams; prepare_streams(); import os; "
    code += "f = open('f', 'w'); print('5 ± 1', flush=True); os.write(2, b'x'); f.write('whole')"
    line = f'exec {sys.executable} -c "{code}"'
    for end in (" <&- >&- 2>&-", " >&-", " 2>&- >said"):
        variables = launching.environment() | {"PYTHONIOENCODING": "ascii"}
        subprocess.run(["sh", "-c", line + end], cwd=tmp_path, env=variables, check=True)
        assert (tmp_path / "f").read_text() == "whole", end
    assert (tmp_path / "said").read_text() == "5 ? 1\n"


@pytest.fixture
def homeless(monkeypatch):
    """A user without a name, as containers have."""

    def unknown(*_):
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("MEDJAX_DATA", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)


def test_no_home_folder(homeless, tmp_path, monkeypatch, capsys):
    """Programs are not kept, which is said; the folder of the medmnist package is passed over, and downloads need a
    folder."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    changed = {}
    monkeypatch.setattr(jax.config, "update", changed.__setitem__)
    (tmp_path / "file").touch()
    for name, value in ((None, None), ("XDG_CACHE_HOME", "f"), ("JAX_COMPILATION_CACHE_DIR", "f")):
        if name:
            monkeypatch.setenv(name, str(tmp_path / "file" / value))
        compilation_cache.keep_programs()
        assert changed["jax_compilation_cache_dir"] is None
        said = capsys.readouterr().err
        assert said.startswith("note: ") and said.count("\n") == 1
        assert f"{name or 'XDG_CACHE_HOME'}=FOLDER keeps them" in said
    with pytest.raises(UserError, match=r"no home folder to keep bloodmnist\.npz.*--data_dir"):
        named.fetch(CATALOG["bloodmnist"])
    monkeypatch.setattr(named, "download", lambda address, target, *_: target.write_bytes(b""))
    with pytest.raises(UserError, match="damaged"):  # what was "downloaded" there
        named.fetch(CATALOG["bloodmnist"], data_dir=tmp_path)


def test_a_cache_that_cannot_be_written_is_said_once(tmp_path, monkeypatch, capsys):
    """JAX warns of every program, which `python -W error` would make an error."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compilation_cache.keep_programs()
        for program in ("step", "init"):
            text = f"{compilation_cache.UNWRITTEN} for '{program}': OSError: full"
            warnings.warn(text, stacklevel=1)
            warnings.warn(f"{compilation_cache.DAMAGED} for '{program}': OSError: x", stacklevel=1)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"{tmp_path} cannot be written (OSError: full)" in said


@pytest.mark.parametrize("name", ["~0/x", "~nobodyhere/x", "a/\udcff"])
def test_a_path_that_cannot_be(name, tmp_path):
    """A home folder that does not exist, and a name that is no text: one line, wherever a path is given."""
    given = {"dataset": name, "data_dir": name, "out": name, "synthetic": name, "runs": name}
    tries = {
        "load": lambda: medjax.load(given["dataset"]),
        "data_dir": lambda: medjax.load("bloodmnist", data_dir=name),
        "run": lambda: medjax.run("dm", medjax.settings("dm", "quick"), name),
        "evaluate_saved": lambda: medjax.evaluate_saved(
            medjax.evaluation_settings(name, dataset="phantom"), tmp_path
        ),
    }
    for call in tries.values():
        with pytest.raises(UserError, match=r"no home folder for ~|is not text in"):
            call()
    lines = {
        "tabulate": (name,),
        "report": (f"--runs={name}",),
        "prepare": (f"--folder={name}", f"--out={tmp_path}/a.npz"),
        "experts": (f"--out={name}",),
        "table1": (f"--out={name}",),
        "indicator": (f"--out={name}",),
    }
    for command, words in lines.items():
        if "\udcff" in name:  # the pipe to the server is text
            continue
        complaint = launching.complaint(launching.SERVER.run(f"experiments.{command}", *words))
        assert "no home folder for ~" in complaint, command


def test_home_is_where_a_user_says(monkeypatch, tmp_path):
    """`--out=~/runs` reaches us as it is written: a shell changes only a word that begins with ~."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/runs") == results_path("~/runs") == tmp_path / "runs"
    assert user_path("runs/~") == Path("runs/~")


def test_checkpoints_can_be_read_where_results_may_go(tmp_path, monkeypatch):
    """orbax takes some characters for a pattern: such a folder is refused. With all others a checkpoint is whole."""
    tree = {"a": np.arange(6, dtype=np.float32)}
    for letter in PATTERN:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UserError, match=r"checkpoints .* cannot be read back"):
            results_path(f"a{letter}b")
        (tmp_path / f"a{letter}b").mkdir()
        monkeypatch.chdir(tmp_path / f"a{letter}b")
        with pytest.raises(UserError, match=r"checkpoints .* cannot be read back"):
            results_path("runs")
    monkeypatch.chdir(tmp_path)
    odd = "".join(map(chr, [*range(1, 47), *range(58, 65), *range(93, 97), *range(123, 128)]))
    for name in ("".join(c for c in odd if c not in PATTERN), "é€", "e\u0301\u2028", "-a", "%2F"):
        store.save_tree(results_path(name) / "s", tree)
        found = store.load_tree(results_path(name) / "s", tree)
        np.testing.assert_array_equal(found["a"], tree["a"])


def test_a_data_set_of_any_name_has_a_folder(tmp_path):
    """`scans [1].npz` is read, and its runs lie in a folder that checkpoints can be in."""
    raw = medjax.load(str(launching.tiny("grey")))._replace(name="scans [1]*/2")
    home = folders.home(tmp_path, raw)
    assert home == tmp_path / f"scans _1]__2-{raw.fingerprint[:8]}"
    results_path(home)


def test_nothing_is_made_for_data_that_is_not_there(tmp_path):
    """A mistyped name leaves no folder of results behind."""
    settings = medjax.settings("dm", "quick", tmp_path / "mistyped.npz")
    with pytest.raises(UserError, match="no such file"):
        medjax.run("dm", settings, tmp_path / "runs")
    assert list(tmp_path.iterdir()) == []


def test_a_current_folder_that_was_deleted(monkeypatch):
    """One line, instead of what the system says."""

    def gone():
        raise FileNotFoundError("[Errno 2] No such file or directory")

    monkeypatch.setattr(os, "getcwd", gone)
    monkeypatch.setattr(sys, "argv", ["x"])
    with pytest.raises(UserError, match="the current folder has been deleted"):
        _run(Command("x", (), lambda words: pytest.fail("it began")))


def test_jobs_import_nothing_from_the_current_folder(tmp_path, monkeypatch):
    """The console command does not; a job that it starts there must not take a user's random.py for Python's."""
    (tmp_path / "random.py").write_text("raise SystemExit('a file of the user was imported')\n")
    job = Job("phantom", 1, "dm", "convnet", 0, "quick")
    monkeypatch.chdir(tmp_path)
    ended = subprocess.run(
        [*job.command(tmp_path), "--help"],
        env=launching.environment(),
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    monkeypatch.syspath_prepend(tmp_path)  # `python -m` in a clone: what is there is wanted
    assert "-P" not in job.command(tmp_path)


GROUPS = {
    "version 2, nested as SLURM does": (
        "0::/system.slice/slurmstepd.scope/job_7/step_0\n",
        {
            "memory.max": "64000",
            "system.slice/slurmstepd.scope/memory.max": "max",
            "system.slice/slurmstepd.scope/job_7/memory.max": "3000",
            "system.slice/slurmstepd.scope/job_7/step_0/memory.max": "max",
            "other/memory.max": "1",
        },
        3000,
    ),
    "version 1": (
        "4:cpu,cpuacct:/\n3:memory,hugetlb:/slurm/uid_5/job_7\n1:name=systemd:/\n0::/\n",
        {
            "memory/memory.limit_in_bytes": str(2**63 - 4096),
            "memory/slurm/uid_5/memory.limit_in_bytes": "5000",
            "memory/slurm/uid_5/job_7/memory.limit_in_bytes": "9000",
        },
        5000,
    ),
    "a container that does not see where it lies": (
        "0::/docker/abc\n",
        {"memory.max": "7000"},
        7000,
    ),
    "no limits": ("0::/\n", {"memory.max": "max"}, None),
}


@pytest.mark.parametrize("name", GROUPS)
def test_the_smallest_limit_of_nested_groups(tmp_path, name):
    """Of the group of this process and those around it."""
    lines, files, smallest = GROUPS[name]
    for path, text in ({"proc/self/cgroup": lines} | files).items():
        file = tmp_path / (path if path.startswith("proc") else f"sys/fs/cgroup/{path}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert min(memory.group_limits(tmp_path), default=None) == smallest


def test_what_a_group_uses_is_not_free(tmp_path):
    """Its limit without what its processes hold; files that were read can be dropped."""
    group = tmp_path / "sys/fs/cgroup/job"
    group.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/job\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 4000000 kB\n")
    (group / "memory.max").write_text("3000000")
    assert memory.available(tmp_path) == 3_000_000
    (group / "memory.current").write_text("2500000")
    (group / "memory.stat").write_text("anon 2000000\ninactive_file 500000\n")
    assert memory.available(tmp_path) == 1_000_000
    (group / "memory.max").write_text("max")
    assert memory.available(tmp_path) == 4_096_000_000


def test_memory_is_the_smallest_limit(monkeypatch, tmp_path):
    """Of the groups, of `ulimit -v`, and of the machine."""
    assert memory.group_limits(tmp_path) == []  # not Linux
    limit = [memory.resource.RLIM_INFINITY]
    monkeypatch.setattr(memory.resource, "getrlimit", lambda which: (limit[0], limit[0]))
    monkeypatch.setattr(memory, "group_limits", lambda: [2**60, 2**20])
    assert memory.total() == 2**20
    limit[0] = 2**19
    assert memory.total() == 2**19
    monkeypatch.setattr(memory, "group_limits", list)
    limit[0] = memory.resource.RLIM_INFINITY
    assert memory.total() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_ctrl_c_while_a_folder_is_waited_for(tmp_path):
    """Who waits for a lock can be stopped."""
    # A shell that runs its jobs in the background has them ignore Ctrl-C, and what they start too.
    code = "import pathlib, signal, sys; from medjax.locks import locked\n"
    code += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += (
        "with locked(pathlib.Path(sys.argv[1]), True, lambda line: print(line, flush=True)): pass"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with (
        locks.locked(tmp_path),
        subprocess.Popen(command, env=launching.environment(), **streams) as other,
    ):
        assert f"pid {os.getpid()}); this one waits" in other.stdout.readline()
        other.send_signal(signal.SIGINT)
        try:
            assert other.wait(20) == -signal.SIGINT
        finally:
            other.kill()


def test_a_run_waits_for_the_experts_of_another(tmp_path):
    """Two runs on one data set at different IPC, started together: the second waits until the first has the experts,
    or is killed. A folder of its own is refused at once."""
    words = (*launching.NETWORK, "--experts=1", "--expert_batch=20", "--expert_epochs=1")
    words = (f"--dataset={launching.tiny('grey')}", f"--out={tmp_path}", *words)
    first = launching.SERVER.run("experiments.experts", *words)
    assert first.status == 0, first.stderr
    folder = Path(first.stdout.splitlines()[-1])
    code = "import sys, time, pathlib; from medjax import locks\n"
    code += (
        "with locks.locked(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )
    command, variables = [sys.executable, "-c", code, str(folder)], launching.environment()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables) as other:
        assert other.stdout.readline() == "held\n"
        refused = launching.SERVER.run("experiments.experts", *words, "--fresh")
        assert f"{folder} is in use by another process (pid {other.pid})" in launching.complaint(
            refused
        )
        launching.SERVER.begin("experiments.experts", *words)
        threading.Timer(8.0, other.kill).start()
        ended = launching.SERVER.end()
        assert other.poll() is not None, "it did not wait"
    assert ended.status == 0, ended.stderr
    lines = [line for line in ended.stdout.splitlines() if "waits for it" in line]
    assert lines == [
        f"note: {folder} is in use by another process (pid {other.pid}); this one waits for it"
    ]
    assert ended.stdout.splitlines()[-1] == str(folder)
