"""The table of README.md, from result files: python docs/tables.py"""

from pathlib import Path

from medjax.recipes import describe
from medjax.result import Result

RUNS = Path(__file__).parents[1] / "results"
FOLDERS = (
    *(f"cpu/pbc_blood8-{cell}-seed0" for cell in ("random-ipc1", "dc-ipc1", "mtt-ipc1")),
    "rows/pbc_blood8-ipc1-best-seed0",
    "rows/pbc_blood8-ipc10-best-seed0",
    "rows/pbc_blood8-ipc50-margin-seed0",
    "cpu/pbc_blood8-full-seed0",
)


def row(result: Result) -> str:
    """One line of the table."""
    name = describe(result.kind).title + (" (`best`)" if result.preset == "best" else "")
    name += f", {result.ipc} images per class" if (result.ipc or 1) > 1 else ""
    cells = [name, *map(str, result.test)]
    cells.append(f"{sum(result.seconds.values()) / 60:.1f}")
    return f"| {' | '.join(cells)} |"


def lines() -> list[str]:
    """The table."""
    head = ["| method | accuracy | balanced accuracy | AUC | minutes |", "|---|---|---|---|---|"]
    return head + [row(Result.read(RUNS / folder / "result.json")) for folder in FOLDERS]
