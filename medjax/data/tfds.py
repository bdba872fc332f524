"""Any image-classification set of TensorFlow Datasets -> RawDataset, read without TensorFlow (extra ``tfds``)."""

import contextlib
import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from medjax import memory
from medjax.data.folder import SHARES, split_groups
from medjax.data.phantom import fingerprint
from medjax.data.pixels import square
from medjax.errors import UserError
from medjax.types import RawDataset, RawSplit

#: Side that images of mixed sizes are brought to.
SIDE = 64
#: The set whose builder is medjax's own.
OURS = "med_mnist"


def read_tfds(name: str, data_dir: Path | str | None = None) -> RawDataset:
    """The set that TFDS calls ``name`` ("malaria", "med_mnist/bloodmnist"); prepared there first if it is not yet.

    data_dir: TFDS's data folder, default its own. A set with a test split gives up a tenth of train as val where it
    has none; one with train alone is split 70/10/20 by class. Raises UserError where it cannot be had or has no images
    with one label each.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            tfds: Any = importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise UserError(
            f"tfds:{name} needs TensorFlow Datasets: pip install 'medjax[tfds]'"
        ) from error
    if name.partition("/")[0] == OURS:
        # Registers it; not above, because it reads with `sources`. A bare name would be the first of its sets.
        ours = importlib.import_module("medjax.data.med_mnist")
        ours.meant(name.partition("/")[2].partition(":")[0])
    try:
        builder: Any = tfds.builder(name, data_dir=data_dir or None, file_format="array_record")
        builder.download_and_prepare()
    except UserError:
        raise  # med_mnist's own line
    except Exception as error:  # an unknown name, no network, a checksum: TFDS has a kind for each
        reason = (" ".join(str(error).split()) or type(error).__name__)[:300]
        raise UserError(f"tfds:{name} cannot be prepared: {reason}") from error
    features = builder.info.features
    if not {"image", "label"} <= set(features or ()) or not hasattr(features["label"], "names"):
        raise UserError(f"tfds:{name} is no set of images with one label each.")
    notes: list[str] = []
    given = {new: old for new, old in _splits(builder).items() if old}
    read = {new: _read(builder, old, features["image"].shape, notes) for new, old in given.items()}
    if "train" not in read:
        raise UserError(f"tfds:{name} has no train split.")
    if missing := [split for split in ("val", "test") if split not in read]:
        shares = {"val test": SHARES, "val": (0.9, 0.1, 0.0), "test": (0.8, 0.0, 0.2)}
        whole, wanted = read["train"], shares[" ".join(missing)]
        homes = split_groups(whole.labels, np.arange(len(whole.labels)), wanted, seed=0)
        for number, split in enumerate(("train", "val", "test")):
            if split == "train" or split in missing:
                read[split] = RawSplit(whole.images[homes == number], whole.labels[homes == number])
        notes.append(
            f"tfds:{name} has no {' and no '.join(missing)} split: taken from train, by class."
        )
    stem = name.replace("/", "-").replace(":", "-")
    names = tuple(str(n) for n in features["label"].names)
    return RawDataset(
        stem, names, **read, fingerprint=fingerprint(**read), notes=tuple(dict.fromkeys(notes))
    )


def _splits(builder: Any) -> dict[str, str | None]:
    """Our name of a split -> theirs."""
    there = set(builder.info.splits)
    val = next((name for name in ("validation", "val", "valid", "dev") if name in there), None)
    return {"train": "train" if "train" in there else None, "val": val} | {
        "test": "test" if "test" in there else None
    }


def _read(builder: Any, split: str, shape: tuple, notes: list[str]) -> RawSplit:
    """One split, its images square and of one side."""
    source = builder.as_data_source(split=split)
    h, w, c = shape
    side = min(h, w) if h and w else SIDE
    needed = len(source) * side * side * (c or 3)
    if needed > memory.available() // 2:
        raise UserError(
            f"tfds:{builder.name} {split}: {len(source)} images of {side} px need {memory.words(needed)}; half of the"
            f" free memory here is {memory.words(memory.available() // 2)}."
        )
    if h != w or not h:
        notes.append(
            f"images of {h or 'any'} x {w or 'any'} px: centre square, brought to {side} px."
        )
    images, labels = [], []
    for item in source:
        image = np.asarray(item["image"])
        image = image[..., None] if image.ndim == 2 else image
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
            raise UserError(
                f"tfds:{builder.name} has images of {image.dtype} {image.shape}; medjax takes uint8 [h, w, 1 or 3]."
            )
        if image.shape[:2] != (side, side):
            planes = [square(plane, side) for plane in image.transpose(2, 0, 1)]
            image = np.rint(np.stack(planes, -1).clip(0, 255)).astype(np.uint8)
        images.append(image)
        labels.append(int(item["label"]))
    return RawSplit(np.stack(images), np.asarray(labels, np.int32))
