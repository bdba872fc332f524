"""The report: every finished run below a folder as one static page, index.html, with its figures beside it."""

from pathlib import Path

import numpy as np

from medjax import store
from medjax.errors import UserError
from medjax.report import html, table1
from medjax.report.results import REAL, Cell, baseline, cells, collect, titled
from medjax.report.sections import (
    indicator_section,
    run_section,
    set_section,
    table1_section,
)

HEAD = [
    "data set",
    "method",
    "network",
    "preset, flags",
    "images per class",
    "accuracy (%)",
    "random real (%)",
    "gain (points)",
    "balanced accuracy (%)",
    "AUC (%)",
    "as 8-bit images (%)",
    "largest class (%)",
    "seeds x networks",
    "minutes a run",
]
#: Words above the tables: what the numbers are.
LEGEND = (
    "Scores are on the test split, in percent: mean ± standard deviation over all networks of all seeds. "
    "“Random real” is the same network trained on as many random real images; the gain is the difference "
    "of the two accuracies. “Largest class” is the accuracy of always saying the largest class."
)


def write_report(root: Path, out: Path) -> tuple[Path, int, list[str]]:
    """Write OUT/index.html, OUT/figures/ and OUT/table1.* of the results below a folder: (the page, runs shown,
    complaints).

    complaints: a line for every result file that is broken and left out. Raises UserError where there is no result.
    """
    if not root.is_dir():
        raise UserError(f"{root} is no folder: give --runs=FOLDER, where finished runs lie")
    entries, complaints = collect(root)
    if not entries:
        broken = f" ({len(complaints)} broken: {complaints[0]})" if complaints else ""
        raise UserError(f"no result.json below {root}{broken}: give --runs=FOLDER of finished runs")
    figures = out / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    grouped = cells(entries)
    sets = list(dict.fromkeys((c.dataset, c.fingerprint) for c in grouped))
    body = [
        html.heading(1, "medjax: distilled medical images"),
        html.paragraph(f"{len(entries)} finished runs on {len(sets)} data sets, from {root}."),
        *[html.paragraph(f"left out: {line}", "warning") for line in complaints],
        '<nav><a href="#results">Results</a><a href="#sets">Data sets</a>'
        '<a href="#indicator">Distilled against random</a><a href="#runs">Runs</a></nav>',
        html.heading(2, "Results", "results"),
        html.paragraph(LEGEND, "note"),
        result_table(grouped),
        html.paragraph(
            "As Markdown, CSV and LaTeX: table1.md, table1.csv, table1.tex beside this page.",
            "note",
        ),
        *table1_section(grouped),
        html.heading(2, "Data sets", "sets"),
    ]
    for name, fingerprint in sets:
        same = [c for c in grouped if c.fingerprint == fingerprint and c.dataset == name]
        body += set_section(figures, name, fingerprint, same)
    body += indicator_section(figures, grouped)
    body.append(html.heading(2, "Runs", "runs"))
    for entry in entries:
        body += run_section(figures, entry)
    page = out / "index.html"
    store.write_bytes(page, html.page("medjax report", body).encode())
    table1.write(out, grouped, complaints, sorted({c.ipc for c in grouped if c.ipc}))
    return page, len(entries), complaints


def result_table(grouped: list[Cell]) -> str:
    """One row for each cell and each network it was scored with; the best accuracy of a set and IPC in bold."""
    rows: list[list[str]] = []
    leaders: dict[tuple, list[tuple[float, int]]] = {}
    for cell in grouped:
        for network in cell.networks:
            accuracy = cell.score("accuracy", network=network)
            if accuracy and cell.method != "full":
                group = (cell.fingerprint, cell.ipc)
                leaders.setdefault(group, []).append((accuracy["mean"], len(rows)))
            rows.append(_row(cell, network, grouped))
    firsts = [max(group)[1] for group in leaders.values() if len(group) > 1]
    return html.table(HEAD, rows, 4, {(row, HEAD.index("accuracy (%)")) for row in firsts})


def _row(cell: Cell, network: str, grouped: list[Cell]) -> list[str]:
    accuracy = cell.score("accuracy", network=network)
    real = None if cell.method in REAL else baseline(cell, grouped, network=network)[0]
    gain = f"{100 * (accuracy['mean'] - real['mean']):+.1f}" if accuracy and real else "–"
    first = cell.entries[0].result
    minutes = [e.minutes for e in cell.entries]
    return [
        cell.dataset,
        titled(cell.method),
        network,
        cell.how,
        "all" if cell.ipc is None else str(cell.ipc),
        percent(accuracy),
        percent(real),
        gain,
        percent(cell.score("balanced_accuracy", network=network)),
        percent(cell.score("auc", network=network)),
        percent(cell.score("accuracy", "test_uint8", network)),
        f"{100 * first['majority_share']:.1f}",
        counted(cell, network),
        f"{np.mean(minutes):.1f}",
    ]


def counted(cell: Cell, network: str | None = None) -> str:
    """'3 x 5': seeds and networks of each; '2 x 5 of 3 seeds' where the others did not end in numbers."""
    score, seeds, good = (
        cell.score("accuracy", network=network),
        len(cell.entries),
        cell.finite(network),
    )
    each = score["n"] // good if score and good else 0
    return f"{good} x {each}" + (f" of {seeds} seeds" if good < seeds else "")


def percent(score: dict | None) -> str:
    """'75.1 ± 1.3', or a dash."""
    if not score or score["mean"] is None:
        return "–"
    spread = f" ± {100 * (score['std'] or 0):.1f}" if score["n"] > 1 else ""
    return f"{100 * score['mean']:.1f}{spread}"
