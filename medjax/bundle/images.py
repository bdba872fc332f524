"""The images of a bundle: PNG files in a folder for each class, the table beside them, an .npz in the layout of
MedMNIST, and a Parquet file."""

import csv
import importlib
import importlib.util
import io
import json
import re
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from medjax import packing, store
from medjax.share import SharedSet

#: Where the PNG files lie in a bundle, and the columns of the table beside them.
FOLDER, COLUMNS = "data/train", ("file_name", "label", "class_name", "stored", "tile")


class Images(NamedTuple):
    """The 8-bit images that a receiver trains on. Where a set is packed these are the decoded ones: loaders know no
    packing, and a network that is trained on the stored ones would learn from tiles. The stored ones are in exact.npz.

    pixels, labels: all images, tile-major as `medjax.packing.decode` gives them. stored, tile: the image of exact.npz
    that each comes from, and which part of it. class_names: k names. mean, std: of each channel over all pixels, as
    fractions.
    """

    pixels: UInt8[np.ndarray, "n s s c"]
    labels: Int[np.ndarray, " n"]
    stored: Int[np.ndarray, " n"]
    tile: Int[np.ndarray, " n"]
    class_names: tuple[str, ...]
    mean: list[float]
    std: list[float]

    @property
    def files(self) -> list[str]:
        """The name of each image below `FOLDER`."""
        folders, width = class_folders(self.class_names), len(str(max(self.stored)))
        packed = self.tile.max() > 0
        return [
            f"{folders[k]}/{i:0{width}}" + (f"-{t}" if packed else "") + ".png"
            for k, i, t in zip(self.labels, self.stored, self.tile, strict=True)
        ]


def images_of(shared: SharedSet) -> Images:
    """The images that networks train on, of the 8-bit ones of a set."""
    m, held = len(shared.images_uint8), shared.pack**2
    seen = packing.decode(shared.images_uint8 / np.float32(255), shared.pack)
    pixels = np.rint(np.clip(seen, 0, 1) * 255).astype(np.uint8)
    floats = pixels / np.float64(255)
    mean, std = floats.mean((0, 1, 2)), np.maximum(floats.std((0, 1, 2)), 1e-3)
    return Images(
        pixels,
        np.tile(np.asarray(shared.synthetic.labels), held),
        np.tile(np.arange(m), held),
        np.repeat(np.arange(held), m),
        shared.class_names,
        *([round(float(value), 6) for value in values] for values in (mean, std)),
    )


def class_folders(class_names: tuple[str, ...]) -> list[str]:
    """A folder for each class. The number in front keeps them in the order of the labels, however a loader sorts."""
    width = len(str(len(class_names) - 1))
    readable = [re.sub(r"[^a-z0-9]+", "_", n.lower())[:40].strip("_") for n in class_names]
    return [f"{i:0{width}}_{name}".rstrip("_") for i, name in enumerate(readable)]


def image_files(images: Images) -> dict[str, bytes]:
    """{path in the bundle: content} of everything that holds the images."""
    pngs = {
        f"{FOLDER}/{file}": _png(pixels)
        for file, pixels in zip(images.files, images.pixels, strict=True)
    }
    found = {**pngs, f"{FOLDER}/metadata.csv": _table(images), "medmnist.npz": _medmnist(images)}
    if importlib.util.find_spec("pyarrow"):
        found["train.parquet"] = _parquet(images, list(pngs.values()))
    return found


def _plain(pixels: UInt8[np.ndarray, "*n s s c"]) -> UInt8[np.ndarray, "..."]:
    """Grey images without an axis of channels, as PNG and MedMNIST have them."""
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def _png(pixels: UInt8[np.ndarray, "s s c"]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(_plain(pixels)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _rows(images: Images) -> list[tuple]:
    names = [images.class_names[k] for k in images.labels]
    columns = images.labels.tolist(), names, images.stored.tolist(), images.tile.tolist()
    return list(zip(images.files, *columns, strict=True))


def _table(images: Images) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *_rows(images)])
    return text.getvalue().encode()


def _medmnist(images: Images) -> bytes:
    """MedMNIST's keys for the training split, the class names, and what to normalise by."""
    return store.npz_bytes(
        train_images=_plain(images.pixels),
        train_labels=images.labels.astype(np.min_scalar_type(len(images.class_names))).reshape(
            -1, 1
        ),
        class_names=np.array(images.class_names),
        mean=np.asarray(images.mean, np.float32),
        std=np.asarray(images.std, np.float32),
    )


def features(images: Images) -> list[dict[str, Any]]:
    """The columns as the Hub's cards describe them."""
    names = {str(i): name for i, name in enumerate(images.class_names)}
    return [
        {"name": "image", "dtype": "image"},
        {"name": "label", "dtype": {"class_label": {"names": names}}},
        {"name": "class_name", "dtype": "string"},
        {"name": "stored", "dtype": "int64"},
        {"name": "tile", "dtype": "int64"},
    ]


def _parquet(images: Images, pngs: list[bytes]) -> bytes:
    """The same rows as one Parquet file whose metadata make `datasets` see images and classes."""
    pyarrow, parquet = map(importlib.import_module, ("pyarrow", "pyarrow.parquet"))
    rows = [list(column) for column in zip(*_rows(images), strict=True)]
    pictures = [{"bytes": b, "path": f} for b, f in zip(pngs, images.files, strict=True)]
    kinds: dict[str, Any] = {"image": {"_type": "Image"}}
    kinds |= {"label": {"_type": "ClassLabel", "names": list(images.class_names)}}
    kinds |= {"class_name": {"dtype": "string", "_type": "Value"}}
    kinds |= {name: {"dtype": "int64", "_type": "Value"} for name in COLUMNS[3:]}
    table = pyarrow.table({"image": pictures} | dict(zip(COLUMNS[1:], rows[1:], strict=True)))
    about = {"huggingface": json.dumps({"info": {"features": kinds}})}
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(table.replace_schema_metadata(about), sink)
    return sink.getvalue().to_pybytes()
