"""The report: every finished run below a folder as one static page, index.html, with its figures beside it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from medjax.errors import UserError
from medjax.recipes import describe
from medjax.report import charts, table1
from medjax.report.baseline import baseline
from medjax.report.curves import Course, courses
from medjax.report.pages import Chart, pictures, read_course, read_privacy, slug, write_page
from medjax.report.paper import study_name, study_scores
from medjax.report.run_cells import Cell, cells
from medjax.report.run_tables import cells_table
from medjax.report.runs import collect
from medjax.report.scatter import Point, points, scatter, study_points


class SetSection(NamedTuple):
    """What a page shows of a data set."""

    name: str
    notes: list[str]
    charts: list[Chart]


def write_report(root: Path, out: Path) -> tuple[Path, int, list[str]]:
    """Write OUT/index.html, OUT/figures/ and OUT/table1.* of the results below a folder: (the page, runs shown,
    complaints).

    complaints: a line for every result file that is broken and left out. Raises UserError where there is no result.
    """
    if not root.is_dir():
        raise UserError(f"{root} is no folder: give --runs=FOLDER, where finished runs lie")
    runs, complaints = collect(root)
    if not runs:
        broken = f" ({len(complaints)} broken: {complaints[0]})" if complaints else ""
        raise UserError(f"no result.json below {root}{broken}: give --runs=FOLDER of finished runs")
    figures = out / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    grouped = cells(runs)
    ipcs = sorted({c.ipc for c in grouped if c.ipc})
    by_set: dict[tuple[str, str], list[Cell]] = {}
    for cell in grouped:
        by_set.setdefault((cell.dataset, cell.fingerprint), []).append(cell)
    page = write_page(
        out / "index.html",
        "overview.html",
        title="medjax: distilled medical images",
        root=root,
        complaints=complaints,
        table=cells_table(grouped),
        study=table1.tables([c for c in grouped if study_name(c.dataset)], ipcs),
        sets=[set_section(figures, same) for same in by_set.values()],
        scatters=scatters(figures, grouped),
        runs=[(run, pictures(figures, run), read_privacy(run)) for run in runs],
    )
    table1.write(out, grouped, complaints, ipcs)
    return page, len(runs), complaints


def scatters(figures: Path, grouped: list[Cell]) -> list[Chart]:
    """Distilled against random accuracy for each IPC of these runs, and the study's."""
    drawn = []
    for ipc in sorted({c.ipc for c in grouped if c.ipc and c.distilled}):
        mine = [c for c in grouped if c.ipc == ipc and c.distilled]
        if found := points(grouped, ipc):
            sources = ", ".join(sorted({baseline(c, grouped)[1] for c in mine}))
            title = f"these runs, {ipc} per class"
            drawn.append(_scatter(figures, ipc, title, f" (random: {sources})", found))
    title = "the study's Table 1, 50 per class"
    return [*drawn, _scatter(figures, "study", title, "", study_points(50))]


def _scatter(figures: Path, name: object, title: str, more: str, found: list[Point]) -> Chart:
    stem = slug("scatter", name)
    lines = scatter(figures / stem, title, found)
    said = [f"{title[0].upper()}{title[1:]}{more}.", *(fit.words() for fit in lines)]
    return Chart(stem, " ".join(said))


def set_section(figures: Path, same: list[Cell]) -> SetSection:
    """Accuracy against IPC, bars for an integrated set, the course of the distillations, confusion; all of one set."""
    name, fingerprint = same[0].dataset, same[0].fingerprint
    known = study_name(name)
    study = {(ipc, m): s for (d, ipc, m), s in study_scores().items() if d == known}
    stem = slug(name, fingerprint, "ipc")
    charts.against_ipc(figures / stem, name, same, study)
    drawn = [Chart(stem, f"{name}: accuracy against images per class")]
    if "integrated" in name.lower():
        stem = slug(name, fingerprint, "bars")
        charts.bars(figures / stem, name, same)
        drawn.append(Chart(stem, f"{name}: methods side by side"))
    for ipc in sorted({c.ipc for c in same if c.ipc}, reverse=True):
        if found := courses_of(same, ipc):
            stem = slug(name, fingerprint, "course")
            courses(figures / stem, f"{name}, {ipc} per class", found)
            drawn.append(Chart(stem, f"{name}, {ipc} per class: the course of the distillation"))
            break  # other IPCs are below, run by run
    if matrices := confusions(same):
        stem = slug(name, fingerprint, "confusion")
        runs = [run for cell in same for run in cell.runs]
        named = next((run for run in runs if run.config), runs[0])
        charts.confusion(figures / stem, matrices, named.class_names(len(matrices[0][1])))
        drawn.append(Chart(stem, f"{name}: {charts.CONFUSION}"))
    said = dict.fromkeys(note for cell in same for run in cell.runs for note in run.data_notes)
    return SetSection(name, [*_notes(name, fingerprint, known), *said], drawn)


def _notes(name: str, fingerprint: str, known: str | None) -> list[str]:
    if known is None:
        return [f"fingerprint {fingerprint}"]
    same = f"; {name} holds the images that {known} was made from, split otherwise"
    study = (
        f"Dashed: the study's Table 1 ({known}); its random and full-data columns are ResNet-18, its distilled "
        f"ones ConvNet{'' if known == name else same}."
    )
    return [f"fingerprint {fingerprint}", study]


def courses_of(same: list[Cell], ipc: int) -> list[Course]:
    """The log of the first seed of every distilled cell of this IPC that left one."""
    mine, found = [c for c in same if c.ipc == ipc and c.distilled], []
    for cell, name in zip(mine, charts.names(mine), strict=True):
        if rows := read_course(cell.runs[0]):
            look = describe(cell.method)
            found.append(Course(name, look.colour, look.marker, rows))
    return found


def confusions(same: list[Cell]) -> list[tuple[str, np.ndarray]]:
    """Chosen real images, distilled ones (the best of both whose score test did not choose) and all images, at the
    largest IPC of those that have a matrix; three at most."""
    found: dict[str, tuple] = {}
    largest = max((c.ipc or 0 for c in same if c.distilled), default=0)
    for cell in same:
        counts, accuracy = cell.runs[0].result.confusion, cell.score()
        if counts and accuracy:
            kind = "distilled" if cell.distilled else "chosen" if cell.ipc else "full"
            # Chosen images beside as many distilled ones.
            rank = (cell.ipc == largest, cell.ipc or 0, cell.usual, accuracy.mean)
            size = f", {cell.ipc} per class" if cell.ipc else ""
            if kind not in found or rank > found[kind][0]:
                title = f"{cell.title}{size}, {cell.model}"
                found[kind] = (rank, title, np.array(counts, float))
    return [found[k][1:] for k in ("chosen", "distilled", "full") if k in found]
