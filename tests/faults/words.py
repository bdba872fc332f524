"""Command lines nobody would write, given to every command in this process, up to where it would begin to compute."""

import contextlib
import dataclasses
import io
import os
import random
import runpy
import shutil
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from absl import flags

from medjax.cli.launch import TOOLS, find
from medjax.data.download import Failed
from medjax.data.preprocess import ZCA_LIMIT, PreprocessConfig, Preprocessor, fit
from medjax.recipes import RECIPES
from medjax.types import Dataset
from tests.faults.values import BOOLS, NUMBERS, STRANGE, TEXTS

#: Every command.
COMMANDS = (*RECIPES, *TOOLS)
#: Seconds that a command line may take.
PATIENCE = 20


class Reached(Exception):
    """Everything was accepted: from here on a command computes."""


class Ended(NamedTuple):
    """status; said: standard output and error. reached: whether the command was about to compute."""

    status: int
    said: tuple[str, str]
    reached: bool


class Slow(BaseException):
    """A hang."""


def made_up(rng: random.Random) -> tuple[str, list[str]]:
    """A command and words for it: mostly flags of its own, some with values that none allows."""
    command = rng.choice(COMMANDS)
    fields = {f.name: f for group in find(command).groups for f in dataclasses.fields(group)}
    words = []
    # Enough that is right for the rest to be looked at.
    for name, value in (("dataset", "tiny.npz"), ("folder", "images"), ("synthetic", "set.npz")):
        if name in fields and rng.random() < 0.8:
            words.append(f"--{name}={value}")
    if command == "prepare" and rng.random() < 0.8:
        words.append("--out=made.npz")
    for _ in range(rng.choice((0, 1, 1, 2, 3, 6))):
        if not fields or rng.random() < 0.15:
            words.append(rng.choice(STRANGE if rng.random() < 0.7 else TEXTS))
            continue
        field = fields[rng.choice(list(fields))]
        pool = {bool: BOOLS, str: TEXTS}.get(field.type, NUMBERS)
        pool = rng.choice((pool, field.metadata["choices"] or pool, pool, TEXTS))
        value = rng.choice(pool)
        words += rng.choice(([f"--{field.name}={value}"], [f"--{field.name}", value]))
    rng.shuffle(words)
    for i, word in enumerate(words):  # Root may write anywhere: what was asked for is no fault.
        if i and words[i - 1] == "--out":
            words[i] = word.lstrip("/")
        elif word.startswith("--out=/"):
            words[i] = "--out=" + word.removeprefix("--out=").lstrip("/")
    # No process is told a NUL, and what is in an argument is bytes.
    return command, [w.replace("\0", "") for w in words]


def furnish(folder: Path, dataset: bytes, synthetic: bytes) -> None:
    """The files that command lines speak of."""
    from PIL import Image

    (folder / "tiny.npz").write_bytes(dataset)
    (folder / "set.npz").write_bytes(synthetic)
    (folder / "junk.npz").write_bytes(b"--ipc=x\n\xff\0junk")
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (folder / "images" / label).mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / label / f"{i}.png")


@contextlib.contextmanager
def no_work() -> Iterator[None]:
    """Commands look at all that they are told, and stop where they would compute or connect."""

    def reach(*args: Any, **kwargs: Any) -> Any:
        raise Reached

    def fitted(config: PreprocessConfig, raw: Any, path: Path) -> Preprocessor:
        channels = raw.train.images.shape[-1]
        if config.whiten == "zca" and config.size**2 * channels > ZCA_LIMIT:
            return fit(config, raw.train.images)  # refuses
        return Preprocessor(config.whiten, config.size, *(np.ones(channels, np.float32),) * 3)

    def to_device(pre: Preprocessor, split: Any) -> Dataset:
        n, c = len(split.labels), split.images.shape[-1]
        shape = (n, pre.size, pre.size, c)
        return Dataset(np.broadcast_to(np.float32(0), shape), split.labels)

    def offline(*args: Any) -> None:
        raise Failed("no network")

    places = {
        "medjax.pipeline.run.train_experts": reach,
        "medjax.pipeline.run.distil": reach,
        "medjax.pipeline.run.random_start": lambda session: None,
        "medjax.pipeline.real.subset": reach,
        "medjax.pipeline.real.train_and_score": reach,
        "medjax.pipeline.evaluate_saved.final_row": reach,
        "medjax.pipeline.evaluate_saved.step_size_for": reach,
        "medjax.pipeline.session.fitted": fitted,
        "medjax.data.preprocess.to_device": to_device,
        "medjax.cli.experts.train_experts": reach,
        "medjax.cli.table1.sweep": reach,
        "medjax.cli.indicator.sweep": reach,
        "medjax.cost.matrix_rate": lambda: 1e10,
        "medjax.data.named.download": offline,
        "medjax.data.sources.read_tfds": offline_tfds,
        "medjax.devices.use_cores": lambda: None,
        "medjax.cli.launch.keep_programs": lambda: None,
    }
    with contextlib.ExitStack() as stack:
        for place, replacement in places.items():
            stack.enter_context(mock.patch(place, replacement))
        yield


def offline_tfds(name: str, data_dir: Any) -> None:
    from medjax.errors import UserError

    raise UserError(f"tfds:{name} needs a network")


def attempt(command: str, words: list[str]) -> Ended:
    """``python -m experiments.COMMAND WORDS`` in this process and folder, as a terminal would show it."""
    known, status, reached = set(flags.FLAGS), 0, False
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", "strict", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True)

    def hang(number: int, frame: object) -> None:
        raise Slow(f"{command} {words}: more than {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, hang), list(sys.argv)
    signal.alarm(PATIENCE)
    sys.argv = [f"experiments/{command}.py", *words]
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(),
        ):
            # The module has been imported before, which is no matter.
            warnings.filterwarnings("ignore", category=RuntimeWarning, module="runpy")
            warnings.filterwarnings("ignore", category=RuntimeWarning, message=".*found in sys")
            runpy.run_module(f"experiments.{command}", run_name="__main__")
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except Reached:
        reached = True
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before[0])
        sys.argv = before[1]
        for name in set(flags.FLAGS) - known:
            delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()
    said = tuple(stream.buffer.getvalue().decode() for stream in (out, err))
    return Ended(status, said, reached)


def tidy(folder: Path, kept: set[str]) -> None:
    """Remove what a command wrote."""
    for path in folder.iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def complaint(ended: Ended) -> str:
    """What is wrong with how a command ended, if anything."""
    out, err = ended.said
    if "Traceback" in out + err:
        return "a traceback"
    if ended.status not in (0, 2):
        return f"status {ended.status}"
    if ended.status == 2:
        lines = [line for line in err.splitlines() if not line.startswith("left out:")]
        if len(lines) != 1 or not lines[0].startswith("error: "):
            return f"not one line: {err[-500:]!r}"
    return ""


def command_lines(count: int, folder: Path, seed: int = 3) -> tuple[int, list[str]]:
    """(accepted, what went wrong) of ``count`` command lines, tried in ``folder``."""
    kept, before, accepted, wrong = {p.name for p in folder.iterdir()}, os.getcwd(), 0, []
    os.chdir(folder)
    try:
        with no_work(), mock.patch.dict(os.environ, HOME=str(folder)):
            for number in range(count):
                command, words = made_up(random.Random(f"{seed}-{number}"))
                try:
                    ended = attempt(command, words)
                    problem = complaint(ended)
                    accepted += ended.status == 0
                except (Exception, Slow) as error:
                    problem = f"{type(error).__name__}: {error}"[:300]
                if problem:
                    wrong.append(f"{command} {words}: {problem}"[:1500])
                tidy(folder, kept)
    finally:
        os.chdir(before)
    return accepted, wrong
