"""The table of README.md, from result files: python docs/tables.py"""

from pathlib import Path

from medjax.recipes import describe
from medjax.result import Result

ROWS = Path(__file__).parents[1] / "results/rows"
CELLS = ("ipc1-random", "ipc1-dc", "ipc1-mtt", "ipc1-best", "ipc10-best", "ipc50-margin", "full")


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
    found = [Result.read(ROWS / f"pbc_blood8-{cell}-seed0" / "result.json") for cell in CELLS]
    return head + [row(one) for one in found]
