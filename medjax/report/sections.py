"""The sections of the report: a data set, distilled against random images, a run."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from medjax import store
from medjax.report import charts, html, table1
from medjax.report.paper import study_name
from medjax.report.paper import table1 as study_table
from medjax.report.results import REAL, Cell, Entry, baseline, titled
from medjax.report.scatter import Fits, points, scatter, study_points

#: Pictures that a run leaves in its folder: file, words, its pixels for one CSS pixel.
PICTURES = (
    ("gallery.png", "real images (as confidential as the data) beside the synthetic ones", 2.0),
    ("strip.png", "the first synthetic image of each class over training", 2.0),
    ("curves.png", "loss, step size and interim scores", 2.2),
)


def table1_section(grouped: list[Cell]) -> list[str]:
    """Our numbers beside those of the study's Table 1, if any run is on one of its sets."""
    numbers = table1.rows([c for c in grouped if study_name(c.dataset)])
    ipcs = sorted({c.ipc for c in grouped if c.ipc})
    body = []
    for title, networks in table1.TABLES:
        drawn = table1.lines(numbers, networks, ipcs)
        shown = [m for m in table1.methods(numbers) if any(m in line.texts for line in drawn)]
        if drawn:
            head = [
                "data set",
                "preset",
                "images per class",
                *[titled(m) for m in shown],
            ]
            rows = [
                [n.dataset, n.preset, str(n.ipc), *[n.texts.get(m, "–") for m in shown]]
                for n in drawn
            ]
            best = {(i, 3 + shown.index(n.best)) for i, n in enumerate(drawn) if n.best}
            body += [html.heading(3, title), html.table(head, rows, 2, best)]
    if not body:
        return []
    words = "Ours, and in brackets the study's number under the same network and ours minus it. ! : with a warning."
    return [html.heading(2, "Beside the study's Table 1"), html.paragraph(words, "note"), *body]


def set_section(figures: Path, name: str, fingerprint: str, same: list[Cell]) -> list[str]:
    """One data set: accuracy against IPC, bars for an integrated set, courses for each IPC, confusion."""
    study = {}
    if known := study_name(name):
        study = {(ipc, m): s for (d, ipc, m), s in study_table().items() if d == known}
    stem = html.slug(name, fingerprint, "ipc")
    charts.against_ipc(figures / stem, name, same, study)
    words = f"{name}: accuracy against images per class"
    body = [html.heading(3, name), html.paragraph(f"fingerprint {fingerprint}", "note")]
    if known:
        other = (
            ""
            if known == name
            else f"; {name} holds the images {known} was made from, split otherwise"
        )
        body.append(
            html.paragraph(
                f"Dashed: the study's Table 1 ({known}); its random and full-data columns are "
                f"ResNet-18, its distilled ones ConvNet{other}.",
                "note",
            )
        )
    drawn = [html.chart(stem, words)]
    if "integrated" in name.lower():
        stem = html.slug(name, fingerprint, "bars")
        charts.bars(figures / stem, name, same)
        drawn.append(html.chart(stem, f"{name}: methods side by side"))
    for ipc in sorted({c.ipc for c in same if c.ipc}, reverse=True):
        if found := courses(same, ipc):
            stem = html.slug(name, fingerprint, "course")
            charts.courses(figures / stem, f"{name}, {ipc} per class", found)
            drawn.append(html.chart(stem, f"{name}, {ipc} per class: how the distillation went"))
            break  # the others are below, run by run
    if matrices := confusions(same):
        stem = html.slug(name, fingerprint, "confusion")
        k = len(matrices[0][1])
        told = [class_names(e.config, k) for c in same for e in c.entries if e.config]
        charts.confusion(figures / stem, matrices, told[0] if told else class_names({}, k))
        drawn.append(html.chart(stem, f"{name}: percent of each true class (row) taken for each"))
    return [*body, '<div class="figures">', *drawn, "</div>"]


def courses(same: list[Cell], ipc: int) -> list[tuple[str, str, list[dict]]]:
    """(name, method, log) of the first seed of every distilled cell of this IPC that left a log."""
    mine = [c for c in same if c.ipc == ipc and c.method not in REAL]
    logs = []
    for cell, name in zip(mine, charts.names(mine), strict=True):
        rows = read_course(cell.entries[0])
        if rows:
            logs.append((name, cell.method, rows))
    return logs


def confusions(same: list[Cell]) -> list[tuple[str, np.ndarray]]:
    """Random, the best distilled and all images, at the largest IPC of those that have a matrix; three at most."""
    found: dict[str, tuple] = {}
    distilled = {max((c.ipc or 0 for c in same if c.method not in REAL), default=0)}
    for cell in same:
        counts = cell.entries[0].result.get("confusion")
        accuracy = cell.score("accuracy")
        if counts and accuracy:
            kind = cell.method if cell.method in REAL else "distilled"
            # Random images beside as many distilled ones.
            rank = (cell.ipc in distilled, cell.ipc or 0, accuracy["mean"])
            name = titled(cell.method)
            name += f", {cell.ipc} per class" if cell.ipc else ""
            if kind not in found or rank > found[kind][0]:
                found[kind] = (rank, f"{name}, {cell.model}", np.array(counts, float))
    return [found[k][1:] for k in ("random", "distilled", "full") if k in found]


def class_names(config: dict, k: int) -> list[str]:
    """The k class names as a run's config.json has them; else numbers."""
    data = config.get("data")
    names = data.get("classes") if isinstance(data, dict) else None
    if isinstance(names, list) and len(names) == k:
        return [str(n) for n in names]
    return [f"class {i}" for i in range(k)]


def read_course(entry: Entry) -> list[dict]:
    """The rows of iterations and interim scores in the run's log; what is not such a row is left out."""
    try:
        rows = store.read_log(entry.folder / "log.jsonl")
    except (OSError, ValueError):
        return []
    if entry.path.name != "result.json":
        return []  # a result alone, copied beside others: a log that lies there is not its own
    return [r for r in rows if isinstance(r, dict) and _is_course(r)]


def _is_course(row: dict) -> bool:
    numbers = [row.get(k) for k in ("loss", "step_size", "balanced_accuracy")]
    return (
        row.get("phase") in ("distill", "interim")
        and isinstance(row.get("iteration"), int)
        and isinstance(row.get("split", ""), str)
        and all(isinstance(v, int | float | None) for v in numbers)
    )


def indicator_section(figures: Path, grouped: list[Cell]) -> list[str]:
    """Distilled against random accuracy over sets, ours for each IPC and the study's at IPC 50 (Figure 5)."""
    body = [
        html.heading(2, "Distilled against random images", "indicator"),
        html.paragraph(
            "The study offers the accuracy of random images as an indicator of what distillation reaches. It says how "
            "easy a set is; what distillation adds is the gain, and the lower panels show whether random accuracy "
            "foretells that too. Each r has a 95 % bootstrap interval over data sets."
        ),
    ]
    drawn = []
    for ipc in sorted({c.ipc for c in grouped if c.ipc and c.method not in REAL}):
        if found := points(grouped, ipc):
            stem = html.slug("scatter", ipc)
            lines = scatter(figures / stem, f"these runs, {ipc} per class", found)
            sources = {
                baseline(c, grouped)[1] for c in grouped if c.ipc == ipc and c.method not in REAL
            }
            words = f"These runs, {ipc} per class (random: {', '.join(sorted(sources))}). "
            drawn.append(html.chart(stem, words + _said(lines)))
    stem = html.slug("scatter", "study")
    lines = scatter(figures / stem, "the study's Table 1, 50 per class", study_points(50))
    drawn.append(html.chart(stem, "The study's Table 1, 50 per class. " + _said(lines)))
    return [*body, '<div class="figures">', *drawn, "</div>"]


def _said(lines: list[Fits]) -> str:
    """The lines of a scatter in words."""
    parts = []
    for fit in lines:
        name = titled(fit.method)
        if fit.distilled and fit.gain:
            of = f"accuracy {fit.distilled.words()}; gain {fit.gain.words()}"
        else:
            of = f"n {fit.n}, too few for a line"
        parts.append(f"{name}: {of}; mean gain {fit.mean_gain:+.1f} points.")
    return " ".join(parts)


def run_section(figures: Path, entry: Entry) -> list[str]:
    """One run: what it was, its warnings, its pictures."""
    r = entry.result
    body = [
        html.heading(3, called(entry)),
        html.paragraph(provenance(entry), "note"),
        *[html.paragraph(f"warning: {line}", "warning") for line in r["warnings"]],
    ]
    drawn = pictures(figures, entry)
    return [*body, '<div class="figures">', *drawn, "</div>"] if drawn else body


def called(entry: Entry) -> str:
    """'MTT on bloodmnist, 1 per class, seed 0'."""
    r = entry.result
    size = "all images" if r["ipc"] is None else f"{r['ipc']} per class"
    return f"{titled(r['method'])} on {r['dataset']}, {size}, seed {r['seed']}"


def pictures(figures: Path, entry: Entry) -> list[str]:
    """The pictures in a run's folder, copied beside the page; a damaged one is left out."""
    drawn = []
    for file, words, scale in PICTURES:
        source = entry.folder / file
        if entry.path.name == "result.json" and source.is_file():
            try:
                with Image.open(source) as image:
                    image.verify()
                    width = round(image.width / scale)
            except (OSError, ValueError, SyntaxError):
                continue
            name = f"{html.slug(Path(file).stem, entry.folder)}.png"
            shutil.copyfile(source, figures / name)
            drawn.append(html.picture(name, words, width))
    return drawn


def provenance(entry: Entry) -> str:
    """Settings, device, versions and revision, as far as the run's config.json says."""
    r, config = entry.result, entry.config
    evaluation = r["evaluation"]
    words = [
        f"{r['model']}, preset {r['preset']}",
        f"{evaluation.get('networks')} networks x {evaluation.get('epochs')} epochs",
    ]
    if r.get("selected_iteration") is not None:
        words.append(f"iteration {r['selected_iteration']} (select={r.get('select')})")
    if entry.changed:
        words.append(f"flags {entry.changed}")
    versions = config.get("versions")
    if entry.device:
        words.append(entry.device)
    if isinstance(versions, dict):
        words.append(f"jax {versions.get('jax')}")
    if config.get("git"):
        words.append(f"commit {str(config['git'])[:12]}")
    return "; ".join(words) + f". {entry.path}"
