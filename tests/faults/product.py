"""A small run of the product in a process of its own: it tells where it is, and may get a signal at a file operation.

Processes are forks of this one, which has imported everything and computed nothing: most of a tiny run's time would
go into imports.
"""

import functools
import hashlib
import io
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

#: Where a run may be, in order.
PHASES = (
    "download",
    "preprocessing",
    "experts",
    "distillation",
    "interim",
    "evaluation",
    "writing",
)
#: Two experts, six iterations in pieces of one, two interim evaluations, four final ones, each in several pieces.
WORDS = (
    "--preset=paper",
    "--model=mlp",
    "--dataset=octmnist",
    "--ipc=2",
    "--size=8",
    "--experts=2",
    "--expert_batch=16",
    "--iterations=6",
    "--inner_steps=2",
    "--expert_span=1",
    "--max_start_epoch=3",
    "--lr_img=1",
    "--eval_every=3",
    "--networks=2",
    "--eval_epochs=6",
    "--interim_networks=1",
    "--interim_epochs=6",
)
#: Operations of a device call: so few that every phase is cut into several.
WORK = 1e6


class Order(NamedTuple):
    """A signal for the process itself: at which of its file operations, and which. 0: none."""

    operation: int = 0
    number: int = 0


class Process(NamedTuple):
    """A run under way. marks: a pipe that brings a line a phase, "!" just before an ordered signal, and in the end
    "# OPERATIONS". said: the files that standard output and error go to."""

    pid: int
    marks: int
    said: tuple[Path, Path]


def content() -> bytes:
    """A grey set of four classes as a file of 100 kB."""
    rng, out, arrays = np.random.default_rng(0), io.BytesIO(), {}
    for split, count in (("train", 64), ("val", 32), ("test", 32)):
        labels = np.arange(count) % 4
        images = rng.integers(40, 160, (count, 28, 28))
        for image, label in zip(images, labels, strict=True):
            image[7 * label : 7 * label + 7] += 60
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = images.astype(np.uint8), labels
    np.savez(out, **arrays)
    return out.getvalue()


def prepare(address: str, md5: str) -> None:
    """Import the product and put marks into it; sets come from ``address``."""
    import dataclasses

    import jax

    import medjax.augment
    from medjax import cost
    from medjax.data import catalog, named
    from medjax.pipeline import experts, finish, interim, run, score, session
    from medjax.recipes import mtt

    catalog.RECORD = address
    entry = catalog.CATALOG["octmnist"]
    catalog.CATALOG["octmnist"] = dataclasses.replace(entry, md5=(md5, *entry.md5[1:]))
    cost.WORK_PER_CALL["cpu"], cost.matrix_rate = WORK, lambda: 1e10
    # A change of the images that takes no time to compile: what is tried here does not depend on which.
    noisy = functools.partial(_noise, jax.random.normal)
    for module in (medjax.augment, experts, score, mtt):
        module.augment = noisy
    update = jax.config.update
    jax.config.update = lambda name, value: update(name, 0.0 if name.endswith("secs") else value)
    for module, name, phase in (
        (named, "download", "download"),
        (session, "fitted", "preprocessing"),
        (run, "train_experts", "experts"),
        (run, "distil", "distillation"),
        (interim, "evaluate", "interim"),
        (finish, "choose_step_size", "evaluation"),
        (score, "final_scores", "evaluation"),
        (finish, "draw", "writing"),
    ):
        setattr(module, name, _marked(getattr(module, name), phase))


def start(out: Path, order: Order) -> Process:
    """``python -m experiments.mtt`` with results and downloads below ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    said = (out / "stdout.txt", out / "stderr.txt")
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return Process(pid, read, said)
    status = 1
    try:
        os.close(read)
        for number, path in zip((1, 2), said, strict=True):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _STATE.update(pipe=write, phase="")
        if order.operation:
            sys.addaudithook(_counter(str(out / "runs"), str(out / "data"), order))
        status = _run([*WORDS, f"--out={out / 'runs'}", f"--data_dir={out / 'data'}"])
    except BaseException:
        traceback.print_exc()
    finally:
        _mark(f"# {_STATE['operations']}")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


#: Of this process: where marks go, the phase it is in, and its file operations so far.
_STATE: dict = {"pipe": None, "phase": "", "operations": 0}


def _run(words: list[str]) -> int:
    import runpy

    sys.argv = ["experiments/mtt.py", *words]
    try:
        runpy.run_module("experiments.mtt", run_name="__main__")
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def _mark(text: str) -> None:
    os.write(_STATE["pipe"], f"{text}\n".encode())


def _marked(call: Callable, phase: str) -> Callable:
    """The same, telling when it begins, and where it goes back to."""

    @functools.wraps(call)
    def marked(*args, **kwargs):
        before = _STATE["phase"]
        _STATE["phase"] = phase
        _mark(phase)
        try:
            return call(*args, **kwargs)
        finally:
            _STATE["phase"] = before
            _mark(before or "between")

    return marked


def _noise(normal, key, images, siamese=False):
    noise = normal(key, images.shape[1:] if siamese else images.shape)
    return images + 0.2 * noise.reshape(-1, *images.shape[1:])


def _counter(runs: str, data: str, order: Order) -> Callable:
    """An audit hook: the process gets its signal just before the given of its file operations."""
    kinds = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree"}

    def hook(event: str, args: tuple) -> None:
        writes = (
            event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if not (writes or event in kinds) or not str(args[0]).startswith((runs, data)):
            return
        _STATE["operations"] += 1
        if _STATE["operations"] == order.operation:
            _mark(f"!{event}")
            os.kill(os.getpid(), order.number)

    return hook


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def wait(process: Process, seconds: float) -> int | None:
    """The status that a process ends with; None if it does not within ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pid, status = os.waitpid(process.pid, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None
