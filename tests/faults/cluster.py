"""Faults on a real Ray cluster of two nodes: a worker, the driver or a node dies, and the table must be whole.

python -m tests.faults.cluster [FAULT ...]     a table of these faults, or of all
python -m tests.faults.cluster --scale=1000    the cost of the engine: as many cells that do nothing

A cell is a stand-in for a run: it works in steps, writes each down, goes on after the last one that it finds, and
leaves a result. Status 1 if a cell is missing from the table, or was done twice, or a step was.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import launching
import made

from medjax.cli.sweep import on_ray
from medjax.cli.sweep.jobs import Job, Task, plan
from medjax.cli.sweep.sweep import sweep
from medjax.cli.table1 import write_table

FAULTS = ("worker killed", "driver killed", "node taken away", "node killed")
#: Steps of a cell, and seconds of each.
STEPS, SECONDS = 8, 1.0
CELL = """
import os, pathlib, sys, time
folder, result, steps, seconds = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
folder.mkdir(parents=True, exist_ok=True)
def note(*words):
    with open(folder / "log", "a") as log:
        log.write(" ".join(map(str, words)) + "\\n")
log = folder / "log"
done = log.read_text().count("step ") if log.exists() else 0
note("begin", os.getpid(), os.getppid(), os.environ.get("CUDA_VISIBLE_DEVICES"))
for step in range(done, steps):
    time.sleep(seconds)
    note("step", step)
note("end")
(folder / "result.json").write_text(result)
print(f"result   {folder}/result.json" if result else folder)
"""


def cells() -> list[Job]:
    """Two MTT cells share their experts, at each of two seeds; the others need none."""
    kinds = [(m, i) for m in ("random", "dc", "mtt") for i in (1, 10)]
    return [Job("bloodmnist", i, m, "convnet", seed, "cpu") for seed in (0, 1) for m, i in kinds]


def stand_in(out: Path, task: Task) -> Task:
    """The same task with a cell's stand-in for its command."""
    job, cell = task.job, task.name if "experts" not in task.name else f"experts-{task.name}"
    assert job
    result = made.result(job.method, job.dataset, job.ipc, 0.5, seed=job.seed)
    text = "" if "experts" in task.name else json.dumps(result)
    words = [sys.executable, "-c", CELL, str(out / "cells" / cell), text, str(STEPS), str(SECONDS)]
    return task._replace(words=words)


def drive(out: Path, address: str) -> None:
    """What `medjax table1 --engine=ray` does, with stand-ins."""
    tasks = [stand_in(out, t) for t in plan(out, cells(), lambda job: job.command(out))]
    sweep(tasks, on_ray.run(out, tasks, address, lambda task: 1e8))
    write_table(out, cells())


def logs(out: Path) -> dict[str, list[list[str]]]:
    """What every cell wrote down."""
    found = sorted(out.glob("cells/*/log"))
    return {p.parent.name: [line.split() for line in p.read_text().splitlines()] for p in found}


def at_work(out: Path) -> list[int]:
    """Ray's process of each cell that is in its middle."""
    ended = [lines for lines in logs(out).values() if lines[-1] == ["step", "3"]]
    begun = [[line for line in lines if line[0] == "begin"][-1] for lines in ended]
    return [int(line[2]) for line in begun]


def parent(process: int) -> int:
    """The process that started another; of Ray's workers that is their node's raylet."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def wait_for_middle(out: Path, after: int, raylet: int = 0) -> int:
    """Ray's process of a cell in its middle (on a node), when ``after`` cells have ended."""
    while True:
        if sum(["end"] in lines for lines in logs(out).values()) >= after:
            for worker in at_work(out):
                if not raylet or parent(worker) == raylet:
                    return worker
        time.sleep(0.02)


def suffer(faults: list[str]) -> dict[str, object]:
    """One sweep on a new cluster of two nodes, with these faults one after the other; what came of it."""
    from ray.cluster_utils import Cluster

    out, card = Path(tempfile.mkdtemp(prefix="cluster-")), {"num_cpus": 1, "num_gpus": 1}
    quiet = {"include_dashboard": False, "object_store_memory": 1e8}
    cluster = Cluster(True, head_node_args=card | quiet)
    lost = cluster.add_node(**card, object_store_memory=1e8)
    words = [sys.executable, "-m", "tests.faults.cluster", f"--drive={out}"]
    words += [f"--address={cluster.address}"]
    how = {"env": launching.environment(), "cwd": launching.ROOT, "stdout": -3}
    begin, driver = time.monotonic(), subprocess.Popen(words, **how)
    for place, fault in enumerate(faults):
        raylet = lost.all_processes["raylet"][0].process if fault == "node killed" else None
        worker = wait_for_middle(out, 2 + 3 * place, raylet.pid if raylet else 0)
        if fault == "worker killed":
            os.kill(worker, signal.SIGKILL)
        if raylet:
            raylet.kill()
            raylet.wait()
        if fault == "driver killed":
            driver.kill()
            driver.wait()
            driver = subprocess.Popen(words, **how)
        if fault == "node taken away":
            cluster.remove_node(lost)
    status, seconds = driver.wait(), time.monotonic() - begin
    cluster.shutdown()
    found = logs(out)
    lines = [(cell, *line) for cell, own in found.items() for line in own]
    counts = Counter(line for line in lines if line[1] in ("step", "end"))
    table = (out / "table1.md").read_text() if (out / "table1.md").exists() else "Missing: all"
    row = {"fault": ", then ".join(faults) or "none", "status": status}
    row |= {"cells": len(cells()), "missing": table.count("not done yet"), "tasks": len(found)}
    row["done twice"] = sum(n > 1 for line, n in counts.items() if line[1] == "end")
    row["steps twice"] = sum(n > 1 for line, n in counts.items() if line[1] == "step")
    row["steps lost"] = len(found) * STEPS - sum(line[1] == "step" for line in counts)
    row["begun again"] = sum(line[1] == "begin" for line in lines) - len(found)
    return row | {"seconds": f"{seconds:.0f}", "whole": "Missing" not in table}


def scale(count: int) -> None:
    """Print what the engine costs beside its start, over cells that do nothing."""
    out = Path(tempfile.mkdtemp(prefix="scale-"))
    code = "import sys; open(sys.argv[1], 'w').close(); print('result', sys.argv[1])"
    tasks = []
    for i in range(count):
        (out / f"{i}").mkdir()
        words = [sys.executable, "-Sc", code, str(out / f"{i}" / "result.json")]
        tasks.append(Task(f"cell-{i}", words))
    begin, times = time.monotonic(), []
    for _, known in on_ray.run(out, tasks, "", lambda task: 0.0):
        times.append(time.monotonic() - begin)
        assert known["status"] == "done", known
    print(
        f"{count} cells: the first had ended after {times[0]:.1f} s, the last after {times[-1]:.1f} s;"
    )
    print(f"{1e3 * (times[-1] - times[0]) / (count - 1):.0f} ms each, on {os.cpu_count()} cores")


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("drive", "address"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--scale", type=int, default=0)
    parser.add_argument("faults", nargs="*", help=f"several in one run: {','.join(FAULTS)}")
    asked = parser.parse_args()
    if asked.drive:
        drive(Path(asked.drive), asked.address)
        return 0
    if asked.scale:
        scale(asked.scale)
        return 0
    bad, chosen = False, asked.faults or ["", *FAULTS, "worker killed,driver killed,node killed"]
    for number, faults in enumerate(chosen):
        row = suffer([fault for fault in faults.split(",") if fault])
        bad |= not row["whole"] or any(row[n] for n in ("missing", "done twice", "steps twice"))
        if not number:
            print("| " + " | ".join(row) + " |\n" + "|---" * len(row) + "|")
        print("| " + " | ".join(map(str, row.values())) + " |", flush=True)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
