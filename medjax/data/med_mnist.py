"""The named sets as a set of TensorFlow Datasets, for users who keep their data there: ``med_mnist/bloodmnist``.

Importing this module registers the builder; it needs the extra ``tfds``. The builder prepares from the file that medjax
itself reads (`named.fetch`: found or downloaded, its MD5 verified), so that the facts about the files stay in one
place.
"""

import importlib
from collections.abc import Iterator
from typing import Any

from PIL import Image

from medjax.data.catalog import CATALOG, RECORD, SIDES, Entry, file_name, find
from medjax.data.named import read_named, refuse_multi_label
from medjax.data.raw import SPLITS
from medjax.errors import UserError
from medjax.types import RawSplit

# By name: TFDS loads its parts lazily, in a way that type checkers cannot follow.
tfds: Any = importlib.import_module("tensorflow_datasets")


def _config(entry: Entry, side: int) -> Any:
    """The configuration of one set at one size; it has the name that medjax uses everywhere."""
    name, k = file_name(entry, side).removesuffix(".npz"), len(entry.class_names)
    text = f"{entry.name}, {side} px, {k} classes, {entry.licence}, from {RECORD}"
    return tfds.core.BuilderConfig(name=name, description=text)


def entry_of(config: str) -> tuple[Entry, int]:
    """The set and side of a configuration's name. Raises UserError for an unknown name and a multi-label set."""
    if (named := find(config)) is None:
        raise UserError(
            f"med_mnist/{config}: no such set; give med_mnist/NAME, one of {', '.join(CATALOG)}."
        )
    refuse_multi_label(named[0])
    return named


class MedMnist(tfds.core.GeneratorBasedBuilder):
    """``med_mnist/<set>``, <set> a name of the catalog ("bloodmnist", "bloodmnist_64"): features ``image``, uint8
    [s, s, c], and ``label`` with the class names; splits ``train``, ``val`` and ``test`` in the order of the file.

    ``tfds.data_source`` reads it without TensorFlow. Raises UserError for the multi-label set ChestMNIST and, when the
    set is prepared, where `named.read_named` does.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: dict[str, str] = {"1.0.0": f"The files of {RECORD}."}  # noqa: RUF012
    BUILDER_CONFIGS: list[Any] = [_config(e, side) for e in CATALOG.values() for side in SIDES]  # noqa: RUF012

    def _info(self) -> Any:
        entry, side = entry_of(self.builder_config.name)
        features = {
            "image": tfds.features.Image(shape=(side, side, entry.channels)),
            "label": tfds.features.ClassLabel(names=entry.class_names),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            homepage="https://medmnist.com",
            license=entry.licence,
            # In the order of the file, so that the set has the same fingerprint when it is read from the file.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        raw = read_named(*entry_of(self.builder_config.name))
        return {name: self._generate_examples(getattr(raw, name)) for name in SPLITS}

    def _generate_examples(self, split: RawSplit) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
            # TFDS would encode arrays with TensorFlow, but encodes PIL images without it. PIL's grey images are 2-D.
            picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
            yield index, {"image": picture, "label": int(label)}
