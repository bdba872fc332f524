"""Working through the jobs of a sweep, alone or as one of several shards on a shared file system."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from medjax.cli.sweep.claims import release, take
from medjax.cli.sweep.jobs import Job, state, work_on
from medjax.data import sources

#: Seconds between looks at jobs that others work on.
POLL = 15.0


def sweep(
    out: Path, jobs: list[Job], shard: tuple[int, int], command: Callable[[Job], list[str]]
) -> None:
    """Until every job has ended: run those that are free, one's own first, then wait for or take over the others'.

    shard: (index, count); jobs are dealt out by what must be claimed for them. A job that had failed before this
    call is tried again once, by the shard it belongs to. command: the command line of a job.
    """
    index, count = shard
    claims = list(dict.fromkeys(job.claim for job in jobs))
    mine = set(claims[index::count])
    again = {c.name for c in jobs if c.claim in mine and _failed(out, c)}
    while True:
        waiting = False
        for job in sorted(jobs, key=lambda c: c.claim not in mine):
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
    """Before anything is run: UserError for data that cannot be had of a job that is still to do."""
    for job in jobs:
        if (state(out, job) or {}).get("status") != "done":
            parts = job.integrate.split(",") if job.integrate else ()
            for name in parts if job.dataset == "integrated" else (job.dataset,):
                sources.check(name.strip())


def _failed(out: Path, job: Job) -> bool:
    return (state(out, job) or {}).get("status") == "failed"


def _open(out: Path, job: Job, again: set[str]) -> bool:
    """Whether there is work: not ended, or failed and to be tried again."""
    return state(out, job) is None or (job.name in again and _failed(out, job))


def _say(job: Job, what: str, why: str = "") -> None:
    line = f"{time.strftime('%H:%M:%S')} {job.name}: {what}{f': {why}' if why else ''}"
    print(line, file=sys.stdout if what in ("started", "done") else sys.stderr, flush=True)
