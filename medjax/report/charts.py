"""Charts over many runs, each as PNG and SVG: scores against images per class, bars, confusion."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from medjax.recipes import describe
from medjax.report import style
from medjax.report.run_cells import Cell
from medjax.score import Score

LABELS = {"accuracy": "test accuracy (%)", "balanced_accuracy": "balanced accuracy (%)"}
#: What a confusion matrix shows.
CONFUSION = "percent of each true class (row) that was predicted as each class"
#: The dotted line: accuracy of predicting the largest class, balanced accuracy of guessing.
FLOOR = "largest class, or guessing"


def names(cells: list[Cell]) -> list[str]:
    """The name of each cell in a legend: the method, and those parts of network and settings in which it differs."""
    found = []
    for cell in cells:
        rivals = [set(c.how.split()) for c in cells if c.method == cell.method and c is not cell]
        alike = set.intersection(*rivals) if rivals else set(cell.how.split())
        apart = [w for w in cell.how.split() if w not in alike or w == "select=test"]
        network = [cell.model] if any(c.model != cells[0].model for c in cells) else []
        words = [style.short(cell.title), *network, " ".join(apart)]
        found.append(style.short(", ".join(filter(None, words))))
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
    lines, methods = series(cells), sorted({method for _, method in study})
    theirs = {m: f"study: {style.short(describe(m).title)}" for m in methods}
    foot = style.foot_of([*(name for name, _ in lines), *theirs.values(), FLOOR])
    with style.panels(style.both(stem), 5.6, 2, heading, foot) as (figure, panels):
        for axes, metric in zip(panels, LABELS, strict=True):
            for index, (name, members) in enumerate(lines):
                _line(axes, members, metric, name, 1 + 0.03 * index)
            for method, label in theirs.items() if metric == "accuracy" else ():
                _study_line(axes, label, method, ipcs, study)
            first = cells[0].runs[0].result
            floor = first.majority_share if metric == "accuracy" else first.chance
            axes.axhline(100 * floor, **style.REFERENCE, label=FLOOR)
            axes.set(xscale="log", ylabel=LABELS[metric], ylim=(0, 100))
            axes.set_xlim(min(ipcs) / 1.5, max(ipcs) * 1.5)
            axes.set_xticks(ipcs, [str(i) for i in ipcs])
            axes.xaxis.set_minor_locator(NullLocator())
        panels[-1].set_xlabel("images per class")
        style.legend_below(figure, panels[0])


def _line(axes: Axes, cells: list[Cell], metric: str, name: str, shift: float) -> None:
    """One method's scores; all images are a level, not a point. shift: keeps error bars apart."""
    look = describe(cells[0].method)
    found = [(c.ipc or 0, c.score(metric)) for c in cells]
    scored = sorted((i, s.mean, s.std or 0) for i, s in found if s and s.mean is not None)
    if not scored:
        return
    if cells[0].ipc is None:
        _, mean, std = scored[0]
        axes.axhline(100 * mean, color=look.colour, label=name)
        band = {"color": look.colour, "alpha": 0.12, "linewidth": 0}
        axes.axhspan(100 * (mean - std), 100 * (mean + std), **band)
        return
    x, y, error = np.array(scored).T
    axes.errorbar(
        x * shift, 100 * y, 100 * error, color=look.colour, marker=look.marker, label=name
    )


def _study_line(axes: Axes, label: str, method: str, ipcs: list[int], study: dict) -> None:
    look, known = describe(method), [i for i in ipcs if (i, method) in study]
    line: dict[str, Any] = {"color": look.colour, "linewidth": 1, "linestyle": "--", "alpha": 0.8}
    y = [100 * study[i, method].mean for i in known]
    if method == "full":
        axes.axhline(y[0], label=label, **line)
    else:
        axes.plot(known, y, label=label, **line, marker=look.marker, markerfacecolor="white")


def bars(stem: Path, title: str, cells: list[Cell]) -> None:
    """Accuracy as bars, a group for each number of images per class (the study's Figure 3)."""
    ipcs = sorted({c.ipc for c in cells if c.ipc})
    labels = names(cells)
    order = list(dict.fromkeys(n for c, n in zip(cells, labels, strict=True) if c.ipc))
    width = 0.8 / max(len(order), 1)
    with style.panels(style.both(stem), 3.6, title=title) as (_, (axes,)):
        for cell, name in zip(cells, labels, strict=True):
            score, colour = cell.score(), describe(cell.method).colour
            if score is None:
                continue
            mean, std = 100 * (score.mean or 0), 100 * (score.std or 0)
            if cell.ipc is None:
                axes.axhline(mean, color=colour, label=name)
                continue
            x = ipcs.index(cell.ipc) + (order.index(name) - (len(order) - 1) / 2) * width
            axes.bar(x, mean, width * 0.92, color=colour, label=name)
            axes.errorbar(x, mean, std, color="0.2")
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1}
            above = {"ha": "center", "fontsize": style.SMALL, "bbox": box}
            axes.text(x, mean + std + 1.5, f"{mean:.0f}", **above)
        axes.set(ylabel=LABELS["accuracy"], ylim=(0, 119), xlabel="images per class")
        axes.set_yticks(range(0, 101, 20))
        axes.set_xticks(range(len(ipcs)), [str(i) for i in ipcs])
        style.legend(axes, loc="upper left", ncols=3)


def confusion(
    stem: Path, matrices: list[tuple[str, Float[np.ndarray, "k k"]]], classes: list[str]
) -> None:
    """Percent of each true class (row) that was predicted as each class (column); a panel for each (title, counts)."""
    k = len(classes)
    side = max(2.2, 0.3 * k + 0.2)
    shown = [style.short(f"{i}  {name}", 22) for i, name in enumerate(classes)]
    beside = min(0.4 + 0.065 * max(map(len, shown)), 0.42 * style.WIDTH)
    height = 0.5 + len(matrices) * (side + 0.75)
    with style.panels(style.both(stem), height, len(matrices), left=beside) as (figure, panels):
        figure.subplots_adjust(hspace=0.75 / side)
        for axes, (title, counts) in zip(panels, matrices, strict=True):
            share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
            axes.grid(False)
            axes.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="auto")
            axes.set_title(style.short(title), fontsize=style.TEXT, weight="normal")
            axes.set_yticks(range(k), shown, fontsize=style.SMALL)
            axes.set_xticks(range(k), [str(i) for i in range(k)], fontsize=style.SMALL)
            for (i, j), value in np.ndenumerate(share):
                if value >= 0.5:
                    look = {"color": "white" if value > 55 else "black", "fontsize": style.SMALL}
                    axes.text(j, i, f"{value:.0f}", ha="center", va="center", **look)
        panels[-1].set_xlabel("predicted class")
