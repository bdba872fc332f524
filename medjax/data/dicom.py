"""One DICOM file -> its pixels as a display would show them: modality transform, window or table, inversion (PS3.3
C.11). pydicom (extra ``dicom``) reads the file; gdcm, of the same extra, decodes compressed pixels."""

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medjax.data.planes import Planes, Unreadable
from medjax.errors import UserError, one_line

EXTRA = "pip install 'medjax[dicom]'"
#: The first bytes of a data set without preamble: a short element of group 2 or 8, little endian, with its type.
GROUPS, TYPES = (b"\x02\x00", b"\x08\x00"), (b"UL", b"OB", b"CS", b"UI", b"DA", b"TM", b"SH", b"LO")
#: JPEG Extended; pydicom leaves it to no decoder where samples have 12 bits.
JPEG_12_BIT = "1.2.840.10008.1.2.4.51"


class Window(NamedTuple):
    """DICOM's linear window in modality units (Hounsfield for CT). Width 0 means the window of the file."""

    center: float = 0.0
    width: float = 0.0


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = _parse(path, pydicom)
            return _planes(path, data, window, megapixels)
        except (Unreadable, UserError):
            raise
        except Exception as error:  # pydicom raises many types
            raise Unreadable(one_line(error)[:200]) from error


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
        raise Unreadable(too_large(data.Columns, data.Rows, megapixels))
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
    black = _padding(raw, data)
    if black is not None:
        more += ", padding shown black"
    values, limits, bits = _modality(raw, data, frame)
    inverted = photometric == "MONOCHROME1" or data.get("PresentationLUTShape") == "INVERSE"
    grey, kind, odd = _shown(values, _group(data, frame, "FrameVOILUTSequence"), window)
    if grey is None and bits <= 8:
        low, high = limits
        grey, kind = (values - low) * (255 / (high - low)), f"{bits} bits as stored"
    if grey is None:
        kind = "full range of the set"
        raw = values.astype(np.float32)
        return Planes(raw, f"DICOM, {kind}", "DICOM", more + odd, "DICOM", inverted, black)
    grey = np.rint(255 - grey if inverted else grey).astype(np.uint8)
    return Planes(grey, f"DICOM, {kind}", "DICOM", more + odd, black=black)


def too_large(width: int, height: int, megapixels: float) -> str:
    """Why an image is refused before it is decoded."""
    return (
        f"{width} x {height} px, more than --max_megapixels={megapixels:g} allows (a small file may fill the memory):"
        " raise it if the file can be trusted"
    )


def _decode(path: Path, data: Any, frame: int) -> np.ndarray:
    """The stored values of a frame, [h, w] or [h, w, 3]; YBR becomes RGB."""
    from pydicom.pixels import get_decoder
    from pydicom.pixels.utils import pixel_array

    syntax: Any = data.file_meta.TransferSyntaxUID
    try:
        decoder: Any = get_decoder(syntax)
    except NotImplementedError:
        raise Unreadable(f"DICOM compressed as {syntax.name}; save it uncompressed") from None
    deep_jpeg = syntax == JPEG_12_BIT and data.BitsStored > 8
    if decoder.is_available and not deep_jpeg:
        return pixel_array(data, index=frame)
    if decoder.is_available or any("gdcm" in needed for needed in decoder.missing_dependencies):
        try:
            import gdcm  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            message = f"{path} is DICOM compressed as {syntax.name}, which needs gdcm: {EXTRA}"
            raise UserError(message) from error
        if deep_jpeg:
            return _by_gdcm(gdcm, path, data)[frame]
    raise Unreadable(f"DICOM compressed as {syntax.name}; save it uncompressed")


def _by_gdcm(gdcm: Any, path: Path, data: Any) -> np.ndarray:
    """All frames, [n, h, w], of a file that pydicom passes to no decoder."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    if not reader.Read():
        raise Unreadable("gdcm cannot decode it")
    kind = "i2" if data.PixelRepresentation else "u2"
    content = reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape")
    return np.frombuffer(content, kind).reshape(-1, data.Rows, data.Columns)


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


def _group(data: Any, frame: int, name: str) -> Any:
    """Where a frame's attributes are: in its functional group, in the group of all frames, or in the data set."""
    places = (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0))
    for groups, index in places:
        items = data.get(groups) or ()
        if index < len(items) and (found := items[index].get(name)):
            return found[0]
    return data


def _padding(raw: np.ndarray, data: Any) -> np.ndarray | None:
    """Where pixels hold PixelPaddingValue, or lie between it and PixelPaddingRangeLimit; None where none does."""
    ends = [data.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    ends = [int(end) for end in ends if isinstance(end, int)]
    if not ends or data.get("PixelPaddingValue") is None:
        return None
    # Many files write a negative value as unsigned, or the reverse.
    whole, half = 2**data.BitsAllocated, 2 ** (data.BitsAllocated - 1)
    ends = [(v + half) % whole - half if data.PixelRepresentation else v % whole for v in ends]
    black = (raw >= min(ends)) & (raw <= max(ends))
    return black if black.any() else None


def _modality(raw: np.ndarray, data: Any, frame: int) -> tuple[np.ndarray, list[float], int]:
    """Modality units (Hounsfield for CT), the range that they may have, and the bits that they have."""
    where = _group(data, frame, "PixelValueTransformationSequence")
    if tables := where.get("ModalityLUTSequence"):
        values, top = _table(raw, tables[0])
        return values, [0, top], top.bit_length()
    slope = _number(where.get("RescaleSlope")) or 1.0
    intercept = _number(where.get("RescaleIntercept")) or 0.0
    bits = int(data.BitsStored)
    low = -(2 ** (bits - 1)) if data.PixelRepresentation else 0
    limits = sorted(v * slope + intercept for v in (low, low + 2**bits - 1))
    return raw * slope + intercept, limits, bits


def _shown(values: np.ndarray, where: Any, window: Window) -> tuple[np.ndarray | None, str, str]:
    """Values 0..255 through the given window, else the file's first table or window; (None, ...) without one. Then
    the kind, and what is wrong with the file's own."""
    from pydicom import DataElement, Dataset
    from pydicom.pixels.processing import apply_windowing

    function = "LINEAR"
    if not window.width:
        try:
            if tables := where.get("VOILUTSequence"):
                shown, top = _table(values, tables[0])
                return shown * (255 / top), "its own table", ""
        except (AttributeError, KeyError, TypeError, ValueError):
            return None, "", ", its table cannot be used"
        given = [where.get(name) for name in ("WindowCenter", "WindowWidth")]
        if all(value is None or value == "" for value in given):
            return None, "", ""
        center, width = map(_number, given)
        function = str(where.get("VOILUTFunction") or "LINEAR").upper()
        least = 1 if function == "LINEAR" else 1e-30
        known = function in ("LINEAR", "LINEAR_EXACT", "SIGMOID")
        if center is None or width is None or width < least or not known:
            return None, "", f", its window cannot be used ({function} {given[0]}, {given[1]})"
        window = Window(center, width)
        kind = "its own window"
    else:
        kind = "given window"
    # pydicom gives its result in the range of 8 stored bits: 0..255.
    view: Any = Dataset()
    view.BitsStored, view.PixelRepresentation = 8, 0
    view.PhotometricInterpretation, view.VOILUTFunction = "MONOCHROME2", function
    view.add(DataElement("WindowCenter", "FD", float(window.center)))
    view.add(DataElement("WindowWidth", "FD", float(window.width)))
    with np.errstate(over="ignore"):
        return apply_windowing(values, view), kind, ""


def _table(values: np.ndarray, item: Any) -> tuple[np.ndarray, int]:
    """Values through a lookup table (PS3.3 C.11.1.1, C.11.2.1.1), and the largest value that it can give.

    Not pydicom's `apply_voi`: in 3.0.2 the index into a table with entries of 8 bits wraps at 256.
    """
    count, first, bits = (int(v) for v in item.LUTDescriptor)
    table = item.LUTData
    if isinstance(table, bytes):  # entries of 8 bits may lie in one byte each
        order = "<>"[item.original_encoding[1] is False]
        table = np.frombuffer(table, "u1" if len(table) < 2 * (count or 2**16) else f"{order}u2")
    table = np.atleast_1d(np.asarray(table, np.int64))[: count or 2**16]
    if bits not in range(1, 17) or not table.size or table.min() < 0:
        raise ValueError(f"a lookup table of {table.size} entries of {bits} bits")
    index = (np.rint(values) - first).clip(0, len(table) - 1).astype(np.int64)
    return table[index].astype(np.float64), max(2**bits - 1, int(table.max()))


def _number(value: Any) -> float | None:
    """A DICOM number, or the first of several; None where there is no finite number."""
    try:
        number = float(
            value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value
        )
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) else None
