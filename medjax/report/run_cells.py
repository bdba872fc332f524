"""Finished runs in groups that differ in their seed alone: the cells of tables."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from medjax.eval_config import CUTMIX
from medjax.guarantee import WITHHELD
from medjax.recipes import describe, real
from medjax.report.runs import Run, how_of
from medjax.score import Score, pool


class Cell(NamedTuple):
    """Runs of one method on one data set that differ in their seed alone; at least one. ipc: None for all images.
    method: a `Result.kind`, so that packed images are a method of their own."""

    dataset: str
    fingerprint: str
    ipc: int | None
    method: str
    model: str
    settings: tuple[str, ...]
    runs: tuple[Run, ...]

    @property
    def preset(self) -> str:
        return self.settings[0]

    @property
    def usual(self) -> bool:
        """Whether networks were trained by the recipe of the study, and test chose nothing, so that its scores compare
        with others."""
        result = self.runs[0].result
        return result.evaluation.get("recipe") != CUTMIX and result.select != "test"

    @property
    def how(self) -> str:
        """As `Run.how`, without the network: a cell names it."""
        preset, select, _, changed = self.settings
        return how_of(preset, select, changed)

    @property
    def plainness(self) -> tuple[int, bool]:
        """The lower the fewer flags its runs have beside those that name them; of two alike, one whose size follows
        from the images comes first, for a later version made it."""
        sized = self.runs[0].sized
        return len(self.how.split()) - sized, not sized

    @property
    def title(self) -> str:
        return describe(self.method).title

    @property
    def distilled(self) -> bool:
        """Whether its method distils anything."""
        return not (real(self.method) or self.runs[0].result.chosen_images)

    @property
    def networks(self) -> tuple[str, ...]:
        """Networks its sets were scored with: the one it was made with, and those of ``eval_models``."""
        others = {name for run in self.runs for name in run.result.eval_models}
        return (self.model, *sorted(others - {self.model}))

    @property
    def minutes(self) -> float:
        """Of a run, on average."""
        return sum(run.minutes for run in self.runs) / len(self.runs)

    @property
    def warnings(self) -> list[str]:
        """Those of all its runs, each once."""
        return list(dict.fromkeys(line for run in self.runs for line in run.result.warnings))

    def score(
        self, metric: str = "accuracy", row: str = "test", network: str | None = None
    ) -> Score | None:
        """Over all networks of all its runs; None where no run has it."""
        rows = [run.result.rows(network or self.model).get(row) for run in self.runs]
        return pool([getattr(scores, metric) for scores in rows if scores])

    def mean(self, network: str | None = None) -> float | None:
        """The mean test accuracy over all its networks."""
        score = self.score(network=network)
        return score.mean if score else None

    def finite(self, network: str | None = None) -> int:
        """How many of its runs have an accuracy under a network."""
        return sum(self._replace(runs=(run,)).mean(network) is not None for run in self.runs)

    def counted(self, network: str | None = None) -> str:
        """'3 x 5': seeds and networks of each. '2 x 5 of 3 seeds' where one ended without numbers."""
        score, seeds, good = self.score(network=network), len(self.runs), self.finite(network)
        each = score.n // good if score and good else 0
        return f"{good} x {each}" + (f" of {seeds} seeds" if good < seeds else "")


def cells(runs: Iterable[Run]) -> list[Cell]:
    """Runs by data set, IPC, method, network and settings, in the order of tables.

    An evaluation of a saved set (`experiments.evaluate`) is not a run of a method; it is in no cell.
    """
    groups: dict[tuple, list[Run]] = {}
    runs = list(runs)
    known = {run.result.fingerprint[:8]: run.result.fingerprint for run in runs}
    for run in runs:
        r = run.result
        if r.select is not None:
            about = (r.dataset, _data_of(run, known), r.ipc, r.kind, r.model, run.settings)
            groups.setdefault(about, []).append(run)

    def order(group: tuple) -> tuple:
        dataset, fingerprint, ipc, method, *rest = group
        return (dataset, fingerprint, ipc or math.inf, describe(method).place, method, *rest)

    found = []
    for group in sorted(groups, key=order):
        # A copy of a result, kept beside its run, counts once.
        by_seed = {run.result.seed: run for run in groups[group]}
        found.append(Cell(*group, runs=tuple(by_seed[seed] for seed in sorted(by_seed))))
    return found


def _data_of(run: Run, known: Mapping[str, str]) -> str:
    """The fingerprint of a run's data. One that is withheld: what the folder of the data says of it, whole where
    another run tells it, so that runs on the same data stand together and others do not. known: {first digits:
    fingerprint}."""
    told, folder = run.result.fingerprint, run.folder
    if told != WITHHELD or folder is None:
        return told
    digits = folder.resolve().parent.name.rpartition("-")[2]
    return known.get(digits, f"{WITHHELD} {digits}")
