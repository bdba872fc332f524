"""A distilled set as one .npz file with everything its user needs: images, labels, step size, preprocessing, names.

Keys: ``images`` float32 [m, s, s, c] in model space, as distilled; ``images_uint8`` the same at a contrast that pixels
can hold (`medjax.data.preprocess.into_range`), inverted and rounded, for the eye and for sharing; ``labels`` int32
[m]; ``step_size`` float32; ``class_names`` [k]; ``preprocess`` ("zca" or "normalise"), ``preprocess_mean`` and
``preprocess_forward`` (see `medjax.data.preprocess.Preprocessor`; of ZCA's symmetric matrix the lower triangle, row by
row, d (d + 1) / 2 values: 19 MB at 32 px and 3 channels, nearly all of the file); and strings: ``method``, ``model``,
``dataset``, ``fingerprint``, ``width`` and ``depth`` of a ConvNet, ``collapsed`` (whether the learned step size is none
to train with), and how its run trained networks on it (``eval_epochs``, ``eval_batch``, ``eval_augment``,
``decay_parity``). No pickled objects.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from medjax.data import preprocess
from medjax.data.npz import read_arrays
from medjax.errors import UserError
from medjax.evaluate import TRAINING
from medjax.store import write_arrays
from medjax.types import Synthetic

#: Where a set is from; of a ConvNet also its size; how networks were trained on it.
ORIGIN = ("method", "model", "dataset", "fingerprint", "width", "depth", "collapsed")
ORIGIN += TRAINING
SWITCHES = ("collapsed", "eval_augment", "decay_parity")
#: How much a file may ask for.
LARGEST = {"width": 4096, "depth": 16, "eval_epochs": 10**6, "eval_batch": 10**6}
#: What arrays of another kind raise on the way.
BROKEN = (ValueError, KeyError, IndexError, TypeError, OverflowError)


class SharedSet(NamedTuple):
    """What `load` gives back: the set, its 8-bit images, the fitted preprocessing, class names, and where it is from
    (`ORIGIN`)."""

    synthetic: Synthetic
    images_uint8: UInt8[np.ndarray, "m s s c"]
    preprocessor: preprocess.Preprocessor
    class_names: tuple[str, ...]
    origin: dict[str, str]
    network: tuple = ("convnet", None)


def save(
    path: Path,
    synthetic: Synthetic,
    pre: preprocess.Preprocessor,
    class_names: tuple[str, ...],
    network=None,
    **origin: str,
) -> None:
    """Write the file, atomically."""
    write_arrays(
        path,
        images=synthetic.images,
        images_uint8=preprocess.to_uint8(pre, preprocess.into_range(pre, synthetic.images)),
        labels=synthetic.labels,
        step_size=synthetic.step_size,
        class_names=np.array(class_names),
        preprocess=np.array(pre.kind),
        preprocess_mean=pre.mean,
        preprocess_forward=_packed(pre.forward),
        **{name: np.array(value) for name, value in origin.items()},
    )


def load(path: Path) -> SharedSet:
    """Read the file. Raises UserError where it is missing, cut short or not such a file."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"{path} {what}: give the path of a synthetic.npz")
    try:
        z: dict[str, Any] = read_arrays(path)
        images = np.asarray(z["images"], np.float32)
        kind, mean, forward = str(z["preprocess"]), z["preprocess_mean"], z["preprocess_forward"]
        labels, step_size = z["labels"], np.float32(z["step_size"])
        names = tuple(str(n) for n in z["class_names"])
        _check(images, z["images_uint8"], labels, (kind, mean, forward), names)
        pre = preprocess.Preprocessor(kind, images.shape[1], mean, *_maps(kind, forward, len(mean)))
        if step_size.shape:
            raise ValueError("step_size is no number")
        synthetic = Synthetic(
            jnp.asarray(images), jnp.asarray(labels, jnp.int32), jnp.float32(step_size)
        )
        origin = {n: str(z[n]) for n in ORIGIN if n in z}
        if not {origin.get(name, "True") for name in SWITCHES} <= {"True", "False"}:
            raise ValueError(f"{', '.join(SWITCHES)} are True or False")
        if any(not 1 <= int(origin.get(n, "1")) <= most for n, most in LARGEST.items()):
            raise ValueError("a network of this size, or so long a training, cannot be")
        return SharedSet(synthetic, z["images_uint8"], pre, names, origin)
    except BROKEN as error:
        reason = " ".join(str(error).split())
        reason = f"no {reason}" if isinstance(error, KeyError) else reason
        raise UserError(
            f"{path} is not a whole distilled set ({reason}): give a synthetic.npz written by medjax"
        ) from error


def _packed(forward: np.ndarray) -> np.ndarray:
    """The lower triangle of a (symmetric) matrix, row by row; a vector as it is."""
    return forward[np.tril_indices(len(forward))] if forward.ndim == 2 else forward


def _maps(kind: str, forward: np.ndarray, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Forward and inverse map from what `_packed` left of the forward one."""
    if kind == "zca":
        whole = np.zeros((d, d), np.float32)
        whole[np.tril_indices(d)] = forward
        forward = whole + np.tril(whole, -1).T
        inverse = np.linalg.inv(forward.astype(np.float64)).astype(np.float32)
    else:
        with np.errstate(divide="ignore"):
            inverse = 1 / forward
    if not np.isfinite(inverse).all():
        raise ValueError("preprocess cannot be undone")
    return forward, inverse


def _check(
    images: np.ndarray,
    pixels: np.ndarray,
    labels: np.ndarray,
    pre: tuple[str, np.ndarray, np.ndarray],
    names: tuple[str, ...],
) -> None:
    """ValueError where the parts of a file do not fit each other. pre: kind, mean, packed forward map."""
    m, s, _, c = images.shape
    d = s * s * c
    shapes = {"zca": ((d,), (d * (d + 1) // 2,)), "normalise": ((c,), (c,))}
    kind, *maps = pre
    sound = {
        "images": m > 0 and s == images.shape[2] and c in (1, 3) and np.isfinite(images).all(),
        "images_uint8": pixels.shape == images.shape and pixels.dtype == np.uint8,
        "labels": labels.shape == (m,) and labels.dtype.kind in "iu",
        "class_names": len(names) > 1 and bool(((labels >= 0) & (labels < len(names))).all()),
        "preprocess": tuple(a.shape for a in maps) == shapes.get(kind)
        and all(a.dtype.kind == "f" and np.isfinite(a).all() for a in maps),
    }
    if wrong := [name for name, good in sound.items() if not good]:
        raise ValueError(f"{' and '.join(wrong)} cannot be")


def as_shared(shared: SharedSet) -> Synthetic:
    """The set as a receiver of the 8-bit images sees it: preprocessed again."""
    images = preprocess.apply(shared.preprocessor, shared.images_uint8)
    return shared.synthetic._replace(images=jnp.asarray(images))
