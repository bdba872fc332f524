"""A contact sheet: some images of each class, to be looked at before anything is trained on them."""

import os

import numpy as np
from jaxtyping import UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

#: Inches: a row, the names' column, and what an image takes of its row.
ROW, NAMES = 0.7, 2.4


def contact_sheet(
    path: str | os.PathLike,
    rows: list[UInt8[np.ndarray, "n s s c"]],
    class_names: tuple[str, ...],
    title: str,
) -> None:
    """Write a PNG: one row for each class, its name and its images (as many as given, grey or RGB)."""
    most = max(len(images) for images in rows)
    width, height = NAMES + ROW * most, ROW * (len(rows) + 1)
    figure = Figure(figsize=(width, height), dpi=150)
    FigureCanvasAgg(figure)
    figure.text(0.1 / width, 1 - 0.25 / height, title, fontsize=10, va="center", parse_math=False)
    for index, (images, name) in enumerate(zip(rows, class_names, strict=True)):
        bottom = 1 - (index + 1.85) * ROW / height
        short = name if len(name) < 36 else name[:34] + "…"
        middle = bottom + ROW / 2 / height
        figure.text(0.1 / width, middle, short, fontsize=8, va="center", parse_math=False)
        for place, image in enumerate(images):
            box = ((NAMES + place * ROW) / width, bottom, 0.94 * ROW / width, 0.94 * ROW / height)
            axes = figure.add_axes(box)
            axes.imshow(np.broadcast_to(image, (*image.shape[:2], 3)), interpolation="nearest")
            axes.set_axis_off()
    figure.savefig(path, format="png", metadata={"Software": None})
