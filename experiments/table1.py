"""The study's Table 1: a resumable sweep over data sets, images per class, methods and seeds, and its table.

python -m experiments.table1 --datasets=bloodmnist,dermamnist --ipcs=1,10,50 --preset=cpu --seeds=3
"""

import dataclasses
import sys
from pathlib import Path

from configs.full import PRESETS
from experiments.cells import LAUNCHERS, Cell, state
from experiments.dry_run import dry_run
from experiments.flags import RunConfig, launch, resolve
from experiments.sweep import check_data, sweep
from medjax import store
from medjax.config import option
from medjax.data.catalog import STUDY
from medjax.errors import UserError
from medjax.report import table1
from medjax.report.runs import Run, cells, read_run


@dataclasses.dataclass(frozen=True)
class Table1Config:
    """The cells of the table, and this process's share of them."""

    datasets: str = option("study", "names or paths of .npz files; study: its eight sets")
    ipcs: str = option("1,10,50", "images per class")
    methods: str = option(",".join(LAUNCHERS), "of " + ",".join(LAUNCHERS))
    models: str = option("convnet,resnet18", "networks; distilled sets are made with the first")
    integrate: str = option("", "integrated: its sets, names or paths a,b,c; else the study's 8")
    preset: str = option(RunConfig.preset, "table of values: paper, cpu or quick")
    seeds: int = option(1, "distillation seeds of each cell", low=1)
    shard: str = option("0/1", "this process is number i of n that share the work, i from 0")
    out: str = option("runs", "folder that runs and table go to; shards share it")
    dry_run: bool = option(False, "only print the cells with a forecast of time and memory")


GROUPS = (Table1Config,)


def main() -> None:
    config = resolve(GROUPS, PRESETS).groups[Table1Config]
    wanted, shard, out = make_cells(config), parse_shard(config.shard), Path(config.out)
    check_data(out, wanted)
    if config.dry_run:
        print(dry_run(out, wanted))
        return
    sweep(out, wanted, shard, lambda cell: cell.command(out))
    if missing := write_table(out, wanted):
        print(f"{missing} failed: why is above; the same command tries them again", file=sys.stderr)
        sys.exit(1)


def make_cells(config: Table1Config) -> list[Cell]:
    """Every cell, cheap ones first within a data set. Raises UserError for words that make none."""
    datasets, methods, models = (
        [word.strip() for word in value.split(",")]
        for value in (config.datasets, config.methods, config.models)
    )
    if "" in datasets:
        raise UserError(f"--datasets={config.datasets} has an empty name among its commas")
    for name, values, known in (
        ("methods", methods, LAUNCHERS),
        ("models", models, ("convnet", "resnet18")),
    ):
        for value in values:
            if value not in known:
                raise UserError(
                    f"--{name}: {value!r} is not known: choose among {', '.join(known)}"
                )
    try:
        ipcs = [int(i) for i in config.ipcs.split(",")]
        assert min(ipcs) > 0
    except (ValueError, AssertionError) as error:
        raise UserError(
            f"--ipcs={config.ipcs}: give numbers of at least 1, like 1,10,50"
        ) from error
    if config.preset not in PRESETS:
        raise UserError(
            f"--preset={config.preset} is not known: choose one of {', '.join(PRESETS)}"
        )
    if config.integrate and "integrated" not in datasets:
        raise UserError(
            f"--integrate={config.integrate} is for --datasets=integrated: name that too, or leave it out"
        )
    made = []
    for dataset in STUDY if datasets == ["study"] else datasets:
        parts = config.integrate if dataset == "integrated" else ""
        for method in methods:
            for ipc in [None] if method == "full" else ipcs:
                alone = method in ("random", "full")
                other = "" if alone else ",".join(models[1:])
                # All images: networks differ in their seed already.
                for seed in range(1 if method == "full" else config.seeds):
                    for model in models if alone else models[:1]:
                        about = (dataset, ipc, method, model, seed, config.preset)
                        made.append(Cell(*about, other, parts))
    return list(dict.fromkeys(made))


def parse_shard(text: str) -> tuple[int, int]:
    """'1/4' -> (1, 4). Raises UserError for anything else."""
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise UserError(f"--shard={text}: give i/n, i from 0 to n-1, like 0/4")
    return int(index), int(count)


def write_table(out: Path, wanted: list[Cell]) -> int:
    """OUT/table1.md, .csv and .tex from the cells that are done; what is missing is said in the header. How many."""
    entries: list[Run] = []
    failures = []
    for cell in wanted:
        known = state(out, cell) or {"status": "open", "reason": "not done yet"}
        try:
            if known["status"] != "done":
                raise UserError(known["reason"])
            entries.append(read_run(out / known["result"]))
        except UserError as error:
            failures.append(f"{cell.name}: {error}")
    with store.locked(out / "cells", wait=True):  # shards end together
        text = table1.write(out, cells(entries), failures, sorted({c.ipc for c in wanted if c.ipc}))
    print(text)
    print(f"{len(entries)} of {len(wanted)} runs: {out / 'table1.md'}, .csv, .tex")
    return len(failures)


if __name__ == "__main__":
    launch("Table 1 of the study.", GROUPS, main)
