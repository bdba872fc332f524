"""The jobs of a sweep. A job is one run, started as a command of its own. Its state is files in OUT/jobs/: NAME.json
says how it ended (done or failed), NAME.log holds what it printed, and a claim (medjax/cli/sweep/claims.py) is there
while it runs.
"""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from medjax import recipes, store
from medjax.cli.sweep import claims


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
    def claim(self) -> str:
        """The name of the claim that is needed to work on it. Jobs that need the same experts share one claim, so that
        one shard trains them."""
        if recipes.find(self.method).expert_epochs is None:
            return self.name
        values = {**self._asdict(), "ipc": None}
        return f"{Path(self.dataset).stem}-{self.method}-experts-{store.config_hash(values)}"

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


def state(out: Path, job: Job) -> dict[str, Any] | None:
    """How a job ended: {"status": "done", "result": path below out} or {"status": "failed", "reason": text}. None for a
    job that has not ended, and for one whose result is gone."""
    known = store.read_json(out / "jobs" / f"{job.name}.json")
    if not isinstance(known, dict):
        return None
    if known.get("status") == "failed":
        return known | {"reason": str(known.get("reason"))}
    path = known.get("result")
    done = known.get("status") == "done" and isinstance(path, str) and (out / path).is_file()
    return known if done else None


def work_on(out: Path, job: Job, claim: Path, command: list[str]) -> dict[str, Any]:
    """Run a claimed job's command to its end and record how it ended; returns the record. If another process took the
    claim over in the meantime (this machine slept), the command is stopped and nothing is recorded."""
    log, begin = out / "jobs" / f"{job.name}.log", time.monotonic()
    with open(log, "wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        if claim.exists():
            claim.write_text(claims.owner(process.pid))
        try:
            while True:
                try:
                    process.wait(claims.BEAT)
                    break
                except subprocess.TimeoutExpired:
                    try:
                        os.utime(claim)
                    except FileNotFoundError:
                        return {"status": "taken over"}
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    record = _record(out, log.read_text("utf-8", "replace"), process.returncode)
    if not claim.exists():
        return {"status": "taken over"}
    record |= {"job": job._asdict(), "seconds": round(time.monotonic() - begin, 1)}
    record |= {"host": socket.gethostname(), "time": time.time()}
    store.write_json(out / "jobs" / f"{job.name}.json", record)
    return record


def _record(out: Path, said: str, status: int) -> dict[str, Any]:
    """The record of a job: done with the result that its command named, or failed with the last line it printed."""
    found = re.findall(r"^result +(.+/result\.json)$", said, re.M)
    if status == 0 and found:
        return {"status": "done", "result": os.path.relpath(found[-1], out)}
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    ended = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    return {
        "status": "failed",
        "reason": f"{ended}: {lines[-1][:300] if lines else 'it printed nothing'}",
    }
