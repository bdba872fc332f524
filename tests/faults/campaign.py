"""Faults at random moments: runs that are killed, stopped or damaged must end like one that never was.

python -m tests.faults.campaign --n=100

A tiny MTT run (download, preprocessing, experts, distillation, evaluations, pictures) is made once undisturbed. Then
it is begun in fresh folders, and one to three times its process gets a signal, at a moment of a phase or just before a
file operation, or files are damaged after it; run to its end all the same, it must have the scores and images of the
undisturbed run, bit for bit. Prints a table; status 1 if any was lost. --home: keeps what was tried, and goes on there.
"""

import argparse
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import launching

from tests.faults import damage, product
from tests.faults.product import PHASES, Order, Process

SIGNALS = {
    "SIGKILL": (signal.SIGKILL, -9),
    "SIGTERM": (signal.SIGTERM, 143),
    "Ctrl-C": (signal.SIGINT, 130),
}
#: Seconds within which a process that is asked to stop has stopped, and in which a run has ended.
STOP, END = 10.0, 600.0


class Lost(Exception):
    """What must not be."""


class Campaign:
    """What all runs share: the undisturbed run's result, and how long its phases lasted."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.slowest = 0.0
        for name in ("warm", "whole"):  # the first fills the cache of compiled programs
            process = product.start(home / name, Order(10**9))
            times = self.follow(process)
            self.check_end(process, 0)
        self.segments: dict[str, list[float]] = {phase: [] for phase in PHASES}
        for (phase, begin), (_, end) in itertools.pairwise(times):
            if phase in PHASES:
                self.segments[phase].append(end - begin)
        (self.operations,) = (int(mark.split()[1]) for mark, _ in times if mark.startswith("#"))
        self.lasts, self.expected = times[-1][1], damage.outcome(home / "whole")
        if damage.outcome(home / "warm") != self.expected:
            raise Lost("two undisturbed runs differ")

    def follow(self, process: Process) -> list[tuple[str, float]]:
        """Every mark of a process and when it came, the end too."""
        times, begin = [], time.monotonic()
        with open(process.marks, closefd=False) as lines:
            for line in lines:
                times.append((line.strip(), time.monotonic() - begin))
        return [*times, ("end", time.monotonic() - begin)]

    def strike(self, out: Path, name: str, place: str, rng: random.Random) -> tuple[str, str]:
        """Run until a signal comes: (where it came, what is wrong with how it ended). No place: it ended before."""
        number, expected = SIGNALS[name]
        order = (
            Order(rng.randint(1, self.operations), number)
            if place == "file operation"
            else Order(10**9)
        )
        process, where, begin = product.start(out, order), "", time.monotonic()
        turn = rng.randrange(max(1, len(self.segments.get(place, []))))
        with open(process.marks, closefd=False) as lines:
            for line in lines:
                mark = line.strip()
                if mark.startswith("!"):
                    where, begin = place, time.monotonic()
                    break
                turn -= mark == place
                if mark == place and turn < 0:
                    time.sleep(rng.uniform(0, rng.choice(self.segments[place])))
                    where, begin = place, time.monotonic()
                    os.kill(process.pid, number)
                    break
        status = product.wait(process, END)
        os.close(process.marks)
        took, said = time.monotonic() - begin, process.said[1].read_text()
        self.slowest = max(self.slowest, took if where and name != "SIGKILL" else 0)
        if status is None:
            os.kill(process.pid, signal.SIGKILL)
            return where, "did not stop at all"
        if where and name != "SIGKILL" and took > STOP:
            return where, f"took {took:.1f} s to stop"
        if status == 0:
            return "", ""
        if status != expected or "Traceback" in said:
            return where or "no signal", f"status {status}: {said[-600:]}"
        return where, ""

    def check_end(self, process: Process, allowed: int) -> str:
        """Wait for the end of a run that nothing disturbs; what it said."""
        status = product.wait(process, END)
        os.close(process.marks)
        out, err = (path.read_text() for path in process.said)
        if status != allowed or err:
            raise Lost(f"ended with status {status}: {err[-600:]}")
        return out

    def case(self, index: int, seed: int) -> list[dict]:
        """One run with its faults: a row a fault."""
        rng, out = random.Random(f"{seed}-{index}"), self.home / f"run-{index}"
        rows = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            name = rng.choice(list(SIGNALS))
            place = rng.choice((*PHASES, "file operation", "file operation"))
            where, wrong = self.strike(out, name, place, rng)
            hear(rows, (out / "stdout.txt").read_text())
            if not where:  # it came to its end before
                break
            harm = rng.choice((*damage.HARMS, *[""] * len(damage.HARMS)))
            hurt = damage.harm(out / "runs", harm, rng) if harm else ""
            rows.append({"run": index, "fault": name, "where": where, "wrong": wrong})
            if hurt:
                rows.append(
                    {"run": index, "fault": harm, "where": where, "wrong": "", "hurt": hurt}
                )
        try:
            said = self.check_end(product.start(out, Order(10**9)), 0)
            hear(rows, said)
            if damage.outcome(out) != self.expected:
                raise Lost("ended with another result")
            if litter := damage.litter(out / "runs"):
                raise Lost(f"left {litter}")
        except Lost as error:
            for row in rows:
                row["wrong"] = row["wrong"] or str(error)
        if not any(row["wrong"] for row in rows):
            damage.forget(out)
        return rows


def hear(rows: list[dict], said: str) -> None:
    """Whether the command after a damage spoke of it."""
    if rows and "hurt" in rows[-1]:
        rows[-1]["said"] = damage.told(said)


def table(rows: list[dict]) -> str:
    """Fault x place: tried, survived, lost, and of damages how many the next command spoke of."""
    lines = ["| fault | where | tried | survived | lost | said |", "|---|---|---|---|---|---|"]
    tried = Counter((r["fault"], r["where"]) for r in rows)
    for (fault, where), number in sorted(tried.items()):
        mine = [r for r in rows if (r["fault"], r["where"]) == (fault, where)]
        lost = sum(bool(r["wrong"]) for r in mine)
        known = [r["said"] for r in mine if "said" in r]
        told = f"{sum(known)} of {len(known)}" if known else ""
        lines.append(f"| {fault} | {where} | {number} | {number - lost} | {lost} | {told} |")
    lost = sum(bool(r["wrong"]) for r in rows)
    ends = len({r["run"] for r in rows})
    return "\n".join([*lines, f"{len(rows)} faults in {ends} runs, {lost} lost"])


def main(count: int, seed: int, home: Path, minutes: float) -> int:
    address, sum_of_data = damage.serve(product.content())
    product.prepare(address, sum_of_data)
    assert threading.active_count() == 1
    begin, path = time.monotonic(), home / "faults.jsonl"
    kept = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    campaign = Campaign(home / f"work-{os.getpid()}")
    print(f"undisturbed: {campaign.lasts:.0f} s, {campaign.operations} file operations; {path}")
    index = max((row["run"] for row in kept), default=-1) + 1
    while len(kept) < count and time.monotonic() - begin < 60 * minutes:
        rows = campaign.case(index, seed)
        for row in rows:
            print(json.dumps(row), flush=True)
        with path.open("a") as log:
            log.writelines(json.dumps(row) + "\n" for row in rows)
        kept, index = kept + rows, index + 1
    print(table(kept))
    print(f"slowest stop: {campaign.slowest:.1f} s")
    return any(row["wrong"] for row in kept)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100, help="faults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--home", type=Path, help="folder of an earlier campaign to go on with")
    parser.add_argument("--minutes", type=float, default=600, help="begin no run after so many")
    given = parser.parse_args()
    home = given.home or Path(tempfile.mkdtemp(prefix="medjax-faults-"))
    home.mkdir(parents=True, exist_ok=True)
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", str(home / "cache"))
    os.environ |= launching.environment() | {"JAX_COMPILATION_CACHE_DIR": cache}
    sys.exit(main(given.n, given.seed, home, given.minutes))
