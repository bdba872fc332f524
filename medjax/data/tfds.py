"""Any image-classification set of TensorFlow Datasets -> RawDataset, read without TensorFlow (extra ``tfds``)."""

import contextlib
import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from medjax import memory
from medjax.data.labels import renumbered
from medjax.data.pixels import square
from medjax.data.raw import SPLITS, pick, raw_dataset
from medjax.data.splits import SHARES, split_groups, split_of
from medjax.errors import UserError, first_few, reason_of
from medjax.paths import user_path
from medjax.types import RawDataset, RawSplit

#: Side that images of mixed sizes are resized to, in pixels.
SIDE = 64
#: The set whose builder is medjax's own.
OURS = "med_mnist"


def read_tfds(name: str, data_dir: Path | str | None = None) -> RawDataset:
    """The set that TFDS calls ``name`` ("malaria", "med_mnist/bloodmnist"); it is prepared first where necessary.

    data_dir: TFDS's data folder, default its own. Where a set has a test split but no val split, a tenth of train
    becomes val; a set with train alone is split 70/10/20 by class. Raises UserError where the set cannot be prepared or
    does not have images with one label each.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            tfds: Any = importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise UserError(
            f"tfds:{name} needs TensorFlow Datasets: pip install 'medjax[tfds]'"
        ) from error
    notes: list[str] = []
    if name.partition("/")[0] == OURS:
        # The import registers the builder; it stands here because that module needs the extra. The check refuses a
        # bare "med_mnist", for which TFDS would take the first of its sets.
        module = importlib.import_module("medjax.data.med_mnist")
        entry, _ = module.entry_of(name.partition("/")[2].partition(":")[0])
        notes += entry.notes
    try:
        folder = user_path(data_dir) if data_dir else None
        builder: Any = tfds.builder(name, data_dir=folder, file_format="array_record")
        builder.download_and_prepare()
    except UserError:
        raise  # from our own builder
    except ModuleNotFoundError as error:
        raise UserError(
            f"tfds:{name} is made by TFDS with {error.name}, which is not installed: install it (pip install"
            f" {error.name}), or unpack the images into a folder and run experiments.prepare --folder=FOLDER"
        ) from error
    except Exception as error:  # TFDS has a type for each: an unknown name, no network, a checksum
        raise UserError(f"tfds:{name} cannot be prepared: {reason_of(error)[:300]}") from error
    features = builder.info.features
    if not {"image", "label"} <= set(features or ()) or not hasattr(features["label"], "names"):
        raise UserError(f"tfds:{name} does not have images with one label each: choose another set")
    given: dict[str, str] = {}
    for theirs in builder.info.splits:
        if ours := split_of(theirs):
            given.setdefault(ours, theirs)
    if others := [theirs for theirs in builder.info.splits if theirs not in given.values()]:
        notes.append(f"splits of tfds:{name} that are not read: {first_few(others)}.")
    read = {ours: _read(builder, given[ours], notes) for ours in SPLITS if ours in given}
    if "train" not in read:
        raise UserError(f"tfds:{name} has no train split: choose another set.")
    if missing := [split for split in ("val", "test") if split not in read]:
        shares = {"val test": SHARES, "val": (0.9, 0.1, 0.0), "test": (0.8, 0.0, 0.2)}
        whole, wanted = read["train"], shares[" ".join(missing)]
        homes = split_groups(whole.labels, np.arange(len(whole.labels)), wanted, seed=0)
        for number, split in enumerate(SPLITS):
            if split == "train" or split in missing:
                read[split] = pick(whole, homes == number)
        notes.append(f"no {' and no '.join(missing)} split: made from train, by class.")
    made = f"its {' and '.join(missing)} images are drawn from train, outside the guarantee: choose a set that has some"
    stem = name.replace("/", "-").replace(":", "-")
    # Some sets have classes without an image.
    labels = {split: part.labels for split, part in read.items()}
    labels, present = renumbered(Path(f"tfds:{name}"), labels, notes)
    read = {split: part._replace(labels=labels[split]) for split, part in read.items()}
    names = tuple(str(features["label"].names[i]) for i in present)
    return raw_dataset(stem, names, read, notes, [made] if missing else [])


def _read(builder: Any, split: str, notes: list[str]) -> RawSplit:
    """One split, its images square and all of one side."""
    source = builder.as_data_source(split=split)
    h, w, c = builder.info.features["image"].shape
    side = min(h, w) if h and w else SIDE
    needed = len(source) * side * side * (c or 3)
    if needed > memory.available() // 2:
        raise UserError(
            f"tfds:{builder.name} {split}: {len(source)} images of {side} px need {memory.words(needed)}, more than"
            f" half of the free memory ({memory.words(memory.available() // 2)}): use a machine with more memory."
        )
    if h != w or not h:
        notes.append(
            f"images of {h or 'any'} x {w or 'any'} px: cut to their centre square and resized to {side} px."
        )
    images, labels = [], []
    for item in source:
        image = np.asarray(item["image"])
        image = image[..., None] if image.ndim == 2 else image
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
            raise UserError(
                f"tfds:{builder.name} has images of {image.dtype} {image.shape}, expected uint8 [h, w, 1 or 3]."
            )
        if image.shape[:2] != (side, side):
            planes = [square(plane, side) for plane in image.transpose(2, 0, 1)]
            image = np.rint(np.stack(planes, -1).clip(0, 255)).astype(np.uint8)
        images.append(image)
        labels.append(int(item["label"]))
    if bare := sum(label < 0 for label in labels):
        raise UserError(
            f"tfds:{builder.name} {split}: {bare} of {len(labels)} images have no label (a number below 0): choose"
            " another set"
        )
    return RawSplit(np.stack(images), np.asarray(labels, np.int32))
