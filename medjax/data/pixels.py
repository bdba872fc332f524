"""One image file -> square grey or RGB intensities of one size."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image

from medjax.data import dicom, raster
from medjax.data.display import Window
from medjax.data.planes import Planes, Unreadable

SUFFIXES = (*raster.SUFFIXES, ".dcm")
OWN = Window()  # that of the file
#: Millions of pixels that an image may have by default; the limit of Pillow.
MEGAPIXELS = 89.0
#: Most values kept of a file, by which the range of a set is found.
RANKS = 1024


class Picture(NamedTuple):
    """An image, made square and resized.

    values: float32 [s, s, c]; 0..255, or raw values, whose range the whole set decides. deep: what raw values are
    ("16-bit", "signed 16-bit", "DICOM"), else "". inverted: whether high raw values are dark. black: the share of each
    pixel that is black whatever the range [s, s, 1], or None. ranks: sorted raw values of the file, evenly by rank.
    kind: the kind of pixels in the file ("grey", "RGB", "16-bit", "DICOM, its own window", ...) and what else is said
    of it. origin: its format and kind alone. window: DICOM's own, if it is shown through it, else "". shape: (height,
    width) in the file. digest: a hash of the pixels before they were cut; two files with equal pixels have equal
    digests.
    """

    values: Float[np.ndarray, "s s c"]
    deep: str
    inverted: bool
    black: Float[np.ndarray, "s s 1"] | None
    ranks: Float[np.ndarray, " r"]
    kind: str
    origin: str
    window: str
    shape: tuple[int, int]
    digest: bytes


def is_image(path: Path) -> bool:
    """Whether `read` can read a file, by its suffix; DICOM also by its first bytes, because it often has no suffix."""
    return path.suffix.lower() in SUFFIXES or _is_dicom(path)


def _is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its first bytes or its suffix."""
    try:
        with path.open("rb") as file:
            return dicom.is_dicom(file.read(132)) or path.suffix.lower() == ".dcm"
    except OSError:
        return path.suffix.lower() == ".dcm"


def read(
    path: Path, side: int, window: Window = OWN, fit: str = "crop", megapixels: float = MEGAPIXELS
) -> Picture:
    """A file's image as a square, resized (bicubic, antialiased). fit: see `square`.

    Raises Unreadable; UserError for DICOM where a package of the extra is not installed.
    """
    if _is_dicom(path):
        planes = dicom.read_dicom(path, window, megapixels)
    else:
        planes = raster.read_raster(path, megapixels)
    raw, kind, black = planes.values, planes.kind, planes.black
    digest = _digest(planes)
    inside = raw if black is None else raw[~black]
    if not inside.size:
        raise Unreadable("nothing but padding")
    low, high = (float(inside.min()), float(inside.max())) if planes.deep else (0.0, 255.0)
    ranks = _ranks(inside) if planes.deep else np.empty(0, np.float32)
    dark = high if planes.inverted else low
    if black is not None:
        raw = np.where(black, raw.dtype.type(dark), raw)
    if raw.ndim == 3 and (raw == raw[..., :1]).all():
        raw, kind = raw[..., 0], f"{kind}, all channels equal"
    h, w = raw.shape[:2]
    values = np.stack(
        [square(p, side, fit, dark) for p in np.atleast_3d(raw).transpose(2, 0, 1)], -1
    )
    hidden = None
    if planes.deep and (black is not None or (fit == "pad" and h != w)):
        black = np.zeros((h, w)) if black is None else black
        hidden = square(black, side, fit, 1.0).clip(0, 1)[..., None]
    # Resizing overshoots at edges: without the limit, 12-bit images would look like 14-bit ones.
    values = values.clip(low, high)
    return Picture(
        values=values,
        deep=planes.deep,
        inverted=planes.inverted,
        black=hidden,
        ranks=ranks,
        kind=kind + planes.more,
        origin=f"{planes.file}, {kind.removeprefix('DICOM, ')}",
        window=planes.window,
        shape=(h, w),
        digest=digest,
    )


def square(plane: np.ndarray, side: int, fit: str = "crop", fill: float = 0.0) -> np.ndarray:
    """One channel as a square, resized. fit: "crop" takes its centre square, "pad" adds ``fill`` at its short sides."""
    h, w = plane.shape
    edge = max(h, w) if fit == "pad" else min(h, w)
    if fit == "pad":
        whole = np.full((edge, edge), fill, np.float32)
        whole[(edge - h) // 2 :, (edge - w) // 2 :][:h, :w] = plane
    else:
        top, left = (h - edge) // 2, (w - edge) // 2
        whole = plane[top : top + edge, left : left + edge].astype(np.float32)
    return np.asarray(Image.fromarray(whole).resize((side, side), Image.Resampling.BICUBIC))


def _digest(planes: Planes) -> bytes:
    raw = planes.values
    digest = hashlib.sha256(f"{raw.shape}{raw.dtype.str}{'-' * planes.inverted}".encode())
    digest.update(raw.tobytes())
    if planes.black is not None:
        digest.update(planes.black.tobytes())
    return digest.digest()


def _ranks(values: np.ndarray) -> Float[np.ndarray, " r"]:
    """The values sorted; of many, some at even distances, the smallest and the largest among them."""
    ordered = np.sort(values, axis=None)
    if ordered.size > RANKS:
        ordered = ordered[np.linspace(0, ordered.size - 1, RANKS).astype(int)]
    return ordered.astype(np.float32)
