"""Rows of results: the runs of a plan, one after the other; what each leaves is kept in results/NAME/.

    python -m benchmarks.rows benchmarks/plans/NAME.toml --data=DATA_FOLDER [--out=runs] [--only="blood;tissue"]

A plan is a TOML file: ``common``, options of all runs; ``cells``, each with a ``name``, a ``method``, ``datasets``
(files of DATA_FOLDER without .npz, or names that medjax knows), ``seeds`` and options of its own. A run leaves
results/NAME/DATASET-CELL-seedN/ with its config.json, result.json and course.json (the interim evaluations), and no
picture, for its gallery shows real images. With ``scored = false`` the runs end with their last interim evaluation, and
there is no result.json. Seeds of one cell are run together, as by ``--seeds``. Stopped and started again it goes on; a
row that is kept is not run again, also where its run's folder is gone. ``{data}`` in an option stands for DATA_FOLDER.
--only: runs whose names hold one of these words, for several processes on one plan.

Prints a table of all kept rows, and writes it to results/NAME/rows.md.
"""

import argparse
import itertools
import json
import shutil
import sys
import tomllib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import medjax
from medjax import recipes, store
from medjax.cli.console import Console
from medjax.pipeline.progress import Progress
from medjax.pipeline.run import Asked, only_distilled, run_seeds
from medjax.pipeline.session import check_data, load_data
from medjax.pipeline.settings import Settings
from medjax.report.curves import last_of_each
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
        if isinstance(cell["datasets"], str):
            raise TypeError("datasets is no list")
        for dataset in cell["datasets"]:
            file = data / f"{dataset}.npz"
            for seed in cell.get("seeds", [0]):
                given = values | {"seed": seed} | ({} if file.exists() else {"data_dir": str(data)})
                source = str(file) if file.exists() else dataset
                yield Row(f"{dataset}-{cell['name']}-seed{seed}", cell["method"], source, given)


def beside(wanted: list[Row]) -> Iterator[list[Row]]:
    """Runs that follow each other in a plan and differ in their seed alone."""
    alike = itertools.groupby(
        wanted, lambda row: row._replace(name="", values=row.values | {"seed": 0})
    )
    for _, group in alike:
        yield list(group)


def settings_of(row: Row) -> Settings:
    return medjax.settings(row.method, dataset=row.dataset, **row.values)


def scored(group: list[Row], out: Path, progress: Progress) -> list[Path]:
    """Do whole runs, or go on with them; their folders."""
    first, seeds = group[0], [row.values["seed"] for row in group]
    if seeds != list(range(seeds[0], seeds[0] + len(seeds))):
        return [folder for row in group for folder in scored([row], out, progress)]
    found = run_seeds(first.method, settings_of(first), out, len(group), progress=progress)
    return [result.folder for result in found if result.folder]


def distilled(group: list[Row], out: Path, progress: Progress) -> list[Path]:
    """The same up to the last interim evaluation."""
    recipe, raw = recipes.find(group[0].method), load_data(settings_of(group[0]), progress)
    if recipe.release:
        raise medjax.UserError(f"{recipe.name} is run whole: leave out scored = false")
    check_data(settings_of(group[0]), raw, progress)
    each = [Asked(settings_of(row), raw, out) for row in group]
    return [session.folder for session in only_distilled(recipe, each, progress)]


def keep(folder: Path, kept: Path, places: dict[str, Path]) -> None:
    """Copy what a run left that is small and says what it was. places: names for folders of this machine."""
    kept.mkdir(parents=True, exist_ok=True)
    interim = last_of_each(store.read_log(folder / "log.jsonl"), "interim")
    if (folder / "result.json").exists():
        shutil.copy(folder / "result.json", kept)
    config = (folder / "config.json").read_text(encoding="utf-8")
    for name, path in places.items():
        config = config.replace(str(path.absolute()), name).replace(str(path.resolve()), name)
    store.write_bytes(kept / "config.json", config.encode())
    # Last: it says that the row is whole.
    store.write_json(kept / "course.json", [{n: r[n] for n in POINT} for r in interim])


def changed(row: Row, kept: Path) -> list[str]:
    """Options of a kept row that the plan has otherwise now: "lr_img=0.01 (kept with 0.003)"."""
    values = json.loads((kept / "config.json").read_text(encoding="utf-8"))["values"]
    # Paths are stored by other names, and what val chose is no other plan.
    return [
        f"{name}={asked} (kept with {values[name]['value']})"
        for name, asked in row.values.items()
        if name in values
        and not isinstance(asked, str | list)
        and values[name]["value"] != asked
        and values[name]["origin"] != "val"
    ]


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
    parser.add_argument("--only", default="", help="runs whose names hold one of these, a;b")
    asked = parser.parse_args()
    kept = Path("results") / asked.plan.stem
    places = {"DATA": asked.data, "OUT": asked.out, "benchmarks.rows": Path(sys.argv[0])}
    places[f"benchmarks/plans/{asked.plan.name}"] = asked.plan
    if not asked.plan.is_file():
        parser.error(f"{asked.plan} is no file: give one of benchmarks/plans/")
    if not asked.data.is_dir():
        parser.error(f"--data={asked.data} is no folder: give that of the data sets")
    try:
        plan = tomllib.loads(asked.plan.read_text(encoding="utf-8"))
        wanted, failed = list(rows(plan, asked.data)), 0
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        parser.error(f"{asked.plan} is no plan ({error!r}): correct it")
    words = [word for word in asked.only.split(";") if word] or [""]
    missing = [
        row
        for row in wanted
        if any(word in row.name for word in words)
        and not (kept / row.name / "course.json").exists()
    ]
    medjax.use_cores()
    for group in beside(missing):
        names = [row.name for row in group]
        print("rows", *names, flush=True)
        try:
            with Console() as console:
                make = scored if plan.get("scored", True) else distilled
                for name, folder in zip(names, make(group, asked.out, console), strict=True):
                    keep(folder, kept / name, places)
        # Whatever it is: the other rows are hours of work that need not wait.
        except Exception as error:
            known = isinstance(error, medjax.UserError)
            said = str(error) if known else "".join(traceback.format_exception(error))
            print(f"{', '.join(names)}: {said}", file=sys.stderr, flush=True)
            failed += 1
    for row in wanted:
        if (kept / row.name / "course.json").exists() and (new := changed(row, kept / row.name)):
            print(f"{row.name}: {', '.join(new)}: delete it to run it again", file=sys.stderr)
    there = [r.name for r in wanted if (kept / r.name / "course.json").exists()]
    table = Table(HEAD, [line(name, kept / name) for name in there], words=2)
    kept.mkdir(parents=True, exist_ok=True)
    (kept / "rows.md").write_text(table.markdown(), encoding="utf-8")
    print(table.markdown())
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
