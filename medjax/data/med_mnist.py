"""The named sets as a set of TensorFlow Datasets, for those who keep their data there: ``med_mnist/bloodmnist``.

Importing this module (it needs the extra ``tfds``) registers the builder. It prepares from the file that medjax itself
uses, found or downloaded by `sources.fetch` and verified by its MD5: nothing is stored about the files twice.
"""

import importlib
from collections.abc import Iterator
from typing import Any

from PIL import Image

from medjax.data import sources
from medjax.data.catalog import CATALOG, RECORD, SIDES, Entry, file_name, find
from medjax.errors import UserError
from medjax.types import RawSplit

# By name: TFDS loads its parts lazily, in a way that type checkers do not see through.
tfds: Any = importlib.import_module("tensorflow_datasets")


def _config(entry: Entry, side: int) -> Any:
    """The configuration of one set at one size, named as everywhere in medjax."""
    text = (
        f"{entry.name}, {side} px, {len(entry.class_names)} classes, {entry.licence}, from {RECORD}"
    )
    return tfds.core.BuilderConfig(
        name=file_name(entry, side).removesuffix(".npz"), description=text
    )


def meant(config: str) -> tuple[Entry, int]:
    """The set and side of a configuration's name. Raises UserError for another name and a set that medjax refuses."""
    if (named := find(config)) is None:
        raise UserError(
            f"med_mnist/{config}: no such set; give med_mnist/NAME, one of {', '.join(CATALOG)}."
        )
    sources.refuse_multi_label(named[0])
    return named


class MedMnist(tfds.core.GeneratorBasedBuilder):
    """``med_mnist/<set>``, <set> a name of the catalog ("bloodmnist", "bloodmnist_64"): features ``image``, uint8
    [s, s, c], and ``label`` with the class names; splits ``train``, ``val`` and ``test`` in the order of the file.

    ``tfds.data_source`` reads it without TensorFlow. Raises UserError for ChestMNIST, whose images have several labels,
    and, when it is prepared, where `sources.load` does.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: dict[str, str] = {"1.0.0": f"The files of {RECORD}."}  # noqa: RUF012
    BUILDER_CONFIGS: list[Any] = [_config(e, side) for e in CATALOG.values() for side in SIDES]  # noqa: RUF012

    def _info(self) -> Any:
        entry, side = meant(self.builder_config.name)
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
            # In the order of the file, so that medjax sees one and the same set (and fingerprint) on either way.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        raw = sources.load(self.builder_config.name)
        return {
            name: self._generate_examples(getattr(raw, name)) for name in ("train", "val", "test")
        }

    def _generate_examples(self, split: RawSplit) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
            # PIL images: TFDS encodes arrays with TensorFlow. PIL's grey images have no third axis.
            picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
            yield index, {"image": picture, "label": int(label)}
