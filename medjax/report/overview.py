"""The report: every finished run below a folder as one static page, index.html, with its figures beside it."""

from pathlib import Path

from medjax.errors import UserError
from medjax.report import table1
from medjax.report.one_run import pictures
from medjax.report.one_set import set_section
from medjax.report.pages import Chart, slug, write_page
from medjax.report.paper import study_name
from medjax.report.run_tables import cells_table
from medjax.report.runs import Cell, baseline, cells, collect
from medjax.report.scatter import Point, points, scatter, study_points


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
        runs=[(run, pictures(figures, run)) for run in runs],
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
