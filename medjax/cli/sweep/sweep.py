"""Runs the jobs of a sweep, alone or as one of several shards on a shared file system."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from medjax.cli.sweep.claims import release, take
from medjax.cli.sweep.jobs import Job, state, work_on
from medjax.data import sources

#: Seconds between two looks at the jobs that other processes work on.
POLL = 15.0


def sweep(
    out: Path, jobs: list[Job], shard: tuple[int, int], command: Callable[[Job], list[str]]
) -> None:
    """Run jobs until every job has ended: first those of this shard, then those of other shards that nobody works on.
    Where another process works on a job, wait for it, and take the job over if that process dies.

    shard: (index, count); jobs are dealt out by their claims. A job that had failed before this call is tried again
    once, by the shard that it belongs to. command: job -> its command line.
    """
    index, count = shard
    claims = list(dict.fromkeys(job.claim for job in jobs))
    mine = set(claims[index::count])
    again = {job.name for job in jobs if job.claim in mine and _failed(out, job)}
    while True:
        waiting = False
        for job in sorted(jobs, key=lambda job: job.claim not in mine):
            if not _open(out, job, again):
                continue
            claim = take(out / "jobs", job.claim)
            if claim is None:
                waiting = True
                continue
            try:
                # It may have ended between the look and the claim.
                if _open(out, job, again):
                    again.discard(job.name)
                    _say(job, "started")
                    record = work_on(out, job, claim, command(job))
                    _say(job, record["status"], record.get("reason", ""))
            finally:
                release(claim)
        if not waiting:
            return
        time.sleep(POLL)


def check_data(out: Path, jobs: list[Job]) -> None:
    """Look for the data of all jobs that are not done, before anything runs. Raises UserError where some cannot be
    had."""
    for job in jobs:
        if (state(out, job) or {}).get("status") != "done":
            parts = job.integrate.split(",") if job.integrate else ()
            for name in parts if job.dataset == "integrated" else (job.dataset,):
                sources.check(name.strip())


def _failed(out: Path, job: Job) -> bool:
    return (state(out, job) or {}).get("status") == "failed"


def _open(out: Path, job: Job, again: set[str]) -> bool:
    """Whether a job is to be run: it has not ended, or it failed and is tried again."""
    return state(out, job) is None or (job.name in again and _failed(out, job))


def _say(job: Job, what: str, why: str = "") -> None:
    line = f"{time.strftime('%H:%M:%S')} {job.name}: {what}{f': {why}' if why else ''}"
    print(line, file=sys.stdout if what in ("started", "done") else sys.stderr, flush=True)
