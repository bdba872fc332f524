"""medjax from Python: a run without flags and console equals that of a launcher; the public names."""

import itertools
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import launching
import numpy as np
import pytest
from absl import flags as absl_flags

import medjax
from medjax import cost, devices, store
from medjax.data import sources
from medjax.pipeline import distil
from medjax.pipeline.run import IN_MEMORY

ROOT = Path(launching.ROOT)
#: A tiny DM: one program a phase.
VALUES = {"preset": "quick", "ipc": 2, "width": 8, "depth": 1, "size": 8, "whiten": "normalise"}
VALUES |= {"networks": 2, "eval_epochs": 3, "interim_networks": 2, "interim_epochs": 3}
VALUES |= {"augment": "none", "eval_augment": False}
VALUES |= {
    "iterations": 4,
    "batch_real": 4,
    "eval_every": 2,
    "lr_img": 2,
}  # an int where 2.0 is meant


@pytest.fixture(autouse=True)
def _as_the_server_does(monkeypatch):
    """Device calls as short as those of `launching.serve`, and a rate that need not be measured."""
    monkeypatch.setitem(cost.WORK_PER_CALL, "cpu", launching.WORK)
    monkeypatch.setattr(cost, "matrix_rate", lambda: 1e10)


def settings(**more):
    return medjax.settings("dm", dataset=launching.tiny("rgb"), **VALUES | more)


@pytest.fixture(scope="module")
def launched():
    """The run of the launcher with the same values."""
    words = [f"--{name}={value}" for name, value in VALUES.items()]
    place = (f"--dataset={launching.tiny('rgb')}", f"--out={launching.workplace() / 'api'}")
    return launching.read_run(launching.SERVER.run("experiments.dm", *place, *words))


def layout(folder):
    """The files below a folder, by name; checkpoints as one, for how they are cut up is orbax's affair."""
    found = {p.relative_to(folder) for p in folder.rglob("*") if p.is_file()}
    return {str(p) if "checkpoints" not in p.parts else "checkpoints" for p in found}


def arrays(folder):
    with np.load(folder / "synthetic.npz") as z:
        return {name: z[name].tobytes() for name in z.files}


class Recorder:
    """A `Progress` that remembers, and raises where it is told to."""

    def __init__(self, stop=("", 0)):
        self.said, self.bars, self.stop = [], [], stop

    def say(self, text):
        self.said.append(text)

    def bar(self, name, total, done=0):
        self.bars.append((name, done, total))

        def update(done, text):
            if (name, done) == self.stop:
                raise InterruptedError

        return update

    def download(self, name, have, total):
        raise AssertionError("nothing is downloaded here")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("api")


def test_run_is_silent_and_equals_the_launcher(launched, out, capfd):
    """No flag is parsed and nothing printed; folder, files, arrays and scores are those of the launcher."""
    absl_flags.FLAGS.unparse_flags()  # as in a process where no other test has run
    result = medjax.run("dm", settings(), out)
    assert capfd.readouterr() == ("", "")
    assert not absl_flags.FLAGS.is_parsed()
    mine, theirs = result.folder, launched.folder
    assert mine.relative_to(out) == Path(theirs.parent.name, theirs.name)
    assert layout(mine.parent) == layout(theirs.parent)
    assert arrays(mine) == arrays(theirs)
    written = launching.read_json(mine / "result.json")
    timeless = {k: v for k, v in written.items() if k != "seconds"}
    assert timeless == launching.scores(launched)
    assert result.to_json() == written
    values = launching.read_json(mine / "config.json")["values"]
    assert values == launched.config["values"]


def test_seeds(launched, out, tmp_path):
    """Three seeds of which one stopped half way, one is finished and one is new: ordinary folders and the results of
    three runs; the finished one is read back, and those that have come equally far are distilled together."""
    alone = [medjax.run("dm", settings(), out)]  # read back, where another test ran it
    alone += [medjax.run("dm", settings(seed=1), tmp_path / "alone")]
    there = tmp_path / "there"
    with pytest.raises(InterruptedError):
        medjax.run("dm", settings(seed=1), there, progress=Recorder(stop=("distil", 2)))
    alone += [medjax.run("dm", settings(seed=2), there)]
    heard = Recorder()
    found = medjax.run_seeds("dm", settings(), there, 3, progress=heard)
    assert ("distil 2 seeds", 0, 4) in heard.bars
    assert [result.seed for result in found] == [0, 1, 2]
    for one, other in zip(found, alone, strict=True):
        assert one.folder.name == other.folder.name
        assert layout(one.folder) == layout(other.folder)
        assert abs(one.test.accuracy.mean - other.test.accuracy.mean) < 1e-6
        mine, theirs = (medjax.load_set(r.folder / "synthetic.npz").synthetic for r in (one, other))
        np.testing.assert_allclose(mine.images, theirs.images, atol=1e-4)
    with pytest.raises(medjax.UserError, match="--seeds=0"):
        medjax.run_seeds("dm", settings(), there, 0)
    with pytest.raises(medjax.UserError, match="largest seed, 4294967295"):
        medjax.run_seeds("dm", settings(seed=2**32 - 1), there, 2)


@pytest.mark.parametrize("accelerator", [False, True])
def test_two_seeds_stopped_between_their_saves(tmp_path, monkeypatch, accelerator):
    """One has come further than the other, which then runs alone in the program of both: the same bits as without the
    stop. On an accelerator a copy of it fills the other's place. The time of a call is shared out."""
    if accelerator:
        monkeypatch.setattr(devices, "on_cpu", lambda: False)
    there, save, clock, seeds = tmp_path / "there", store.save_step, itertools.count(0, 8), []
    monkeypatch.setattr(distil, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    made = distil.together
    monkeypatch.setattr(distil, "together", lambda ds: seeds.append(len(ds)) or made(ds))
    chunks, cut = [], distil.cost.per_call
    monkeypatch.setattr(distil.cost, "per_call", lambda *a: chunks.append(a) or cut(*a))
    whole = medjax.run_seeds("dm", settings(), tmp_path / "whole", 2)

    def stopped(folder, done, tree):
        if done == 2 and "seed1" in folder.parent.name:
            raise InterruptedError
        save(folder, done, tree)

    with monkeypatch.context() as patch:
        patch.setattr(store, "save_step", stopped)
        with pytest.raises(InterruptedError):
            medjax.run_seeds("dm", settings(), there, 2)
    seeds.clear()
    again = medjax.run_seeds("dm", settings(), there, 2)
    assert seeds == [2 if accelerator else 1, 2]
    assert len(set(chunks)) == 1, "calls of the one that is behind are cut as those of both"
    for one, other in zip(again, whole, strict=True):
        assert arrays(one.folder) == arrays(other.folder)
        rows = store.read_log(other.folder / "log.jsonl")
        assert {row["seconds"] for row in rows if row["phase"] == "distill"} == {2.0}


def test_bf16(launched, out):
    """A run of its own, that says so and ends with numbers close to float32's."""
    full, half = (medjax.run("dm", settings(precision=p), out) for p in ("float32", "bf16"))
    assert half.evaluation["precision"] == "bf16" and "precision" not in full.evaluation
    assert half.folder != full.folder
    wide, narrow = (medjax.load_set(r.folder / "synthetic.npz").synthetic for r in (full, half))
    assert narrow.images.dtype == wide.images.dtype
    assert 0 < np.abs(narrow.images - wide.images).max() < 0.3 * np.abs(wide.images).max()


def test_a_finished_run_is_read_back(launched, out):
    """Nothing is computed and no file touched; another number of images is another run. The little val of the data is
    said each time, and the result keeps it."""
    first = medjax.run("dm", settings(), out)
    before, heard = launching.contents(out), Recorder()
    again = medjax.run("dm", settings(), out, progress=heard)
    assert again == first and again.folder == first.folder
    assert launching.contents(out) == before
    (line,) = heard.said
    assert line.startswith("note: WARNING: val has 24 images for 3 classes") and not heard.bars
    assert any(line.endswith(warning) for warning in again.warnings)


def test_own_images_and_an_interruption(launched, tmp_path):
    """Images in memory in place of a name; stopped by an exception of its observer, the run goes on where it was."""
    raw = sources.load(str(launching.tiny("rgb")))._replace(name="mine")
    chosen = settings()._replace()
    stop = Recorder(stop=("distil", 2))
    with pytest.raises(InterruptedError):
        medjax.run("dm", chosen, tmp_path, data=raw, progress=stop)
    (folder,) = tmp_path.glob("mine-*/dm-*")
    assert not (folder / "result.json").exists()
    heard = Recorder()
    result = medjax.run("dm", chosen, tmp_path, data=raw, progress=heard)
    # The name in the settings says nothing of images that are given: a report must not call them by it.
    about = json.loads((result.folder / "config.json").read_text())["values"]["dataset"]
    assert about == {"value": IN_MEMORY, "origin": "data"}
    assert ("distil", 2, 4) in heard.bars, heard.bars
    assert any("goes on after 2 of 4" in line for line in heard.said)
    assert result.folder == folder and result.dataset == "mine"
    other, mine = arrays(launched.folder), arrays(folder)
    assert {n for n in mine if mine[n] != other[n]} == {"dataset"}
    assert result.test == medjax.Result.read(launched.folder).test


def test_fresh_begins_anew(launched, tmp_path, monkeypatch):
    """What an earlier run left is thrown away first."""
    seen, result = [], medjax.Result.read(launched.folder)

    def work(sessions, recipe):
        seen.append({path.name for path in sessions[0].folder.iterdir()})
        (sessions[0].folder / "log.jsonl").touch()
        return [result]

    monkeypatch.setattr("medjax.pipeline.run.work", work)
    for fresh in (False, False, True):
        assert medjax.run("dm", settings(), tmp_path, fresh=fresh) is result
    new = {"config.json", "lock"}
    assert seen == [new, new | {"log.jsonl"}, new]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"nonsense": 1}, "'nonsense' is no option here: see the command reference"),
        ({"iteration": 1}, "'iteration' is no option here: did you mean iterations?"),
        ({"experts": 1}, "'experts' is no option here"),
        ({"iterations": "20"}, "--iterations='20' is not a whole number"),
        ({"iterations": 2.5}, "--iterations=2.5 is not a whole number"),
        ({"iterations": 0}, "--iterations=0 is too small"),
        ({"whiten": "blue"}, "--whiten=blue is not known"),
        ({"preset": "huge"}, "--preset=huge is not known"),
        ({"mlp_width": 3}, "--mlp_width is for --model=mlp"),
        ({"eval_models": ("mlp",)}, "--eval_models=.*mlp.* is not a text"),
    ],
)
def test_mistakes_in_values_are_one_line(values, said):
    """Wrong names, types and values, each named."""
    with pytest.raises(medjax.UserError, match=said) as caught:
        settings(**values)
    assert "\n" not in str(caught.value)


def test_types_are_looked_at_without_beartype():
    """Which the tests have and users have not."""
    code = """
import medjax
settings = medjax.settings("dm", "cpu")
for call in (
    lambda: medjax.settings("mtt", "cpu", ipc="10"),
    lambda: medjax.settings("mtt", "cpu", dataset=None),
    lambda: medjax.run("dm", {"ipc": 1}, "runs"),
    lambda: medjax.run("dm", settings, "runs", data="blood.npz"),
):
    try: call()
    except medjax.UserError as error: print(error)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines() == [
        "--ipc='10' is not a whole number",
        "None is neither a name nor a path: give text",
        "these are not settings of dm: make them with medjax.settings('dm', ...)",
        "data is a str: give what medjax.load or medjax.from_arrays returns",
    ]


def test_numbers_of_numpy_and_paths_are_values(tmp_path):
    found = settings(iterations=np.int64(7), lr_img=np.float64(2.5), ranking=tmp_path)
    values = found.values()
    assert (values["iterations"], values["lr_img"]) == (7, 2.5) and type(
        values["iterations"]
    ) is int
    assert values["ranking"] == str(tmp_path)


def test_settings_of_another_method_are_refused(tmp_path):
    """They would be named and preset as that method."""
    with pytest.raises(medjax.UserError, match="not settings of mtt"):
        medjax.run("mtt", settings(), tmp_path)
    with pytest.raises(
        medjax.UserError,
        match="choose one of random, kmeans, margin, dc, dsa, dm, tgdd, dp, mtt, full",
    ):
        medjax.run("mmt", settings(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_settings_know_values_and_origins():
    """By option: what it is, and who said so."""
    chosen = settings()
    assert (chosen.values()["lr_img"], type(chosen.values()["lr_img"])) == (2.0, float)
    assert chosen.origin["lr_img"] == "flag" and chosen.origin["img_momentum"] == "default"
    assert medjax.settings("dm", preset="quick").origin["iterations"] == "preset quick"
    assert "lr_img" in chosen.identity() and "img_momentum" not in chosen.identity()


def test_public_names():
    """Each can be imported and is listed once; some twenty of them."""
    for name in medjax.__all__:
        assert getattr(medjax, name) is not None
    assert set(medjax.__all__) <= set(dir(medjax))
    assert sorted(set(medjax.__all__)) == medjax.__all__ and 15 <= len(medjax.__all__) <= 30
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = medjax.nonsense


def test_import_takes_no_time():
    """`import medjax` imports neither jax nor absl nor rich; a name does, when it is used."""
    code = "import sys, medjax; print(sorted({'jax', 'numpy', 'absl', 'rich'} & set(sys.modules)))"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=launching.environment()
    )
    assert (ended.stdout, ended.stderr) == ("[]\n", "")


def test_version_and_types():
    """The version is said once, in medjax/__init__.py; py.typed tells type checkers that medjax has types."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "medjax/__init__.py"
    assert medjax.__version__.count(".") == 2
    assert (ROOT / "medjax" / "py.typed").is_file()
    assert project["project"]["scripts"]["medjax"] == "medjax.__main__:main"
