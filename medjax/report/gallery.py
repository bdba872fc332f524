"""Images class by class: real beside synthetic ones, the first synthetic image over training, a contact sheet."""

import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from medjax.report import style

MOST = 10  # images shown of a class, in each block
# All lengths are in inches.
DPI = style.DPI
TILE, GAP, BLOCK_GAP, MARGIN = 0.6, 0.05, 0.35, 0.15
NAME_WIDTH = 26  # characters of a class name before it is broken


class Block(NamedTuple):
    """Some images of each class, uint8 [k][n, h, w, c], under a heading."""

    heading: str
    classes: Sequence[UInt8[np.ndarray, "n h w c"]]


def gallery(
    path: str | os.PathLike | None,
    real: UInt8[np.ndarray, "k r h w c"],
    synthetic: UInt8[np.ndarray, "k s h2 w2 c"],
    class_names: Sequence[str],
    title: str,
    made: str = "synthetic images",
) -> Figure:
    """Write a PNG: one row for each class, its name, some real images and its synthetic images; made: their heading.

    path: None writes nothing; a notebook shows the figure that is returned.
    real, synthetic: uint8, c = 1 (grey) or 3 (RGB); their sizes and numbers may differ. Of more than ten images of a
        class the first ten are shown, and the heading says so.
    class_names: k names.
    """
    blocks = []
    for heading, images in (("real images", real), (made, synthetic)):
        count = images.shape[1]
        more = f" ({MOST} of {count} per class)" if count > MOST else ""
        blocks.append(Block(heading + more, list(images[:, :MOST])))
    return _sheet(path, blocks, class_names, title, gap=BLOCK_GAP)


def strip(
    path: str | os.PathLike | None,
    snapshots: list[tuple[int, UInt8[np.ndarray, "k h w c"]]],
    class_names: Sequence[str],
) -> Figure:
    """Write a PNG: one row for each class, one column for each snapshot of it over training, in order.

    snapshots: (iteration, one uint8 image of each class). Of more than ten, ten spread evenly, the ends among them.
    """
    chosen = np.unique(np.linspace(0, len(snapshots) - 1, MOST).round().astype(int))
    blocks = [Block(str(snapshots[i][0]), list(snapshots[i][1][:, None])) for i in chosen]
    return _sheet(path, blocks, class_names, corner="iteration")


def contact_sheet(
    path: str | os.PathLike | None,
    rows: Sequence[UInt8[np.ndarray, "_n s s _c"]],
    class_names: Sequence[str],
    title: str,
) -> Figure:
    """Write a PNG: one row for each class, its name and its images (as many as given, grey or RGB)."""
    return _sheet(path, [Block("", rows)], class_names, title)


def pairs(
    path: str | os.PathLike | None,
    columns: Mapping[str, UInt8[np.ndarray, "m s s c"]],
    names: Sequence[str],
    title: str,
) -> Figure:
    """Write a PNG: one row for each of the first ten images, its name, and what stands beside it, by heading."""
    blocks = [Block(heading, list(images[:MOST, None])) for heading, images in columns.items()]
    return _sheet(path, blocks, names[:MOST], title, gap=BLOCK_GAP)


@style.styled()
def _sheet(
    path: str | os.PathLike | None,
    blocks: list[Block],
    class_names: Sequence[str],
    title: str = "",
    corner: str = "",
    gap: float = GAP,
) -> Figure:
    """Blocks of images side by side, ``gap`` between them, a row for each class. corner: heading of the names."""
    figure = style.canvas()
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    names = [_text(axes, "\n".join(textwrap.wrap(n, NAME_WIDTH))) for n in class_names]
    headings = (corner, *(b.heading for b in blocks))
    heads = [_text(axes, text, color=style.FAINT) for text in headings]
    headline = _text(axes, title, fontsize=style.TITLE + 1, weight="bold")

    # Texts are measured first: the figure grows with them, so that none is cut.
    row = max(TILE, *(_size(name)[1] for name in names)) + GAP
    left = 2 * MARGIN + max(_size(text)[0] for text in (heads[0], *names))
    tiles = [TILE * b.classes[0].shape[2] / b.classes[0].shape[1] for b in blocks]
    columns = [max(len(images) for images in b.classes) for b in blocks]
    spans = [
        max(count * (tile + GAP) - GAP, _size(head)[0])
        for count, tile, head in zip(columns, tiles, heads[1:], strict=True)
    ]
    lefts = [left + sum(spans[:i]) + i * gap for i in range(len(blocks))]
    width = max(lefts[-1] + spans[-1], MARGIN + _size(headline)[0]) + MARGIN
    under = MARGIN + (_size(headline)[1] + MARGIN) * bool(title)
    top = under + (max(_size(head)[1] for head in heads) + MARGIN) * any(headings)
    height = top + len(names) * row - GAP + MARGIN
    figure.set_size_inches(width, height)
    axes.set(xlim=(0, width), ylim=(height, 0))

    headline.set(position=(MARGIN, MARGIN), verticalalignment="top")
    for text, x in zip(heads, (left - MARGIN, *lefts), strict=True):
        text.set(position=(x, top - MARGIN / 2), verticalalignment="bottom")
    heads[0].set(horizontalalignment="right")
    for i, name in enumerate(names):
        middle = top + i * row + (row - GAP) / 2
        name.set(position=(left - MARGIN, middle), horizontalalignment="right")
        for block, x, tile in zip(blocks, lefts, tiles, strict=True):
            for j, image in enumerate(block.classes[i]):
                rgb, at = np.broadcast_to(image, (*image.shape[:2], 3)), x + j * (tile + GAP)
                extent = (at, at + tile, middle + TILE / 2, middle - TILE / 2)
                axes.imshow(rgb, extent=extent, interpolation="nearest", aspect="auto")
    if gap > GAP:
        for x in lefts[1:]:
            axes.plot([x - gap / 2] * 2, [top, height - MARGIN], color="0.8", linewidth=1)
    if path is not None:
        style.save(figure, path)
    return figure


def _text(axes: Axes, text: str, **look) -> Text:
    """A text to be placed later; `$` and `_` in the name of a class are no formula."""
    return axes.text(0, 0, text, va="center", parse_math=False, **look)


def _size(text: Text) -> tuple[float, float]:
    """Width and height of a text, in inches."""
    extent = text.get_window_extent()
    return extent.width / DPI, extent.height / DPI
