"""The study's Table 1: a resumable sweep over data sets, images per class, methods and seeds, and its table.

python -m experiments.table1 --datasets=bloodmnist,dermamnist --ipcs=1,10,50 --preset=cpu --seeds=3
"""

import dataclasses
import sys
from pathlib import Path

from medjax import locks, recipes
from medjax.cli import flags
from medjax.cli.command import Command
from medjax.cli.sweep import local, on_ray
from medjax.cli.sweep.dry_run import dry_run, memory
from medjax.cli.sweep.jobs import Job, Task, done, plan, state
from medjax.cli.sweep.sweep import check_sources, deal, sweep
from medjax.config import option
from medjax.data.catalog import STUDY
from medjax.errors import UserError
from medjax.models import MODELS
from medjax.paths import results_path
from medjax.pipeline import presets
from medjax.pipeline.settings import RunConfig
from medjax.recipes import RECIPES
from medjax.report import table1
from medjax.report.run_cells import cells
from medjax.report.runs import Run, read_run


@dataclasses.dataclass(frozen=True)
class Table1Config:
    """The jobs of the table, and what works on them."""

    datasets: str = option("study", "names or paths of .npz files; study: its eight sets")
    ipcs: str = option("1,10,50", "images per class")
    methods: str = option(
        ",".join(name for name, recipe in RECIPES.items() if not recipe.release),
        "methods, of " + ", ".join(RECIPES),
    )
    models: str = option(
        "",
        "networks; what is distilled or chosen by experts is of the first; empty: convnet,resnet18, with quick convnet",
    )
    integrate: str = option("", "integrated: its sets, names or paths a,b,c; else the study's 8")
    preset: str = option(
        RunConfig.preset, "table of values in configs/: paper, public, cpu or quick"
    )
    seeds: int = option(1, "distillation seeds of each job", low=1)
    engine: str = option("local", "local: this machine; or ray", choices=("local", "ray"))
    address: str = option("", "ray: HOST:PORT of a cluster; empty: one is started on this machine")
    shard: str = option("0/1", "only part i of n of the jobs, i from 0, for arrays of a scheduler")
    out: str = option("runs", "folder that runs and table go to; on a cluster a shared one")
    dry_run: bool = option(False, "only print the jobs with a forecast of time and memory")


def main(words: list[str]) -> int:
    """Work through the jobs, write the table; status 1 where jobs failed."""
    config = flags.read(Table1Config).config(Table1Config)
    if config.address and config.engine != "ray":
        raise UserError(f"--address={config.address} is for --engine=ray: name that too")
    wanted, out = make_jobs(config), results_path(config.out).absolute()
    mine = deal(wanted, *parse_shard(config.shard))
    check_sources(out, mine)
    if config.dry_run:
        print(dry_run(out, mine))
        return 0
    tasks = plan(out, mine, lambda job: job.command(out))
    if config.engine == "ray":
        sweep(tasks, on_ray.run(out, tasks, config.address, needs))
    else:
        sweep(tasks, local.run(out, tasks))
    write_table(out, wanted)
    if failed := sum(not done(out, job) for job in mine):
        print(f"{failed} failed, see above; the same command tries them again", file=sys.stderr)
        return 1
    return 0


def needs(task: Task) -> float:
    """Bytes of main memory of a task."""
    return memory(task.job._replace(seed=0)) if task.job else 0.0


def make_jobs(config: Table1Config) -> list[Job]:
    """Every job, the cheap ones first within a data set. Raises UserError for values that are not allowed."""
    # A look at the pipeline is quick without ResNet-18, which takes ten times as long.
    networks = config.models or ("convnet" if config.preset == "quick" else "convnet,resnet18")
    datasets, methods, models = (
        [word.strip() for word in value.split(",")]
        for value in (config.datasets, config.methods, networks)
    )
    if "" in datasets:
        raise UserError(f"--datasets={config.datasets} has an empty name among its commas")
    for name, values, known in (
        ("methods", methods, RECIPES),
        ("models", models, ("convnet", "resnet18")),
    ):
        for value in values:
            if value in MODELS and value not in known:
                raise UserError(
                    f"--models: the study's table has {' and '.join(known)} alone: leave out {value}, or run the"
                    f" methods with --model={value}"
                )
            if value not in known:
                raise UserError(
                    f"--{name}: {value!r} is not known: choose among {', '.join(known)}"
                )
    try:
        ipcs = [int(i) for i in config.ipcs.split(",")]
    except ValueError:
        ipcs = [0]
    if min(ipcs) < 1:
        raise UserError(f"--ipcs={config.ipcs}: give numbers of at least 1, like 1,10,50")
    for method in methods:
        presets.chosen(presets.read(recipes.find(method)), config.preset, "*", None)
    if config.integrate and "integrated" not in datasets:
        raise UserError(
            f"--integrate={config.integrate} is for --datasets=integrated: name that too, or leave it out"
        )
    made = []
    for dataset in STUDY if datasets == ["study"] else datasets:
        parts = config.integrate if dataset == "integrated" else ""
        for method in methods:
            recipe = recipes.find(method)
            alone = recipe.build is None
            sized = recipe.sized
            # Experts, and what is made with them, are of the first network.
            several = alone and recipe.expert_epochs is None
            for ipc in ipcs if sized else [None]:
                other = "" if alone else ",".join(models[1:])
                # Training on all images needs no seeds: its networks differ in theirs already.
                for seed in range(config.seeds if sized else 1):
                    for model in models if several else models[:1]:
                        about = (dataset, ipc, method, model, seed, config.preset)
                        made.append(Job(*about, other, parts))
    return list(dict.fromkeys(made))


def parse_shard(text: str) -> tuple[int, int]:
    """'1/4' -> (1, 4). Raises UserError for anything else."""
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise UserError(f"--shard={text}: give i/n, i from 0 to n-1, like 0/4")
    return int(index), int(count)


def write_table(out: Path, wanted: list[Job]) -> None:
    """Write OUT/table1.md, .csv and .tex from the jobs that are done; the header names those that are missing."""
    runs: list[Run] = []
    failures = []
    for job in wanted:
        known = state(out, job) or {"status": "open", "reason": "not done yet"}
        if known["status"] != "done":
            failures.append(f"{job.name}: {known['reason']}")
            continue
        try:
            runs.append(read_run(out / known["result"]))
        except UserError as error:
            failures.append(f"{job.name}: {error}")
    with locks.locked(out / "jobs", wait=True):  # parts may end together
        text = table1.write(
            out, cells(runs), failures, sorted({job.ipc for job in wanted if job.ipc})
        )
    print(text)
    print(f"{len(runs)} of {len(wanted)} runs: {out / 'table1.md'}, .csv, .tex")


def command() -> Command:
    """The command."""
    return Command("Table 1 of the study: a resumable sweep and its table.", (Table1Config,), main)
