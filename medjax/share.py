"""A distilled set as one .npz file with everything its user needs: images, labels, step size, preprocessing, names.

Keys: ``images`` float32 [m, s, s, c] in model space, as distilled; ``images_uint8`` the same at a contrast that pixels
can hold (`medjax.data.preprocess.into_range`), inverted and rounded, for the eye and for sharing; ``labels`` int32
[m]; ``step_size`` float32; ``class_names`` [k]; ``preprocess`` ("zca" or "normalise"), ``preprocess_mean``,
``preprocess_forward``, ``preprocess_inverse`` (see `medjax.data.preprocess.Preprocessor`); and the strings ``method``,
``model``, ``dataset``, ``fingerprint``, and ``width`` and ``depth`` of a ConvNet. No pickled objects.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from medjax.data import preprocess
from medjax.data.npz import read_arrays
from medjax.errors import UserError
from medjax.runs import write_arrays
from medjax.types import Synthetic

#: Where a set is from; of a ConvNet also its size, and how much a file may ask for.
ORIGIN = ("method", "model", "dataset", "fingerprint", "width", "depth")
LARGEST = {"width": 4096, "depth": 16}
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


def save(
    path: Path,
    synthetic: Synthetic,
    pre: preprocess.Preprocessor,
    class_names: tuple[str, ...],
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
        preprocess_forward=pre.forward,
        preprocess_inverse=pre.inverse,
        **{name: np.array(value) for name, value in origin.items()},
    )


def load(path: Path) -> SharedSet:
    """Read the file. Raises UserError where it is missing, cut short or not such a file."""
    if not path.is_file():
        raise UserError(f"{path} does not exist: give the path of a synthetic.npz")
    try:
        z: dict[str, Any] = read_arrays(path)
        images = np.asarray(z["images"], np.float32)
        pre = preprocess.Preprocessor(
            str(z["preprocess"]),
            images.shape[1],
            z["preprocess_mean"],
            z["preprocess_forward"],
            z["preprocess_inverse"],
        )
        labels, step_size = z["labels"], np.float32(z["step_size"])
        names = tuple(str(n) for n in z["class_names"])
        _check(images, z["images_uint8"], labels, pre, names)
        if step_size.shape:
            raise ValueError("step_size is no number")
        synthetic = Synthetic(
            jnp.asarray(images), jnp.asarray(labels, jnp.int32), jnp.float32(step_size)
        )
        origin = {n: str(z[n]) for n in ORIGIN if n in z}
        if any(not 1 <= int(origin.get(n, "1")) <= most for n, most in LARGEST.items()):
            raise ValueError("a ConvNet of this width or depth cannot be")
        return SharedSet(synthetic, z["images_uint8"], pre, names, origin)
    except BROKEN as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path} is not a whole distilled set ({reason}): give a synthetic.npz written by medjax"
        ) from error


def _check(
    images: np.ndarray,
    pixels: np.ndarray,
    labels: np.ndarray,
    pre: preprocess.Preprocessor,
    names: tuple[str, ...],
) -> None:
    """ValueError where the parts of a file do not fit each other."""
    m, s, _, c = images.shape
    d = s * s * c
    shapes = {"zca": ((d,), (d, d), (d, d)), "normalise": ((c,), (c,), (c,))}
    maps = (pre.mean, pre.forward, pre.inverse)
    sound = {
        "images": m > 0 and s == images.shape[2] and c in (1, 3) and np.isfinite(images).all(),
        "images_uint8": pixels.shape == images.shape and pixels.dtype == np.uint8,
        "labels": labels.shape == (m,) and labels.dtype.kind in "iu",
        "class_names": len(names) > 1 and bool(((labels >= 0) & (labels < len(names))).all()),
        "preprocess": tuple(a.shape for a in maps) == shapes.get(pre.kind)
        and all(a.dtype.kind == "f" and np.isfinite(a).all() for a in maps),
    }
    if wrong := [name for name, good in sound.items() if not good]:
        raise ValueError(f"{' and '.join(wrong)} cannot be")


def as_shared(shared: SharedSet) -> Synthetic:
    """The set as a receiver of the 8-bit images sees it: preprocessed again."""
    images = preprocess.apply(shared.preprocessor, shared.images_uint8)
    return shared.synthetic._replace(images=jnp.asarray(images))
