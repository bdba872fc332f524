"""Another start of the images than real ones of the run's own data, or noise (``--init_set``): the images of a saved
set, or random images of another data set."""

import functools
import zipfile
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from medjax import share, store
from medjax.data import preprocess, sources
from medjax.data.raw import in_order
from medjax.distill.random import packed_images, random_rows
from medjax.errors import UserError
from medjax.guarantee import same_data
from medjax.paths import user_path
from medjax.types import Dataset, RawDataset, RawSplit


def is_data(path: str | Path) -> bool:
    """Whether a file is a data set in the layout of MedMNIST, and no saved set."""
    try:
        with zipfile.ZipFile(user_path(path)) as file:
            return "train_images.npy" in file.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def origin_of(path: str) -> Mapping[str, str]:
    """What a start says of where it comes from, as `medjax.share.SharedSet.origin`."""
    if not is_data(path):
        return share.load_set(user_path(path)).origin
    raw = _data(path)
    return {"dataset": raw.name, "fingerprint": raw.fingerprint}


def identity_of(path: str) -> str:
    """What makes it another start: its content, wherever the file lies."""
    if is_data(path):
        return _data(path).fingerprint
    return store.digest(share.load_set(user_path(path)).synthetic)


def _data(path: str) -> RawDataset:
    """The data set of a file as it is now."""
    file = user_path(path)
    return _loaded(file, file.stat().st_mtime_ns, file.stat().st_size)


@functools.lru_cache(maxsize=1)
def _loaded(file: Path, changed: int, size: int) -> RawDataset:
    """A run asks several times."""
    return sources.load(str(file))


def says_it_is_of(origin: Mapping[str, str], raw: RawDataset) -> bool:
    """Whether a start says that it was made from these images, by their name or their fingerprint. One whose
    fingerprint is withheld may be of any."""
    named = raw.name in share.made_of(origin).split(",")
    return named or same_data(origin.get("fingerprint", ""), raw.fingerprint)


def begin_with(
    path: str,
    ipc: int,
    raw: RawDataset,
    pre: preprocess.Preprocessor,
    train: Dataset,
    key: Array,
    private: bool = False,
) -> Float[Array, "m s s c"]:
    """Stored images in the model space of a run, to begin with. ipc, raw, pre, train: of the run. key: draws the images
    of another data set. private: the run has a guarantee. Raises UserError where they do not fit the run, and where
    they may be of its private images."""
    origin = origin_of(path)
    if private and (not origin.get("fingerprint") or says_it_is_of(origin, raw)):
        raise UserError(
            f"--init_set={path} was made from {raw.name}, which is private, or does not say from what (sets of"
            " dp do not): give a set of public images"
        )
    if is_data(path):
        return _drawn(path, ipc, raw, pre, train, key)
    return _saved(path, ipc, raw, pre, train)


def _saved(
    path: str, ipc: int, raw: RawDataset, pre: preprocess.Preprocessor, train: Dataset
) -> Float[Array, "m s s c"]:
    """Those of a saved set, which must be as many, as large and of the same classes."""
    shared = share.load_set(user_path(path))
    has = {
        "classes": ", ".join(shared.class_names),
        "images per class": " ".join(map(str, np.unique(np.bincount(shared.synthetic.labels)))),
        "pixels a side": str(shared.preprocessor.size),
        "channels": str(shared.synthetic.images.shape[-1]),
        "--pack": str(shared.pack),
    }
    wants = {
        "classes": ", ".join(raw.class_names),
        "images per class": str(ipc),
        "pixels a side": str(pre.size),
        "channels": str(train.images.shape[-1]),
        "--pack": str(train.packing.factor),
    }
    if differing := [name for name in wants if has[name] != wants[name]]:
        about = "; ".join(f"{n}: {has[n]} there, {wants[n]} here" for n in differing)
        raise UserError(f"--init_set={path} does not fit this run ({about}): give another set")
    order = np.argsort(shared.synthetic.labels, kind="stable")
    pixels = preprocess.invert(shared.preprocessor, shared.synthetic.images)[order]
    return jnp.asarray(preprocess.forward(pre, pixels))


def _drawn(
    path: str, ipc: int, raw: RawDataset, pre: preprocess.Preprocessor, train: Dataset, key: Array
) -> Float[Array, "m s s c"]:
    """Random training images of another data set, packed as those of the run: of each class, where it has classes of
    these names, and else of all."""
    k, channels = len(raw.class_names), train.images.shape[-1]
    other = in_order(_data(path), raw.class_names)
    images, labels = other.train.images, other.train.labels
    if images.shape[-1] != channels:
        raise UserError(
            f"--init_set={path} has images of {images.shape[-1]} channels, and this run of {channels}: give another set"
        )
    if other.class_names != raw.class_names:
        labels = np.arange(len(images), dtype=np.int32) % k
    each = ipc * train.packing.held
    if (least := np.bincount(labels, minlength=k).min()) < each:
        raise UserError(
            f"--init_set={path} has {least} images for a class, and this run begins with {each}: give a larger set"
        )
    rows = np.asarray(random_rows(key, jnp.asarray(labels), each, k))
    split = RawSplit(images[rows], np.repeat(np.arange(k, dtype=np.int32), each))
    start = preprocess.to_device(pre, split)._replace(packing=train.packing)
    kept, _ = packed_images(lambda _, d, *__: (d.images, d.labels), key, start, ipc, k)
    return train.packing.stored(kept)
