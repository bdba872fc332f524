"""Rows of results: the runs of a plan, one after the other; what each leaves is kept in results/NAME/.

    python -m benchmarks.rows benchmarks/plans/NAME.toml --data=DATA_FOLDER [--out=runs]

A plan is a TOML file: ``common``, options of all runs; ``cells``, each with a ``name``, a ``method``, ``datasets``
(files of DATA_FOLDER without .npz, or names that medjax knows), ``seeds`` and options of its own. A run leaves
results/NAME/DATASET-CELL-seedN/ with its config.json, result.json, course.json (the interim evaluations) and, for seed
0, gallery.png. With ``scored = false`` the runs end with their last interim evaluation, and there is no result.json.
Stopped and started again it goes on; a row that is kept is not run again, also where its run's folder is gone.
``{data}`` in an option stands for DATA_FOLDER.

Prints a table of all kept rows, and writes it to results/NAME/rows.md.
"""

import argparse
import json
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import medjax
from medjax import recipes, store
from medjax.cli.console import Console
from medjax.paths import results_path
from medjax.pipeline import folders
from medjax.pipeline.distil import distil
from medjax.pipeline.experts import train_experts
from medjax.pipeline.progress import Progress
from medjax.pipeline.session import load_data, open_session
from medjax.result import Result
from medjax.score import shown
from medjax.table import DASH, Table

#: Fields of a cell that are no options of its run.
OWN = ("name", "method", "datasets", "seeds")
#: What course.json says of an interim evaluation.
POINT = ("iteration", "split", "accuracy", "balanced_accuracy")
HEAD = ("data", "cell", "seed", "val by iteration", "test", "balanced", "as shared", "minutes")


class Row(NamedTuple):
    """A run that a plan asks for. name: of its folder under results/."""

    name: str
    method: str
    dataset: str
    values: dict[str, Any]


def rows(plan: dict[str, Any], data: Path) -> Iterator[Row]:
    """The runs of a plan, in its order."""
    for cell in plan["cells"]:
        values = plan.get("common", {}) | {k: v for k, v in cell.items() if k not in OWN}
        values = {
            k: v.replace("{data}", str(data)) if isinstance(v, str) else v
            for k, v in values.items()
        }
        for seed in cell.get("seeds", [0]):
            for dataset in cell["datasets"]:
                file = data / f"{dataset}.npz"
                given = values | {"seed": seed} | ({} if file.exists() else {"data_dir": str(data)})
                source = str(file) if file.exists() else dataset
                yield Row(f"{dataset}-{cell['name']}-seed{seed}", cell["method"], source, given)


def scored(row: Row, out: Path, progress: Progress) -> Path:
    """Do a whole run, or go on with it; its folder."""
    settings = medjax.settings(row.method, dataset=row.dataset, **row.values)
    folder = medjax.run(row.method, settings, out, progress=progress).folder
    assert folder is not None
    return folder


def distilled(row: Row, out: Path, progress: Progress) -> Path:
    """The same up to the last interim evaluation."""
    recipe = recipes.find(row.method)
    settings = medjax.settings(row.method, dataset=row.dataset, **row.values)
    raw = load_data(settings, progress)
    settings = settings.counted(settings.decoded * len(raw.class_names))
    folder = folders.run_folder(results_path(out), raw, recipe.name, settings)
    with folders.hold(folder, progress):
        session = open_session(settings, raw, folder, progress)
        folders.write_config(folder, raw, settings)
        setup = session.setup()
        if recipe.expert_epochs:
            setup = session.setup(trajectories=train_experts(session, recipe.expert_epochs(setup)))
        distil([session], recipe, [setup], recipe.costs(setup))
    return folder


def keep(folder: Path, kept: Path) -> None:
    """Copy what a run left that is small and says what it was."""
    kept.mkdir(parents=True, exist_ok=True)
    interim = [r for r in store.read_log(folder / "log.jsonl") if r["phase"] == "interim"]
    for name in ("gallery.png", "config.json", "result.json"):
        if (folder / name).exists() and (name != "gallery.png" or kept.name.endswith("seed0")):
            shutil.copy(folder / name, kept)
    # Last: it says that the row is whole.
    store.write_json(kept / "course.json", [{n: r[n] for n in POINT} for r in interim])


def line(name: str, folder: Path) -> list[str]:
    """A row of the table."""
    course, path = json.loads((folder / "course.json").read_text()), folder / "result.json"
    dataset, _, rest = name.partition("-")
    cell, _, seed = rest.rpartition("-seed")
    points = ", ".join(f"{p['iteration']}: {100 * p['accuracy']:.1f}" for p in course) or DASH
    if not path.exists():
        return [dataset, cell, seed, points]
    result = Result.read(path)
    shared = result.test_uint8.accuracy if result.test_uint8 else None
    scores = map(shown, (result.test.accuracy, result.test.balanced_accuracy, shared))
    return [dataset, cell, seed, points, *scores, f"{sum(result.seconds.values()) / 60:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rows")
    parser.add_argument("plan", type=Path, help="TOML file with the runs")
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where runs go")
    asked = parser.parse_args()
    kept = Path("results") / asked.plan.stem
    plan = tomllib.loads(asked.plan.read_text(encoding="utf-8"))
    wanted, failed = list(rows(plan, asked.data)), 0
    medjax.use_cores()
    for row in wanted:
        if (kept / row.name / "course.json").exists():
            continue
        print(f"row {row.name}", flush=True)
        try:
            with Console() as console:
                make = scored if plan.get("scored", True) else distilled
                keep(make(row, asked.out, console), kept / row.name)
        except medjax.UserError as error:
            print(f"{row.name}: {error}", file=sys.stderr, flush=True)
            failed += 1
    there = [r.name for r in wanted if (kept / r.name / "course.json").exists()]
    table = Table(HEAD, [line(name, kept / name) for name in there], words=2)
    (kept / "rows.md").write_text(table.markdown(), encoding="utf-8")
    print(table.markdown())
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
