"""Real images beside the synthetic ones, class by class."""

import os
import textwrap

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

MOST = 10  # images shown of a class, in each block
# All lengths are in inches.
DPI = 200
TILE, GAP, BLOCK_GAP, MARGIN = 0.6, 0.05, 0.35, 0.15
NAME_WIDTH = 26  # characters of a class name before it is broken


def gallery(
    path: str | os.PathLike,
    real: UInt8[np.ndarray, "k r h w c"],
    synthetic: UInt8[np.ndarray, "k s h2 w2 c"],
    class_names: tuple[str, ...],
    title: str,
) -> None:
    """Write a PNG: one row for each class, its name, some real images and its synthetic images.

    real, synthetic: uint8, c = 1 (grey) or 3 (RGB); their sizes and numbers may differ. Of more than ten images of a
        class the first ten are shown, and the heading says so.
    class_names: k names.
    """
    figure = Figure(dpi=DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()

    names = [_text(axes, "\n".join(textwrap.wrap(n, NAME_WIDTH)), 9) for n in class_names]
    blocks = (real, synthetic)
    headings = [
        _text(axes, _heading("real images", real), 10, color="0.35"),
        _text(axes, _heading("synthetic images", synthetic), 10, color="0.35"),
    ]
    headline = _text(axes, title, 12, weight="bold")

    # Texts are measured first: the figure grows with them, so that none is cut.
    row = max(TILE, *(_size(name)[1] for name in names)) + GAP
    columns = [min(MOST, block.shape[1]) for block in blocks]
    tiles = [TILE * block.shape[3] / block.shape[2] for block in blocks]
    widths = [
        max(column * (tile + GAP) - GAP, _size(heading)[0])
        for column, tile, heading in zip(columns, tiles, headings, strict=True)
    ]
    left = MARGIN + max(_size(name)[0] for name in names) + 2 * MARGIN
    lefts = (left, left + widths[0] + BLOCK_GAP)
    width = max(lefts[1] + widths[1], MARGIN + _size(headline)[0]) + MARGIN
    top = 2 * MARGIN + _size(headline)[1] + MARGIN + _size(headings[0])[1] + MARGIN
    height = top + len(real) * row - GAP + MARGIN
    figure.set_size_inches(width, height)
    axes.set(xlim=(0, width), ylim=(height, 0))

    headline.set(position=(MARGIN, 1.5 * MARGIN), verticalalignment="top")
    for index, name in enumerate(names):
        middle = top + index * row + (row - GAP) / 2
        name.set(position=(left - MARGIN, middle), horizontalalignment="right")
    for block, heading, x, column, tile in zip(
        blocks, headings, lefts, columns, tiles, strict=True
    ):
        heading.set(position=(x, top - MARGIN / 2), verticalalignment="bottom")
        for i, images in enumerate(block):
            y = top + i * row + (row - GAP - TILE) / 2
            for j, image in enumerate(images[:column]):
                _tile(axes, image, x + j * (tile + GAP), y, tile)
    between = lefts[1] - BLOCK_GAP / 2
    axes.plot([between, between], [top, height - MARGIN], color="0.8", linewidth=1)
    # Without the writer's version the same images give the same bytes.
    figure.savefig(path, format="png", metadata={"Software": None})


def _heading(label: str, block: np.ndarray) -> str:
    """The label, and how many of a class are shown where that is not all."""
    count = block.shape[1]
    return label if count <= MOST else f"{label} ({MOST} of {count} per class)"


def _text(axes: Axes, text: str, points: int, **style) -> Text:
    """A text to be placed later; `$` and `_` in the name of a class are no formula."""
    return axes.text(0, 0, text, fontsize=points, va="center", parse_math=False, **style)


def _size(text: Text) -> tuple[float, float]:
    """Width and height of a text, in inches."""
    extent = text.get_window_extent()
    return extent.width / DPI, extent.height / DPI


def _tile(axes: Axes, image: np.ndarray, x: float, y: float, width: float) -> None:
    """Draw one image [h, w, c] with its upper left corner at (x, y)."""
    rgb = np.broadcast_to(image, (*image.shape[:2], 3))
    axes.imshow(rgb, extent=(x, x + width, y + TILE, y), interpolation="nearest", aspect="auto")


def strip(
    path: str | os.PathLike,
    snapshots: list[tuple[int, UInt8[np.ndarray, "k h w c"]]],
    class_names: tuple[str, ...],
) -> None:
    """Write a PNG: one row for each class, one column for each snapshot of it over training, in order.

    snapshots: (iteration, one uint8 image of each class). Of more than ten, ten spread evenly, the ends among them.
    """
    chosen = np.unique(np.linspace(0, len(snapshots) - 1, MOST).round().astype(int))
    shown = [snapshots[i] for i in chosen]
    figure = Figure(dpi=DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    names = [_text(axes, "\n".join(textwrap.wrap(n, NAME_WIDTH)), 9) for n in class_names]
    heads = [_text(axes, str(iteration), 9, color="0.35") for iteration, _ in shown]
    corner = _text(axes, "iteration", 9, color="0.35")
    row = max(TILE, *(_size(name)[1] for name in names)) + GAP
    column = max(TILE, *(_size(head)[0] for head in heads)) + GAP
    left = MARGIN + max(_size(text)[0] for text in (*names, corner)) + MARGIN
    top = 2 * MARGIN + _size(corner)[1]
    width, height = left + len(shown) * column + MARGIN, top + len(names) * row + MARGIN
    figure.set_size_inches(width, height)
    axes.set(xlim=(0, width), ylim=(height, 0))
    corner.set(position=(left - MARGIN, 1.5 * MARGIN), horizontalalignment="right")
    for index, name in enumerate(names):
        middle = top + index * row + TILE / 2
        name.set(position=(left - MARGIN, middle), horizontalalignment="right")
    for j, (head, (_, images)) in enumerate(zip(heads, shown, strict=True)):
        x = left + j * column
        head.set(position=(x + TILE / 2, 1.5 * MARGIN), horizontalalignment="center")
        for i, image in enumerate(images):
            _tile(axes, image, x, top + i * row, TILE)
    figure.savefig(path, format="png", metadata={"Software": None})
