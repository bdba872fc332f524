"""Image files made up: of the common formats, DICOM with every attribute of the display, TIFF and PNG of every layout.

Each maker gives (name, content) from a generator.
"""

import functools
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pictures
import pydicom
from PIL import Image

Maker = Callable[[np.random.Generator], tuple[str, bytes]]
#: Attributes of the display, of which a file has some.
ATTRIBUTES: tuple[dict, ...] = (
    {"WindowCenter": 900, "WindowWidth": 300},
    {"WindowCenter": [40, 50], "WindowWidth": [0, 80]},
    {"VOILUTFunction": "SIGMOID"},
    {"VOILUTFunction": "LINEAR_EXACT"},
    {"RescaleSlope": 2, "RescaleIntercept": -1024},
    {"RescaleSlope": -0.5, "RescaleIntercept": 1e30},
    {"PhotometricInterpretation": "MONOCHROME1"},
    {"PresentationLUTShape": "INVERSE"},
    {"PixelPaddingValue": 5},
    {"PixelPaddingValue": 5, "PixelPaddingRangeLimit": 900},
    {"BitsStored": 12, "HighBit": 11},
    {"NumberOfFrames": 1},
    {"BurnedInAnnotation": "YES"},
)


def common(suffix: str, rng: np.random.Generator) -> tuple[str, bytes]:
    out = io.BytesIO()
    pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    kind = {"jpg": "jpeg", "tif": "tiff", "jp2": "jpeg2000"}.get(suffix, suffix)
    Image.fromarray(pixels).save(out, kind)
    return f"odd.{suffix}", out.getvalue()


@functools.cache
def compressed(kind: str, syntax: str) -> bytes:
    """A file whose pixels gdcm compressed."""
    stored = np.random.default_rng(0).integers(0, 100, (16, 16)).astype(kind)
    with tempfile.TemporaryDirectory() as folder:
        return pictures.compress(pictures.dicom(Path(folder) / "a", stored), syntax).read_bytes()


def dicom(rng: np.random.Generator) -> tuple[str, bytes]:
    """Some attributes, tables, functional groups; compressed now and then."""
    kind = str(rng.choice(["u1", "u2", "i2"]))
    stored = rng.integers(0, 100 if kind == "u1" else 4096, (8, 8)).astype(kind)
    chosen = [
        a for a in ATTRIBUTES if rng.random() < 0.25 and (kind != "u1" or "BitsStored" not in a)
    ]
    fields = {name: value for a in chosen for name, value in a.items()}
    for name in ("ModalityLUTSequence", "VOILUTSequence"):
        if rng.random() < 0.2:
            bits = int(rng.choice([8, 12, 16]))
            entries = rng.integers(0, 2**bits, int(rng.integers(1, 300)))
            fields[name] = pictures.table(entries, int(rng.integers(-50, 50)), bits)
    for name in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        if rng.random() < 0.2:
            fields[name] = pictures.items(
                PixelValueTransformationSequence=pictures.items(RescaleSlope=3, RescaleIntercept=1),
                FrameVOILUTSequence=pictures.items(WindowCenter=40, WindowWidth=400),
            )
    name = f"odd{rng.choice(['.dcm', '.ima', ''])}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        if rng.random() < 0.5:
            pictures.dicom(path, stored, bool(rng.random() < 0.8), **fields)
            return name, path.read_bytes()
        path.write_bytes(compressed(kind, str(rng.choice(pictures.LOSSLESS))))
        data = pydicom.dcmread(path)
        for attribute, value in fields.items():
            setattr(data, attribute, value)
            if "Padding" in attribute:  # US or SS
                data[attribute].VR = "SS" if kind == "i2" else "US"
        data.save_as(path)
        return name, path.read_bytes()


def tiff(rng: np.random.Generator) -> tuple[str, bytes]:
    """Any layout; every fifth is a PNG of 16 bits."""
    channels = int(rng.integers(1, 6))
    kind = str(rng.choice(["u1", "i1", "u2", "u2", "i2", "i4", "f4"]))
    array = rng.integers(0, 120, (20, 20, channels)).astype(kind)
    if rng.random() < 0.2:
        return "odd.png", pictures.png(array[..., :4].astype(np.uint16))
    content = pictures.tiff(
        array,
        str(rng.choice(["<", ">"])),
        int(rng.choice([0, 1, 2, 5, 6, 8])),
        [int(rng.integers(0, 3))] * int(rng.integers(0, 3)),
        int(rng.integers(1, 3)),
        bool(rng.integers(2)),
        int(rng.choice([0, 16])),
    )
    return "odd.tif", content


COMMON: tuple[Maker, ...] = tuple(
    lambda rng, suffix=suffix: common(suffix, rng)
    for suffix in ("png", "jpg", "tif", "bmp", "gif", "webp", "jp2")
)
MADE: dict[str, tuple[Maker, ...]] = {"DICOM": (dicom,), "TIFF": (tiff,)}
