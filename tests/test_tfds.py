"""Sets of TensorFlow Datasets, where the extra is installed: a small one is prepared here."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from medjax.data import sources
from medjax.errors import UserError


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(UserError, match=r"medjax\[tfds\]"):
        sources.load("tfds:malaria")


class Builder:
    """What medjax uses of a builder of TFDS."""

    names = ("a", "b")

    def __init__(self, **splits):
        names = SimpleNamespace(names=self.names)
        features = {"image": SimpleNamespace(shape=(6, 6, 1)), "label": names}
        self.name, self.splits = "made", splits
        self.info = SimpleNamespace(features=features, splits=dict.fromkeys(splits))

    def download_and_prepare(self):
        pass

    def as_data_source(self, split):
        images, labels = self.splits[split]
        return [{"image": i, "label": k} for i, k in zip(images, labels, strict=True)]


def split(count, labels=None, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (count, 6, 6, 1), dtype=np.uint8)
    return images, np.arange(count) % 2 if labels is None else labels


def load_made(monkeypatch, **splits):
    """A set of these splits, read without the extra."""
    module = SimpleNamespace(builder=lambda *_, **__: Builder(**splits))
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    return sources.load("tfds:made")


def test_what_splits_share_and_lack_is_said(monkeypatch):
    """Whatever the source of a set, the same is looked for."""
    train = split(30)
    test = (np.concatenate([train[0][:3], split(5, seed=1)[0]]), np.zeros(8, int))
    raw = load_made(monkeypatch, train=train, valid=split(6, seed=2), test=test, extra=split(4))
    assert raw.notes == (
        "splits of tfds:made that are not read: extra.",
        "WARNING: test has no image of b: the scores say nothing about it.",
        "3 of the 8 test images are also in train: scores will be too high.",
    )
    assert [len(s.labels) for s in (raw.train, raw.val, raw.test)] == [30, 6, 8]


def test_a_class_without_an_image_is_left_out(monkeypatch):
    """Other sets have their labels renumbered too. A class that only another split has is refused."""
    images, ones = split(9)[0], np.ones(9, int)
    mixed = np.arange(9) % 2 * 2  # of classes a and c
    parts = {"train": (images, mixed), "validation": (images, mixed), "test": (images, mixed)}
    monkeypatch.setattr(Builder, "names", ["a", "b", "c"])
    raw = load_made(monkeypatch, **parts)
    assert raw.class_names == ("a", "c") and set(raw.test.labels) == {0, 1}
    assert any("renumbered" in note for note in raw.notes)
    with pytest.raises(UserError, match="test_labels holds class 1, not in train"):
        load_made(monkeypatch, **parts | {"test": (images, ones)})


def test_what_a_builder_needs_is_named(monkeypatch):
    """Some builders of TFDS import TensorFlow when they prepare their set: what to do instead is said."""

    def builder(*_, **__):
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    module = SimpleNamespace(builder=builder)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    with pytest.raises(
        UserError, match=r"with tensorflow, which is not installed.*experiments\.prepare"
    ):
        sources.load("tfds:made")


def test_images_without_a_label_are_refused(monkeypatch):
    """Sets of competitions keep the labels of test: TFDS has -1 there."""
    with pytest.raises(UserError, match="made test: 8 of 8 images have no label"):
        load_made(monkeypatch, train=split(30), test=split(8, np.full(8, -1), seed=1))


def test_one_split_by_two_names(monkeypatch):
    raw = load_made(monkeypatch, train=split(30), dev=split(6, seed=1), val=split(4, seed=2))
    assert len(raw.val.labels) == 6 and "not read: val" in raw.notes[0]


@pytest.fixture(scope="module")
def tfds():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("tensorflow_datasets")


def pictures(count, shape, seed):
    """Images whose brightness is their label."""
    rng = np.random.default_rng(seed)
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
        sides = [s or 12 for s in shape]
        return {split: pictures(n, sides, i) for i, (split, n) in enumerate(splits.items())}

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
