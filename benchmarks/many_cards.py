"""What the study's Table 1 would take on several GPUs: an estimate, nothing is run.

python -m benchmarks.many_cards --cards=8

The work of each run is counted, as forecasts do. Each phase goes at the rate that a program like it had on one H100
(results/gpu/h100.json); between the images per class that were measured, rates are interpolated over their logarithm.
Tasks are then handed out as an engine does: to the first free GPU, experts before what needs them.
"""

import argparse
import json
import math
import re
from collections import defaultdict
from pathlib import Path

import jax
import numpy as np

from medjax.cli.sweep.dry_run import data_size, forecast_job
from medjax.cli.sweep.jobs import Job, Task, plan
from medjax.cli.table1 import Table1Config, make_jobs
from medjax.pipeline.forecast import duration

MEASURED = Path(__file__).parents[1] / "results/gpu/h100.json"
#: Seconds that a task takes to start and to read its compiled programs: assumed, not measured on this card.
START = 30.0
METHODS = "random,dc,dsa,dm,mtt"


def rates() -> dict[str, dict[int, float]]:
    """Program -> images per class -> floating-point operations a second, of the fastest policy without bf16."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for row in json.loads(MEASURED.read_text())["rows"]:
        name = re.fullmatch(
            r"(10 experts|evaluation of 5|dc|mtt)(?:, ipc| ipc)? ?(\d*)(:.*)?", row["name"]
        )
        if name and not row.get("bf16") and "flops" in row and "together_ms" in row:
            ipc = int(name[2] or 1)
            rate = 1e3 * row["flops"] / min(row["together_ms"])
            found[name[1]][ipc] = max(rate, found[name[1]].get(ipc, 0.0))
    return found


def seconds(job: Job, known: dict[str, dict[int, float]]) -> dict[str, float]:
    """The phases of a run."""
    flops = forecast_job(job, data_size(job.dataset), 1.0).seconds
    programs = {"experts": "10 experts", "distillation": "mtt" if job.method == "mtt" else "dc"}
    found = {}
    for phase, work in flops.items():
        rate = known[programs.get(phase, "evaluation of 5")]
        places = sorted(rate)
        at = np.interp(math.log(job.ipc or 1), np.log(places), [rate[i] for i in places])
        found[phase] = work / float(at)
    return found


def schedule(tasks: list[Task], times: dict[str, float], cards: int) -> float:
    """Seconds from the first start to the last end."""
    free, ends, left = [0.0] * cards, dict[str, float](), list(tasks)
    while left:
        now = min(free)
        ready = [t for t in left if ends.get(t.needs, 0.0 if not t.needs else math.inf) <= now]
        if not ready:
            # What is waited for ends when another card is free.
            free[free.index(now)] = min(time for time in free if time > now)
            continue
        left.remove(ready[0])
        ends[ready[0].name] = free[free.index(now)] = now + times[ready[0].name]
    return max(ends.values())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cards", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", default=METHODS)
    asked = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    jobs = make_jobs(Table1Config(methods=asked.methods, models="convnet", seeds=asked.seeds))
    tasks, known = plan(Path("nowhere"), jobs, lambda job: []), rates()
    one = {job: seconds(job._replace(seed=0), known) for job in jobs if job.seed == 0}
    times, sums = {}, defaultdict(float)
    for task in tasks:
        assert task.job
        parts = one[task.job._replace(seed=0)]
        trains = task.name == task.job.experts != task.job.name
        experts = parts.get("experts", 0.0)
        took = experts if trains else sum(parts.values()) - (experts if task.needs else 0.0)
        times[task.name] = took + START
        sums["experts" if trains else task.job.method] += took + START
    print(
        f"{len(jobs)} runs, {len(tasks) - len(jobs)} trainings of experts, preset {jobs[0].preset}"
    )
    print("| " + " | ".join([*sums, "all, one GPU", f"all, {asked.cards} GPUs"]) + " |")
    print("|---" * (len(sums) + 2) + "|")
    whole = [*sums.values(), sum(sums.values()), schedule(tasks, times, asked.cards)]
    print("| " + " | ".join(map(duration, whole)) + " |")


if __name__ == "__main__":
    main()
