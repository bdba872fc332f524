"""The study's Table 1 with our numbers beside it: table1.md, table1.csv and table1.tex.

Three tables, because the study compares across networks (random images and all images under ResNet-18, distilled sets
under ConvNet): the first does as the study did, the others hold one network throughout.
"""

from pathlib import Path
from typing import NamedTuple

from medjax import store
from medjax.data.catalog import find, md5
from medjax.recipes import describe
from medjax.report.paper import NETWORK, study_name, study_scores
from medjax.report.run_cells import Cell
from medjax.score import HEADINGS, Score, gain, shown
from medjax.table import DASH, Table, one_line

#: Title and {method: network} of each table; a method that is not named has the network of "".
TABLES = {
    "As the study compares: random and all images under ResNet-18, distilled sets under ConvNet": {
        "": "convnet",
        **NETWORK,
    },
    "One network throughout: ConvNet": {"": "convnet"},
    "One network throughout: ResNet-18": {"": "resnet18"},
}
FIRST = (
    "Test accuracy in percent, mean ± standard deviation over all networks of all distillation seeds. In brackets the "
    "study's number under the same network, and ours minus it. Bold: the best of the line; all images, and scores "
    "that test chose, do not count. ! : a run gave a warning, see below."
)
ABOUT = ("data set", "preset", "images per class")
SCORES = [f"{metric}_{part}" for metric in HEADINGS for part in ("mean", "std")]
CSV_HEAD = ["dataset", "fingerprint", "preset_and_flags", "ipc", "method", "network", *SCORES]
CSV_HEAD += ["networks", "seeds", "minutes_a_run", "study_mean", "study_std", "difference"]
CSV_HEAD += ["warnings"]


class Row(NamedTuple):
    """One row of a table: {method: text}, and the method that is the best of the row (of two or more)."""

    dataset: str
    preset: str
    ipc: int
    texts: dict[str, str]
    best: str | None


def tables(cells: list[Cell], ipcs: list[int]) -> list[Table]:
    """Those of the three that have a row. ipcs: the rows of each data set."""
    made = []
    for title, networks in TABLES.items():
        found = rows(cells, networks, ipcs)
        there = {method for row in found for method in row.texts}
        methods = sorted(there, key=lambda m: (describe(m).place, m))
        about = [[row.dataset, row.preset, str(row.ipc)] for row in found]
        texts = [[row.texts.get(m, DASH) for m in methods] for row in found]
        lines = [left + right for left, right in zip(about, texts, strict=True)]
        best = {(i, 3 + methods.index(row.best)) for i, row in enumerate(found) if row.best}
        head = [*ABOUT, *[describe(m).title for m in methods]]
        made += [Table(head, lines, title, words=2, best=best)] if found else []
    return made


def rows(cells: list[Cell], networks: dict[str, str], ipcs: list[int]) -> list[Row]:
    """A row for each data set, preset and IPC. Of several settings of a method the one with fewest flags stands there,
    for a row compares what was done alike. All images, and what test chose, take no part in the best."""
    found = []
    plainest = sorted(cells, key=lambda c: c.plainness)
    for place in dict.fromkeys((c.dataset, c.fingerprint, c.preset) for c in cells):
        for ipc in ipcs:
            mine: dict[str, tuple[Cell, str]] = {}
            for cell in plainest:
                network = networks.get(cell.method, networks[""])
                here = (cell.dataset, cell.fingerprint, cell.preset) == place
                if here and network in cell.networks and cell.ipc in (ipc, None):
                    mine.setdefault(cell.method, (cell, network))
            if any(cell.ipc for cell, _ in mine.values()):
                texts = {m: _text(cell, network, ipc) for m, (cell, network) in mine.items()}
                name = dataset_label(place[0], place[1], cells)
                found.append(Row(name, place[2], ipc, texts, _best(mine)))
    return found


def _best(mine: dict[str, tuple[Cell, str]]) -> str | None:
    means = {
        m: cell.mean(network) for m, (cell, network) in mine.items() if cell.ipc and cell.usual
    }
    known = {m: mean for m, mean in means.items() if mean is not None}
    return max(known, key=lambda m: known[m]) if len(known) > 1 else None


def dataset_label(dataset: str, fingerprint: str, cells: list[Cell]) -> str:
    """The name of a data set, with its fingerprint where another set has the same name."""
    twins = {c.fingerprint for c in cells if c.dataset == dataset}
    return dataset if len(twins) == 1 else f"{dataset} ({fingerprint.split()[-1][:8]})"


def study_score(cell: Cell, network: str, ipc: int) -> Score | None:
    """The study's number for a cell, if it has one under the same network."""
    known = study_name(cell.dataset)
    if known is None or NETWORK.get(cell.method) != network:
        return None
    return study_scores().get((known, ipc, cell.method))


def _text(cell: Cell, network: str, ipc: int) -> str:
    """'77.5 ± 0.5 (study 60.5, +17.0)', with marks of warnings and of what was done otherwise."""
    score, study = cell.score(network=network), study_score(cell, network, ipc)
    mark = " !" if cell.warnings else ""
    mark += " (chosen on test)" if "select=test" in cell.how else ""
    if score is None:
        return f"not finite{mark}"
    finite, seeds = cell.finite(network), len(cell.runs)
    mark += f" ({finite} of {seeds} seeds)" if finite < seeds else ""
    beside = f" (study {shown(study and study._replace(std=None))}, {gain(score, study)})"
    return shown(score) + mark + (beside if study else "")


def numbers(cells: list[Cell], ipcs: list[int]) -> Table:
    """One row for each number, percent with two digits; empty where there is none."""
    found = [
        _number(cell, network, ipc)
        for cell in cells
        for network in cell.networks
        for ipc in (ipcs if cell.ipc is None else [cell.ipc])
    ]
    return Table(CSV_HEAD, found)


def _number(cell: Cell, network: str, ipc: int) -> list[str]:
    scores = {metric: cell.score(metric, network=network) for metric in HEADINGS}
    accuracy, study = scores["accuracy"], study_score(cell, network, ipc)
    about = [cell.dataset, cell.fingerprint, cell.how, str(ipc), cell.method, network]
    values = [text for score in scores.values() for text in _parts(score)]
    counts = [str(accuracy.n if accuracy else 0), str(len(cell.runs)), f"{cell.minutes:.1f}"]
    difference = ""
    if study and accuracy:
        difference = f"{100 * ((accuracy.mean or 0) - (study.mean or 0)):+.2f}"
    return [*about, *values, *counts, *_parts(study), difference, "; ".join(cell.warnings)]


def _parts(score: Score | None) -> list[str]:
    return [f"{100 * (part or 0):.2f}" for part in score[:2]] if score else ["", ""]


def files(cells: list[Cell], missing: list[str], ipcs: list[int]) -> dict[str, str]:
    """The contents of table1.md, .csv and .tex, by ending. missing: a line for each run that is not there."""
    said, made = [one_line(note) for note in notes(cells, missing)], tables(cells, ipcs)
    points = "\n".join("- " + line.replace("<", "&lt;") for line in said)
    needs = "Needs booktabs and graphicx; names beyond Latin letters need XeLaTeX or LuaLaTeX."
    comments = "".join(f"% {line}\n" for line in (needs, *said))
    return {
        "md": "\n".join(
            [
                f"# Table 1 of the study, and ours\n\n{points}\n",
                *[table.markdown() for table in made],
            ]
        ),
        "csv": numbers(cells, ipcs).csv(),
        "tex": "\n".join([comments, *[table.latex() for table in made]]),
    }


def write(out: Path, cells: list[Cell], missing: list[str], ipcs: list[int]) -> str:
    """Write OUT/table1.md, .csv and .tex; returns the Markdown."""
    made = files(cells, missing, ipcs)
    for ending, text in made.items():
        store.write_bytes(out / f"table1.{ending}", text.encode())
    return made["md"]


def notes(cells: list[Cell], missing: list[str]) -> list[str]:
    """The lines above the tables: data, protocol, selection, device, versions, time, and what is missing."""
    runs = [run for cell in cells for run in cell.runs]
    said = [FIRST]
    firsts = {(c.dataset, c.fingerprint): c for c in reversed(cells)}
    said += [f"Data: {_origin(cell)}." for cell in reversed(firsts.values())]
    counts, minutes = [], []
    packs = {run.result.pack or 1 for run in runs} - {1}
    said += [
        f"Packed {f} x {f}: networks see {f * f} images for each that is stored, and counted here; not the study's."
        for f in sorted(packs)
    ]
    for title in dict.fromkeys(c.title for c in cells):
        mine = [c for c in cells if c.title == title]
        counts.append(f"{title} {', '.join(sorted({c.counted() for c in mine}))}")
        minutes.append(f"{title} {_span([run.minutes for c in mine for run in c.runs])}")
    trained = {f"{c.title} {c.runs[0].result.evaluation['epochs']}" for c in cells}
    said.append(f"Seeds x networks: {'; '.join(counts)}.")
    said.append(f"Epochs of the evaluated networks: {', '.join(sorted(trained))}.")
    if chosen := sorted({r.result.select or "" for r in runs if r.result.start}):
        how = " (the iteration is chosen on val and the test split is read once)"
        said.append(f"Selection: {', '.join(chosen)}{how if chosen == ['val'] else ''}.")
    said.append(f"Presets: {', '.join(sorted({r.result.preset for r in runs}))}.")
    for name, texts in (
        ("Device", {run.device or "not recorded" for run in runs}),
        ("Versions", {run.versions or "not recorded" for run in runs}),
    ):
        said.append(f"{name}: {'; '.join(sorted(texts)) or 'not recorded'}.")
    total = sum(run.minutes for run in runs)
    said.append(f"Minutes a run (each in the CSV): {'; '.join(minutes)}; together {total:.0f}.")
    said += [f"Missing: {line}" for line in missing]
    for cell in cells:
        about = f"Warning, {cell.dataset}, {cell.title}, ipc {cell.ipc}"
        said += [f"{about}: {line}" for line in cell.warnings]
    return said


def _span(minutes: list[float]) -> str:
    low, high = (f"{v:.1f}" for v in (min(minutes), max(minutes)))
    return low if low == high else f"{low} to {high}"


def _origin(cell: Cell) -> str:
    """Whether a set is the official file (loaded by its name, its MD5 verified) or something else."""
    name, asked = cell.dataset, cell.runs[0].values.get("dataset")
    known, print_ = study_name(name), f"fingerprint {cell.fingerprint}"
    if isinstance(asked, str) and (named := find(asked)):
        return f"{name}, the official MedMNIST file (MD5 {md5(*named)})"
    if known == name:
        return f"{name}, from a file of that name that was not verified ({print_})"
    if known:
        split = f"the images that {known} was made from, split otherwise"
        return f"{name} ({print_}), a stand-in: {split}"
    return f"{name} ({print_}), not a set of the study"
