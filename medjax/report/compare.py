"""Two runs side by side as one static page: their scores, what was set differently, their pictures and courses."""

from pathlib import Path

import numpy as np

from medjax import store
from medjax.errors import UserError
from medjax.report import charts, html
from medjax.report.page import percent
from medjax.report.results import Entry, read
from medjax.report.sections import called, class_names, pictures, provenance, read_course
from medjax.report.soundness import METRICS, ROWS
from medjax.report.table import REAL
from medjax.report.table import ROWS as LABELS

HEADINGS = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "auc": "AUC"}
#: Keys of a result beside its scores.
FACTS = (
    "method",
    "dataset",
    "fingerprint",
    "ipc",
    "model",
    "preset",
    "seed",
    "select",
    "selected_iteration",
    "step_size",
)


def write_comparison(first: Path, second: Path, out: Path) -> Path:
    """Write OUT/index.html for two run folders (or result files). Raises UserError where one is no whole run."""
    pair = [_entry(path) for path in (first, second)]
    figures = out / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    body = [
        html.heading(1, "medjax: two runs side by side"),
        *[
            html.paragraph(f"{tag}: {called(entry)}. {provenance(entry)}", "note")
            for tag, entry in zip("AB", pair, strict=True)
        ],
        html.heading(2, "Scores on the test split (%)"),
        _scores(pair),
        html.heading(2, "What differs"),
        _differences(pair),
    ]
    logs = [
        (f"{tag}: {e.result['method']}", read_course(e)) for tag, e in zip("AB", pair, strict=True)
    ]
    # One colour each: they may be of one method.
    courses = [(name, m, rows) for (name, rows), m in zip(logs, ("mtt", "dc"), strict=True) if rows]
    body.append(html.heading(2, "Pictures"))
    if courses:
        stem = html.slug("compare", "course")
        charts.courses(figures / stem, "A and B", courses)
        body.append(html.chart(stem, "How the two went: A blue, B orange"))
    body.append('<div class="pair">')
    for tag, entry in zip("AB", pair, strict=True):
        body += ["<section>", html.heading(3, f"{tag}: {entry.folder.name}")]
        body += [html.paragraph(f"warning: {w}", "warning") for w in entry.result["warnings"]]
        if counts := entry.result.get("confusion"):
            stem = html.slug("compare", tag, "confusion")
            matrix = np.array(counts, float)
            names = class_names(entry.config, len(matrix))
            charts.confusion(
                figures / stem, [(f"{tag}: percent of each true class", matrix)], names
            )
            body.append(html.chart(stem, f"{tag}: percent of each true class (row) taken for each"))
        body += [*pictures(figures, entry), "</section>"]
    body.append("</div>")
    page = out / "index.html"
    store.write_bytes(page, html.page("medjax: two runs", body).encode())
    return page


def _entry(path: Path) -> Entry:
    file = path / "result.json" if path.is_dir() else path
    found = read(file)
    if isinstance(found, str):
        raise UserError(f"{file}: {found}: give the folders of two finished runs")
    return found


def _scores(pair: list[Entry]) -> str:
    rows = []
    # What a row is called where both are of a kind; else what it is in either.
    named = [dict(REAL.get(e.result["method"], LABELS)) for e in pair]
    labels = {
        row: " / ".join(dict.fromkeys(n[row] for n in named if row in n)) or row for row in ROWS
    }
    for row in ROWS:
        tables = [e.result.get(row) for e in pair]
        for metric in METRICS if any(tables) else ():
            scores = [t[metric] if t else None for t in tables]
            means = [s["mean"] if s else None for s in scores]
            a, b = means
            change = "–" if a is None or b is None else f"{100 * (b - a):+.1f}"
            label = f"{labels[row]}: {HEADINGS[metric]}"
            rows.append([label, *map(percent, scores), change])
    return html.table(["", "A", "B", "B - A"], rows, 1, set())


def _differences(pair: list[Entry]) -> str:
    """Facts and flags that are not the same in both."""
    sides = []
    for entry in pair:
        values = entry.config.get("values")
        flags = values.items() if isinstance(values, dict) else ()
        side = {f"--{k}": v.get("value") for k, v in flags if isinstance(v, dict)}
        side |= {k: entry.result.get(k) for k in FACTS}
        side |= {f"seconds: {k}": v for k, v in entry.result["seconds"].items()}
        sides.append(side)
    keys = [k for k in dict.fromkeys([*sides[0], *sides[1]]) if sides[0].get(k) != sides[1].get(k)]
    rows = [[k, *(_shown(side.get(k)) for side in sides)] for k in keys if k != "--out"]
    return html.table(["", "A", "B"], rows, 1, set())


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
