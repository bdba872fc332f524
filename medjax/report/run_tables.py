"""Tables of finished runs: the end of a run on the terminal, a row for each run, a row for each group of runs."""

from rich.console import Console
from rich.text import Text

from medjax.report.baseline import START, baseline
from medjax.report.run_cells import Cell
from medjax.report.runs import Run
from medjax.result import Result
from medjax.score import Scores, gain, percent, shown
from medjax.table import DASH, Table

RUNS_HEAD = ("data set", "method", "ipc", "preset, flags", "seed", "start: acc", "bal. acc")
RUNS_HEAD += ("test: acc", "bal. acc", "AUC", "as uint8: acc", "bal. acc", "largest class")
RUNS_HEAD += ("minutes", "commit")
CELLS_HEAD = ("data set", "method", "network", "preset, flags", "images per class")
CELLS_HEAD += ("accuracy (%)", "random (%)", "gain (points)", "balanced accuracy (%)", "AUC (%)")
CELLS_HEAD += ("as 8-bit images (%)", "largest class (%)", "seeds x networks", "minutes a run")


def print_result(result: Result, paths: dict[str, str], console: Console) -> None:
    """Print the table, the warnings and where the files lie.

    paths: what a file is -> its path; printed one per line and never broken, so that they can be copied.
    """
    console.print(result.table())
    for warning in result.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))
    width = max(map(len, paths), default=0)
    for name, path in paths.items():
        console.print(Text(f"{name:<{width}}  {path}"), soft_wrap=True)


def runs_table(runs: list[Run]) -> Table:
    """A row for each run, sorted by data set, method, ipc, preset with flags, and seed; scores in percent, mean ± std
    over networks.

    What a run has not (a start, 8-bit images, ipc), or does not say (its commit), is a dash.
    """

    def order(run: Run) -> tuple:
        r = run.result
        return (r.dataset, r.kind, r.ipc or 0, run.how, r.seed)

    rows = []
    for run in sorted(runs, key=order):
        r = run.result
        about = [r.dataset, r.kind, DASH if r.ipc is None else r.size, run.how, str(r.seed)]
        scores = [*_texts(r.start)[:2], *_texts(r.test), *_texts(r.test_uint8)[:2]]
        minutes = f"{sum(r.seconds.values()) / 60:.1f}"
        rows.append([*about, *scores, percent(r.majority_share), minutes, run.commit or DASH])
    return Table(RUNS_HEAD, rows, words=2)


def _texts(scores: Scores | None) -> list[str]:
    return [str(score) for score in scores] if scores else [DASH] * 3


def cells_table(cells: list[Cell]) -> Table:
    """A row for each cell and each network it was scored with; the best accuracy of a set and IPC in bold, of
    those that test did not choose."""
    shown = [(cell, network) for cell in cells for network in cell.networks]
    leaders: dict[tuple, list[tuple[float, int]]] = {}
    for number, (cell, network) in enumerate(shown):
        mean = cell.mean(network)
        if cell.ipc and cell.usual and mean is not None:
            leaders.setdefault((cell.dataset, cell.fingerprint, cell.ipc), []).append(
                (mean, number)
            )
    best = {(max(group)[1], 5) for group in leaders.values() if len(group) > 1}
    rows = [_cell_row(cell, network, cells) for cell, network in shown]
    return Table(CELLS_HEAD, rows, words=4, best=best)


def _cell_row(cell: Cell, network: str, cells: list[Cell]) -> list[str]:
    accuracy = cell.score(network=network)
    random, where = baseline(cell, cells, network) if cell.distilled else (None, "")
    marked = " (start)" if random and where == START else ""
    return [
        *(cell.dataset, cell.title, network, cell.how, cell.runs[0].result.size),
        *(shown(accuracy), shown(random) + marked, gain(accuracy, random)),
        *(shown(cell.score(metric, network=network)) for metric in ("balanced_accuracy", "auc")),
        shown(cell.score("accuracy", "test_uint8", network)),
        percent(cell.runs[0].result.majority_share),
        cell.counted(network),
        f"{cell.minutes:.1f}",
    ]
