"""What a user, a disk or another run can get wrong: one clear line and status 2, and nothing is lost.

Files of images are in test_sources.py, downloads in test_download.py, words of the command line in test_launchers.py.
"""

import errno
import json
import os
import re
import signal
import sys
import types
from pathlib import Path

import jax.numpy as jnp
import launching
import numpy as np
import pytest

import medjax
from medjax import locks, share
from medjax.cli import flags, launch
from medjax.cli.console import Console
from medjax.cli.flags import OutConfig
from medjax.data import sources
from medjax.data.preprocess import PreprocessConfig, Preprocessor, fit
from medjax.errors import UserError
from medjax.pipeline import experts, folders, forecast
from medjax.pipeline.planned import check_memory
from medjax.pipeline.session import fitted
from medjax.pipeline.settings import IpcConfig, RunConfig
from medjax.recipes import RECIPES
from medjax.types import Synthetic


def launched(monkeypatch, capsys, main, *words):
    """(status, standard error) of a launcher with this main."""
    module = types.SimpleNamespace(
        command=lambda: launch.Command("Title.", (RunConfig, IpcConfig, OutConfig), main)
    )
    monkeypatch.setitem(sys.modules, "medjax.cli.trial", module)
    monkeypatch.setattr(launch, "TOOLS", ("trial",))
    monkeypatch.setattr(sys, "argv", ["launcher", *words])
    monkeypatch.setattr(launch, "keep_programs", lambda: None)
    monkeypatch.setattr(launch.devices, "use_cores", lambda: None)
    monkeypatch.setattr(launch, "leave", lambda number: sys.exit(128 + number))  # not this process
    before, status = signal.getsignal(signal.SIGTERM), 0
    try:
        with launching.own_flags():
            launch.launch("trial")
    except SystemExit as stop:
        status = stop.code
    finally:
        signal.signal(signal.SIGTERM, before)
    return status, capsys.readouterr().err


def raises(error):
    def main(words):
        raise error

    return main


@pytest.mark.parametrize(
    "error",
    [
        UserError("what is wrong\nand what to do"),
        PermissionError(errno.EACCES, "Permission denied", "/data"),
        OSError(errno.ENOSPC, "No space left on device"),
        ValueError("RESOURCE_EXHAUSTED: Error writing chunk"),
        RuntimeError("XLA: Out of memory while trying to allocate"),
        MemoryError(),
    ],
)
def test_every_misfortune_is_one_line_and_status_2(monkeypatch, capsys, error):
    status, said = launched(monkeypatch, capsys, raises(error))
    assert status == 2 and said.startswith("error: ") and said.count("\n") == 1


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch, capsys):
    with pytest.raises(ZeroDivisionError):
        launched(monkeypatch, capsys, raises(ZeroDivisionError("ours")))


def test_signals_have_their_status(monkeypatch, capsys):
    assert launched(monkeypatch, capsys, raises(KeyboardInterrupt()))[0] == 130
    status, said = launched(
        monkeypatch, capsys, lambda words: os.kill(os.getpid(), signal.SIGTERM) or signal.pause()
    )
    assert status == 143 and "goes on from here" in said


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("--ipc=1.5", "--ipc=1.5 is not a whole number"),
        ("--seed=", "--seed= is not a whole number"),
        ("--ipc=x\ny", "--ipc=x y is not a whole number"),
        ("--integrate_share=x", "--integrate_share=x is not a number"),
        ("--fresh=maybe", "--fresh=maybe is not true or false"),
        ("--out=", "--out is empty: give a value, or leave it out for runs"),
        ("--model=vgg", "--model=vgg is not known: choose one of convnet"),
        ("--nonsense", "Unknown command line flag 'nonsense'"),
    ],
)
def test_words_that_are_no_values(monkeypatch, capsys, word, line):
    """absl's own errors end with status 1 and in Python's words; here they do not."""

    def main(words):
        flags.read(RunConfig, IpcConfig, OutConfig)

    status, said = launched(monkeypatch, capsys, main, word)
    assert status == 2 and said.startswith(f"error: {line}") and said.count("\n") == 1


# --- the folder of another run


@pytest.fixture(scope="module")
def raw():
    return sources.load(str(launching.tiny("rgb")))


def write_config(folder, chosen, fingerprint):
    values = {k: {"value": v, "origin": "flag"} for k, v in chosen.values().items()}
    values["out"] = {"value": "elsewhere", "origin": "default"}  # of an earlier version
    folder.mkdir(exist_ok=True)
    content = {"values": values, "data": {"fingerprint": fingerprint}}
    (folder / "config.json").write_text(json.dumps(content))


def test_folder_of_another_configuration_names_the_fields(tmp_path, raw):
    folder = tmp_path / "run"
    write_config(folder, medjax.settings("full", seed=3, data_dir="there"), "0123")
    with pytest.raises(UserError, match="--fresh") as caught:
        folders.check(folder, raw, medjax.settings("full"))
    message = str(caught.value)
    assert "seed 3 there, 0 here" in message and "data 0123 there" in message
    assert "elsewhere" not in message and "data_dir" not in message and "\n" not in message
    assert (folder / "config.json").exists()
    # Where data come from and where results go is no other configuration.
    write_config(folder, medjax.settings("full", data_dir="there"), raw.fingerprint)
    folders.check(folder, raw, medjax.settings("full"))


def test_folder_of_an_earlier_version_is_taken(tmp_path, raw):
    """An option that was added since is at its default; one that is gone counts where it was not at its own."""
    chosen = medjax.settings("full")
    write_config(tmp_path, chosen, raw.fingerprint)
    whole = json.loads((tmp_path / "config.json").read_text())
    for origin, fine in (("default", True), ("flag", False)):
        values = {k: v for k, v in whole["values"].items() if k != "full_lr"}
        values["gone"] = {"value": 3, "origin": origin}
        (tmp_path / "config.json").write_text(json.dumps(whole | {"values": values}))
        if fine:
            folders.check(tmp_path, raw, chosen)
            continue
        with pytest.raises(UserError, match="gone 3 there"):
            folders.check(tmp_path, raw, chosen)
    with pytest.raises(UserError, match=r"full_lr 0.001 there, 0.5 here"):
        folders.check(tmp_path, raw, medjax.settings("full", full_lr=0.5))


@pytest.mark.parametrize("junk", ["", "{", "[]", '{"values": 3}', '{"values": {"ipc": 1}}'])
def test_config_that_is_none_is_written_again(tmp_path, raw, junk):
    (tmp_path / "config.json").write_text(junk)
    folders.check(tmp_path, raw, medjax.settings("full"))


@pytest.mark.parametrize("left", ["config.json", "log.jsonl", "result.json"])
def test_fresh_empties_what_is_left(tmp_path, left):
    """Also where an earlier emptying was cut short and took config.json with it."""
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / left).write_text("{}")
    folders.clear(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["lock"]


def test_fresh_removes_the_result_first(tmp_path, monkeypatch):
    """A folder emptied half way must not look finished."""
    for name in ("config.json", "a.png", "result.json", "z.png"):
        (tmp_path / name).write_text("{}")
    gone = []
    monkeypatch.setattr(Path, "unlink", lambda path: gone.append(path.name))
    folders.clear(tmp_path)
    assert gone[0] == "result.json" and len(gone) == 4


def test_fresh_is_refused_while_another_process_works_there(tmp_path, raw):
    write_config(tmp_path, medjax.settings("full"), raw.fingerprint)
    with locks.locked(tmp_path), pytest.raises(UserError, match="in use"):
        folders.clear(tmp_path)
    assert (tmp_path / "config.json").exists()


def test_experts_of_another_preprocessing_are_not_mixed_in(tmp_path):
    maps = {"whiten": "zca", "size": 32, "mean": 2.0, "forward": 50.0}
    check = experts._check_preprocessing
    check(tmp_path, maps)
    (tmp_path / "config.json").write_text(json.dumps({"preprocess": maps}))
    check(tmp_path, maps | {"forward": 50.001})
    for other in ({"forward": 51.0}, {"size": 28}, {"whiten": "normalise"}):
        with pytest.raises(UserError, match=f"other preprocessing .{next(iter(other))} "):
            check(tmp_path, maps | other)
    (tmp_path / "config.json").write_text("{")
    check(tmp_path, maps)


def test_damaged_preprocessing_is_fitted_again(tmp_path, raw):
    config, path = PreprocessConfig(size=6), tmp_path / "pre.npz"
    first = fitted(config, raw, path)
    whole = path.read_bytes()
    for junk in (b"", whole[:500], whole[:300] + b"?" * 40 + whole[340:]):
        path.write_bytes(junk)
        again = fitted(config, raw, path)
        np.testing.assert_array_equal(first.forward, again.forward)
        assert path.read_bytes() == whole


# --- more than the machine has


def test_images_that_cannot_fit_are_refused_with_the_numbers(raw):
    check_memory(32, raw.size)
    with pytest.raises(UserError, match=r"84 images of 100000 px .* GB as floats.*lower --size"):
        check_memory(100_000, raw.size)


@pytest.mark.parametrize("name", ["experts", *RECIPES])
def test_a_run_that_memory_cannot_hold_is_refused_with_the_numbers(name, tmp_path):
    words = ["--preset=quick", "--width=4096", "--size=256"]
    words += ["--noise=false"] if name == "dp" else ["--whiten=normalise"]
    words += [f"--dataset={launching.tiny('rgb')}", f"--out={tmp_path}"]
    ended = launching.SERVER.run(f"experiments.{name}", *words)
    assert ended.status == 2 and "forecast of the whole run" in ended.stdout
    said = (
        r"error: this run needs some [\d.]+ GB of memory and the device has [\d.]+ GB: lower .*\n"
    )
    assert re.fullmatch(said, ended.stderr)
    assert not list(tmp_path.rglob("*.npz")), "before anything was fitted or trained"


def test_a_choice_of_a_packing_is_refused_before_it_is_made(tmp_path):
    """No network is trained for a run that memory cannot hold anyway."""
    words = ["--preset=best", "--ipc=1", "--pack=0", "--width=4096", "--size=256", "--depth=3"]
    words += ["--whiten=normalise", f"--dataset={launching.tiny('rgb')}", f"--out={tmp_path}"]
    ended = launching.SERVER.run("experiments.mtt", *words)
    assert ended.status == 2 and "this run needs some" in ended.stderr, ended
    assert "packing" not in ended.stdout and not list(tmp_path.rglob("*.npz"))


@pytest.mark.parametrize("more", [(), ("--dry_run",)])
def test_a_zca_that_is_too_large_is_refused_at_once(more, tmp_path):
    """A dry run says what the run would say."""
    words = (f"--dataset={launching.tiny('rgb')}", "--preset=cpu", "--size=64", f"--out={tmp_path}")
    ended = launching.SERVER.run("experiments.mtt", *words, *more)
    assert ended.status == 2 and "use --whiten=normalise, or a --size of at most 63" in ended.stderr


def test_device_memory_is_known():
    assert 1e8 < forecast.device_memory() < 1e14


# --- names and sets


def test_markup_in_names_is_no_markup(capsys):
    with Console() as console:
        console.say("note: [/x][red]cells[/]")
    assert "[/x][red]cells[/]" in capsys.readouterr().out


@pytest.fixture
def distilled(tmp_path, raw):
    """The arrays of a sound synthetic.npz."""
    pre = fit(PreprocessConfig(size=4), raw.train.images)
    made = Synthetic(jnp.zeros((3, 4, 4, 3)), jnp.arange(3, dtype=jnp.int32), jnp.float32(0.01))
    about = {"eval_epochs": "9", "eval_augment": "True"}
    share.save_set(tmp_path / "good.npz", made, pre, raw.class_names, network=None, **about)
    assert isinstance(share.load_set(tmp_path / "good.npz").preprocessor, Preprocessor)
    with np.load(tmp_path / "good.npz") as z:
        return dict(z)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("images", lambda a: a * np.nan),
        ("images", lambda a: a[:2]),
        ("images", lambda a: a[0]),
        ("images", lambda a: a[:, :3]),
        ("images_uint8", lambda a: a.astype(float)),
        ("labels", lambda a: a - 1),
        ("labels", lambda a: a + 1),
        ("labels", lambda a: a * 0.5),
        ("labels", lambda a: a.reshape(-1, 1)),
        ("preprocess", lambda a: np.array("fourier")),
        ("preprocess", lambda a: np.array("normalise")),
        ("preprocess_mean", lambda a: a[:5]),
        ("preprocess_forward", lambda a: a * np.inf),
        ("preprocess_forward", lambda a: a[1:]),
        ("preprocess_forward", lambda a: a * 0),
        ("eval_epochs", lambda a: np.array("0")),
        ("eval_augment", lambda a: np.array("perhaps")),
        ("step_size", lambda a: np.zeros(2)),
        ("class_names", lambda a: a[:1]),
    ],
)
def test_distilled_set_whose_parts_do_not_fit(tmp_path, distilled, key, change):
    path = tmp_path / "bad.npz"
    with np.errstate(invalid="ignore"):
        np.savez(path, **(distilled | {key: change(distilled[key])}))
    with pytest.raises(UserError, match="not a whole distilled set") as caught:
        share.load_set(path)
    assert "\n" not in str(caught.value)
