"""An .npz file in the MedMNIST layout -> RawDataset, or one line that says what is wrong with it. Never unpickles."""

import hashlib
import zipfile
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import numpy as np

from medjax import memory
from medjax.data import catalog
from medjax.data.labels import as_classes, carve_val, renumbered
from medjax.data.raw import SPLITS, raw_dataset
from medjax.errors import UserError, one_line
from medjax.types import RawDataset, RawSplit

#: The keys that medjax reads from a file.
KEYS = ("class_names", *(f"{s}_{kind}" for s in SPLITS for kind in ("images", "labels")))
#: A file that unpacks to more than BOMB bytes and to more than RATIO times its size is refused.
BOMB, RATIO = 1 << 28, 250


def read_npz(path: Path) -> RawDataset:
    """A data set from a file in the MedMNIST layout; its name is the file's stem.

    Keys: train|val|test_images, uint8 [n, s, s], [n, s, s, 1] or [n, s, s, 3]; train|val|test_labels [n], [n, 1] or
    one-hot [n, k], whole numbers; optionally class_names, strings. Labels with gaps are renumbered; where a file has
    no val keys, a tenth of its training images becomes val; `notes` says what was done. Raises UserError for everything
    else.
    """
    return from_arrays(path, read_arrays(path, KEYS))


def from_arrays(path: Path, arrays: dict[str, np.ndarray]) -> RawDataset:
    """A data set from the arrays of such a file, under the same conditions. Messages name the arrays by ``path``."""
    needed = ["train_images", "train_labels", "test_images", "test_labels"]
    if any(key.startswith("val_") for key in arrays):
        needed += ["val_images", "val_labels"]
    if missing := [key for key in needed if key not in arrays]:
        raise UserError(
            f"{path}: no {', '.join(missing)}; expected train|val|test_images and train|val|test_labels (val is"
            f" optional), found {', '.join(sorted(arrays)) or 'none of them'}."
        )
    notes: list[str] = []
    there = [name for name in SPLITS if f"{name}_images" in needed]
    splits = {name: _split(path, name, arrays, notes) for name in there}
    _check_images(path, splits, notes)
    labels, present = renumbered(path, {name: splits[name].labels for name in there}, notes)
    splits = {name: split._replace(labels=labels[name]) for name, split in splits.items()}
    names = _class_names(path, arrays.get("class_names"), present)
    if "val" not in splits:
        splits["train"], splits["val"] = carve_val(path, splits["train"], len(names))
        count = len(splits["val"].labels)
        notes.append(
            f"no val split in {path.name}: {count} of the training images (10 %, by class) became the val split."
        )
    notes += _shared_images(splits)
    return raw_dataset(path.stem, names, splits, notes)


def _shared_images(splits: dict[str, RawSplit]) -> list[str]:
    """A line where images of val or test are also in train."""
    known = {hashlib.blake2b(image.tobytes()).digest() for image in splits["train"].images}
    lines = []
    for name in ("val", "test"):
        images = splits[name].images
        if count := sum(hashlib.blake2b(image.tobytes()).digest() in known for image in images):
            lines.append(
                f"{count} of the {len(images)} {name} images are also in train: scores will be too high."
            )
    return lines


def read_arrays(path: Path, wanted: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an .npz file: all, or those of ``wanted`` that it has. Raises UserError for a file that cannot be
    read, holds Python objects, or would need too much memory."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder, expected an .npz file.")
    if not path.is_file():
        raise UserError(f"{path}: no such file.")
    key = ""
    try:
        # Opened here, because NumPy leaves its own handle open where a file is damaged.
        with path.open("rb") as handle:
            if not zipfile.is_zipfile(handle):  # NumPy would read it as a pickle
                raise UserError(
                    f"{path}: not an .npz file, or cut short; save it again with np.savez."
                )
            handle.seek(0)
            with np.load(handle, allow_pickle=False) as file:
                keys = [k for k in file.files if wanted is None or k in wanted]
                _check_size(path, file.zip, keys)
                arrays = {}
                for key in keys:
                    arrays[key] = np.asarray(file[key])
                    _check_text(arrays[key], key)
                return arrays
    except UserError:
        raise
    except Exception as error:  # NumPy, zipfile, zlib and tokenize raise many types
        if "Object arrays" in str(error):
            raise UserError(
                f"{path}: {key} holds Python objects (a pickle), which medjax never loads because they can run code;"
                " save uint8 images, integer labels and plain strings."
            ) from error
        raise UserError(f"{path}: damaged ({one_line(error)}); copy or save it again.") from error


def _check_text(array: np.ndarray, key: str) -> None:
    """Raises ValueError for strings with codes that are not characters: Python fails wherever it reads one."""
    if array.dtype.kind != "U" or not array.nbytes:
        return
    numbers = np.dtype(np.uint32).newbyteorder(array.dtype.byteorder)
    codes = np.ascontiguousarray(array).reshape(-1).view(numbers)
    if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes < 0xE000))).any():
        raise ValueError(f"{key} holds bytes that are not text")


def _check_size(path: Path, file: zipfile.ZipFile, keys: list[str]) -> None:
    """Raises UserError for arrays that do not fit into memory or have an implausible size, before unpacking them."""
    members = [m for m in file.infolist() if m.filename.removesuffix(".npy") in keys]
    size, packed, room = sum(m.file_size for m in members), path.stat().st_size, memory.available()
    if size > room // 2:
        raise UserError(
            f"{path}: unpacks to {memory.words(size)}, more than half of the free memory"
            f" ({memory.words(room // 2)}): use fewer or smaller images."
        )
    if size > BOMB and size > RATIO * packed:
        raise UserError(
            f"{path}: {memory.words(packed)} would unpack to {memory.words(size)}; images do not compress like that:"
            " check where the file is from, and save it again with np.savez."
        )


def _split(path: Path, name: str, arrays: dict[str, np.ndarray], notes: list[str]) -> RawSplit:
    """One split, checked, its images as [n, h, w, c] and its labels as [n]."""
    where, images = f"{path}: {name}_images", arrays[f"{name}_images"]
    if images.dtype != np.uint8:
        advice = "; scale to 0..255 and save as uint8" if images.dtype.kind == "f" else ""
        raise UserError(f"{where} is {images.dtype}, expected uint8 in 0..255{advice}.")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape[1:]:
        raise UserError(
            f"{where} has shape {images.shape}, expected [n, s, s], [n, s, s, 1] or [n, s, s, 3]."
        )
    if not len(images):
        raise UserError(f"{where} is empty; at least one image is needed.")
    if images.shape[1] != images.shape[2]:
        raise UserError(
            f"{where} are {images.shape[1]} x {images.shape[2]} pixels, not square: crop or pad them first"
            " (`python -m experiments.prepare` does it for a folder of images)."
        )
    labels = as_classes(path, name, arrays[f"{name}_labels"], len(images), notes)
    return RawSplit(np.ascontiguousarray(images), labels)


def _check_images(path: Path, splits: dict[str, RawSplit], notes: list[str]) -> None:
    """Raises UserError where the splits' images differ in shape, or all training images are blank."""
    shape = splits["train"].images.shape[1:]
    for name, split in splits.items():
        if split.images.shape[1:] != shape:
            raise UserError(
                f"{path}: {name}_images are {split.images.shape[1:]} (h, w, c) but train_images {shape}."
            )
        flat = split.images.reshape(len(split.images), -1)
        blank = int((flat.min(1) == flat.max(1)).sum())
        if name == "train" and blank == len(flat):
            raise UserError(
                f"{path}: every image of {name}_images is blank (one value for all pixels): check how it was saved."
            )
        if blank:
            notes.append(
                f"{blank} of {len(flat)} {name} images are blank (one value for all pixels)."
            )


def _class_names(path: Path, given: np.ndarray | None, present: np.ndarray) -> tuple[str, ...]:
    """A name for each label of ``present``: from the file, else from the catalog by the file's name, else "class 0".

    The file may name only the classes that have images, or all labels from 0 on.
    """
    k, most = len(present), int(present[-1]) + 1
    if given is not None:
        if given.dtype.kind != "U" or given.shape not in ((k,), (most,)):
            raise UserError(
                f"{path}: class_names is {given.dtype} {given.shape}, expected {k} strings, one"
                " for each class of train."
            )
        picked = given if len(given) == k else given[present]
        cleaned = [_printable(str(name)) for name in picked]
        names = tuple(n or f"class {label}" for n, label in zip(cleaned, present, strict=True))
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise UserError(
                f"{path}: class_names gives several classes the name {twice[0]!r}: rename them."
            )
        return names
    named = catalog.find(path.stem)
    if named and len(named[0].class_names) == most:
        return tuple(named[0].class_names[label] for label in present)
    return tuple(f"class {label}" for label in present)


def _printable(name: str) -> str:
    """A name on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())
