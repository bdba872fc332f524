"""The numbers of the study's Table 1 (study.csv), and the data sets that they may be compared with."""

import csv
import functools
from importlib import resources

from medjax.score import Score

#: Methods of the study's table, by our names.
METHODS = ("random", "dc", "mtt", "full")
#: The network each column of the study was measured with: its comparison is across networks.
NETWORK = {"random": "resnet18", "dc": "convnet", "mtt": "convnet", "full": "resnet18"}
#: Networks of each of its scores.
NETWORKS = 5
#: Sets made from the images of one of the study's, under another split: shown beside its numbers, and marked.
STAND_INS = {"pbc_blood8": "bloodmnist", "tissue8": "tissuemnist"}


@functools.cache
def study_scores() -> dict[tuple[str, int, str], Score]:
    """Test accuracy by (data set, ipc, method): 8 sets x 3 ipc x 4 methods. Full data is repeated at every ipc."""
    text = resources.files("medjax.report").joinpath("study.csv").read_text(encoding="utf-8")
    table = {}
    for row in csv.DictReader(text.splitlines()):
        for method in METHODS:
            mean, std = (float(row[f"{method}_{part}"]) / 100 for part in ("mean", "std"))
            table[row["dataset"], int(row["ipc"]), method] = Score(mean, std, NETWORKS)
    return table


def study_datasets() -> list[str]:
    """The names of the study's sets, in its order."""
    return list(dict.fromkeys(name for name, _, _ in study_scores()))


def study_accuracy(dataset: str, ipc: int, method: str) -> float:
    """One mean of the study's table. Raises KeyError where it has none."""
    return study_scores()[dataset, ipc, method].mean or 0.0


def study_name(dataset: str) -> str | None:
    """The study's set that a set of ours is compared with: itself, the one it stands in for, or None."""
    name = STAND_INS.get(dataset, dataset)
    return name if name in study_datasets() else None
