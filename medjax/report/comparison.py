"""Two runs side by side as one static page: their scores, what was set differently, their pictures and courses."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medjax.report import charts
from medjax.report.curves import Course, courses
from medjax.report.pages import Chart, CopiedPicture, pictures, read_course, slug, write_page
from medjax.report.runs import Run, read_run
from medjax.report.style import BLUE, ORANGE
from medjax.result import ROWS
from medjax.score import HEADINGS, gain, shown
from medjax.table import DASH, Table

#: Fields of a result that are compared, beside its scores.
FACTS = ("method", "dataset", "fingerprint", "ipc", "model", "preset", "seed", "select")
FACTS += ("pack", "stored", "decoded", "soft_labels", "selected_iteration", "step_size")
HEAD = ("", "A", "B")


class Side(NamedTuple):
    """What the page shows of one of the two."""

    tag: str
    run: Run
    confusion: Chart | None
    pictures: list[CopiedPicture]


def write_comparison(first: Path, second: Path, out: Path) -> Path:
    """Write OUT/index.html for two run folders (or result files). Raises UserError where one is not a whole run."""
    pair = {tag: read_run(path) for tag, path in zip(HEAD[1:], (first, second), strict=True)}
    figures = out / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    return write_page(
        out / "index.html",
        "comparison.html",
        title="medjax: two runs side by side",
        sides=[_side(figures, tag, run) for tag, run in pair.items()],
        scores=_scores(list(pair.values())),
        differences=_differences(list(pair.values())),
        course=_course(figures, pair),
    )


def _side(figures: Path, tag: str, run: Run) -> Side:
    confusion = None
    if counts := run.result.confusion:
        stem, words = slug("compare", tag, "confusion"), f"{tag}: {charts.CONFUSION}"
        title = f"{tag}: percent of each true class"
        names = run.class_names(len(counts))
        charts.confusion(figures / stem, [(title, np.array(counts, float))], names)
        confusion = Chart(stem, words)
    return Side(tag, run, confusion, pictures(figures, run))


def _course(figures: Path, pair: dict[str, Run]) -> Chart | None:
    """Both courses in one figure; each run has a colour of its own, for they may be of one method."""
    looks = {"A": (BLUE, "v"), "B": (ORANGE, "s")}
    found = [
        Course(f"{tag}: {run.result.kind}", *looks[tag], rows)
        for tag, run in pair.items()
        if (rows := read_course(run))
    ]
    if not found:
        return None
    stem = slug("compare", "course")
    courses(figures / stem, "A and B", found)
    return Chart(stem, "The course of both distillations: A blue, B orange")


def _scores(pair: list[Run]) -> Table:
    rows = []
    for row in ROWS:
        tables = [run.result.rows().get(row) for run in pair]
        # A row's name where both are of a kind; else what it is in either.
        labels = [run.result.labels[row] for run in pair if row in run.result.labels]
        label = " / ".join(dict.fromkeys(labels)) or row
        for metric, heading in HEADINGS.items() if any(tables) else ():
            a, b = (getattr(t, metric) if t else None for t in tables)
            rows.append([f"{label}: {heading}", shown(a), shown(b), gain(b, a)])
    return Table([*HEAD, "B - A"], rows)


def _differences(pair: list[Run]) -> Table:
    """Facts that are not the same in both, and flags where both runs have a config.json."""
    sides: list[dict[str, Any]] = []
    for run in pair:
        flags = run.values if all(other.config for other in pair) else {}
        facts = {f"--{flag}": value for flag, value in flags.items() if flag != "out"}
        facts |= {name: getattr(run.result, name) for name in FACTS}
        facts |= {f"seconds: {phase}": value for phase, value in run.result.seconds.items()}
        sides.append(facts)
    keys = [k for k in dict.fromkeys([*sides[0], *sides[1]]) if sides[0].get(k) != sides[1].get(k)]
    return Table(HEAD, [[k, *(_text(side.get(k)) for side in sides)] for k in keys])


def _text(value: object) -> str:
    if value is None:
        return DASH
    return f"{value:.4g}" if isinstance(value, float) else str(value)
