"""The table of docs/study.md: the study's rows of blood and tissue beside ours: python docs/tables.py"""

from pathlib import Path

from medjax.recipes import describe, real
from medjax.report.paper import STAND_INS, study_scores
from medjax.result import Result

ROWS = Path(__file__).parents[1] / "results/rows"
IPCS = 1, 10, 50
COLUMNS = "random", "dc", "mtt"


def ours() -> list[Result]:
    """The finished runs of seed 0 that distilled a set or chose real images, in the order of their folders."""
    found = [Result.read(path) for path in sorted(ROWS.glob("*-seed0/result.json"))]
    return [one for one in found if one.dataset in STAND_INS and one.ipc]


def title(result: Result) -> str:
    """A method as the table names it, with its preset where that is not `cpu`."""
    preset = f" (`{result.preset}`)" if result.preset != "cpu" else ""
    return describe(result.kind).title + preset


def lines() -> list[str]:
    """The table, a row for each run; a cell of the study that we have not run has a row without one."""
    made = [
        "| data set | images per class | ours | accuracy | study: random | DC | MTT | ours - best of the study |"
    ]
    made.append("|---|---|---|---|---|---|---|---|")
    runs = ours()
    for mine, theirs in STAND_INS.items():
        for ipc in IPCS:
            study = [study_scores()[theirs, ipc, name] for name in COLUMNS]
            best = max(score.mean or 0.0 for score in study)
            rows = [one for one in runs if (one.dataset, one.ipc) == (mine, ipc)]
            for one in sorted(rows, key=lambda r: (not real(r.kind), r.test.accuracy.mean or 0.0)):
                gain = 100 * ((one.test.accuracy.mean or 0.0) - best)
                cells = [mine, ipc, title(one), one.test.accuracy, *study, f"{gain:+.1f}"]
                made.append(f"| {' | '.join(map(str, cells))} |")
            if not rows:
                cells = [mine, ipc, "not run", "–", *study, "–"]
                made.append(f"| {' | '.join(map(str, cells))} |")
    return made
