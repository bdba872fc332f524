"""The jobs of a sweep, and the tasks that they become. A job is one run; a task is a command, started as a process of
its own. What is known of a task is files in OUT/jobs/: NAME.json says how it ended, NAME.log holds what it printed.
"""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from medjax import recipes, store
from medjax.pipeline.experts import experts_name
from medjax.pipeline.resolve import settings
from medjax.recipes.mtt import RECIPE


class Job(NamedTuple):
    """One run. ipc: images per class; None for all images. other: further networks that the distilled set is evaluated
    with (a,b), or "". integrate: the sets that an integrated set is made of (a,b), or ""."""

    dataset: str
    ipc: int | None
    method: str
    model: str
    seed: int
    preset: str
    other: str = ""
    integrate: str = ""

    @property
    def name(self) -> str:
        """The name of its files. A hash of all values makes it unique, because data sets of one name may lie at several
        paths."""
        size = "all" if self.ipc is None else f"ipc{self.ipc}"
        stem = re.sub(r"\W+", "-", Path(self.dataset).stem)
        words = [stem, self.method, size, self.model, f"seed{self.seed}", self.preset]
        return "-".join([*words, store.config_hash(self._asdict())])

    @property
    def experts(self) -> str:
        """The name of the experts that it shares with other jobs; its own name where it needs none."""
        if recipes.find(self.method).expert_epochs is None:
            return self.name
        given = {"model": self.model, "seed": self.seed}
        named = experts_name(
            settings(self.method, self.preset, self.dataset, self.ipc or 1, **given)
        )
        # Seeds may share experts, and methods need not.
        return self._replace(method="experts", ipc=None, seed=0, preset=named, other="").name

    def command(self, out: Path) -> list[str]:
        """The command line that runs it."""
        flags = {"dataset": self.dataset, "preset": self.preset, "seed": self.seed, "out": out}
        flags |= {"model": self.model} | ({} if self.ipc is None else {"ipc": self.ipc})
        flags |= {"eval_models": self.other} if self.other else {}
        flags |= {"integrate": self.integrate} if self.integrate else {}
        named = [f"--{name}={value}" for name, value in flags.items()]
        # The console command does not import from the current folder; a random.py there is no part of a job either.
        here = os.getcwd() in map(os.path.abspath, sys.path[:1])
        safe = [] if here else ["-P"]
        return [sys.executable, *safe, "-m", "medjax", self.method, *named]


class Task(NamedTuple):
    """A command of a sweep. needs: the name of the task that must have ended before, or "". job: whose forecast is its
    own; None: it needs no memory to speak of."""

    name: str
    words: list[str]
    needs: str = ""
    job: Job | None = None


def plan(out: Path, jobs: list[Job], command: Callable[[Job], list[str]]) -> list[Task]:
    """The tasks of the jobs that are not done. Experts that several share are trained by a task which they need, as MTT
    with the most images per class wants them. command: job -> its command line."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        if not done(out, job):
            groups.setdefault(job.experts, []).append(job)
    tasks = []
    for experts, group in groups.items():
        matching = [job for job in group if job.method == RECIPE.name and len(group) > 1]
        for job in sorted(matching, key=lambda job: job.ipc or 0)[-1:]:
            words = job._replace(method="experts", other="").command(out)
            tasks.append(Task(experts, words, job=job))
        needs = experts if matching else ""
        tasks += [Task(job.name, command(job), needs, job) for job in group]
    return tasks


def state(out: Path, job: Job | Task) -> dict[str, Any] | None:
    """How it ended: {"status": "done", "result": path below out} or {"status": "failed", "reason": text}. None for what
    has not ended, and where the result is gone."""
    known = store.read_json(out / "jobs" / f"{job.name}.json")
    if not isinstance(known, dict):
        return None
    if known.get("status") == "failed":
        return known | {"reason": str(known.get("reason"))}
    path = known.get("result")
    ended = known.get("status") == "done" and isinstance(path, str) and (out / path).exists()
    return known if ended else None


def done(out: Path, job: Job | Task) -> bool:
    """Whether it has its result."""
    return (state(out, job) or {}).get("status") == "done"
