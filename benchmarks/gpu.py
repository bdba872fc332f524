"""Everything that is to be known of a GPU, in jobs that fit into short loans of one.

    python -m benchmarks.gpu --data=pbc_blood8.npz --out=OUT

Each job is a process of its own with a time limit, most wanted first; what is done in OUT is not done again, so that
the same command in a later loan goes on. A job is begun only if its limit still fits. OUT/NAME.json says how each ended
(command, seconds, status), OUT/NAME.log what it said, OUT/NAME/ holds what it made. Compiled programs are kept in
OUT/cache.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from medjax import store

#: A command on a lent machine may take ten.
MINUTES = 9.5
TRUTH = ("test_conv", "test_convnet", "test_resnet", "test_mtt", "test_dc", "test_evaluate")
PRECISE = {"MEDJAX_TESTS_ON_GPU": "1"}
EXACT = {"XLA_FLAGS": "--xla_gpu_deterministic_ops=true --xla_gpu_autotune_level=0"}
COARSE = {"NVIDIA_TF32_OVERRIDE": "0", "JAX_DEFAULT_MATMUL_PRECISION": "highest"}


class Job(NamedTuple):
    """words: of the command after `python -m`; {out} and {data} are filled in. limit: seconds. also: environment."""

    name: str
    limit: int
    words: str
    also: Mapping[str, str] = MappingProxyType({})


BENCH = "benchmarks.run --out={out} --suite="
RUN = "experiments.mtt --dataset={data} --out={out} --preset=paper "
JOBS = (
    Job("truth", 240, "pytest -q -n 0 " + " ".join(f"tests/{t}.py" for t in TRUTH), PRECISE),
    Job("lowerings", 300, BENCH + "lowerings"),
    Job("mtt-8", 200, BENCH + "mtt --cases=images=8,"),
    Job("evaluate-8", 200, BENCH + "evaluate --cases='networks=5, images=8,'"),
    Job("experts", 300, BENCH + "experts"),
    Job("paper-ipc10", 540, RUN + "--ipc=10"),
    Job("experts-23", 400, "experiments.experts --dataset={data} --out={out} --expert_epochs=23"),
    Job("mtt-400", 300, BENCH + "mtt --cases=images=400,"),
    Job("mtt-8-float32", 200, BENCH + "mtt --cases=images=8,", COARSE),
    Job("mtt-8-deterministic", 200, BENCH + "mtt --cases=images=8,", EXACT),
    Job("dc", 300, BENCH + "dc"),
    Job("scaling-start", 300, BENCH + "scaling,start"),
    Job("paper-ipc1", 540, RUN + "--ipc=1"),
    Job("paper-dc-ipc1", 540, "experiments.dc --dataset={data} --out={out} --preset=paper"),
    Job("paper-ipc50", 540, RUN + "--ipc=50"),
)


def work_on(job: Job, out: Path, data: str) -> dict[str, Any]:
    """Run a job to its end or its limit. One that is cut off goes on where it was when it is its turn again."""
    folder = out / job.name
    folder.mkdir(parents=True, exist_ok=True)
    words = [word.format(out=folder, data=data) for word in shlex.split(job.words)]
    cache = {"JAX_COMPILATION_CACHE_DIR": str(out / "cache")}
    begin, status = time.monotonic(), None
    with open(out / f"{job.name}.log", "a", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **cache, **job.also},
        )
        try:
            status = process.wait(job.limit)
        except subprocess.TimeoutExpired:
            process.terminate()  # commands save, and go on from there
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    return {
        "command": shlex.join([*(f"{k}={v}" for k, v in job.also.items()), "python", "-m", *words]),
        "seconds": time.monotonic() - begin,
        "status": status,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--data", required=True, help="pbc_blood8.npz, or another .npz")
    parser.add_argument("--out", required=True, help="folder that jobs, logs and programs go to")
    parser.add_argument(
        "--minutes", type=float, default=9.0, help="no job is begun that may pass it"
    )
    asked = parser.parse_args()
    out, begin = Path(asked.out).resolve(), time.monotonic()
    for job in JOBS:
        path = out / f"{job.name}.json"
        left = 60 * asked.minutes - (time.monotonic() - begin)
        if path.exists() and json.loads(path.read_text())["status"] == 0:
            print(f"{job.name}: done before", flush=True)
        elif job.limit > left:
            print(f"{job.name}: {job.limit} s do not fit into the {left:.0f} s left", flush=True)
        else:
            ended = work_on(job, out, str(Path(asked.data).resolve()))
            store.write_json(path, ended)
            how = "cut off" if ended["status"] is None else f"status {ended['status']}"
            print(f"{job.name}: {how} after {ended['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
