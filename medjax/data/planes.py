"""What a decoder of files gives: the pixels of one image, and what is known of them."""

from typing import NamedTuple

import numpy as np

#: Largest values that 16-bit pixels are assumed to have.
DEPTHS = (255, 1023, 4095, 16383, 65535)


class Unreadable(Exception):
    """The file is not an image, or not one that medjax can use; the message is one line."""


class Planes(NamedTuple):
    """The pixels of a file, before they are cut and resized.

    values: [h, w] or [h, w, c]; uint8, ready to be shown, or raw values. kind: the kind of pixels ("grey", "16-bit",
    "DICOM, its own window"). file: the format ("PNG"). more: what else is to be said of the file. deep: what raw values
    are ("16-bit", "signed 16-bit", "DICOM"); "" where values are ready. inverted: whether high raw values are dark.
    black: the pixels [h, w] that are no part of the picture (DICOM's padding), shown as black. window: DICOM's own.
    """

    values: np.ndarray
    kind: str
    file: str
    more: str = ""
    deep: str = ""
    inverted: bool = False
    black: np.ndarray | None = None
    window: str = ""
