"""A name or a path -> RawDataset. The only place that reads images from disk or from the network.

Whatever is wrong with a user's file is said in one line (`UserError`) before anything is computed from it.
"""

import difflib
import hashlib
import http.client
import os
import tempfile
import urllib.request
import zipfile
import zlib
from pathlib import Path

import numpy as np

from medjax.data.catalog import CATALOG, Entry, file_name, url
from medjax.data.phantom import fingerprint, phantom
from medjax.errors import UserError
from medjax.types import RawDataset, RawSplit

VAL_SHARE = 0.1  # of the training images, where a file brings no validation split
TIMEOUT = 60.0  # seconds without a byte before a download is given up


def load(name_or_path: str, cache_dir: Path | None = None) -> RawDataset:
    """A data set by name ("phantom", or a key of the catalog) or by the path of an .npz file.

    cache_dir: where downloads are kept; default $MEDJAX_DATA, else ~/.cache/medjax/data. A file that the `medmnist`
    package left in ~/.medmnist is used too.
    Raises UserError, in one line, for an unknown name, a failed download and a file that cannot be used.
    """
    if name_or_path == "phantom":
        return phantom()
    if name_or_path in CATALOG:
        return read_npz(fetch(CATALOG[name_or_path], cache_dir))
    if name_or_path.lower().endswith(".npz"):
        return read_npz(Path(name_or_path).expanduser())
    known = ["phantom", *CATALOG]
    near = difflib.get_close_matches(name_or_path.lower(), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UserError(
        f"unknown data set {name_or_path!r}.{hint} Give one of {', '.join(known)}, or the path of an .npz file."
    )


def fetch(entry: Entry, cache_dir: Path | None = None) -> Path:
    """The path of a named set's file, its MD5 verified; downloaded where it is not at hand.

    The download goes to a temporary file in the cache folder and is renamed when it is whole, so a broken one never
    looks like a data set. Raises UserError without a network, and where a checksum is wrong.
    """
    default = os.environ.get("MEDJAX_DATA") or "~/.cache/medjax/data"
    target = Path(cache_dir or default).expanduser() / file_name(entry)
    by_hand = f"get {url(entry)} and put it at {target} by hand"
    for path in (target, Path("~/.medmnist").expanduser() / file_name(entry)):
        if path.is_file():
            if _md5(path) == entry.md5:
                return path
            if path == target:  # someone else's broken file is skipped, ours is reported
                raise UserError(
                    f"{path} is damaged or another version (its MD5 is not {entry.md5}): delete it and"
                    f" run again, or {by_hand}."
                )
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with (
            os.fdopen(handle, "wb") as out,
            urllib.request.urlopen(url(entry), timeout=TIMEOUT) as response,
        ):
            while block := response.read(1 << 20):
                out.write(block)
        if (found := _md5(Path(temporary))) != entry.md5:
            raise UserError(
                f"the download of {entry.name} has MD5 {found}, expected {entry.md5}: try again, or {by_hand}."
            )
        os.chmod(
            temporary, 0o644
        )  # mkstemp's 0600 would hide the file from others who share the cache
        os.replace(temporary, target)
    except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
        raise UserError(f"cannot download {entry.name} ({_line(error)}): {by_hand}.") from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
    return target


def read_npz(path: Path) -> RawDataset:
    """A data set from a file in the MedMNIST layout; its name is the file's stem.

    Keys: train|val|test_images, uint8 [n, h, w], [n, h, w, 1] or [n, h, w, 3]; train|val|test_labels, integers [n] or
    [n, 1] in 0..k-1; optionally class_names, k strings. A file without val keys gives up a tenth of its training images
    (said in `notes`). Raises UserError for everything else.
    """
    arrays = _arrays(path)
    needed = ["train_images", "train_labels", "test_images", "test_labels"]
    if any(key.startswith("val_") for key in arrays):
        needed += ["val_images", "val_labels"]
    if missing := [key for key in needed if key not in arrays]:
        raise UserError(
            f"{path}: no {', '.join(missing)}; expected train|val|test_images and train|val|test_labels (val may be"
            f" left out), found {', '.join(sorted(arrays)) or 'nothing'}."
        )
    splits = {
        name: _split(path, name, arrays[f"{name}_images"], arrays[f"{name}_labels"])
        for name in ("train", "val", "test")
        if f"{name}_images" in needed
    }
    k = _check_splits(path, splits)
    names = _class_names(path, arrays.get("class_names"), k)
    notes = ()
    if "val" not in splits:
        splits["train"], splits["val"] = _carve_val(path, splits["train"], k)
        notes = (
            f"no val split in {path.name}: {len(splits['val'].labels)} of the training images (10 %, stratified)"
            " were set aside as one.",
        )
    return RawDataset(path.stem, names, **splits, fingerprint=fingerprint(**splits), notes=notes)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file that medjax reads; never unpickles."""
    if not path.is_file():
        raise UserError(f"{path}: no such file.")
    if not zipfile.is_zipfile(path):  # numpy would take it for a pickle
        raise UserError(f"{path}: not an .npz file, or cut short; save it again with np.savez.")
    key = ""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {}
            for key in file.files:
                if key == "class_names" or key.endswith(("_images", "_labels")):
                    arrays[key] = np.asarray(file[key])
            return arrays
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        if "Object arrays" in str(error):
            raise UserError(
                f"{path}: {key} holds Python objects (a pickle), which medjax never loads because they can run code;"
                " save uint8 images, integer labels and plain strings."
            ) from error
        raise UserError(f"{path}: damaged ({_line(error)}); copy or save it again.") from error


def _split(path: Path, name: str, images: np.ndarray, labels: np.ndarray) -> RawSplit:
    """One split, checked and brought to [n, h, w, c] and [n]."""
    where = f"{path}: {name}_images"
    if images.dtype != np.uint8:
        advice = "; scale to 0..255 and save as uint8" if images.dtype.kind == "f" else ""
        raise UserError(f"{where} is {images.dtype}, expected uint8 in 0..255{advice}.")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape[1:]:
        raise UserError(
            f"{where} has shape {images.shape}, expected [n, h, w], [n, h, w, 1] or [n, h, w, 3]."
        )
    if not len(images):
        raise UserError(f"{where} is empty; at least one image is needed.")
    where = f"{path}: {name}_labels"
    if labels.dtype.kind not in "iu":
        raise UserError(f"{where} is {labels.dtype}, expected integers 0..k-1.")
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise UserError(
            f"{where} has shape {labels.shape}: several labels an image; medjax takes one, [n] or [n, 1]."
        )
    if labels.ndim != 1 and (labels.ndim != 2 or labels.shape[1] != 1):
        raise UserError(f"{where} has shape {labels.shape}, expected [n] or [n, 1].")
    if len(labels) != len(images):
        raise UserError(f"{path}: {name} has {len(images)} images but {len(labels)} labels.")
    labels = labels.reshape(-1)
    if labels.min() < 0:
        raise UserError(f"{where} holds {labels.min()}; labels are 0..k-1.")
    if labels.max() > np.iinfo(np.int32).max:
        raise UserError(f"{where} holds {labels.max()}; labels are 0..k-1.")
    return RawSplit(np.ascontiguousarray(images), labels.astype(np.int32))


def _check_splits(path: Path, splits: dict[str, RawSplit]) -> int:
    """The number of classes; the splits must agree with each other."""
    train = splits["train"]
    present = np.unique(train.labels)
    if len(present) < 2:
        raise UserError(
            f"{path}: train_labels has one class only ({present[0]}), at least 2 are needed."
        )
    k = int(present[-1]) + 1
    if k != len(present):
        gap = int(np.flatnonzero(present != np.arange(len(present)))[0])
        raise UserError(
            f"{path}: train_labels reaches {k - 1} but has no image of class {gap}; number the classes 0..k-1 without"
            " gaps."
        )
    for name, split in splits.items():
        if split.images.shape[1:] != train.images.shape[1:]:
            raise UserError(
                f"{path}: {name}_images are {split.images.shape[1:]} (h, w, c) but"
                f" train_images {train.images.shape[1:]}."
            )
        if len(strange := np.setdiff1d(split.labels, present)):
            raise UserError(
                f"{path}: {name}_labels holds class {strange[0]}, which train does not have (0..{k - 1})."
            )
    return k


def _class_names(path: Path, given: np.ndarray | None, k: int) -> tuple[str, ...]:
    """Names in label order: from the file, else from the catalog by the file's name, else "class 0", ..."""
    if given is not None:
        if given.dtype.kind != "U" or given.shape != (k,):
            raise UserError(
                f"{path}: class_names is {given.dtype} {given.shape}, expected {k} strings, one"
                " for each class of train."
            )
        return tuple(str(name) for name in given)
    entry = CATALOG.get(path.stem)
    if entry and len(entry.class_names) == k:
        return entry.class_names
    return tuple(f"class {label}" for label in range(k))


def _carve_val(path: Path, train: RawSplit, k: int) -> tuple[RawSplit, RawSplit]:
    """(train, val) out of train: a tenth of each class, at least one image of a class that has two."""
    rng = np.random.default_rng(0)
    chosen = np.zeros(len(train.labels), bool)
    for label in range(k):
        members = rng.permutation(np.flatnonzero(train.labels == label))
        chosen[members[: max(round(VAL_SHARE * len(members)), int(len(members) >= 2))]] = True
    if not chosen.any():
        raise UserError(
            f"{path}: no val split, and one training image a class is too few to make one."
        )
    train_part, val_part = (RawSplit(train.images[m], train.labels[m]) for m in (~chosen, chosen))
    return train_part, val_part


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        # For transfer errors only, as the record publishes it; no defence against an attacker.
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _line(error: Exception) -> str:
    """An exception's text on one line."""
    return " ".join(str(error).split()) or type(error).__name__
