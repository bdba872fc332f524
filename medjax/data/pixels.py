"""One image file -> square grey or RGB intensities of one size. PNG, JPEG, TIFF, BMP by Pillow; DICOM by the extra."""

import hashlib
import logging
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageOps

from medjax.errors import UserError, one_line

# medjax reports files that cannot be read; Pillow's own log would repeat it.
logging.getLogger("PIL").setLevel(logging.CRITICAL)

PILLOW = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
SUFFIXES = (*PILLOW, ".dcm")


class Unreadable(Exception):
    """The file is not an image, or not one that medjax can use; the message is one line."""


class Window(NamedTuple):
    """DICOM's linear window in modality units (Hounsfield for CT). Width 0 means the window of the file, or the full
    range where it has none."""

    center: float = 0.0
    width: float = 0.0


OWN = Window()  # that of the file


class Picture(NamedTuple):
    """An image, cropped and resized.

    values: float32 [s, s, c]; 0..255, or raw 16-bit values. deep: whether they are 16-bit. kind: the kind of pixels in
    the file ("grey", "RGB", "RGBA", "palette", "16-bit", "DICOM", ...). shape: (height, width) in the file. digest: a
    hash of the pixels before cropping; two files with equal pixels have equal digests.
    """

    values: Float[np.ndarray, "s s c"]
    deep: bool
    kind: str
    shape: tuple[int, int]
    digest: bytes


def is_image(path: Path) -> bool:
    """Whether `read` can read a file, by its suffix; DICOM also by its first bytes, because it often has no suffix."""
    return path.suffix.lower() in SUFFIXES or _is_dicom(path)


def _is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its suffix, or by its first bytes where its suffix is not that of another format."""
    if (suffix := path.suffix.lower()) in SUFFIXES:
        return suffix == ".dcm"
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read(path: Path, side: int, window: Window = OWN) -> Picture:
    """The centre square of a file's image, resized (bicubic, antialiased).

    Raises Unreadable; UserError for DICOM where pydicom is not installed.
    """
    if _is_dicom(path):
        planes, kind = _dicom(path, window)
    else:
        planes, kind = _pillow(path)
    digest = hashlib.sha256(f"{planes.shape}{planes.dtype.str}".encode() + planes.tobytes())
    deep = planes.dtype == np.uint16
    if planes.ndim == 3 and (planes == planes[..., :1]).all():
        planes, kind = planes[..., 0], f"{kind}, all channels equal"
    values = np.stack([square(p, side) for p in np.atleast_3d(planes).transpose(2, 0, 1)], -1)
    # Resizing overshoots at edges: without the limit, 12-bit images would look like 14-bit ones.
    top = int(planes.max()) if deep else 255
    shape = (int(planes.shape[0]), int(planes.shape[1]))
    return Picture(values.clip(0, top), deep, kind, shape, digest.digest())


def square(plane: np.ndarray, side: int) -> np.ndarray:
    """The centre square of one channel, resized."""
    h, w = plane.shape
    edge = min(h, w)
    top, left = (h - edge) // 2, (w - edge) // 2
    cut = Image.fromarray(plane[top : top + edge, left : left + edge].astype(np.float32))
    return np.asarray(cut.resize((side, side), Image.Resampling.BICUBIC))


def _pillow(path: Path) -> tuple[np.ndarray, str]:
    """uint8 [h, w] or [h, w, 3], or uint16 [h, w]; and the kind of pixels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about unusual metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                frames = getattr(file, "n_frames", 1)
                image = ImageOps.exif_transpose(file)
                image.load()
    except Exception as error:  # Pillow's decoders raise many types
        raise Unreadable(one_line(error)) from error
    mode, more = image.mode, f", first of {frames} frames" if frames > 1 else ""
    if mode.startswith("I"):
        deep = np.asarray(image)
        if deep.min() < 0 or deep.max() > 65535:
            raise Unreadable(f"values {deep.min()}..{deep.max()}, more than 16 bits")
        return deep.astype(np.uint16), "16-bit" + more
    if mode == "F":
        raise Unreadable("floating-point pixels; save it with 8 or 16 bits")
    if mode in ("1", "L"):
        return np.asarray(image.convert("L")), "grey" + more
    if "A" in mode or "transparency" in image.info:
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        kind = {"LA": "grey with alpha", "P": "palette with alpha"}.get(mode, "RGBA")
        shown = Image.alpha_composite(black, rgba).convert("RGB")
        return np.asarray(shown), kind + ", on black" + more
    kind = {"P": "palette"}.get(mode, mode)
    return np.asarray(image.convert("RGB")), kind + more


def _dicom(path: Path, window: Window) -> tuple[np.ndarray, str]:
    """The same of a DICOM file: its window applied to modality units; of several frames, the middle one."""
    try:
        import pydicom
        from pydicom.pixels.processing import apply_color_lut
        from pydicom.pixels.utils import pixel_array
    except ImportError as error:
        raise UserError(
            f"{path} is DICOM, which needs pydicom: pip install 'medjax[dicom]'"
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data: Any = pydicom.dcmread(path)
            raw = pixel_array(data)  # converts YBR to RGB
            if data.get("PhotometricInterpretation") == "PALETTE COLOR":
                raw = apply_color_lut(raw, data)
                data.SamplesPerPixel, data.BitsStored = 3, 8 * raw.dtype.itemsize
    except Exception as error:  # pydicom raises many types
        raise Unreadable(one_line(error)[:200]) from error
    colour = int(data.get("SamplesPerPixel", 1)) == 3
    more = ""
    if raw.ndim == 4 or (raw.ndim == 3 and not colour):
        more = f", middle of {len(raw)} frames" if len(raw) > 1 else ""
        raw = raw[len(raw) // 2]
    if str(data.get("BurnedInAnnotation", "")).upper() == "YES":
        more += ", TEXT BURNED IN (check whether it names patients)"
    if colour:
        scale = 255.0 / (2 ** int(data.get("BitsStored", 8)) - 1)
        return np.rint(raw * scale).astype(np.uint8), "DICOM, RGB" + more
    values = raw.astype(np.float64) * float(data.get("RescaleSlope", 1) or 1)
    values += float(data.get("RescaleIntercept", 0) or 0)
    center, width = window
    kind = "DICOM, given window"
    if not width:
        center, width = (_first(data.get(name)) for name in ("WindowCenter", "WindowWidth"))
        kind = "DICOM, its own window"
    if width is None or center is None or width <= 1:
        low, high = values.min(), values.max()
        grey, kind = (values - low) / max(high - low, 1e-9), "DICOM, full range"
    else:  # PS3.3 C.11.2.1.2.1
        grey = ((values - (center - 0.5)) / (width - 1) + 0.5).clip(0, 1)
    if data.get("PhotometricInterpretation") == "MONOCHROME1":  # high values mean dark
        grey = 1 - grey
    return np.rint(grey * 255).astype(np.uint8), kind + more


def _first(value: Any) -> float | None:
    """A DICOM number, or the first of several; None where there is no number."""
    try:
        return float(value[0] if hasattr(value, "__len__") else value)
    except (TypeError, ValueError, IndexError):
        return None
