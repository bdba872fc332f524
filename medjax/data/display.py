"""Stored values of a DICOM data set -> what a display shows: modality transform, then window or table (PS3.3 C.11)."""

from typing import Any, NamedTuple

import numpy as np


class Window(NamedTuple):
    """DICOM's linear window in modality units (Hounsfield for CT). Width 0 means the window of the file."""

    center: float = 0.0
    width: float = 0.0


class View(NamedTuple):
    """How values are shown.

    kind: "given window", "its own window", "its own table", or "" where there is none. odd: what is wrong with the
    file's own.
    """

    kind: str = ""
    window: Window = Window()
    function: str = "LINEAR"
    table: Any = None
    odd: str = ""


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


def view(where: Any, given: Window) -> View:
    """The given window, else the first table or window of a data set, else nothing."""
    if given.width:
        return View("given window", given)
    if tables := where.get("VOILUTSequence"):
        return View("its own table", table=tables[0])
    found = [where.get(name) for name in ("WindowCenter", "WindowWidth")]
    if all(value is None or value == "" for value in found):
        return View()
    center, width = map(_number, found)
    function = str(where.get("VOILUTFunction") or "LINEAR").upper()
    if (
        center is None
        or width is None
        or width < {"LINEAR": 1, "LINEAR_EXACT": 1e-30, "SIGMOID": 1e-30}.get(function, np.inf)
    ):
        return View(odd=f", its window cannot be used ({function} {found[0]}, {found[1]})")
    return View("its own window", Window(center, width), function)


def shown(values: np.ndarray, view: View) -> np.ndarray:
    """Modality units through a window or a table, 0..255. Raises the errors of a table that cannot be used."""
    from pydicom import DataElement, Dataset
    from pydicom.pixels.processing import apply_windowing

    if view.table is not None:
        grey, top = _table(values, view.table)
        return grey * (255 / top)
    # pydicom gives its result in the range of the stored bits: of 8 bits, 0..255.
    data: Any = Dataset()
    data.BitsStored, data.PixelRepresentation = 8, 0
    data.PhotometricInterpretation, data.VOILUTFunction = "MONOCHROME2", view.function
    data.add(DataElement("WindowCenter", "FD", float(view.window.center)))
    data.add(DataElement("WindowWidth", "FD", float(view.window.width)))
    with np.errstate(over="ignore"):
        return apply_windowing(values, data)


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
    if first >= 2**15 and values.min() < 0:  # a negative value, written as unsigned
        first -= 2**16
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
