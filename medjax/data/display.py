"""Stored values of a DICOM data set -> what a display shows: modality transform, then window or table (PS3.3 C.11)."""

from typing import Any, NamedTuple

import numpy as np


class Window(NamedTuple):
    """DICOM's linear window in modality units (Hounsfield for CT). Width 0 means the window of the file."""

    center: float = 0.0
    width: float = 0.0


def group(data: Any, frame: int, name: str) -> Any:
    """Where a frame's attributes are: in its functional group, in the group of all frames, or in the data set."""
    places = (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0))
    for groups, index in places:
        items = data.get(groups) or ()
        if index < len(items) and (found := items[index].get(name)):
            return found[0]
    return data


def padding(raw: np.ndarray, data: Any) -> np.ndarray | None:
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


def modality(raw: np.ndarray, data: Any, frame: int) -> tuple[np.ndarray, list[float], int]:
    """Modality units (Hounsfield for CT), the range that they may have, and the bits that they have."""
    where = group(data, frame, "PixelValueTransformationSequence")
    if tables := where.get("ModalityLUTSequence"):
        values, top = _table(raw, tables[0])
        return values, [0, top], top.bit_length()
    slope = _number(where.get("RescaleSlope")) or 1.0
    intercept = _number(where.get("RescaleIntercept")) or 0.0
    bits = int(data.BitsStored)
    low = -(2 ** (bits - 1)) if data.PixelRepresentation else 0
    limits = sorted(v * slope + intercept for v in (low, low + 2**bits - 1))
    return raw * slope + intercept, limits, bits


def shown(values: np.ndarray, where: Any, window: Window) -> tuple[np.ndarray | None, str, str]:
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
