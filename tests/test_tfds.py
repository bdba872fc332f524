"""Sets of TensorFlow Datasets, where the extra is installed: a small one is prepared here."""

import sys

import numpy as np
import pytest
from PIL import Image

from medjax.data import sources
from medjax.errors import UserError


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(UserError, match=r"medjax\[tfds\]"):
        sources.load("tfds:malaria")


@pytest.fixture(scope="module")
def tfds():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("tensorflow_datasets")


def pictures(count, shape):
    """Images whose first pixel is their label."""
    rng = np.random.default_rng(0)
    for i in range(count):
        image = rng.integers(0, 256, shape, dtype=np.uint8)
        image[...] = image // 2 + 60 * (i % 3)
        picture = Image.fromarray(image[..., 0] if shape[2] == 1 else image)
        yield i, {"image": picture, "label": ("a", "b", "c")[i % 3]}


def make(tfds, name, splits, shape=(10, 10, 3), labels=True):
    """A builder that TFDS knows by its name from then on."""

    def info(self):
        label = tfds.features.ClassLabel(names=["a", "b", "c"]) if labels else tfds.features.Text()
        features = {"image": tfds.features.Image(shape=shape), "label": label}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def generators(self, manager):
        return {split: pictures(count, [s or 12 for s in shape]) for split, count in splits.items()}

    parts = {
        "VERSION": tfds.core.Version("1.0.0"),
        "_info": info,
        "_split_generators": generators,
        "_generate_examples": lambda self: (),
        "__module__": __name__,
    }
    return type(name, (tfds.core.GeneratorBasedBuilder,), parts)


@pytest.mark.filterwarnings("ignore")
def test_a_set_with_splits(tfds, tmp_path):
    make(tfds, "MedjaxWhole", {"train": 30, "validation": 6, "test": 9})
    raw = sources.load("tfds:medjax_whole", tmp_path)
    assert raw.name == "medjax_whole" and raw.class_names == ("a", "b", "c") and raw.notes == ()
    assert [len(s.labels) for s in (raw.train, raw.val, raw.test)] == [30, 6, 9]
    assert raw.train.images.shape == (30, 10, 10, 3) and raw.train.images.dtype == np.uint8
    means = [raw.train.images[raw.train.labels == k].mean() for k in range(3)]
    assert means[0] + 40 < means[1] < means[2] - 40
    assert sources.load("tfds:medjax_whole", tmp_path).fingerprint == raw.fingerprint


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("splits", "sizes"),
    [({"train": 30}, [21, 3, 6]), ({"train": 30, "test": 6}, [27, 3, 6])],
)
def test_missing_splits_are_made_and_reported(tfds, tmp_path, splits, sizes):
    name = f"MedjaxPart{len(splits)}"
    make(tfds, name, splits)
    raw = sources.load(f"tfds:medjax_part{len(splits)}", tmp_path)
    assert [len(s.labels) for s in (raw.train, raw.val, raw.test)] == sizes
    assert np.bincount(raw.test.labels).tolist() == [2, 2, 2]
    assert "made from train, by class" in raw.notes[-1]


@pytest.mark.filterwarnings("ignore")
def test_any_size_and_sets_without_labels(tfds, tmp_path):
    make(tfds, "MedjaxMixed", {"train": 30, "test": 6}, shape=(None, None, 1))
    raw = sources.load("tfds:medjax_mixed", tmp_path)
    assert raw.train.images.shape == (27, 64, 64, 1) and "resized to 64 px" in raw.notes[0]
    make(tfds, "MedjaxText", {"train": 3}, labels=False)
    with pytest.raises(UserError, match="one label each: choose"):
        sources.load("tfds:medjax_text", tmp_path)
    with pytest.raises(UserError, match="cannot be prepared"):
        sources.load("tfds:no_such_set_at_all", tmp_path)
