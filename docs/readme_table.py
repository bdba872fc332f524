"""The table of README.md, from result files: python docs/readme_table.py"""

from pathlib import Path

from medjax.recipes import describe
from medjax.result import Result, Score

RUNS = Path(__file__).parents[1] / "results" / "cpu"
FOLDERS = ("random-ipc1", "dc-ipc1", "dm-ipc1", "mtt-ipc1", "full")


def percent(score: Score) -> str:
    """Like 75.1 ± 1.3."""
    return f"{100 * score.mean:.1f} ± {100 * score.std:.1f}"


def row(result: Result) -> str:
    """One line of the table."""
    cells = [describe(result.method).title, *map(percent, result.test.values())]
    cells.append(f"{sum(result.seconds.values()) / 60:.1f}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    print("| method | accuracy | balanced accuracy | AUC | minutes |\n|---|---|---|---|---|")
    for folder in FOLDERS:
        print(row(Result.read(RUNS / f"pbc_blood8-{folder}-seed0" / "result.json")))


if __name__ == "__main__":
    main()
