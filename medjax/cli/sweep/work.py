"""The work on a task, where it is done: its command as a process of its own, and the record of how that ended."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, NamedTuple

from medjax import locks, store
from medjax.cli.sweep.jobs import Task, done

#: Starts a command that the system kills together with the process that started it (on Linux; elsewhere it goes on).
TOGETHER = (
    "import ctypes, os, sys; prctl = getattr(ctypes.CDLL(None), 'prctl', None)\n"
    "prctl and prctl(1, 9); os.execvp(sys.argv[1], sys.argv[1:])"
)


class Started(NamedTuple):
    """A task at work. process: None where it was done already. lock: is held by the process too, so that a task is not
    begun again while that lives."""

    task: Task
    process: subprocess.Popen | None
    lock: IO


def begin(
    out: Path, task: Task, wait: bool = False, card: str = "", folder: str = "."
) -> Started | None:
    """Start a task's command in ``folder``. None: another process works on it (``wait``: wait until it does not).
    card: the GPU that it may use; "": any."""
    (out / "jobs").mkdir(parents=True, exist_ok=True)
    lock = open(out / "jobs" / f"{task.name}.lock", "a")  # noqa: SIM115
    if locks.take(lock, wait) is False:
        return lock.close()
    if done(out, task):
        return Started(task, None, lock)
    words = [sys.executable, "-Sc", TOGETHER, *task.words]
    env = os.environ | ({"CUDA_VISIBLE_DEVICES": card} if card else {})
    with open(out / "jobs" / f"{task.name}.log", "wb") as log:
        files: dict[str, Any] = {"stdout": log, "stderr": log, "pass_fds": [lock.fileno()]}
        return Started(task, subprocess.Popen(words, env=env, cwd=folder, **files), lock)


def end(out: Path, running: Started) -> dict[str, Any]:
    """Wait for a task's command, and record how it ended; returns that."""
    with running.lock:
        if not running.process:
            return {"status": "done"}
        status = running.process.wait()
        said = (out / "jobs" / f"{running.task.name}.log").read_text("utf-8", "replace")
        # A run names its result, `medjax experts` its folder.
        found = re.findall(r"^(?:result +)?(.+/(?:result\.json|experts-[\w-]+))$", said, re.M)
        if status == 0 and found:
            return record(out, running.task, "done", result=os.path.relpath(found[-1], out))
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        ended = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        last = lines[-1][:300] if lines else "it printed nothing"
        return record(out, running.task, "failed", reason=f"{ended}: {last}")


def record(out: Path, task: Task, status: str, **how: str) -> dict[str, Any]:
    """Write down how a task ended, where, and when; returns that."""
    known = {"status": status, **how, "words": task.words}
    known |= {"host": socket.gethostname(), "time": time.time()}
    store.write_json(out / "jobs" / f"{task.name}.json", known)
    return known
