"""The named sets through TensorFlow Datasets and through the `medmnist` package, from small files of our own making.

Each half runs where its package is installed: `pip install -e '.[tfds]'`, `pip install --no-deps medmnist`.
"""

import contextlib
import dataclasses
import importlib.util
import io
import sys
import types
import urllib.error
import warnings

import numpy as np
import pytest

from medjax import metrics
from medjax.data import sources
from medjax.data.catalog import CATALOG
from medjax.data.download import checksum
from medjax.errors import UserError

#: Image counts of the files made here; every class of every set occurs in each split.
COUNTS = {"train": 44, "val": 15, "test": 22}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where medjax looks for files; nothing comes from the network or from this user's own folders."""

    def unplugged(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDJAX_DATA", str(tmp_path / "files"))
    monkeypatch.setattr("urllib.request.OpenerDirector.open", unplugged)
    (tmp_path / "files").mkdir()
    return tmp_path / "files"


@pytest.fixture
def made(folder, monkeypatch):
    """name -> the arrays of a file by that name, which the catalog is made to take for the set's own."""

    def make(name):
        entry, rng = CATALOG[name], np.random.default_rng(0)
        shape = (28, 28, 3)[: 2 if entry.channels == 1 else 3]
        arrays = {}
        for split, n in COUNTS.items():
            arrays[f"{split}_images"] = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
            classes = rng.permutation(n) % len(entry.class_names)
            arrays[f"{split}_labels"] = classes.astype(np.uint8)[:, None]
        path = folder / f"{name}.npz"
        np.savez(path, **arrays)
        digests = (checksum(path), *entry.md5[1:])
        monkeypatch.setitem(CATALOG, name, dataclasses.replace(entry, md5=digests))
        return arrays

    return make


# --- TensorFlow Datasets


@pytest.fixture(scope="module")
def tfds():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("tensorflow_datasets")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["bloodmnist", "breastmnist"])  # RGB and grey
def test_a_prepared_set_is_the_file(tfds, made, folder, tmp_path, name):
    arrays, plain = made(name), sources.load(name)
    raw = sources.load(f"tfds:med_mnist/{name}", tmp_path / "tfds")
    assert raw.name == f"med_mnist-{name}" and raw.notes == ()
    assert raw.class_names == plain.class_names == CATALOG[name].class_names
    assert raw.fingerprint == plain.fingerprint
    (folder / f"{name}.npz").unlink()  # what was prepared is enough from now on
    for split, count in COUNTS.items():
        source = tfds.data_source(f"med_mnist/{name}", split=split, data_dir=tmp_path / "tfds")
        assert len(source) == count
        images = np.stack([item["image"] for item in source])
        assert images.dtype == np.uint8 and images.shape[1:] == (28, 28, CATALOG[name].channels)
        expected = arrays[f"{split}_images"].reshape(images.shape)
        np.testing.assert_array_equal(images, expected)
        labels = [item["label"] for item in source]
        np.testing.assert_array_equal(labels, arrays[f"{split}_labels"][:, 0])
    assert "tensorflow" not in sys.modules


@pytest.mark.filterwarnings("ignore")
def test_every_set_has_a_configuration(tfds):
    from medjax.data.med_mnist import MedMnist

    assert MedMnist.name == "med_mnist" and len(MedMnist.builder_configs) == 4 * len(CATALOG)
    assert {"bloodmnist", "bloodmnist_64", "chestmnist_224"} <= set(MedMnist.builder_configs)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("med_mnist/chestmnist", "^chestmnist has 14 labels, several of which"),
        ("med_mnist", "no such set; give med_mnist/NAME, one of pathmnist"),
        ("med_mnist/bloodmnist_65", "bloodmnist_65: no such set"),
        ("med_mnist/bloodmnist", "^cannot download bloodmnist .*by hand"),
    ],
)
def test_a_set_that_cannot_be_prepared_is_one_line(tfds, tmp_path, name, words):
    with pytest.raises(UserError, match=words) as caught:
        sources.load(f"tfds:{name}", tmp_path / "tfds")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_refused(tfds, made, folder, tmp_path):
    made("bloodmnist")
    with (folder / "bloodmnist.npz").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match="damaged or another version"):
        sources.load("tfds:med_mnist/bloodmnist", tmp_path / "tfds")


# --- the medmnist package


@pytest.fixture(scope="module")
def medmnist(tmp_path_factory):
    """The package. It wants torch for one base class and pandas to write tables, 3 GB for what is not used here: where
    they are missing, empty modules stand in while it is imported (and no longer: scikit-learn looks for both, so it
    must be there before)."""
    if importlib.util.find_spec("medmnist") is None:
        pytest.skip("medmnist is not installed")
    importlib.import_module("sklearn.metrics")
    stand_ins = {
        "pandas": {},
        "torch": {},
        "torch.utils": {},
        "torch.utils.data": {"Dataset": object},
    }
    absent = {name for name in ("pandas", "torch") if importlib.util.find_spec(name) is None}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in stand_ins.items():
            if name.partition(".")[0] in absent:
                module = types.ModuleType(name)
                module.__dict__.update(content)
                patch.setitem(sys.modules, name, module)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # it makes ~/.medmnist
        with contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module("medmnist")


@pytest.mark.parametrize("name", ["BloodMNIST", "RetinaMNIST", "BreastMNIST"])
def test_the_packages_objects_are_the_file(medmnist, made, folder, name):
    made(name.lower())
    parts = [getattr(medmnist, name)(split=split, root=folder) for split in COUNTS]
    raw, plain = sources.from_medmnist(*parts), sources.load(name.lower())
    assert raw.fingerprint == plain.fingerprint
    assert (raw.name, raw.class_names, raw.notes) == (plain.name, plain.class_names, plain.notes)


def test_the_packages_transforms_are_not_applied_and_it_is_said(medmnist, made, folder):
    made("breastmnist")
    kind = medmnist.BreastMNIST
    train = kind(split="train", root=folder, as_rgb=True)
    raw = sources.from_medmnist(train, *(kind(split=s, root=folder) for s in ("val", "test")))
    assert raw.train.images.shape == (44, 28, 28, 1) and "as_rgb" in raw.notes[-1]


def test_what_the_packages_objects_must_be(medmnist, made, folder):
    for name in ("bloodmnist", "retinamnist", "chestmnist"):
        made(name)
    blood = [medmnist.BloodMNIST(split=split, root=folder) for split in COUNTS]
    with pytest.raises(UserError, match="got bloodmnist train, bloodmnist test, bloodmnist val"):
        sources.from_medmnist(blood[0], blood[2], blood[1])
    with pytest.raises(UserError, match="of one set"):
        sources.from_medmnist(*blood[:2], medmnist.RetinaMNIST(split="test", root=folder))
    chest = [medmnist.ChestMNIST(split=split, root=folder) for split in COUNTS]
    with pytest.raises(UserError, match="14 labels, several of which"):
        sources.from_medmnist(*chest)
    (folder / "bloodmnist.npz").rename(folder / "organmnist3d.npz")
    volumes = [medmnist.OrganMNIST3D(split=split, root=folder) for split in COUNTS]
    with pytest.raises(UserError, match="organmnist3d of medmnist is not an image set"):
        sources.from_medmnist(*volumes)


@pytest.mark.parametrize("name", ["bloodmnist", "retinamnist", "breastmnist"])
def test_its_evaluator_agrees_with_our_scores(medmnist, made, folder, name):
    """Accuracy and AUC of several classes, of grades, and of two classes (where it looks at one column alone)."""
    labels = made(name)["test_labels"][:, 0].astype(np.int32)
    rng, k = np.random.default_rng(1), len(CATALOG[name].class_names)
    # Sixteenths, so that scores are tied, and two classes exactly so.
    probabilities = rng.multinomial(16, np.full(k, 1 / k), len(labels)) / 16
    theirs = medmnist.Evaluator(name, "test", root=folder).evaluate(probabilities)
    ours = metrics.scores(labels, probabilities)
    assert 0 < ours.accuracy < 1 and 0 < ours.auc < 1
    assert ours.accuracy == pytest.approx(theirs.ACC, abs=1e-12)
    assert ours.auc == pytest.approx(theirs.AUC, abs=1e-12)
