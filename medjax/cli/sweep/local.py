"""This machine as the engine of a sweep: one task after the other, or one on each GPU."""

import importlib.util
import os
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from medjax.cli.sweep.jobs import Task
from medjax.cli.sweep.work import Started, begin, end

#: Seconds between two looks at the processes.
POLL = 0.1


def run(out: Path, tasks: list[Task]) -> Generator[tuple[Task, dict[str, Any]]]:
    """Work on tasks; yields each when it is started, and when it has ended with how. What another process works on is
    waited for. Where this is left early, processes are stopped."""
    left, busy = list(tasks), dict[str, Started | None].fromkeys(cards() or [""])
    try:
        while left or any(busy.values()):
            for card, running in busy.items():
                if running and (not running.process or running.process.poll() is not None):
                    busy[card] = None
                    yield running.task, end(out, running)
            at_work = [running.task for running in busy.values() if running]
            names, free = {t.name for t in left + at_work}, [c for c in busy if not busy[c]]
            for task in [t for t in left if t.needs not in names]:
                if free and (running := begin(out, task, card=free[0])):
                    left.remove(task)
                    busy[free.pop(0)] = running
                    yield task, {"status": "started"}
            time.sleep(POLL)
    finally:
        for process in [running.process for running in busy.values() if running]:
            if process:
                process.terminate()
                process.wait()


def cards() -> list[str]:
    """The GPUs that JAX may use here, as CUDA_VISIBLE_DEVICES names them."""
    installed = any(importlib.util.find_spec(f"jax_cuda{v}_plugin") for v in (12, 13))
    if not installed or os.environ.get("JAX_PLATFORMS", "cuda") == "cpu":
        return []
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [card for card in visible.split(",") if card not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    except FileNotFoundError:
        return []
    lines = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return [str(index) for index in range(len(lines))]
