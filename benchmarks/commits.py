"""Two checkouts of medjax side by side: the same cases in turns, each in a process of its own.

    python -m benchmarks.commits OLD                    # OLD: a folder with a checkout; the quick cases of every suite
    python -m benchmarks.commits OLD --suite=mtt,experts --turns=20 --cases="images=8, steps=20" --out=rows.json

Prints a line for each case: median seconds of both, and the median of old / new over the turns with its quartiles.
"""

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

from benchmarks.measure import Worker, words
from benchmarks.run import SUITES, surroundings


def compared(suite: str, case: dict[str, int], old: str, turns: int) -> dict[str, Any]:
    """The row of one case."""
    name = SUITES[suite][0]
    workers = [Worker("medjax", name, case, {}, folder) for folder in (os.getcwd(), old)]
    if failed := [worker.error for worker in workers if worker.error]:
        raise SystemExit(f"{suite}, {words(case)}: {failed[0]}")
    for _ in range(turns):
        for worker in workers:
            worker.run()
    new, before = (worker.seconds for worker in workers)
    low, middle, high = statistics.quantiles(
        [b / a for a, b in zip(new, before, strict=True)], n=4, method="inclusive"
    )
    sides = [worker.finish() for worker in workers]
    return {
        "suite": suite,
        "case": words(case),
        "new_s": sides[0].seconds,
        "old_s": sides[1].seconds,
        "ratio": middle,
        "quartiles": [low, high],
        "new_mb": sides[0].mb,
        "old_mb": sides[1].mb,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.commits")
    parser.add_argument("old", help="folder with the other checkout")
    parser.add_argument("--suite", default=",".join(SUITES), help="suites, with commas; all")
    parser.add_argument("--turns", type=int, default=9, help="times that each side runs a case")
    parser.add_argument(
        "--cases", default="", help="all cases whose words hold this; else quick ones"
    )
    parser.add_argument("--out", default="", help="JSON file for the rows")
    asked = parser.parse_args()
    rows = []
    for suite in asked.suite.split(","):
        for case in SUITES[suite][1](not asked.cases):
            if asked.cases not in words(case):
                continue
            row = compared(suite, case, asked.old, asked.turns)
            low, high = row["quartiles"]
            print(
                f"{suite}, {row['case']}: {row['new_s']:.3g} s, old {row['old_s']:.3g} s; "
                f"old / new {row['ratio']:.3f} ({low:.3f} to {high:.3f}); "
                f"{row['new_mb']:.0f} MB, old {row['old_mb']:.0f} MB",
                flush=True,
            )
            rows.append(surroundings() | row)
            if asked.out:
                Path(asked.out).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
