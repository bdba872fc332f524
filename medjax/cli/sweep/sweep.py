"""Runs the tasks of a sweep on an engine, with one display of how far it is."""

import contextlib
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from medjax.cli.console import Console
from medjax.cli.sweep.jobs import Job, Task, done
from medjax.data import sources
from medjax.data.catalog import parts


def sweep(tasks: list[Task], events: Generator[tuple[Task, dict[str, Any]]]) -> None:
    """Work on tasks until all have ended. events: what an engine yields, of a task that was started or has ended."""
    ended = 0
    with Console() as console, contextlib.closing(events):
        update = console.bar("sweep", len(tasks))
        for task, known in events:
            what, why = known["status"], known.get("reason", "")
            line = f"{time.strftime('%H:%M:%S')} {task.name}: {what}{f': {why}' if why else ''}"
            print(line, file=sys.stderr if why else sys.stdout, flush=True)
            ended += what != "started"
            update(ended, "")


def deal(jobs: list[Job], index: int, count: int) -> list[Job]:
    """The jobs of shard ``index`` of ``count``; those that share experts stay together."""
    keys = list(dict.fromkeys(job.experts for job in jobs))
    mine = set(keys[index::count])
    return [job for job in jobs if job.experts in mine]


def check_sources(out: Path, jobs: list[Job]) -> None:
    """Look for the data of all jobs that are not done, before anything runs. Raises UserError where some cannot be
    had."""
    for job in jobs:
        if not done(out, job):
            integrated = job.dataset == "integrated"
            for name in parts(job.integrate) if integrated else (job.dataset,):
                sources.check(name)
