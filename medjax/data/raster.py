"""One image file of a common format -> its pixels, by Pillow, with 16 bits where the file has them."""

import logging
import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from medjax.data.planes import DEPTHS, Planes, Unreadable
from medjax.errors import reason_of

# medjax reports files that cannot be read; Pillow's own log would repeat it.
logging.getLogger("PIL").setLevel(logging.CRITICAL)

#: Formats as Pillow names them (DIB is a kind of BMP), and the endings of their files.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "DIB", "WEBP", "GIF", "JPEG2000")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2", ".j2k")
# Pillow lacks two layouts of grey TIFF in which 0 is white: big endian, and 12 bits packed.
TiffImagePlugin.OPEN_INFO.setdefault((b"MM", 0, (1,), 1, (16,), ()), ("I;16B", "I;16B"))
TiffImagePlugin.OPEN_INFO.setdefault((b"II", 0, (1,), 1, (12,), ()), ("I;16", "I;12"))
#: Tags of TIFF.
BITS, PHOTOMETRIC, SAMPLES, PLANAR, SAMPLE_FORMAT = 258, 262, 277, 284, 339


def read_raster(path: Path, megapixels: float) -> Planes:
    """The first image of a file. Raises Unreadable."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about unusual metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with _settings(megapixels):
                return _planes(path)
    except Unreadable:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise Unreadable(
            f"{reason_of(error).removesuffix('.')}: raise --max_megapixels={megapixels:g} if the file can be trusted"
        ) from error
    except UnidentifiedImageError as error:
        raise Unreadable(_unknown(path)) from error
    except Exception as error:  # Pillow's decoders raise many types
        if "raw mode" in str(error):  # Pillow has no decoder for it
            raise Unreadable(_unknown(path)) from error
        if "decoder error" in str(error):
            text = (
                f"{reason_of(error)}: damaged, or a layout that is not read; save it again as PNG"
            )
            raise Unreadable(text) from error
        raise Unreadable(reason_of(error)) from error


@contextmanager
def _settings(megapixels: float) -> Iterator[None]:
    """Pillow warns of larger images and leaves TIFF to libtiff, which prints nothing.

    Pillow's own reader of uncompressed TIFF takes a grey image whose (one) channel lies apart for other pixels.
    """
    before = Image.MAX_IMAGE_PIXELS, TiffImagePlugin.READ_LIBTIFF
    Image.MAX_IMAGE_PIXELS, TiffImagePlugin.READ_LIBTIFF = int(megapixels * 1e6), True
    try:
        with _silence():
            yield
    finally:
        Image.MAX_IMAGE_PIXELS, TiffImagePlugin.READ_LIBTIFF = before


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing is written to standard error, if there is one."""
    try:
        kept = os.dup(2)
    except OSError:
        yield
        return
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _planes(path: Path) -> Planes:
    image, frames, raw = _load(path)
    tags = getattr(image, "tag_v2", {})
    mode, file = image.mode, image.format.replace("MPO", "JPEG")
    more = f", first of {frames} frames" if frames > 1 else ""
    turned: Any = ImageOps.exif_transpose(image)
    channels = tags.get(SAMPLES, 1) if file == "TIFF" else 1
    if channels > 1 and tags.get(PLANAR) == 2 and max(tags.get(BITS, (1,))) > 8 and mode[0] != "I":
        raise Unreadable(_unknown(path))  # Pillow would take their bytes for those of 8 bits
    if channels > (kept := len(image.getbands())):
        more += f", first{f' {kept}' if kept > 1 else ''} of {channels} channels"
    if mode == "F":
        raise Unreadable("floating-point pixels; save it with 8 or 16 bits")
    if mode.startswith("I"):
        return _deep_grey(turned, raw, tags, file, more, path)
    if ";16" in raw:
        return _deep_colour(path, raw, file, more)
    if mode == "LAB":
        raise Unreadable("LAB colours; save it as RGB")
    if file == "JPEG2000" and mode != "P" and _precision(path) > 8:
        raise Unreadable("colours of more than 8 bits in JPEG 2000; save it as PNG or TIFF")
    if mode in ("1", "L"):
        grey = np.asarray(turned.convert("L"))
        if tags.get(SAMPLE_FORMAT, (1,))[0] == 2:
            return Planes(grey ^ np.uint8(128), "signed 8-bit", file, more)
        return Planes(grey, "grey", file, more)
    if mode == "La":
        turned, mode = turned.convert("LA"), "LA"
    if "A" in mode or "transparency" in image.info:
        rgba = turned.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        kind = {"LA": "grey with alpha", "P": "palette with alpha"}.get(mode, "RGBA")
        shown = Image.alpha_composite(black, rgba).convert("RGB")
        return Planes(np.asarray(shown), f"{kind}, on black", file, more)
    kind = {"P": "palette"}.get(mode, mode)
    return Planes(np.asarray(turned.convert("RGB")), kind, file, more)


def _load(path: Path, mode: str = "", raw: str = "") -> tuple[Any, int, str]:
    """The decoded image, how many the file holds, and its raw mode. mode, raw: decode it as these."""
    with Image.open(path, formats=FORMATS) as file:
        image: Any = file
        frames = getattr(image, "n_frames", 1)
        found = ""
        if image.format in ("PNG", "TIFF") and image.tile:
            first = image.tile[0].args
            found = first if isinstance(first, str) else first[0]
        if raw:
            image._mode = mode
            image.tile = [
                t._replace(args=raw if isinstance(t.args, str) else (raw, *t.args[1:]))
                for t in image.tile
            ]
        image.load()
        return image, frames, found


def _deep_grey(image: Any, raw: str, tags: Any, file: str, more: str, path: Path) -> Planes:
    values = np.asarray(image)
    if file == "JPEG2000":  # Pillow scales to 16 bits
        values = values >> (16 - _precision(path))
    if raw.endswith("BS"):
        # libtiff gives this machine's order, which Pillow 13 takes for that of the file here.
        values = values.astype("i2" if raw == "I;16BS" else "i4").byteswap()
    if raw.startswith("I;16") and raw.endswith("S"):
        return Planes(values.astype(np.float32), "signed 16-bit", file, more, "signed 16-bit")
    if values.min() < 0 or values.max() > 65535:
        raise Unreadable(f"32-bit values {values.min()}..{values.max()}; save it with 16 bits")
    # How white a value of 0 is depends on the largest value of the set: it is inverted after scaling.
    inverted = tags.get(PHOTOMETRIC) == 0
    kind = "16-bit, 0 is white" if inverted else "16-bit"
    return Planes(values.astype(np.uint16), kind, file, more, "16-bit", inverted)


def _deep_colour(path: Path, raw: str, file: str, more: str) -> Planes:
    """RGB, or grey with alpha, of 16 bits.

    Pillow keeps the upper 8 bits of these. The same bytes read as if their order were reversed give the lower ones.
    """
    layout = raw.partition(";")[0]
    if layout == "CMYK":
        raise Unreadable("CMYK of 16 bits; save it as RGB")
    if layout == "LA":  # as four bytes
        image = _load(path, "RGBA", "RGBA")[0]
        quads = np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16)
        values = quads[..., 0::2] * 256 + quads[..., 1::2]
    else:
        # Of libtiff's native order ("N"), which is that of this machine, either half may be the upper one.
        mode, lay = ("RGBA", "RGBA") if layout in ("RGBA", "RGBa") else ("RGB", layout)
        halves = [_load(path, mode, f"{lay};16{order}")[0] for order in "BL"]
        first, last = (np.asarray(ImageOps.exif_transpose(i)).astype(np.uint16) for i in halves)
        values = first * 256 + last if raw.endswith("B") else last * 256 + first
    kind = {"LA": "16-bit grey with alpha"}.get(layout, f"16-bit {layout[:3]}")
    if layout in ("LA", "RGBA", "RGBa"):
        kind = f"{kind.replace('RGB', 'RGBA')}, on black"
        values, alpha = values[..., :-1], values[..., -1:].astype(np.float64)
        if layout != "RGBa":  # not multiplied yet
            # In an image of 12 bits, opaque may be 4095.
            opaque = next(depth for depth in DEPTHS if alpha.max() <= depth)
            values = np.rint(values * (alpha / opaque)).astype(np.uint16)
    return Planes(values, kind, file, more, "16-bit")


def _precision(path: Path) -> int:
    """Bits of the first channel of a JPEG 2000 file, from its SIZ segment."""
    with path.open("rb") as file:
        content = file.read(1 << 16)
    at = content.find(b"\xff\x4f\xff\x51")
    return (content[at + 42] & 0x7F) + 1 if 0 <= at < len(content) - 42 else 8


def _unknown(path: Path) -> str:
    """Why Pillow does not know a file."""
    with path.open("rb") as file:
        head = file.read(8)
        if head[:4] not in (b"II*\0", b"MM\0*"):
            return "not an image of a known format, or damaged at its beginning"
        try:
            tags = TiffImagePlugin.ImageFileDirectory_v2(head)
            file.seek(struct.unpack("<L" if head[:2] == b"II" else ">L", head[4:])[0])
            tags.load(file)
            bits = "+".join(map(str, tags.get(BITS, (1,))))
            form = tags.get(SAMPLE_FORMAT, (1,))[0]
            kind = {1: "", 2: "signed ", 3: "floating-point "}.get(form, "other ")
            apart = ", channels apart" if tags.get(PLANAR) == 2 else ""
            return (
                f"a layout of TIFF that is not read ({kind}{bits} bits, photometric {tags.get(PHOTOMETRIC)}{apart});"
                " save it as grey or RGB of 8 or 16 bits, channels together"
            )
        except Exception:  # Pillow's decoders raise many types
            return "TIFF that is damaged at its beginning"
