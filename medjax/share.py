"""A distilled set as one .npz file with everything that its user needs.

Keys: ``images`` float32 [m, s, s, c] in model space, as distilled (images that were kept as pixels are rounded to 8
bits first); ``images_uint8`` the same at a contrast that pixels can represent
(`medjax.data.preprocess.into_range`), inverted and rounded, to look at and to share; ``pack``, the factor
f of `medjax.packing`: networks train on the f x f images that each of these holds (`decoded`; 1: on these); ``labels``
int32 [m]; ``soft_labels`` float32 [m, k], the share of each class in each image, only where networks train on these
instead; ``step_size`` float32; ``class_names`` [k]; ``preprocess`` (one of `preprocess.KINDS`), ``preprocess_mean``
and ``preprocess_forward`` (see `medjax.data.preprocess.Preprocessor`; of ZCA's symmetric matrix the lower triangle, row
by row, d (d + 1) / 2 values: 19 MB at 32 px and 3 channels, nearly all of the file); ``network``, JSON: {"name": the
network that the set was distilled with, "config": all of its options}; and strings: ``method``, ``dataset``,
``fingerprint``, ``collapsed`` (whether the learned step size is unusable), and how its run trained networks on the set
(``eval_epochs``, ``eval_steps``, ``eval_batch``, ``eval_augment``, ``eval_recipe``, ``decay_parity``). Nothing in it is
pickled.

Where the 8-bit images alone are shared, ``images`` is empty, [0, s, s, c], and stands for these, preprocessed.

Older files have no ``pack``, which is 1, and the strings ``model`` and, for a ConvNet, ``width`` and ``depth`` in place
of ``network``.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from medjax import models
from medjax.data import preprocess
from medjax.data.archive import read_arrays
from medjax.data.splits import nfc
from medjax.errors import UserError, reason_of
from medjax.eval_config import RECIPES, TRAINING
from medjax.packing import fits
from medjax.paths import user_path
from medjax.store import write_arrays
from medjax.types import Synthetic

#: How a set was made, and how networks were trained on it.
ORIGIN = ("method", "dataset", "fingerprint", "collapsed", "begun", *TRAINING)
SWITCHES = ("collapsed", "eval_augment", "decay_parity")
NUMBERS = ("eval_epochs", "eval_batch")
#: The exceptions that reading a damaged file can raise.
DAMAGE = (ValueError, KeyError, IndexError, TypeError, OverflowError, RecursionError)


class SharedSet(NamedTuple):
    """The content of a file.

    synthetic: the set, as it is stored. images_uint8: its 8-bit images. preprocessor: the fitted preprocessing.
    class_names: k names.
    origin: strings, see ``ORIGIN``; a key may be missing.
    network: (name, configuration) of the network that the set was distilled with; compare it with another by
        `medjax.models.same_network`. The configuration is None for a network that this installation does not know, and
        where an older file does not say it; the whole is None where the file names no network.
    pack: factor of `medjax.packing`; `decoded` gives the images to train on.
    """

    synthetic: Synthetic
    images_uint8: UInt8[np.ndarray, "m s s c"]
    preprocessor: preprocess.Preprocessor
    class_names: tuple[str, ...]
    origin: dict[str, str]
    network: tuple[str, Any] | None
    pack: int = 1


def made_of(origin: Mapping[str, str]) -> str:
    """The names of the data sets that a set comes from, with commas: its own, and those of the set that it began with.
    origin: of the set."""
    names = [origin.get("dataset") or "unknown", *origin.get("begun", "").split(",")]
    return ",".join(dict.fromkeys(filter(None, names)))


def save_set(
    path: Path,
    synthetic: Synthetic,
    pre: preprocess.Preprocessor,
    class_names: tuple[str, ...],
    *,
    network: tuple[str, Any] | None,
    pack: int = 1,
    pixels: bool = False,
    **origin: str,
) -> None:
    """Write the file, atomically. synthetic: as it is stored. network: (name, configuration) of the network that the
    set was distilled with, as in `SharedSet`. pixels: the images are 8-bit ones, preprocessed, and stored as these
    alone. origin: the strings of ``ORIGIN`` that are known."""
    if network:
        name, config = network
        values = None if config is None else dataclasses.asdict(config)
        origin["network"] = json.dumps({"name": name, "config": values})
    soft = {} if synthetic.soft is None else {"soft_labels": synthetic.soft}
    write_arrays(
        path,
        **soft,
        images=synthetic.images[: 0 if pixels else None],
        images_uint8=preprocess.to_uint8(pre, preprocess.into_range(pre, synthetic.images, pack)),
        pack=np.int32(pack),
        labels=synthetic.labels,
        step_size=synthetic.step_size,
        class_names=np.array(class_names),
        preprocess=np.array(pre.kind),
        preprocess_mean=pre.mean,
        preprocess_forward=_packed(pre.forward),
        **{name: np.array(value) for name, value in origin.items()},
    )


def load_set(path: str | os.PathLike) -> SharedSet:
    """Read the file. Raises UserError where it is missing, damaged or not such a file."""
    path = user_path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"{path} {what}: give the path of a synthetic.npz")
    about = path.stat()
    return _loaded(path, about.st_mtime_ns, about.st_size, tuple(models.MODELS))


@functools.lru_cache(maxsize=1)
def _loaded(path: Path, changed: int, size: int, networks: tuple[str, ...]) -> SharedSet:
    """The set of a file as it is now, with the networks that are known now: a run that starts from one asks several
    times, and the inverse of ZCA takes seconds."""
    try:
        z: dict[str, Any] = read_arrays(path)
        stored = len(z["images"]) > 0
        z["images"] = images = np.asarray(z["images" if stored else "images_uint8"], np.float32)
        _check(z)
        kind, mean = str(z["preprocess"]), z["preprocess_mean"]
        maps = _maps(kind, z["preprocess_forward"], len(mean))
        pre = preprocess.Preprocessor(kind, images.shape[1], mean, *maps)
        for array in (z["images_uint8"], mean, *maps):
            array.flags.writeable = False  # every caller gets the same
        images = images if stored else preprocess.apply(pre, z["images_uint8"])
        labels, step_size = z["labels"].astype(np.int32), np.float32(z["step_size"])
        soft = jnp.asarray(z["soft_labels"]) if "soft_labels" in z else None
        synthetic = Synthetic(*map(jnp.asarray, (images, labels, step_size)))._replace(soft=soft)
        origin = {n: str(z[n]) for n in ORIGIN if n in z}
        names = tuple(nfc(str(n)) for n in z["class_names"])
        parts = synthetic, z["images_uint8"], pre, names, origin, _network(z)
        return SharedSet(*parts, int(z.get("pack", 1)))
    except DAMAGE as error:
        reason = f"no {error}" if isinstance(error, KeyError) else reason_of(error)
        raise UserError(
            f"{path} is not a whole distilled set ({reason}): give a synthetic.npz written by medjax"
        ) from error


def _network(z: dict[str, Any]) -> tuple[str, Any] | None:
    """The network of a file. Raises one of ``DAMAGE`` for a value that does not fit."""
    if "network" in z:
        stored = json.loads(str(z["network"]))
        name, values = stored["name"], stored["config"]
    elif "model" in z:  # written before there was "network"
        name = str(z["model"])
        shape = {n: int(str(z[n])) for n in ("width", "depth") if n in z}
        # A ResNet's options were not written; networks other than these two had no flags.
        values = None if name == "resnet18" or (name == "convnet" and len(shape) < 2) else shape
    else:
        return None
    if not isinstance(name, str) or not isinstance(values, dict | None):
        raise ValueError("network must be a name and its options")
    if values is None or name not in models.MODELS:
        return name, None
    return name, models.network_config(name, values)


def _packed(forward: np.ndarray) -> np.ndarray:
    """The lower triangle of a symmetric matrix, row by row; a vector unchanged."""
    return forward[np.tril_indices(len(forward))] if forward.ndim == 2 else forward


def _maps(kind: str, forward: np.ndarray, d: int) -> tuple[np.ndarray, np.ndarray]:
    """The forward and the inverse map from the packed forward map (`_packed`)."""
    if kind == "zca":
        whole = np.zeros((d, d), np.float32)
        whole[np.tril_indices(d)] = forward
        forward = whole + np.tril(whole, -1).T
        inverse = np.linalg.inv(forward.astype(np.float64)).astype(np.float32)
    else:
        with np.errstate(divide="ignore"):
            inverse = 1 / forward
    if not np.isfinite(inverse).all():
        raise ValueError("preprocess has no inverse")
    return forward, inverse


def _check(z: dict[str, np.ndarray]) -> None:
    """Raises ValueError where the arrays of a file do not fit each other."""
    images, pixels, labels, k = z["images"], z["images_uint8"], z["labels"], len(z["class_names"])
    pack = z.get("pack", np.int32(1))
    m, s, _, c = images.shape
    d = s * s * c
    shapes = dict.fromkeys(preprocess.KINDS, ((c,), (c,))) | {"zca": ((d,), (d * (d + 1) // 2,))}
    maps = [z["preprocess_mean"], z["preprocess_forward"]]
    sound = {
        "images": m > 0 and s == images.shape[2] and c in (1, 3) and np.isfinite(images).all(),
        "images_uint8": pixels.shape == images.shape and pixels.dtype == np.uint8,
        "labels": labels.shape == (m,) and labels.dtype.kind in "iu",
        "soft_labels": "soft_labels" not in z or _are_shares(z["soft_labels"], (m, k)),
        "class_names": k > 1
        and len(set(map(str, z["class_names"]))) == k
        and bool(((labels >= 0) & (labels < k)).all()),
        "step_size": z["step_size"].shape == () and bool(np.isfinite(z["step_size"])),
        "pack": pack.shape == () and pack.dtype.kind in "iu" and pack > 0 and fits(int(pack), s),
        "preprocess": tuple(a.shape for a in maps) == shapes.get(str(z["preprocess"]))
        and all(a.dtype.kind == "f" and np.isfinite(a).all() for a in maps),
        **{n: str(z[n]) in ("True", "False") for n in SWITCHES if n in z},
        **{n: 1 <= int(str(z[n])) <= 10**6 for n in NUMBERS if n in z},
        "eval_recipe": str(z.get("eval_recipe", RECIPES[0])) in RECIPES,
        "eval_steps": 0 <= int(str(z.get("eval_steps", 0))) <= 10**6,
    }
    if wrong := [name for name, good in sound.items() if not good]:
        raise ValueError(f"{' and '.join(wrong)} do not fit")


def _are_shares(soft: np.ndarray, shape: tuple[int, int]) -> bool:
    """Whether each row is a distribution over the classes."""
    if soft.shape != shape or soft.dtype != np.float32:
        return False
    return bool((soft >= 0).all() and np.allclose(soft.sum(1), 1, atol=1e-3))


def decoded(shared: SharedSet) -> Synthetic:
    """The set as networks train on it, in model space: where images are packed, those that they hold, with a label
    each (`medjax.data.preprocess.decoded`)."""
    return preprocess.decoded(shared.preprocessor, shared.synthetic, shared.pack)


def is_8bit(shared: SharedSet) -> bool:
    """Whether the set, as it is stored, is its 8-bit images: `as_shared` and `decoded` are one."""
    images = preprocess.apply(shared.preprocessor, shared.images_uint8)
    return np.allclose(shared.synthetic.images, images, rtol=0, atol=1e-4)


def as_shared(shared: SharedSet) -> Synthetic:
    """`decoded`, as a receiver of the 8-bit images has it: these images, preprocessed again."""
    images = preprocess.apply(shared.preprocessor, shared.images_uint8)
    received = shared.synthetic._replace(images=jnp.asarray(images))
    return preprocess.decoded(shared.preprocessor, received, shared.pack)
