"""Launchers under test: tiny data sets, a server process that runs commands, and runs that several tests look at.

One process runs many commands one after the other, as fresh as a command line gets (own argv, own flags), so that
imports and compiled programs are paid for once. It may be told to kill itself in the middle of a command.
"""

import atexit
import contextlib
import functools
import gc
import io
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
#: Operations of a device call: small, so that a tiny run is cut into several chunks in every phase.
WORK = 2e8
#: Programs here run for milliseconds and compile for seconds: made quickly, each in one piece, they take a third of the
#: time in all.
XLA_FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
XLA_FLAGS += " --xla_cpu_parallel_codegen_split_count=1"
if tuple(map(int, metadata.version("jaxlib").split(".")[:2])) < (0, 11):  # later ones end at it
    XLA_FLAGS += " --xla_cpu_use_fusion_emitters=false"
# Tracing makes objects by the million, nearly all of which are freed by their count: looking for cycles among them at
# every 700th takes a tenth of its time.
gc.set_threshold(100_000, 50, 50)
#: Seconds after which a command is taken to hang.
PATIENCE = 1800.0

#: A shrunken `paper`: its minibatches, cycled experts, raw step size and parity with the public code stay.
PAPER = (
    "--preset=paper",
    "--ipc=10",
    "--size=8",
    "--width=16",
    "--depth=2",
    "--experts=2",
    "--expert_batch=32",
    "--iterations=8",
    "--inner_steps=3",
    "--expert_span=2",
    "--max_start_epoch=3",
    "--lr_img=100",
    "--batch_syn=10",
    "--meta_batch=2",
    "--eval_every=4",
    "--networks=2",
    "--eval_epochs=10",
    "--interim_networks=1",
    "--interim_epochs=20",
    "--eval_augment=false",  # `other_grey` has it
)
#: The command of `paper_grey`: chosen on test, and what is traced fastest: another lowering, no DSA.
PLAIN = (*PAPER, "--conv=im2col", "--select=test", "--augment=none", "--expert_augment=none")
#: The command of `other_grey`: everything that PAPER sets or leaves alone, set otherwise.
GREY = (
    "--preset=quick",
    "--ipc=3",
    "--size=12",
    "--width=8",
    "--depth=1",
    "--experts=3",
    "--expert_batch=20",
    "--whiten=normalise",
    "--iterations=6",  # whole chunks of two: one program
    "--inner_steps=2",
    "--expert_span=1",
    "--max_start_epoch=2",
    "--init_images=noise",
    "--lr_init=0",
    "--eval_every=2",
    "--networks=3",
    "--eval_epochs=9",
    "--interim_networks=2",
    "--interim_epochs=7",
    "--conv=im2col",
    "--select=last",
    "--augment=color_flip",
    "--expert_augment=flip",
)

NETWORK = ("--preset=quick", "--width=8", "--depth=1", "--size=8", "--whiten=normalise")
#: Interim and final evaluations are of one size, and so are all chunks: one compiled program each, without DSA, which
#: `paper_rgb` and `other_grey` have.
SCORING = ("--networks=2", "--eval_epochs=3", "--interim_networks=2", "--interim_epochs=3")
SCORING += ("--eval_augment=false",)
MATCHING = (*SCORING, "--iterations=2", "--batch_real=4", "--eval_every=1")


class Result(NamedTuple):
    """How a command ended: exit status (-9 where it was killed) and what it said."""

    status: int
    stdout: str
    stderr: str


class Run(NamedTuple):
    """A finished run: how its command ended, and its folder read back."""

    ended: Result
    folder: Path
    config: dict[str, Any]
    result: dict[str, Any]
    log: list[dict[str, Any]]

    def rows(self, phase: str) -> list[dict[str, Any]]:
        """The log's rows of one phase."""
        return [row for row in self.log if row["phase"] == phase]

    def experts(self) -> Path:
        """The folder of the experts it was distilled from: the one beside it with the same network."""
        mine = [self.config["values"][name]["value"] for name in ("conv", "width")]
        kept = []
        for folder in self.folder.parent.glob("experts-*"):
            values = read_json(folder / "config.json")["values"]
            kept += [folder] if [values["conv"], values["width"]] == mine else []
        assert len(kept) == 1
        return kept[0]


@functools.cache
def workplace() -> Path:
    """A folder for the whole test session."""
    folder = Path(tempfile.mkdtemp(prefix="medjax-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def environment() -> dict[str, str]:
    """Of the processes under test: compiled programs are shared, and made quickly rather than to be quick."""
    changed = {"PYTHONPATH": str(ROOT), "XLA_FLAGS": XLA_FLAGS, "JAX_PLATFORMS": "cpu"}
    changed["JAX_TRACEBACK_IN_LOCATIONS_LIMIT"] = "0"  # nobody reads where an operation came from
    changed["JAX_NUM_CPU_DEVICES"] = "2"  # experts come in pairs, on a machine with more cores too
    return os.environ | changed


def latest(words: tuple[str, ...]) -> list[str]:
    """A command line in which a flag takes the place of the same flag before it: a command refuses two values."""
    named = {
        word.partition("=")[0] if "=" in word else (i, word): word for i, word in enumerate(words)
    }
    return list(named.values())


class Server:
    """A process that runs commands; started when it is needed, started again when it was killed."""

    def __init__(self) -> None:
        self.process: subprocess.Popen | None = None

    def start(self) -> subprocess.Popen:
        """The living process."""
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment(),
                cwd=workplace(),
            )
            atexit.register(self.process.communicate)
        return self.process

    def begin(self, module: str, *words: str, kill: str | None = None) -> subprocess.Popen:
        """Start ``python -m module words``; kill: a regular expression, the log row at which the process dies."""
        process = self.start()
        order = {"module": module, "words": latest(words), "kill": kill}
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        return process

    def end(self) -> Result:
        """Wait for the command that was started."""
        process, timer = self.process, threading.Timer(PATIENCE, self.process.kill)
        timer.start()
        answer = process.stdout.readline()
        timer.cancel()
        if answer:
            return Result(**json.loads(answer))
        with contextlib.suppress(BrokenPipeError):
            process.communicate()
        return Result(process.returncode, "", "")

    def run(self, module: str, *words: str, kill: str | None = None) -> Result:
        """A command from beginning to end."""
        self.begin(module, *words, kill=kill)
        return self.end()


SERVER = Server()


def settings(method: str, *words: str) -> Any:
    """What the command line of a method resolves to; ``out`` and ``fresh`` are among the options."""
    from medjax import recipes
    from medjax.cli import flags
    from medjax.pipeline import presets
    from medjax.pipeline.settings import groups_of

    recipe = recipes.find(method)
    groups = (*groups_of(recipe), flags.OutConfig)
    with own_flags():
        parse(groups, *words)
        return flags.read(*groups, presets=presets.read(recipe))


def parse(groups: tuple[type, ...], *words: str) -> None:
    """Define the flags of these groups and parse a command line; use it within `own_flags`."""
    from absl import flags as absl_flags

    from medjax.cli import flags

    flags.define(*groups)
    absl_flags.FLAGS(["command", *words])


@contextlib.contextmanager
def own_flags() -> Iterator[None]:
    """Flags that are defined within it are gone after it."""
    from absl import flags

    known = set(flags.FLAGS)
    try:
        yield
    finally:
        for name in set(flags.FLAGS) - known:
            delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()


def mtt(*words: str, kill: str | None = None) -> Result:
    """``python -m experiments.mtt words``."""
    return SERVER.run("experiments.mtt", *words, kill=kill)


def complaint(ended: Result) -> str:
    """The one line of an error; everything else fails the test."""
    assert ended.status == 2, (ended.stdout, ended.stderr)
    assert "Traceback" not in ended.stderr + ended.stdout
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def read_run(ended: Result) -> Run:
    """The run whose table a command printed."""
    assert ended.status == 0, ended.stderr
    # A page's command prints a path below the folder that it ran in.
    folder = workplace() / re.search(r"^result +(.+)/result\.json$", ended.stdout, re.M)[1]
    config, result = (read_json(folder / f"{name}.json") for name in ("config", "result"))
    return Run(ended, folder, config, result, read_log(folder))


def read_json(path: Path) -> Any:
    """A JSON file, strictly: NaN and Infinity are no JSON."""
    return json.loads(path.read_text(), parse_constant=_refuse)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The whole rows of a folder's log."""
    path = folder / "log.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def scores(run: Run) -> dict[str, Any]:
    """The part of a result that must not depend on when and how often a run was stopped."""
    return {k: v for k, v in run.result.items() if k != "seconds"}


@functools.cache
def finished(dataset: str, out: str, *words: str) -> Run:
    """A run on one of the tiny sets, made once for all tests that look at it; ``out`` keeps runs apart."""
    return read_run(mtt(f"--dataset={tiny(dataset)}", f"--out={workplace() / out}", *words))


def paper_rgb() -> Run:
    """The shrunken `paper` on three classes of colour images."""
    return finished("rgb", "one", *PAPER, "--conv=winograd")


def paper_grey() -> Run:
    """The same on two classes of grey images with another lowering, chosen on test."""
    return finished("grey", "one", *PLAIN)


def other_grey() -> Run:
    """Everything set otherwise, on two classes of grey images; the last iteration counts."""
    return finished("grey", "one", *GREY)


RUNS = (paper_rgb, paper_grey, other_grey)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder: when it was written, and its bytes."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in files}


@functools.cache
def tiny(name: str) -> Path:
    """One of the tiny sets as a file: rgb (3 classes), grey (2 classes), poisoned (rgb, other test labels)."""
    rng = np.random.default_rng(0)
    classes, arrays = (2 if name == "grey" else 3), {}
    for split, count in (("train", 60), ("val", 24), ("test", 24)):
        labels = np.arange(count) % classes
        images = rng.integers(40, 160, (count, 28, 28, 3))
        for image, label in zip(images, labels, strict=True):
            image[7 * label : 7 * label + 14, :, label] += 8
        arrays[f"{split}_images"] = (images[..., 0] if name == "grey" else images).astype(np.uint8)
        arrays[f"{split}_labels"] = labels.reshape(-1, 1)
    if name == "poisoned":
        arrays["test_labels"] = (arrays["test_labels"] + 1) % classes
    arrays["class_names"] = np.array([f"kind {c}" for c in range(classes)])
    # One stem for all: the name of a data set is its file's.
    path = workplace() / name / "cells.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **arrays)
    return path


def serve() -> None:
    """Run the commands that come in as lines of JSON; answer each with a line of JSON."""
    import jax
    from absl import logging

    from medjax import cost, store

    logging.set_verbosity(logging.ERROR)  # has flags of its own, which must not go with a command's
    cost.WORK_PER_CALL["cpu"] = WORK
    cost.matrix_rate = lambda: 1e10  # nobody waits for what is forecast here
    update, append = jax.config.update, store.append_log

    def keep_all(name: str, value: Any) -> None:
        update(name, 0.0 if name.endswith("min_compile_time_secs") else value)

    jax.config.update = keep_all  # small programs go to the cache too: there are many here
    for line in sys.stdin:
        order = json.loads(line)

        def append_or_die(path: Path, kill: str | None = order["kill"], **row: Any) -> None:
            append(path, **row)
            if kill and re.search(kill, json.dumps(row)):
                os.kill(os.getpid(), signal.SIGKILL)

        store.append_log = append_or_die
        sys.argv = [order["module"], *order["words"]]
        # A command line starts its module fresh; here an earlier command may have imported it.
        sys.modules.pop(order["module"], None)
        out, err, status = io.StringIO(), io.StringIO(), 0
        with own_flags(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                runpy.run_module(order["module"], run_name="__main__")
            except SystemExit as stop:
                status = stop.code or 0
            except BaseException:
                import traceback

                traceback.print_exc()
                status = 1
        answer = {"status": status, "stdout": out.getvalue(), "stderr": err.getvalue()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
