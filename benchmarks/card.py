"""The programs of `benchmarks.programs` under each of their policies, timed on the card of this machine.

    python -m benchmarks.card --out=OUT [--only="mtt ipc 1"] [--without=bf16] [--graphs] [--wait=N]

Compiles all of them first, in threads; then, when the card is its own (OUT/lock), times each one in two rounds. Writes
a line to OUT/rows.jsonl as each is done, so that a run cut short leaves what it has; rows that are there are not
measured again. --graphs: only those with loops as CUDA graphs, which may crash and therefore have a process of their
own. --wait: begin to time only when N processes have compiled (files OUT/ready-*).
"""

import argparse
import concurrent.futures
import fcntl
import json
import os
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import jax

from benchmarks import policies, programs
from benchmarks.card_table import read_rows

#: Seconds that one round of a program may take, and the most runs in it.
ROUND, RUNS = 0.6, 100
#: Seconds after which the other processes are no longer waited for.
PATIENCE = 240.0

LOCK = threading.Lock()


def compiled(make: Any, policy: policies.Policy) -> tuple[Any, programs.Case, float]:
    """The program, its case, and the seconds that XLA took."""
    with LOCK, policies.under(policy):  # patches are the process's
        case = make(policy)
        options = policies.compiler_options(policy)
        shapes = jax.eval_shape(case.arguments)
        lowered = jax.jit(case.function, compiler_options=options).lower(*shapes)
    begin = time.monotonic()
    return lowered.compile(), case, time.monotonic() - begin


def rounds(program: Any, arguments: tuple[Any, ...]) -> tuple[list[float], list[float], Any]:
    """Milliseconds of one run in each of two rounds: of a run alone (median), and of one among many that are
    dispatched together; and the result."""
    out = jax.block_until_ready(program(*arguments))
    alone, together = [], []
    for _ in range(2):
        times = []
        end = time.monotonic() + ROUND / 2
        while len(times) < 3 or (time.monotonic() < end and len(times) < RUNS):
            begin = time.perf_counter()
            jax.block_until_ready(program(*arguments))
            times.append(1e3 * (time.perf_counter() - begin))
        alone.append(statistics.median(times))
        many = max(2, min(RUNS, int(ROUND / 2 / (1e-3 * alone[-1]))))
        begin = time.perf_counter()
        for _ in range(many):
            out = program(*arguments)
        jax.block_until_ready(out)
        together.append(1e3 * (time.perf_counter() - begin) / many)
    return alone, together, out


def norms(out: Any) -> list[float]:
    """A few sums of the result: variants of one program must agree."""
    leaves = [leaf for leaf in jax.tree.leaves(out) if jax.numpy.issubdtype(leaf.dtype, "float32")]
    return [float(jax.numpy.nansum(jax.numpy.abs(leaf))) for leaf in leaves[:4]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.card")
    parser.add_argument("--out", required=True)
    parser.add_argument("--only", default="", help="programs whose names hold one of these, a;b")
    parser.add_argument("--without", default="", help="programs whose names hold none of these")
    parser.add_argument("--graphs", action="store_true")
    parser.add_argument("--wait", type=int, default=1)
    parser.add_argument("--name", default="card", help="of this process")
    asked = parser.parse_args()
    out = Path(asked.out)
    out.mkdir(parents=True, exist_ok=True)
    programs.REPEAT = 10
    done = {row["name"] for row in read_rows(out / "rows.jsonl") if not row.get("error")}
    wanted = [
        found
        for found in programs.every()
        if found[2].graphs == asked.graphs
        and found[0] not in done
        and any(word in found[0] for word in asked.only.split(";"))
        and not any(word in found[0] for word in asked.without.split(";") if word)
    ]

    def write(row: dict[str, Any]) -> None:
        with open(out / "rows.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    made, begin = {}, time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = {pool.submit(compiled, make, policy): name for name, make, policy in wanted}
        for job in concurrent.futures.as_completed(jobs):
            name = jobs[job]
            try:
                made[name] = job.result()
                print(f"{time.monotonic() - begin:.0f} s: {name} compiled", flush=True)
            except Exception as error:
                write({"name": name, "error": str(error)[:300]})
                print(name, str(error)[:200], flush=True)
    (out / f"ready-{asked.name}").touch()
    while len(list(out.glob("ready-*"))) < asked.wait and time.monotonic() < begin + PATIENCE:
        time.sleep(0.2)
    with open(out / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name, _, policy in wanted:
            if name not in made:
                continue
            program, case, seconds = made.pop(name)
            row = {"name": name, **policy._asdict(), "unit": case.unit, "flops": case.flops}
            row["device"] = jax.devices()[0].device_kind
            try:
                memory = program.memory_analysis()
                row["temporary_mb"] = memory.temp_size_in_bytes / 2**20
                arguments = jax.block_until_ready(jax.jit(case.arguments)())
                *times, found = rounds(program, arguments)
                alone, together = ([t / case.units for t in one] for one in times)
                row |= {"alone_ms": alone, "together_ms": together}
                row |= {"norms": norms(found), "compile_s": seconds}
            except Exception as error:
                row["error"] = str(error)[:300]
            write(row)
            print(name, row.get("alone_ms"), row.get("together_ms"), row.get("error"), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    main()
