"""The random images that a distilled cell is compared with."""

from collections.abc import Mapping
from typing import Any

from medjax.eval_config import RECIPES
from medjax.report.run_cells import Cell
from medjax.score import Score

#: Where the score comes from, if not from runs of `random`.
START, OTHERWISE = "the start of each distillation", "none: no real image was drawn"


def baseline(cell: Cell, among: list[Cell], network: str | None = None) -> tuple[Score | None, str]:
    """The accuracy of random images to compare a distilled cell with, and where it comes from.

    Runs of `random` on the same set, IPC, packing and network whose networks were trained alike, on images of the same
    size and whitening, come first; of several, those of the cell's preset. Else it is the cell's own start, one subset
    for each seed: its random real images, whatever the distillation began with. A set with a guarantee has none, for
    its runs draw no real image. network: under which both are scored, by default the cell's own.
    """
    mine = cell.runs[0].result
    wanted = "random", cell.fingerprint, cell.ipc, mine.pack, network or cell.model
    fitting = []
    for other in among:
        one = other.runs[0].result
        found = one.method, other.fingerprint, other.ipc, one.pack, other.model
        alike = _alike(one.evaluation, mine.evaluation)
        if found == wanted and alike and _one_space(other.runs[0].values, cell.runs[0].values):
            fitting.append(other)
    if fitting:
        return min(fitting, key=lambda other: other.preset != cell.preset).score(), "runs of random"
    if any(run.result.guarantee for run in cell.runs):
        return None, OTHERWISE
    return cell.score("accuracy", "start", network), START


def _one_space(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two runs saw images of one size and whitening, as far as their configurations say."""
    return all(one[n] == other[n] for n in ("size", "whiten") if n in one and n in other)


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two evaluations trained networks in the same way. Older results do not say all of it."""
    usual = {"recipe": RECIPES[0]}
    one, other = usual | dict(one), usual | dict(other)
    return all(one[key] == other[key] for key in one.keys() & other.keys() - {"networks"})
