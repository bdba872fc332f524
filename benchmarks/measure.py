"""Measure sides of one case in turns: every side in its own process, never two at work at once, medians."""

import json
import os
import statistics
import subprocess
import sys
from typing import Any, NamedTuple

#: Rounds that a median is taken over; no more are begun once a side has spent ``ENOUGH`` seconds.
ROUNDS, ENOUGH = 7, 20.0


class Side(NamedTuple):
    """What one side did with a case; ``seconds`` is the median, None where it failed and ``error`` says why."""

    seconds: float | None
    mb: float | None
    facts: dict[str, Any]
    error: str | None


class Worker:
    """A running `benchmarks.worker`; of the checkout in ``folder``, if one is given."""

    def __init__(
        self, side: str, suite: str, case: dict, environment: dict[str, str], folder: str = "."
    ):
        command = [sys.executable, "-m", "benchmarks.worker", side, suite, json.dumps(case)]
        # Both sides may share one GPU: neither takes all of its memory.
        environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} | os.environ | environment
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            cwd=folder,
        )
        self.seconds: list[float] = []
        self.facts = self.answer()

    def answer(self) -> dict[str, Any]:
        """The next JSON line; libraries may print others."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        return {"error": f"ended with status {self.process.wait()}, killed for memory?"}

    @property
    def error(self) -> str | None:
        return self.facts.get("error")

    def wants_more(self) -> bool:
        spent = sum(self.seconds)
        return not self.error and len(self.seconds) < ROUNDS and spent < ENOUGH

    def run(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self.answer()
        if "error" in answer:
            self.facts = answer
        else:
            self.seconds.append(answer["seconds"])

    def finish(self) -> Side:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        last = {} if self.error else self.answer()
        mb = last.pop("mb", None)
        self.facts |= last
        self.process.wait()
        self.process.stdout.close()
        median = statistics.median(self.seconds) if self.seconds and not self.error else None
        return Side(median, mb, self.facts, self.error)


def in_turns(suite: str, case: dict, sides: tuple[str, ...]) -> dict[str, Side]:
    """Prepare every side of a case one after the other, then time them in turns."""
    workers = {side: Worker(side, suite, case, {}) for side in sides}
    while any(worker.wants_more() for worker in workers.values()):
        for worker in workers.values():
            if worker.wants_more():
                worker.run()
    return {side: worker.finish() for side, worker in workers.items()}


def words(case: dict[str, Any]) -> str:
    """What a case is called."""
    return ", ".join(f"{k}={v}" for k, v in case.items())


def row(suite: str, case: str, sides: dict[str, Side]) -> dict[str, Any]:
    """One line of the table; ratios are eager PyTorch / medjax and the faster PyTorch / medjax."""
    nothing = Side(None, None, {}, None)
    ours, eager, fast = (sides.get(s, nothing) for s in ("medjax", "torch", "fast"))

    def ratio(other: Side) -> float | None:
        return other.seconds / ours.seconds if other.seconds and ours.seconds else None

    flops, rate = ours.facts.get("flops"), ours.facts.get("matrix_rate")
    achieved = flops / ours.seconds if flops and ours.seconds else None
    return {
        "suite": suite,
        "case": case,
        "medjax_s": ours.seconds,
        "torch_s": eager.seconds,
        "ratio": ratio(eager),
        "medjax_mb": ours.mb,
        "torch_mb": eager.mb,
        "fast_s": fast.seconds,
        "fast_ratio": ratio(fast),
        "fast_mb": fast.mb,
        "fast_how": fast.facts.get("how"),
        "gflops": achieved / 1e9 if achieved else None,
        "matrix_gflops": rate / 1e9 if rate else None,
        "temporaries_mb": ours.facts.get("temporaries_mb"),
        "errors": {k: s.error for k, s in sides.items() if s.error},
    }
