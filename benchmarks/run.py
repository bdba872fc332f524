"""medjax and PyTorch side by side: the same shapes, in turns, in one run.

    python -m benchmarks.run --out=runs/benchmarks                     # every suite
    python -m benchmarks.run --suite=mtt,experts --quick --out=...     # a few cases, five minutes
    python -m benchmarks.run --suite=mtt --cases="images=8, steps=20" --out=...    # some, beside what OUT has

`--quick` leaves out the second opponent, whose torch.compile alone takes minutes.

Writes benchmarks.json (a list of rows) and benchmarks.md. Without PyTorch its columns stay empty.
"""

import argparse
import importlib.util
import json
import os
import platform
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

# This process only looks which device there is; the card's memory is the workers'.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax

from benchmarks import lowerings, start
from benchmarks.measure import in_turns, row, words
from benchmarks.table import markdown
from medjax import provenance

#: Memory of the eager twin per image and inner step (3.4 MB measured), for cases that this machine cannot hold.
TORCH_BYTES = 3.5e6
#: Images times inner steps past which a CPU's eager twin takes more than a minute an iteration.
TORCH_STEPS = 1600
CPU = jax.default_backend() == "cpu"


def mtt_cases(quick: bool) -> list[dict[str, int]]:
    if quick:
        return [{"images": 8, "steps": 10}]
    # On a CPU the largest take a quarter of an hour each and say nothing new.
    return [
        {"images": m, "steps": n}
        for m in (8, 80, 400)
        for n in (10, 20, 50)
        if not CPU or m * n <= 4000
    ]


def dc_cases(quick: bool) -> list[dict[str, int]]:
    """The public code's loops by IPC; on a CPU two of the ten and fifty updates, one epoch between them."""
    one = {"ipc": 1, "outer": 1, "inner": 1}
    if quick:
        return [one]
    if CPU:
        return [one, {"ipc": 10, "outer": 2, "inner": 1}, {"ipc": 50, "outer": 2, "inner": 1}]
    return [one, {"ipc": 10, "outer": 10, "inner": 50}, {"ipc": 50, "outer": 50, "inner": 10}]


def expert_cases(quick: bool) -> list[dict[str, int]]:
    # On a CPU more of them than cores only take as many times longer.
    counts = (1,) if quick else (1, 4) if CPU else (1, 4, 16, 64)
    return [{"count": n} for n in counts]


def evaluation_cases(quick: bool) -> list[dict[str, int]]:
    if quick:
        return [{"networks": 5, "images": 8, "epochs": 10}]
    # On a CPU, networks go through in fixed groups: 25 of them say nothing new beyond the first size.
    epochs = 20 if CPU else 200
    return [
        {"networks": n, "images": m, "epochs": epochs if m < 400 else epochs // 10}
        for n in (5, 25)
        for m in (8, 80, 400)
        if not (CPU and n == 25 and m > 8)
    ]


#: suite -> (what both sides call it, its cases).
SUITES = {
    "mtt": ("mtt", mtt_cases),
    "experts": ("expert_steps", expert_cases),
    "dc": ("dc", dc_cases),
    "evaluate": ("evaluation", evaluation_cases),
}


def too_large(suite: str, case: dict[str, int]) -> bool:
    """True where the eager twin would need more than a machine without a GPU has, or minutes an iteration."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    most = min(0.8 * memory / TORCH_BYTES, TORCH_STEPS)
    return suite == "mtt" and CPU and case["images"] * case["steps"] > most


def compare(suite: str, quick: bool, wanted: str = "") -> list[dict[str, Any]]:
    """The rows of one suite that has PyTorch beside medjax. wanted: of the cases whose words hold this."""
    name, cases = SUITES[suite]
    rows = []
    for case in cases(quick):
        if wanted not in words(case):
            continue
        sides = ("medjax",)
        if importlib.util.find_spec("torch") and not too_large(suite, case):
            sides = ("medjax", "torch") if quick else ("medjax", "torch", "fast")
        rows.append(row(suite, words(case), in_turns(name, case, sides)))
        print(json.dumps(rows[-1]), flush=True)
    return rows


def surroundings() -> dict[str, Any]:
    """What the numbers were measured on."""
    versions = {}
    for name in ("jax", "jaxlib", "torch"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    device = jax.devices()[0].device_kind
    return {
        "command": shlex.join(["python", *sys.orig_argv[1:]]),
        "git": provenance.environment()["git"],
        "device": device if not CPU else f"{os.cpu_count()} cores, {provenance.processor()}",
        "python": platform.python_version(),
        **versions,
    }


#: Every suite -> what makes its rows.
ROWS = {
    **dict.fromkeys(SUITES, compare),
    "start": start.rows,
    "lowerings": lowerings.rows,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run")
    parser.add_argument("--suite", default=",".join(ROWS), help="suites, with commas; all")
    parser.add_argument(
        "--out", default="runs/benchmarks", help="folder for the JSON and the table"
    )
    parser.add_argument("--quick", action="store_true", help="a few cases only")
    parser.add_argument("--cases", default="", help="only cases whose words hold this; adds to OUT")
    asked = parser.parse_args()
    chosen = asked.suite.split(",")
    if unknown := [name for name in chosen if name not in ROWS]:
        parser.error(f"--suite={unknown[0]} is not one of {', '.join(ROWS)}")
    out = Path(asked.out)
    out.mkdir(parents=True, exist_ok=True)
    found: list[dict[str, Any]] = []
    about, kept = surroundings(), out / "benchmarks.json"
    if asked.cases and kept.exists():
        found = json.loads(kept.read_text())
    for name in chosen:
        compared = name in SUITES and asked.cases
        new = compare(name, asked.quick, asked.cases) if compared else ROWS[name](name, asked.quick)
        again = {(r["suite"], r["case"]) for r in new}
        found = [r for r in found if (r["suite"], r["case"]) not in again] + new
        # After every suite, so that a run cut short leaves what it has.
        rows = [about | r for r in found]
        kept.write_text(json.dumps(rows, indent=1) + "\n")
        (out / "benchmarks.md").write_text(markdown(found, about))
    print((out / "benchmarks.md").read_text())


if __name__ == "__main__":
    main()
