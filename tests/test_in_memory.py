"""Data sets that a user makes in memory, and paths as users give them."""

from pathlib import Path

import launching
import numpy as np
import pytest

import medjax
from medjax import share
from medjax.errors import UserError
from medjax.pipeline.prepare import PrepareConfig
from medjax.result import Result

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (30, 8, 8, 3), np.uint8), np.arange(30) % 3
ARRAYS = {
    **{"train_images": IMAGES[:18], "train_labels": LABELS[:18]},
    **{"test_images": IMAGES[18:], "test_labels": LABELS[18:]},
}


def test_arrays_are_the_file_that_they_would_make(tmp_path):
    """Splits, fingerprint, names and notes."""
    np.savez(tmp_path / "mine.npz", **ARRAYS, class_names=np.array(["a", "b", "c"]))
    there = medjax.load(tmp_path / "mine.npz")
    made = medjax.from_arrays("mine", **ARRAYS, class_names=["a", "b", "c"])
    assert (made.fingerprint, made.class_names) == (there.fingerprint, ("a", "b", "c"))
    assert made.name == "mine" and len(made.notes) == len(there.notes)
    with pytest.raises(UserError, match="save as uint8"):
        medjax.from_arrays("mine", **ARRAYS | {"train_images": IMAGES[:18] / 255})


def changed(**splits):
    made = medjax.from_arrays("mine", **ARRAYS)
    return made._replace(
        **{name: getattr(made, name)._replace(**arrays) for name, arrays in splits.items()}
    )


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        ({"train": {"images": IMAGES[:16] / np.float32(255)}}, "train of mine: images are float32"),
        ({"test": {"images": IMAGES[18:, :4]}}, r"test of mine: images are \(4, 8, 3\), those of"),
        ({"val": {"labels": LABELS[:9]}}, "val of mine: labels are int64"),
        ({"train": {"groups": np.zeros(1, int)}}, "groups are .1,., expected one for each of"),
        ({"test": {"labels": LABELS[18:] + 1}}, "labels are 1 to 3, expected 0 to 2"),
        ({"test": {"images": IMAGES[17:29]}}, "does not hold the images of its fingerprint"),
    ],
)
def test_a_data_set_that_is_none_is_refused(tmp_path, splits, words):
    """Before any work, in a run and in an evaluation of a saved set."""
    settings = medjax.settings("dm", "quick")
    with pytest.raises(UserError, match=words):
        medjax.run("dm", settings, tmp_path, data=changed(**splits))
    saved = Path(medjax.__file__).parent / "bundles" / "pbc_blood8-ipc1" / "exact.npz"
    with pytest.raises(UserError, match=words):
        medjax.evaluate_saved(medjax.evaluation_settings(saved), tmp_path, data=changed(**splits))
    assert not list(tmp_path.rglob("*.json"))


def test_paths_are_texts_or_paths_and_may_begin_at_home(tmp_path, monkeypatch):
    """Of sets, results and data sets alike."""
    bundle = Path(medjax.__file__).parent / "bundles" / "pbc_blood8-ipc1"
    (tmp_path / "set.npz").symlink_to(bundle / "exact.npz")
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in ("~/set.npz", Path("~/set.npz"), str(tmp_path / "set.npz")):
        assert share.load_set(path).class_names[0] == "basophil"
    (tmp_path / "tiny.npz").symlink_to(launching.tiny("rgb"))
    assert medjax.load(Path("~/tiny.npz")).fingerprint == medjax.load("~/tiny.npz").fingerprint
    with pytest.raises(UserError, match=str(tmp_path / "nothing")):
        Result.read(Path("~/nothing"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"img_optimizer": "adam"}, "--lr_img=200 is a step size of SGD"),
        ({"lr_labels": 3.0}, "--lr_labels counts with --labels=soft alone"),
    ],
)
def test_values_that_do_not_go_together(values, words):
    """Before experts are trained."""
    with pytest.raises(UserError, match=words):
        medjax.settings("mtt", "cpu", **values)
    assert medjax.settings("mtt", "cpu", img_optimizer="adam", lr_img=0.01).run.preset == "cpu"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"fit": "padd"}, "--fit=padd is not known"),
        ({"size": 2}, "--size=2 is too small"),
        ({"seed": -1}, "--seed=-1 is too small"),
    ],
)
def test_values_that_are_given_in_python_are_checked(tmp_path, values, words):
    """As those of flags are."""
    with pytest.raises(UserError, match=words):
        medjax.prepare(PrepareConfig(folder=str(tmp_path), out=str(tmp_path / "x.npz"), **values))
