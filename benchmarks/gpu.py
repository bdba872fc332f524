"""What a card has to say: measured in one command, which goes on where an earlier call was cut.

    python -m benchmarks.gpu --data=pbc_blood8.npz --out=$OUT [--before=state.tar.gz] [--minutes=9] [--commit=HASH]
        [--only="run-ipc10;torch"]

Jobs are processes of their own with time limits. Those of a stage run side by side: programs are compiled in parallel,
and timed alone, when all have been compiled (`benchmarks.card`). A job that ended well is not done again, and rows that
were measured are not measured again. A job that is cut goes on in the next call.

A lent machine empties OUT before each call and returns few files. So jobs work in `WORK`, which lasts as long as the
machine, and OUT holds: rows.jsonl (copied as each row is done), gpu.json and gpu.md (`benchmarks.card_table`), and
state.tar.gz, which --before unpacks on the next machine: rows, logs, statuses, results of finished runs. Experts,
compiled programs and runs that were cut are made again there.
"""

import argparse
import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from benchmarks import card_table
from medjax import provenance, store

WORK = Path(tempfile.gettempdir()) / "medjax-gpu"
#: Seconds that a stage needs at least; that jobs which are cut off have to save.
LEAST, SAVING = 60, 20
ROWS, STATE, RESULT = "rows.jsonl", "state.tar.gz", ("result.json", "config.json")
#: The plan of `benchmarks.rows` whose runs a card does.
INGREDIENTS = "ingredients"
PRECISE = {"MEDJAX_TESTS_ON_GPU": "1"}
CHECKED = PRECISE | {"XLA_FLAGS": "--xla_gpu_verify_triton_fusion_numerics=true"}


class Job(NamedTuple):
    """words: of the command after `python -m`; {work}, {data} and {wait}, the number of jobs of its stage, are filled
    in. limit: seconds. also: environment."""

    name: str
    limit: int
    words: str
    also: Mapping[str, str] = MappingProxyType({})


TESTS = ("test_conv", "test_convnet", "test_resnet", "test_mtt", "test_dc", "test_evaluate")
GOLDEN = "pytest -v --tb=short -n 4 -p no:benchmark -p no:cacheprovider " + " ".join(
    f"tests/{name}.py" for name in TESTS
)
CARD = "benchmarks.card --out={work} --wait={wait} "
PLAN = f"benchmarks.rows benchmarks/plans/{INGREDIENTS}.toml "
RUNS = "--out={work}/runs "
#: Cells of the plan that a process runs one after the other, on these data sets; most wanted first.
CELLS = (
    (("ipc10-best", "ipc10-long", "ipc10-fast"), ("pbc_blood8", "tissue8", "pneumoniamnist")),
    (("ipc1-best", "ipc1-slow", "ipc1-unpacked"), ("pbc_blood8", "tissue8", "pneumoniamnist")),
    (("ipc50-best", "ipc50-long"), ("pbc_blood8", "tissue8")),
    (("ipc10-normalise", "ipc1-normalise", "ipc50-normalise"), ("pbc_blood8", "tissue8")),
    (("ipc10-slow", "ipc10-growing", "ipc10-whole"), ("pbc_blood8", "tissue8")),
    (("ipc10-packed", "ipc10-sgd", "ipc10-tgdd", "ipc50-packed"), ("pbc_blood8",)),
)


def plan(cells: Sequence[str], dataset: str) -> Job:
    """Runs of a plan on one data set."""
    words = ";".join(f"{dataset}-{cell}-seed" for cell in cells)
    command = PLAN + RUNS + "--data={folder} --only=" + shlex.quote(words)
    return Job(f"{dataset}-{cells[0]}", 530, command)


#: The jobs of a stage run side by side; most wanted stages first.
STAGES = (
    (
        Job("card-mtt", 300, CARD + "--name=card-mtt --only='mtt ipc' --without='kept;recomputed'"),
        Job(
            "card-rest",
            300,
            CARD
            + "--name=card-rest --only='experts;evaluation;scoring;dc' --without='im2col;one by one'",
        ),
        Job("card-graphs", 300, CARD + "--name=card-graphs --graphs --without=recomputed"),
    ),
    # A whole run by itself: how long its phases take.
    (Job("run-ipc10", 300, "experiments.best --dataset={data} --ipc=10 " + RUNS),),
    (Job("torch", 240, "benchmarks.torch_card --out={work}"),),
    (
        *(plan(cells, dataset) for cells, datasets in CELLS for dataset in datasets),
        Job("golden", 530, GOLDEN, PRECISE),
    ),
    (Job("phantom", 200, "experiments.mtt --dataset=phantom --preset=quick " + RUNS),),
    (Job("golden-checked", 300, GOLDEN, CHECKED),),
)


def start(job: Job, data: str, wait: int) -> subprocess.Popen:
    """A job at work; what it says goes to WORK/NAME.log."""
    folder = Path(data).parent
    words = [
        word.format(work=WORK, data=data, folder=folder, wait=wait)
        for word in shlex.split(job.words)
    ]
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(WORK / "cache" / job.name),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "PYTHONUNBUFFERED": "1",
        **job.also,
    }
    command = [sys.executable, "-m", *words]
    with open(WORK / f"{job.name}.log", "a", encoding="utf-8") as log:
        log.write(shlex.join([*(f"{k}={v}" for k, v in job.also.items()), *command]) + "\n")
        log.flush()
        return subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | settings
        )


def stop(processes: Sequence[subprocess.Popen]) -> None:
    """End jobs: commands save, and go on from there."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + SAVING
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ended_well(job: Job) -> bool:
    return (store.read_json(WORK / f"{job.name}.json") or {}).get("status") == 0


class Rows:
    """Shows the rows that were measured since it was last asked, and copies them to OUT."""

    def __init__(self, out: Path):
        self.out, self.shown = out, len(card_table.read_rows(WORK / ROWS))

    def show(self) -> None:
        rows = card_table.read_rows(WORK / ROWS)
        for row in rows[self.shown :]:
            took = f"{card_table.milliseconds(row):.3f} ms" if row.get("alone_ms") else row["error"]
            print(f"{row.get('torch', 'medjax')}: {row['name']}: {took}", flush=True)
        if len(rows) > self.shown:
            self.shown = len(rows)
            shutil.copyfile(WORK / ROWS, self.out / ROWS)


def work_on(stage: Sequence[Job], data: str, until: float, rows: Rows) -> None:
    """Run the jobs of a stage side by side, each to its end or its limit, or to the end of the call."""
    for path in WORK.glob("ready-*"):
        path.unlink()
    begin = time.monotonic()
    at_work = {job.name: (job, start(job, data, len(stage))) for job in stage}
    while at_work:
        time.sleep(0.2)
        rows.show()
        now = time.monotonic()
        over = {n for n, (job, _) in at_work.items() if now > min(begin + job.limit, until)}
        ended = {n: p.poll() for n, (_, p) in at_work.items() if n in over or p.poll() is not None}
        stop([at_work[name][1] for name, status in ended.items() if status is None])
        for name, status in ended.items():
            del at_work[name]
            # The others wait no longer for a job that has ended.
            (WORK / f"ready-{name}").touch()
            seconds = time.monotonic() - begin
            store.write_json(WORK / f"{name}.json", {"status": status, "seconds": seconds})
            how = "cut off" if status is None else f"status {status}"
            print(f"{name}: {how} after {seconds:.0f} s", flush=True)
            if status:
                print((WORK / f"{name}.log").read_text("utf-8", "replace")[-600:], flush=True)
    rows.show()


def about(commit: str | None) -> dict[str, Any]:
    """This machine, and what is measured."""
    asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    card = torch = None
    with contextlib.suppress(OSError):  # no such program: no card
        card = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    with contextlib.suppress(metadata.PackageNotFoundError):
        torch = metadata.version("torch")
    found = {"command": shlex.join(["python", "-m", "benchmarks.gpu", *sys.argv[1:]]), "card": card}
    found |= provenance.environment() | {"torch": torch}
    return found | ({"git": commit} if commit else {})


def pack(out: Path) -> None:
    """WORK without what is large, or unfinished."""
    kept = Path("results") / INGREDIENTS
    results = [path.parent / name for path in WORK.glob("runs/**/result.json") for name in RESULT]
    with tarfile.open(out / STATE, "w:gz") as tar:
        for path in [*WORK.glob("*.*"), *results]:
            if path.is_file():
                tar.add(path, str(path.relative_to(WORK)))
        if kept.exists():
            tar.add(kept, kept.name)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--data", required=True, help="pbc_blood8.npz, or another .npz")
    parser.add_argument("--out", required=True, help="folder for what is kept of a call")
    parser.add_argument("--before", help="state.tar.gz of an earlier call")
    parser.add_argument("--minutes", type=float, default=9.0, help="after which it ends")
    parser.add_argument("--only", default="", help="jobs whose names hold one of these, a;b")
    parser.add_argument("--commit", help="of the tree, where it has no .git")
    asked = parser.parse_args()
    out, until = Path(asked.out).resolve(), time.monotonic() + 60 * asked.minutes - SAVING
    for folder in (out, WORK):
        folder.mkdir(parents=True, exist_ok=True)
    if asked.before and not (WORK / "calls.json").exists():  # else this machine goes on by itself
        with tarfile.open(asked.before) as tar:
            tar.extractall(WORK, filter="data")
        if (
            rows := WORK / INGREDIENTS
        ).exists():  # where `benchmarks.rows` looks for what it need not do again
            shutil.copytree(rows, Path("results") / INGREDIENTS, dirs_exist_ok=True)
    # This process only looks which device there is; the card's memory is the jobs'.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    calls = [*(store.read_json(WORK / "calls.json") or []), about(asked.commit)]
    store.write_json(WORK / "calls.json", calls)
    rows = Rows(out)
    for stage in STAGES:
        stage = [j for j in stage if any(word in j.name for word in asked.only.split(";"))]
        jobs = [job for job in stage if not ended_well(job)]
        for job in stage:
            if job not in jobs:
                print(f"{job.name}: done before", flush=True)
        left = until - time.monotonic()
        if jobs and left < LEAST:
            names = ", ".join(job.name for job in jobs)
            print(f"{names}: not begun, {max(left, 0):.0f} s are left", flush=True)
        elif jobs:
            work_on(jobs, str(Path(asked.data).resolve()), until, rows)
            pack(out)  # after each stage: a call that is cut leaves what it has
            card_table.write(card_table.read_rows(WORK / ROWS), calls, out / "gpu.json")
    print((out / "gpu.md").read_text("utf-8") if (out / "gpu.md").exists() else "nothing was begun")


if __name__ == "__main__":
    main()
