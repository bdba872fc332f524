"""The table of README.md, from result files: python docs/readme_table.py"""

from pathlib import Path

from medjax.recipes import describe
from medjax.result import Result

RUNS = Path(__file__).parents[1] / "results" / "cpu"
FOLDERS = ("random-ipc1", "dc-ipc1", "dm-ipc1", "mtt-ipc1", "full")


def row(result: Result) -> str:
    """One line of the table."""
    cells = [describe(result.method).title, *map(str, result.test)]
    cells.append(f"{sum(result.seconds.values()) / 60:.1f}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    print("| method | accuracy | balanced accuracy | AUC | minutes |\n|---|---|---|---|---|")
    for folder in FOLDERS:
        print(row(Result.read(RUNS / f"pbc_blood8-{folder}-seed0" / "result.json")))


if __name__ == "__main__":
    main()
