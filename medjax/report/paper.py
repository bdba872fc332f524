"""The numbers of the study's Table 1, shipped as data (table1.csv), and which sets they may be held against."""

import csv
from importlib import resources
from typing import NamedTuple

#: Methods of the study's table, by our names.
METHODS = ("random", "dc", "mtt", "full")
#: The network each column of the study was measured with: its comparison is across networks.
NETWORK = {"random": "resnet18", "dc": "convnet", "mtt": "convnet", "full": "resnet18"}
#: Sets made from the very images of one of the study's, under another split: beside its numbers, marked.
STAND_INS = {"pbc_blood8": "bloodmnist"}


class Score(NamedTuple):
    """Test accuracy as a fraction in [0, 1]: mean and standard deviation over five networks (full data: as given)."""

    mean: float
    std: float


def table1() -> dict[tuple[str, int, str], Score]:
    """{(data set, ipc, method): score}: 8 sets x 3 ipc x 4 methods; full data is repeated at every ipc."""
    text = resources.files("medjax.report").joinpath("table1.csv").read_text(encoding="utf-8")
    table = {}
    for row in csv.DictReader(text.splitlines()):
        for method in METHODS:
            mean, std = (float(row[f"{method}_{part}"]) / 100 for part in ("mean", "std"))
            table[row["dataset"], int(row["ipc"]), method] = Score(mean, std)
    return table


def study_name(dataset: str) -> str | None:
    """The study's set that a set of ours is held against: itself, the one it stands in for, or None."""
    name = STAND_INS.get(dataset, dataset)
    return name if (name, 1, "mtt") in table1() else None
