"""Tables of all methods at one image per class, from result files: docs/methods.md, and the integrated set in
docs/study.md: python docs/tables.py"""

from pathlib import Path

from medjax.result import Result
from medjax.table import DASH

ROWS = Path(__file__).parents[1] / "results/rows"
DATASETS = "pbc_blood8", "pneumoniamnist", "chest_xray3", "pneumonia2"
#: Heading -> cell of benchmarks/plans/rows.toml.
COLUMNS = {"random": "ipc1-random", "k-means": "ipc1-kmeans", "DM": "ipc1-dm", "DC": "ipc1-dc"}
COLUMNS |= {"DSA": "ipc1-dsa", "TGDD": "ipc1-tgdd", "MTT": "ipc1-mtt"}
COLUMNS |= {"MTT, packed (`best`)": "ipc1-best", "all images": "full"}


def read(dataset: str, cell: str) -> Result | None:
    """The row of seed 0; None where it has not been run."""
    path = ROWS / f"{dataset}-{cell}-seed0" / "result.json"
    return Result.read(path) if path.exists() else None


def lines() -> list[str]:
    """Accuracy, and balanced accuracy in brackets: a line for each data set."""
    made = [f"| data set | {' | '.join(COLUMNS)} |", "|---" * (1 + len(COLUMNS)) + "|"]
    for dataset in DATASETS:
        found = [read(dataset, cell) for cell in COLUMNS.values()]
        tests = [result.test if result else None for result in found]
        cells = [f"{t.accuracy} ({t.balanced_accuracy})" if t else DASH for t in tests]
        made.append(f"| {' | '.join([dataset, *cells])} |")
    return made


def integrated() -> list[str]:
    """The integrated set: a line for each method that was run."""
    made = ["| integrated set | accuracy | balanced accuracy |", "|---|---|---|"]
    found = {name: read("integrated", cell) for name, cell in COLUMNS.items()}
    rows = {name: result for name, result in found.items() if result}
    made += [f"| {n} | {r.test.accuracy} | {r.test.balanced_accuracy} |" for n, r in rows.items()]
    one = next(iter(rows.values()))
    shares = f"{100 * one.majority_share:.1f} | {100 * one.chance:.1f}"
    return [*made, f"| always the largest class | {shares} |"]
