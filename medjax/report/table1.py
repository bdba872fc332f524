"""The study's Table 1 with our numbers beside it: Markdown, CSV and LaTeX.

Three tables, because the study compares across networks (random images and all images under ResNet-18, distilled sets
under ConvNet): the first does as the study did, the others hold one network throughout.
"""

import csv
import io
import re
from pathlib import Path
from typing import NamedTuple

from medjax import store
from medjax.report.header import header
from medjax.report.paper import NETWORK, Score, study_name, table1
from medjax.report.results import ORDER, Cell, titled
from medjax.report.soundness import METRICS

#: Title and {method: network} of each table; a method that is not named has the network of "".
TABLES = (
    (
        "As the study compares: random and all images under ResNet-18, distilled sets under ConvNet",
        {"": "convnet", **NETWORK},
    ),
    ("One network throughout: ConvNet", {"": "convnet"}),
    ("One network throughout: ResNet-18", {"": "resnet18"}),
)


class Row(NamedTuple):
    """One number of ours: test scores {metric: {mean, std, n}} of a method on a data set under a network. how: preset
    and flags. finite: how many of the seeds ended in numbers."""

    dataset: str
    fingerprint: str
    preset: str
    how: str
    ipc: int | None
    method: str
    network: str
    scores: dict[str, dict | None]
    seeds: int
    finite: int
    minutes: float
    warnings: tuple[str, ...]

    @property
    def accuracy(self) -> dict | None:
        return self.scores["accuracy"]


def rows(cells: list[Cell]) -> list[Row]:
    """Every cell under every network that it was scored with."""
    found = []
    for cell in cells:
        minutes = [e.minutes for e in cell.entries]
        warnings = tuple(dict.fromkeys(w for e in cell.entries for w in e.result["warnings"]))
        for network in cell.networks:
            scores = {m: cell.score(m, network=network) for m in METRICS}
            mean = sum(minutes) / len(minutes)
            made = (cell.dataset, cell.fingerprint, cell.settings[0], cell.how)
            about = (*made, cell.ipc, cell.method, network)
            counts = (len(cell.entries), cell.finite(network))
            found.append(Row(*about, scores, *counts, mean, warnings))
    return found


def study_score(row: Row, ipc: int) -> Score | None:
    """The study's number for this row, if it has one under the same network."""
    known = study_name(row.dataset)
    if known is None or NETWORK.get(row.method) != row.network:
        return None
    return table1().get((known, ipc, row.method))


class Line(NamedTuple):
    """One line of a table: the cells' texts, and which of them is the best of the line (of two or more)."""

    dataset: str
    preset: str
    ipc: int
    texts: dict[str, str]
    best: str | None


def lines(found: list[Row], networks: dict[str, str], ipcs: list[int]) -> list[Line]:
    """A line for each data set, preset and IPC; "77.5 ± 0.5 (study 60.5, +17.0)". Of several settings of a method the
    plainest stands there, for a line compares what was done alike. All images take no part in the best."""
    result = []
    plainest = sorted(found, key=lambda r: len(r.how.split()))
    for place in dict.fromkeys((r.dataset, r.fingerprint, r.preset) for r in found):
        for ipc in ipcs:
            texts, means = {}, {}
            for row in plainest:
                wanted = networks.get(row.method, networks[""])
                here = (row.dataset, row.fingerprint, row.preset) == place
                if not here or row.network != wanted or row.ipc not in (ipc, None):
                    continue
                if row.method in texts:
                    continue
                texts[row.method] = _text(row, ipc)
                if row.accuracy and row.method != "full":
                    means[row.method] = row.accuracy["mean"]
            if set(texts) - {"full"}:
                best = max(means, key=lambda m: means[m]) if len(means) > 1 else None
                result.append(Line(label(place[0], place[1], found), place[2], ipc, texts, best))
    return result


def label(dataset: str, fingerprint: str, found: list[Row]) -> str:
    """The name of a data set, with its fingerprint where another set bears the same name."""
    twins = {r.fingerprint for r in found if r.dataset == dataset}
    return dataset if len(twins) == 1 else f"{dataset} ({fingerprint[:8]})"


def _text(row: Row, ipc: int) -> str:
    score, study = row.accuracy, study_score(row, ipc)
    mark = (" !" if row.warnings else "") + (
        " (chosen on test)" if "select=test" in row.how else ""
    )
    if score is None:
        return f"not finite{mark}"
    mark += f" ({row.finite} of {row.seeds} seeds)" if row.finite < row.seeds else ""
    mine = f"{100 * score['mean']:.1f} ± {100 * (score['std'] or 0):.1f}{mark}"
    if study is None:
        return mine
    return f"{mine} (study {100 * study.mean:.1f}, {100 * (score['mean'] - study.mean):+.1f})"


def write(out: Path, cells: list[Cell], failures: list[str], ipcs: list[int]) -> str:
    """OUT/table1.md, .csv and .tex; the Markdown.

    failures: what is missing, a line each. ipcs: the lines of each data set.
    """
    found, said = rows(cells), header(cells, failures)
    texts = {
        "md": markdown(found, said, ipcs),
        "csv": as_csv(found, ipcs),
        "tex": latex(found, said, ipcs),
    }
    for kind, text in texts.items():
        store.write_bytes(out / f"table1.{kind}", text.encode())
    return texts["md"]


def methods(found: list[Row]) -> list[str]:
    """Those there are, in the order of the study."""
    return sorted({r.method for r in found}, key=lambda m: (ORDER.get(m, 5), m))


def markdown(found: list[Row], said: list[str], ipcs: list[int]) -> str:
    """The header as a list, then the tables that have a line."""
    text = ["# Table 1 of the study, and ours", "", *[f"- {_plain(s)}" for s in said]]
    for title, networks in TABLES:
        if not (drawn := lines(found, networks, ipcs)):
            continue
        shown = [m for m in methods(found) if any(m in line.texts for line in drawn)]
        head = ["data set", "preset", "images per class", *[titled(m) for m in shown]]
        text += ["", f"## {title}", "", _row(head), _row(["---"] * len(head))]
        for line in drawn:
            values = [line.texts.get(m, "–") for m in shown]
            values = [
                f"**{v}**" if m == line.best else v for m, v in zip(shown, values, strict=True)
            ]
            text.append(_row([line.dataset, line.preset, str(line.ipc), *values]))
    return "\n".join(text) + "\n"


def _row(values: list[str]) -> str:
    return "| " + " | ".join(_plain(v).replace("|", "\\|") for v in values) + " |"


def _plain(text: str) -> str:
    return " ".join(text.replace("<", "&lt;").split())


def as_csv(found: list[Row], ipcs: list[int]) -> str:
    """One line for each number, fractions as percent with two digits; empty where there is none."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    scores = [f"{m}_{part}" for m in METRICS for part in ("mean", "std")]
    names = ["dataset", "fingerprint", "preset_and_flags", "ipc", "method", "network", *scores]
    names += ["networks", "seeds", "minutes_a_run"]
    writer.writerow([*names, "study_mean", "study_std", "difference", "warnings"])
    for row in found:
        for ipc in ipcs if row.ipc is None else [row.ipc]:
            study, values = study_score(row, ipc), []
            for metric in METRICS:
                score = row.scores[metric]
                values += [f"{100 * (score[k] or 0):.2f}" if score else "" for k in ("mean", "std")]
            about = [row.dataset, row.fingerprint, row.how, ipc, row.method, row.network, *values]
            about += [row.accuracy["n"] if row.accuracy else 0, row.seeds, f"{row.minutes:.1f}"]
            beside = ["", "", ""]
            if study:
                beside = [f"{100 * study.mean:.2f}", f"{100 * study.std:.2f}", ""]
                if row.accuracy:
                    beside[2] = f"{100 * (row.accuracy['mean'] - study.mean):+.2f}"
            writer.writerow([*about, *beside, "; ".join(row.warnings)])
    return out.getvalue()


def latex(found: list[Row], said: list[str], ipcs: list[int]) -> str:
    """The same tables for a paper, no wider than its page; the header as comments."""
    text = [
        "% Needs the packages booktabs and graphicx; names beyond Latin letters need XeLaTeX or LuaLaTeX."
    ]
    text += [f"% {' '.join(s.split())}" for s in said]
    for title, networks in TABLES:
        if not (drawn := lines(found, networks, ipcs)):
            continue
        shown = [m for m in methods(found) if any(m in line.texts for line in drawn)]
        columns = "llr" + "l" * len(shown)
        text += ["", r"\begin{table}\centering", f"\\caption{{{_tex(title)}.}}"]
        text += [r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%"]
        text += [f"\\begin{{tabular}}{{{columns}}}\\toprule"]
        text += [
            " & ".join(["data set", "preset", "IPC", *[_tex(titled(m)) for m in shown]])
            + r" \\\midrule"
        ]
        for line in drawn:
            values = []
            for method in shown:
                value = _tex(line.texts.get(method, "–"))
                values.append(f"\\textbf{{{value}}}" if method == line.best else value)
            # The braces: a name in brackets would be an argument of the line before it.
            about = ["{}" + _tex(line.dataset), _tex(line.preset), str(line.ipc)]
            text.append(" & ".join([*about, *values]) + r" \\")
        text += [r"\bottomrule\end{tabular}}", r"\end{table}"]
    return "\n".join(text) + "\n"


def _tex(text: str) -> str:
    """LaTeX's special characters as text."""
    text = re.sub(r"[\\{}$&#^_%~]", lambda m: _TEX[m[0]], text)
    return text.replace("±", r"$\pm$").replace("–", "--")


_TEX = {"\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\textasciitilde{}"}
_TEX |= {c: f"\\{c}" for c in "{}$&#_%"}
