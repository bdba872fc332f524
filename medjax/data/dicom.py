"""One DICOM file -> its pixels as a display would show them. pydicom (extra ``dicom``) reads the file; gdcm, of the
same extra, decodes compressed pixels."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from medjax.data import decoder, display
from medjax.data.display import Window
from medjax.data.planes import Planes, Unreadable
from medjax.errors import UserError, reason_of

EXTRA = "pip install 'medjax[dicom]'"
#: The first bytes of a data set without preamble: a short element of group 2 or 8, little endian, with its type.
GROUPS, TYPES = (b"\x02\x00", b"\x08\x00"), (b"UL", b"OB", b"CS", b"UI", b"DA", b"TM", b"SH", b"LO")


def is_dicom(head: bytes) -> bool:
    """Whether a file begins as DICOM does, with or without its preamble of 128 bytes."""
    return head[128:132] == b"DICM" or (head[:2] in GROUPS and head[4:6] in TYPES)


def read_dicom(path: Path, window: Window, megapixels: float) -> Planes:
    """The middle frame of a file, in grey or RGB.

    Raises Unreadable; UserError where a package of the extra is missing.
    """
    try:
        import pydicom
    except ImportError as error:
        raise UserError(f"{path} is DICOM, which needs pydicom: {EXTRA}") from error
    # medjax reports files that cannot be read; pydicom's own log, which its import sets up, would repeat it.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = _parse(path, pydicom)
            return _planes(path, data, window, megapixels)
        except (Unreadable, UserError):
            raise
        except Exception as error:  # pydicom raises many types
            raise Unreadable(reason_of(error)[:200]) from error


def patient_of(path: Path) -> str | None:
    """The PatientID of a file; None where it is no DICOM file, has none, or cannot be read."""
    try:
        with open(path, "rb") as file:
            if not is_dicom(file.read(132)):
                return None
        import pydicom

        logging.getLogger("pydicom").setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            words = {"stop_before_pixels": True, "force": True, "specific_tags": ["PatientID"]}
            return str(pydicom.dcmread(path, **words).get("PatientID") or "").strip() or None
    except (
        Exception
    ):  # pydicom raises many types; that such a file cannot be read is said when it is read
        return None


def _parse(path: Path, pydicom: Any) -> Any:
    """The data set, which must have pixels of at most 16 bits."""
    try:
        data = pydicom.dcmread(path)
    except pydicom.errors.InvalidDicomError:  # no preamble
        data = pydicom.dcmread(path, force=True)
        if not {"SOPClassUID", "Rows", "Columns"} & set(data.dir()):
            raise Unreadable("not DICOM, or damaged at its beginning") from None
        implicit, little = data.original_encoding
        kinds = pydicom.uid
        plain = kinds.ImplicitVRLittleEndian if implicit else kinds.ExplicitVRLittleEndian
        syntax = plain if little else kinds.ExplicitVRBigEndian
        data.file_meta.TransferSyntaxUID = data.file_meta.get("TransferSyntaxUID", syntax)
    if "FloatPixelData" in data or "DoubleFloatPixelData" in data:
        raise Unreadable("DICOM with floating-point pixels; save it with 16 bits")
    if "PixelData" not in data:
        kind = data.get("SOPClassUID") or data.file_meta.get("MediaStorageSOPClassUID")
        raise Unreadable(f"DICOM without pixel data ({kind.name if kind else 'of no stated kind'})")
    if data.BitsAllocated > 16:
        raise Unreadable(f"DICOM with {data.BitsAllocated} bits a pixel; save it with 16")
    return data


def _planes(path: Path, data: Any, window: Window, megapixels: float) -> Planes:
    if data.Rows * data.Columns > megapixels * 1e6:
        raise Unreadable(
            f"image of {data.Columns} x {data.Rows} pixels: raise --max_megapixels={megapixels:g} if the file can be"
            " trusted"
        )
    frames = int(data.get("NumberOfFrames") or 1)
    frame = max(frames, 1) // 2
    raw = _decode(path, data, frame)
    more = f", middle of {frames} frames" if frames > 1 else ""
    if str(data.get("BurnedInAnnotation", "")).upper() == "YES":
        more += ", TEXT BURNED IN (check whether it names patients)"
    if (0x6000, 0x3000) in data:
        more += ", overlay left out"
    photometric = data.PhotometricInterpretation
    if raw.ndim == 3 or photometric == "PALETTE COLOR":
        return Planes(_colour(raw, data), "DICOM, RGB", "DICOM", more)
    black = display.padding(raw, data)
    if black is not None:
        more += ", padding shown black"
    values, limits, bits = display.modality(raw, data, frame)
    inverted = photometric == "MONOCHROME1" or data.get("PresentationLUTShape") == "INVERSE"
    turned = ", inverted" if inverted else ""
    view = display.view(display.group(data, frame, "FrameVOILUTSequence"), window)
    grey, kind, more = None, view.kind, more + view.odd
    if kind:
        try:
            grey = display.shown(values, view)
        except (AttributeError, KeyError, TypeError, ValueError):
            more += f", {kind} cannot be used"
    if grey is None and bits <= 8:
        low, high = limits
        grey, kind = (values - low) * (255 / (high - low)), f"{bits} bits as stored"
    if grey is None:
        kind, raw = f"full range of the set{turned}", values.astype(np.float32)
        return Planes(raw, f"DICOM, {kind}", "DICOM", more, "DICOM", inverted, black)
    grey = np.rint(255 - grey if inverted else grey).astype(np.uint8)
    own = "{:g}, {:g}".format(*view.window) if kind == "its own window" else ""
    return Planes(grey, f"DICOM, {kind}{turned}", "DICOM", more, black=black, window=own)


def _decode(path: Path, data: Any, frame: int) -> np.ndarray:
    """The stored values of a frame, [h, w] or [h, w, 3]; YBR becomes RGB."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.utils import pixel_array

    syntax: Any = data.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or syntax.is_deflated:
        return pixel_array(data, index=frame)
    name = f"DICOM compressed as {syntax.name}"
    try:
        codec: Any = get_decoder(syntax)
    except NotImplementedError:
        raise Unreadable(f"{name}; save it uncompressed") from None
    deep_jpeg = str(syntax) == decoder.JPEG_EXTENDED and data.BitsStored > 8
    if deep_jpeg or not codec.is_available:
        if not any(
            "gdcm" in plugin for plugin in (*codec.available_plugins, *codec.missing_dependencies)
        ):
            raise Unreadable(f"{name}; save it uncompressed")
        if "gdcm" not in codec.available_plugins:
            raise UserError(f"{path} is {name}, which needs gdcm: {EXTRA}")
    return decoder.decode(path, str(syntax), frame)


def _colour(raw: np.ndarray, data: Any) -> np.ndarray:
    """uint8 [h, w, 3]."""
    from pydicom.pixels.processing import apply_color_lut

    bits = int(data.BitsStored)
    if (kind := data.PhotometricInterpretation) == "PALETTE COLOR":
        raw = apply_color_lut(raw, data)[..., :3]
        bits = 8 * raw.dtype.itemsize
    elif kind not in ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"):
        raise Unreadable(f"DICOM with colours as {kind}; save it as RGB")
    return np.rint(raw * (255.0 / (2**bits - 1))).clip(0, 255).astype(np.uint8)
