"""Makers of image files of all kinds: DICOM with any attributes, PNG and TIFF of layouts that Pillow does not write."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

#: Transfer syntaxes that gdcm writes.
LOSSLESS = (
    "JPEGLosslessProcess14_1",
    "JPEGLosslessProcess14",
    "JPEGLSLossless",
    "JPEG2000Lossless",
    "RLELossless",
)


RNG = np.random.default_rng(0)


def put(path, shape=(12, 12, 3), value=None, **how):
    """A random image, or the given pixels, as a file."""
    array = RNG.integers(0, 256, shape, dtype=np.uint8) if value is None else value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **how)
    return path


def items(**fields):
    """A sequence of one item."""
    pydicom = pytest.importorskip("pydicom")
    item = pydicom.Dataset()
    for name, value in fields.items():
        setattr(item, name, value)
    return pydicom.Sequence([item])


def table(entries, first=0, bits=16, packed=False):
    """A lookup table. packed: one byte an entry."""
    content = np.asarray(entries, "u1" if packed else "<u2").tobytes()
    sequence = items(LUTDescriptor=[len(entries), first, bits], LUTData=content)
    item = sequence[0]
    item["LUTDescriptor"].VR, item["LUTData"].VR = "SS" if first < 0 else "US", "OW"
    return sequence


def dicom(path, array, preamble=True, implicit=False, **fields):
    """A DICOM file: [h, w] grey, [h, w, 3] RGB; any attributes. With NumberOfFrames [n, h, w] too."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.uid import (
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        SecondaryCaptureImageStorage,
        generate_uid,
    )

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID = SecondaryCaptureImageStorage
    colour = array.ndim == 3 and array.shape[-1] == 3 and "NumberOfFrames" not in fields
    data.SamplesPerPixel = 3 if colour else 1
    data.Rows, data.Columns = array.shape[:2] if colour else array.shape[-2:]
    data.BitsAllocated = data.BitsStored = 8 * array.itemsize
    data.HighBit, data.PixelRepresentation = 8 * array.itemsize - 1, int(array.dtype.kind == "i")
    data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        data.PlanarConfiguration = 0
    for name, value in fields.items():
        setattr(data, name, value)
        if value is None:
            delattr(data, name)
    content = array.tobytes()
    data.PixelData = content + bytes(len(content) % 2)
    data["PixelData"].VR = "OB" if array.itemsize == 1 else "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    if not preamble:  # nor the group of the file
        content = path.read_bytes()
        length = int.from_bytes(content[140:144], "little")
        path.write_bytes(content[144 + length :])
    return path


def compress(path, syntax):
    """The same DICOM file with compressed pixels."""
    gdcm = pytest.importorskip("gdcm")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return path


def png(array):
    """PNG of 16 bits: grey, grey with alpha, RGB, RGBA; its rows filtered (type Sub)."""
    h, w = array.shape[:2]
    channels = array.shape[2] if array.ndim == 3 else 1
    rows = array.astype(">u2").reshape(h, -1).view(np.uint8).reshape(h, -1)
    before = np.pad(rows, ((0, 0), (2 * channels, 0)))[:, : rows.shape[1]]
    filtered = np.pad(rows - before, ((0, 0), (1, 0)), constant_values=1)
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", w, h, 16, colour, 0, 0, 0)),
        (b"IDAT", zlib.compress(filtered.tobytes())),
        (b"IEND", b""),
    )
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(array, order="<", photometric=None, extra=(), planar=1, deflate=False, tile=0):
    """TIFF of any layout: [h, w] or [h, w, c] of any type; tile: side of its tiles, a multiple of 16."""
    whole = array[..., None] if array.ndim == 2 else array
    h, w, c = whole.shape
    if photometric is None:
        photometric = 2 if c >= 3 else 1
    planes = [whole[..., k : k + 1] for k in range(c)] if planar == 2 else [whole]
    side = tile or max(h, w)
    parts = []
    for plane in planes:
        if not tile:
            parts.append(plane)
            continue
        for top in range(0, h, side):
            for left in range(0, w, side):
                block = np.zeros((side, side, plane.shape[-1]), array.dtype)
                cut = plane[top : top + side, left : left + side]
                block[: cut.shape[0], : cut.shape[1]] = cut
                parts.append(block)
    data = [p.astype(array.dtype.newbyteorder(order)).tobytes() for p in parts]
    data = [zlib.compress(d) if deflate else d for d in data]
    kind = {"u": 1, "i": 2, "f": 3}[array.dtype.kind]
    offsets = list(8 + np.cumsum([0, *map(len, data)]))
    shorts = {258: [8 * array.itemsize] * c, 259: [8 if deflate else 1], 262: [photometric]}
    shorts |= {277: [c], 284: [planar], 339: [kind] * c} | ({338: list(extra)} if extra else {})
    longs = {256: [w], 257: [h]}
    longs |= {322: [side], 323: [side]} if tile else {278: [h]}
    places, sizes = (324, 325) if tile else (273, 279)
    longs |= {places: offsets[:-1], sizes: [len(d) for d in data]}
    start = int(offsets[-1] + offsets[-1] % 2)
    entries, outside = b"", b""
    fields = [(tag, 3, "H", v) for tag, v in shorts.items()]
    fields += [(tag, 4, "I", v) for tag, v in longs.items()]
    after = start + 2 + 12 * len(fields) + 4
    for tag, number, code, values in sorted(fields):
        packed = struct.pack(f"{order}{len(values)}{code}", *map(int, values))
        if len(packed) > 4:
            packed, outside = struct.pack(f"{order}I", after + len(outside)), outside + packed
        entries += struct.pack(f"{order}HHI", tag, number, len(values)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    body = b"".join(data)
    body += bytes(len(body) % 2)
    directory = struct.pack(f"{order}H", len(fields)) + entries + bytes(4)
    return head + body + directory + outside


def save(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name
