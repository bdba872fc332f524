"""Figures over many runs, each as PNG and SVG: scores against IPC, bars, courses, confusion.

Every figure is narrow enough for a phone; colours are Okabe and Ito's, safe for the colour-blind, and never alone:
each method has its own marker too.
"""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from medjax.report.figures import column, last_of_each, plain_within_a_decade
from medjax.report.paper import Score
from medjax.report.results import Cell, titled

DPI, WIDTH = 130, 4.8  # inches
#: Colour and marker of each method; others share the last.
STYLE = {
    "random": ("#6e6e6e", "o"),
    "dc": ("#E69F00", "s"),
    "dsa": ("#56B4E9", "D"),
    "dm": ("#009E73", "^"),
    "mtt": ("#0072B2", "v"),
    "full": ("#000000", "*"),
}
OTHER = ("#CC79A7", "X")
LABELS = {"accuracy": "test accuracy (%)", "balanced_accuracy": "balanced accuracy (%)"}
#: The longest name that a figure shows, in characters.
LONGEST = 44


def style(method: str) -> tuple[str, str, str]:
    """(colour, marker, name) of a method."""
    return (*STYLE.get(method, OTHER), short(titled(method)))


def short(text: str, most: int = LONGEST) -> str:
    """A name for a figure: no formula, and cut where it is too long."""
    text = text if len(text) <= most else text[: most - 1] + "…"
    return text.replace("$", r"\$")


@contextlib.contextmanager
def drawing(
    stem: Path, height: float, rows: int = 1, foot: float = 0.0, left: float = 0.78
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of ``rows`` panels, one below the other; written as stem.png and stem.svg at the end.

    height, foot: inches of the panels, and below them for a legend. left: inches beside them for labels.
    """
    height += foot
    # A salt of its own and no date: the same results give the same bytes.
    with (
        rc_context({"svg.hashsalt": "medjax", "svg.fonttype": "none", "font.size": 9}),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", UserWarning)  # a character that the font lacks
        figure = Figure(figsize=(WIDTH, height), dpi=DPI)
        FigureCanvasAgg(figure)
        # Margins in inches: a layout engine would draw everything twice.
        edge = {"left": left / WIDTH, "right": 1 - 0.2 / WIDTH}
        axes = figure.subplots(
            rows, 1, squeeze=False, gridspec_kw={**edge, "top": 1 - 0.36 / height}
        )
        figure.subplots_adjust(bottom=(0.5 + foot) / height, hspace=0.2)
        for panel in axes[:, 0]:
            panel.grid(color="0.92", linewidth=0.8)
            panel.set_axisbelow(True)
            panel.spines[["top", "right"]].set_visible(False)
        yield figure, list(axes[:, 0])
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            figure.savefig(stem.with_name(f"{stem.name}.{kind}"), format=kind, metadata=metadata)


def legend(axes: Axes, **place: Any) -> None:
    """A legend of what has a label, if anything has; each label once."""
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    if once:
        look = {"fontsize": 7.5, "framealpha": 0.85, "edgecolor": "none"}
        axes.legend(list(once.values()), list(once), **look, **place)


def legend_below(figure: Figure, axes: Axes) -> None:
    """A legend of one panel under all of them."""
    handles, labels = axes.get_legend_handles_labels()
    place = {"loc": "lower center", "ncols": columns(labels), "fontsize": 8, "frameon": False}
    figure.legend(handles, labels, borderaxespad=0.2, **place)


def columns(labels: list[str]) -> int:
    """Columns of a legend: two, or one where a name is too long for that."""
    return 2 if max(map(len, labels), default=0) <= 36 else 1


def foot_of(labels: list[str]) -> float:
    """Inches that `legend_below` takes."""
    return 0.1 + 0.19 * -(-len(labels) // columns(labels))


def names(cells: list[Cell]) -> list[str]:
    """What to call each cell in a legend: the method, and of network and settings what tells it from the others."""
    found = []
    for cell in cells:
        rivals = [c for c in cells if c.method == cell.method and c is not cell]
        words = [style(cell.method)[2]]
        if any(c.model != cells[0].model for c in cells):
            words.append(cell.model)
        alike = (
            set.intersection(*(set(c.how.split()) for c in rivals))
            if rivals
            else {*cell.how.split()}
        )
        apart = [w for w in cell.how.split() if w not in alike or w == "select=test"]
        words += [" ".join(apart)] if apart else []
        found.append(short(", ".join(words)))
    return found


def series(cells: list[Cell]) -> list[tuple[str, list[Cell]]]:
    """Cells that differ in their images per class alone, with what to call them."""
    lines: dict[tuple[str, ...], tuple[str, list[Cell]]] = {}
    for cell, name in zip(cells, names(cells), strict=True):
        lines.setdefault((cell.method, cell.model, cell.how), (name, []))[1].append(cell)
    return list(lines.values())


def against_ipc(
    stem: Path, heading: str, cells: list[Cell], study: dict[tuple[int, str], Score]
) -> None:
    """Accuracy and balanced accuracy against images per class on one data set, with the full-data line (Figure 4).

    study: {(ipc, method): score} of the study on this set, or {}: dashed lines with hollow markers, accuracy only.
    """
    ipcs = sorted({c.ipc for c in cells if c.ipc} | {ipc for ipc, _ in study}) or [1]
    lines, floor_words = series(cells), "always the largest class, or chance"
    labels = [name for name, _ in lines] + [f"study: {titled(m)}" for m in {m for _, m in study}]
    with drawing(stem, 5.6, 2, foot_of([*labels, floor_words])) as (figure, panels):
        panels[0].set_title(short(heading), fontsize=10, loc="left", weight="bold")
        for axes, metric in zip(panels, ("accuracy", "balanced_accuracy"), strict=True):
            for index, (name, members) in enumerate(lines):
                _line(axes, members, metric, name, 1 + 0.03 * index)
            for method in sorted({m for _, m in study} if metric == "accuracy" else ()):
                _study_line(axes, method, ipcs, study)
            first = cells[0].entries[0].result
            floor = first["majority_share" if metric == "accuracy" else "chance"]
            axes.axhline(100 * floor, color="0.55", linewidth=1, linestyle=":", label=floor_words)
            axes.set(xscale="log", ylabel=LABELS[metric], ylim=(0, 100))
            axes.set_xlim(min(ipcs) / 1.5, max(ipcs) * 1.5)
            axes.set_xticks(ipcs, [str(i) for i in ipcs])
            axes.xaxis.set_minor_locator(NullLocator())
        panels[-1].set_xlabel("images per class")
        legend_below(figure, panels[0])


def _line(axes: Axes, cells: list[Cell], metric: str, name: str, shift: float) -> None:
    """One method's scores; all images are a level, not a point. shift: keeps bars of error apart."""
    colour, marker, _ = style(cells[0].method)
    found = [(c.ipc, c.score(metric)) for c in cells]
    scored = sorted((i or 0, s["mean"], s["std"] or 0) for i, s in found if s)
    if not scored:
        return
    if cells[0].method == "full":
        _, mean, std = scored[0]
        axes.axhline(100 * mean, color=colour, linewidth=1.4, label=name)
        axes.axhspan(100 * (mean - std), 100 * (mean + std), color=colour, alpha=0.12, linewidth=0)
        return
    x, y, error = 100 * np.array(scored).T
    axes.errorbar(
        x / 100 * shift, y, error, color=colour, marker=marker, capsize=2.5, lw=1.4, label=name
    )


def _study_line(axes: Axes, method: str, ipcs: list[int], study: dict) -> None:
    colour, marker, name = style(method)
    look: dict[str, Any] = {"color": colour, "linewidth": 1, "linestyle": "--", "alpha": 0.8}
    x = [i for i in ipcs if (i, method) in study]
    y = [100 * study[i, method].mean for i in x]
    if method == "full":
        axes.axhline(y[0], **look, label=f"study: {name}")
    else:
        axes.plot(x, y, **look, marker=marker, markerfacecolor="white", label=f"study: {name}")


def bars(stem: Path, title: str, cells: list[Cell]) -> None:
    """Accuracy as bars, a group for each number of images per class (the study's Figure 3)."""
    ipcs = sorted({c.ipc for c in cells if c.ipc})
    labels = names(cells)
    order = list(dict.fromkeys(n for c, n in zip(cells, labels, strict=True) if c.ipc))
    width = 0.8 / max(len(order), 1)
    with drawing(stem, 3.6) as (_, (axes,)):
        axes.set_title(short(title), fontsize=10, loc="left", weight="bold")
        for cell, name in zip(cells, labels, strict=True):
            score, (colour, _, _) = cell.score("accuracy"), style(cell.method)
            if score and not cell.ipc:
                axes.axhline(100 * score["mean"], color=colour, linewidth=1.4, label=name)
            elif score:
                x = ipcs.index(cell.ipc or 0) + (order.index(name) - (len(order) - 1) / 2) * width
                axes.bar(x, 100 * score["mean"], width * 0.92, color=colour, label=name)
                axes.errorbar(
                    x, 100 * score["mean"], 100 * (score["std"] or 0), color="0.2", capsize=2
                )
                top = 100 * (score["mean"] + (score["std"] or 0)) + 1.5
                box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1}
                text = f"{100 * score['mean']:.0f}"
                axes.text(x, top, text, ha="center", fontsize=7, bbox=box)
        axes.set(ylabel=LABELS["accuracy"], ylim=(0, 119), xlabel="images per class")
        axes.set_yticks(range(0, 101, 20))
        axes.set_xticks(range(len(ipcs)), [str(i) for i in ipcs])
        legend(axes, loc="upper left", ncols=3)


def courses(stem: Path, title: str, runs: list[tuple[str, str, list[dict]]]) -> None:
    """Loss, step size and interim score of several runs over their iterations.

    runs: (name, method, rows of log.jsonl); a run without iterations (random selection) is left out.
    """
    panels = (
        ("loss", "distill", "loss (each its own)", "log"),
        ("step_size", "distill", "step size", "log"),
        ("balanced_accuracy", "interim", "interim bal. acc. (%)", "linear"),
    )
    foot = foot_of([short(name) for name, _, _ in runs])
    with drawing(stem, 6.0, 3, foot) as (figure, axes):
        axes[0].set_title(short(title), fontsize=10, loc="left", weight="bold")
        for panel, (key, phase, label, scale) in zip(axes, panels, strict=True):
            for index, (name, method, log) in enumerate(runs):
                rows = last_of_each(log, phase)
                y = column(rows, key) * (100 if phase == "interim" else 1)
                good = np.isfinite(y) & ((y > 0) | (scale == "linear"))
                if not good.any():
                    continue
                colour, marker, _ = style(method)
                look = ("-", "--", ":", "-.")[index % 4] if len(runs) > 1 else "-"
                dots = {"marker": marker, "markersize": 4} if phase == "interim" else {}
                y = np.where(good, y, np.nan)
                x = column(rows, "iteration")
                panel.plot(x, y, look, color=colour, linewidth=1.2, label=short(name), **dots)
            panel.set(ylabel=label)
            if panel.lines:
                panel.set_yscale(scale)
                panel.yaxis.set_minor_locator(NullLocator())
                if scale == "log":
                    drawn = np.concatenate([line.get_ydata() for line in panel.lines])
                    plain_within_a_decade(panel, np.nanmin(drawn), np.nanmax(drawn))
            else:
                panel.set_yticks([])
                panel.text(0.5, 0.5, "nothing logged", transform=panel.transAxes, ha="center")
        last = max((r["iteration"] for _, _, log in runs for r in log), default=1)
        for panel in axes:
            panel.set_xlim(-0.02 * last, 1.02 * last)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[-1].set_xlabel("iteration")
        legend_below(figure, axes[0])


def confusion(stem: Path, matrices: list[tuple[str, np.ndarray]], classes: list[str]) -> None:
    """Percent of each true class (row) taken for each class (column); a panel for each (title, counts [k, k])."""
    k = len(classes)
    side = max(2.2, 0.3 * k + 0.2)
    shown = [short(f"{i}  {name}", 22) for i, name in enumerate(classes)]
    beside = min(0.4 + 0.065 * max(map(len, shown)), 0.42 * WIDTH)
    height = 0.5 + len(matrices) * (side + 0.75)
    with drawing(stem, height, len(matrices), left=beside) as (figure, panels):
        figure.subplots_adjust(hspace=0.75 / side)
        for axes, (title, counts) in zip(panels, matrices, strict=True):
            share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
            axes.grid(False)
            axes.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="auto")
            axes.set_title(short(title), fontsize=9, loc="left")
            axes.set_yticks(range(k), shown, fontsize=7.5)
            axes.set_xticks(range(k), [str(i) for i in range(k)], fontsize=7.5)
            for (i, j), value in np.ndenumerate(share):
                if value >= 0.5:
                    colour = "white" if value > 55 else "black"
                    axes.text(
                        j, i, f"{value:.0f}", ha="center", va="center", fontsize=7, color=colour
                    )
        panels[-1].set_xlabel("taken for class")
