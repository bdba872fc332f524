"""Folders as people have them: other names of splits, links, hidden files, spellings; nothing is lost in silence."""

import os
import unicodedata

import numpy as np
import pytest
from test_folder import flat, put, said

from medjax.data.folder import read_folder
from medjax.data.scan import scan
from medjax.errors import UserError


def refused(folder, *words, **how):
    """The one line with which a folder is refused."""
    with pytest.raises(UserError) as caught:
        read_folder(folder, 6, **how)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


# --- splits


@pytest.mark.parametrize("val", ["val", "valid", "Validation", "dev"])
@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Training", "Testing")])
def test_splits_by_other_names(tmp_path, train, val, test):
    for split, n in ((train, 5), (val, 2), (test, 3)):
        flat(tmp_path / split, {"x": n, "y": n})
    made = read_folder(tmp_path, 6)
    assert made.class_names == ("x", "y") and np.bincount(made.splits).tolist() == [10, 4, 6]
    if val not in ("val", "Val"):
        said(made, f"{val} as val")


def test_two_names_of_one_split_are_refused(tmp_path):
    for split in ("train", "val", "validation", "test"):
        flat(tmp_path / split, {"x": 2, "y": 2})
    refused(tmp_path, "val and validation, two names of one split")


@pytest.mark.parametrize("more", ["holdout", "validation_set", "external"])
def test_a_folder_beside_splits_is_not_passed_over(tmp_path, more):
    for split in ("train", "test", more):
        flat(tmp_path / split, {"x": 2, "y": 2})
    refused(tmp_path, f"images in {more}", f"--exclude={more}")
    made = read_folder(tmp_path, 6, exclude=[more])
    assert len(made.labels) == 8
    said(made, f"--exclude={more}: 1 left out")


def test_a_folder_without_images_beside_splits_is_said(tmp_path):
    for split in ("train", "test"):
        flat(tmp_path / split, {"x": 2, "y": 2})
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("")
    said(read_folder(tmp_path, 6), "folders without images, ignored: labels")


@pytest.mark.parametrize("names", [("training_set", "test_set"), ("TrainData", "holdout")])
def test_what_looks_like_splits_is_no_class(tmp_path, names):
    for name in names:
        flat(tmp_path / name, {"x": 2, "y": 2})
    refused(tmp_path, names[0], "look like splits: name them train, val and test")


def test_a_class_may_be_called_test(tmp_path):
    """It holds images, and there are other classes; a split holds folders."""
    made = read_folder(flat(tmp_path, {"control": 10, "test": 10}), 6)
    assert made.class_names == ("control", "test")
    said(made, "WARNING: test: taken for classes")
    flat(tmp_path / "test", {"patient 1": 1})
    refused(tmp_path, "images in control", "a class that is called test needs another name")


def test_splits_inside_classes_are_refused(tmp_path):
    for name in ("x", "y"):
        flat(tmp_path / name, {"train": 2, "test": 2})
    refused(tmp_path, "holds test and train: splits come before classes, as test/x")


def test_splits_one_folder_deeper_are_pointed_at(tmp_path):
    for split in ("train", "test"):
        flat(tmp_path / "data" / split, {"x": 2, "y": 2})
    refused(tmp_path, f"holds test and train: give --folder={tmp_path / 'data'}.")


def test_classes_with_the_same_folders_are_warned_of(tmp_path):
    for name in ("fold 1", "fold 2"):
        flat(tmp_path / name, {"x": 4, "y": 4})
    said(read_folder(tmp_path, 6), "WARNING: fold 1, fold 2 are taken for classes")
    flat(tmp_path / "fold 1", {"a rare class": 4})
    said(read_folder(tmp_path, 6), "all of them hold the folders x, y; classes come last")


def test_a_split_of_images_without_classes_is_refused(tmp_path):
    flat(tmp_path / "train", {"x": 2, "y": 2})
    flat(tmp_path, {"test": 4})
    refused(tmp_path, "test holds no folders")


# --- links, hidden files


def test_a_linked_folder_inside_a_class_is_read(tmp_path):
    flat(tmp_path / "elsewhere", {"more": 10, "z": 10})
    flat(tmp_path / "f", {"x": 5, "y": 5})
    (tmp_path / "f/x/more").symlink_to(tmp_path / "elsewhere/more")
    (tmp_path / "f/z").symlink_to(tmp_path / "elsewhere/z")  # a class may be a link too
    made = scan(tmp_path / "f")
    assert made.names == ("x", "y", "z")
    assert np.bincount([label for _, label, _ in made.files]).tolist() == [15, 5, 10]


@pytest.mark.parametrize("target", ["..", ".", "../y", "../../..", "sub"])
def test_links_that_go_round_are_not_followed(tmp_path, target):
    """Neither in a circle, nor into another class, nor to images that are read anyway."""
    flat(tmp_path / "f", {"x": 5, "y": 5})
    put(tmp_path / "f/x/sub/a.png")
    (tmp_path / "f/x/aloop").symlink_to(target)
    made = scan(tmp_path / "f")
    assert len(made.files) == 11
    assert any("links not followed" in line and "x/aloop" in line for line in made.lines)


@pytest.mark.parametrize("target", ["..", ".", "../.."])
def test_a_class_that_links_to_what_holds_it_is_not_followed(tmp_path, target):
    flat(tmp_path / "g/f", {"x": 5, "y": 5})
    (tmp_path / "g/f/z").symlink_to(target)
    refused(tmp_path / "g/f", "no image of z", "links not followed", "z")


def test_broken_links_are_said(tmp_path):
    flat(tmp_path, {"x": 5, "y": 5})
    for name in ("x/gone.png", "x/gone", "z"):
        (tmp_path / name).symlink_to("/nowhere/at/all")
    said(read_folder(tmp_path, 6), "links that lead nowhere: z, x/gone, x/gone.png")


@pytest.mark.parametrize(
    "name", ["__MACOSX", ".ipynb_checkpoints", ".thumbnails", "@eaDir", ".git", "#recycle"]
)
def test_folders_of_systems_hold_no_images_of_a_class(tmp_path, name):
    flat(tmp_path, {"x": 5, "y": 5})
    flat(tmp_path / "x", {name: 3})
    flat(tmp_path, {name: 3})  # nor are they a class
    made = read_folder(tmp_path, 6)
    assert made.class_names == ("x", "y") and len(made.labels) == 10
    said(made, "folders ignored", f"x/{name}")


def test_shadows_of_files_are_said(tmp_path):
    flat(tmp_path, {"x": 5, "y": 5})
    (tmp_path / "x/._000.png").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / "x/.DS_Store").write_bytes(b"")
    made = read_folder(tmp_path, 6)
    said(made, "images ignored, because their names begin with a dot: x/._000.png")
    assert "could not be read" not in " ".join(made.lines)


def test_a_folder_that_may_not_be_opened_is_said(tmp_path, monkeypatch):
    flat(tmp_path, {"x": 5, "y": 5})
    put(tmp_path / "x/locked/a.png")
    listing = type(tmp_path).iterdir

    def denied(self):
        if self.name == "locked":
            raise PermissionError(13, "Permission denied")
        return listing(self)

    monkeypatch.setattr(type(tmp_path), "iterdir", denied)
    said(read_folder(tmp_path, 6), "could not be opened: x/locked (Permission denied)")
    (tmp_path / "y").rename(tmp_path / "locked")
    refused(tmp_path, "no image of locked", "could not be opened: locked (Permission denied)")


def test_files_left_out_by_pattern(tmp_path):
    flat(tmp_path, {"x": 5, "y": 5, "masks": 5})
    put(tmp_path / "x/000_mask.png")
    flat(tmp_path / "y", {"overlay": 2})
    made = read_folder(tmp_path, 6, exclude=["*_mask.png", "masks", "y/overlay/*", "*.none"])
    assert made.class_names == ("x", "y") and len(made.labels) == 10
    for pattern, count in (("*_mask.png", 1), ("masks", 1), ("y/overlay/*", 1), ("*.none", 0)):
        said(made, f"--exclude={pattern}: {count} left out")


# --- spellings


def test_two_spellings_of_a_name_are_one_class(tmp_path):
    """macOS stores an accent apart from its letter, other systems store both as one character."""
    whole, apart = (unicodedata.normalize(form, "carcinóma") for form in ("NFC", "NFD"))
    flat(tmp_path / "train", {apart: 3, "y": 3})
    flat(tmp_path / "test", {whole: 2, "y": 2})
    flat(tmp_path / "train", {whole: 1})
    if len(os.listdir(tmp_path / "train")) == 2:
        pytest.skip("this file system knows one spelling alone")
    (tmp_path / "groups.csv").write_text(f"train/{apart}/001.png,p\ntest/{whole}/000.png,q\n")
    made = read_folder(tmp_path, 6)
    assert made.class_names == (whole, "y")
    assert np.bincount(made.labels).tolist() == [6, 5]
    said(made, "two spellings of Unicode", "2 images of 2 patients")


# --- what is left of a class


def test_all_images_of_a_class_are_duplicates(tmp_path):
    flat(tmp_path, {"a": 4, "c": 4})
    (tmp_path / "b").mkdir()
    for i in range(3):
        (tmp_path / f"b/{i:03d}.png").write_bytes((tmp_path / f"a/{i:03d}.png").read_bytes())
    refused(tmp_path, "no image of b is left in train: 3 are duplicates", "b/000.png of a/000.png")


def test_no_image_of_a_class_can_be_read(tmp_path):
    flat(tmp_path, {"a": 4, "b": 0})
    for i in range(3):
        (tmp_path / "b").mkdir(exist_ok=True)
        (tmp_path / f"b/{i}.png").write_bytes(b"GIF89a, but cut")
    refused(
        tmp_path,
        "no image of b could be read: 3 could not be read, the first b/0.png (not an image",
    )


def test_a_class_without_images_in_train_after_duplicates(tmp_path):
    for split in ("train", "test"):
        flat(tmp_path / split, {"a": 2, "b": 2})
    for i in range(2):
        copy = (tmp_path / f"test/b/{i:03d}.png").read_bytes()
        (tmp_path / f"train/b/{i:03d}.png").write_bytes(copy)
    refused(tmp_path, "no image of b is left in train", "train/b/000.png of test/b/000.png")


def test_blank_images_are_not_called_duplicates(tmp_path):
    flat(tmp_path, {"a": 4, "b": 0})
    for i in range(3):
        put(tmp_path / f"b/{i:03d}.png", value=np.full((6, 6 + i), 255, np.uint8))
        put(tmp_path / f"b/{i:03d}c.png", value=np.full((6, 6 + i), 255, np.uint8))
    said(read_folder(tmp_path, 6), "WARNING: 6 images are blank", "b/000.png, b/000c.png")
    for split in ("train", "test"):
        flat(tmp_path / "w" / split, {"a": 4})
        for i in range(2):
            put(tmp_path / "w" / split / f"b/{i}.png", value=np.full((6, 6), 255, np.uint8))
    refused(
        tmp_path / "w", "no image of b is left in train: 2 are blank", "the first train/b/0.png"
    )


# --- names that are not text


def test_a_class_whose_name_is_not_text_is_refused_before_reading(tmp_path, monkeypatch):
    flat(tmp_path, {"x": 3, "y": 3, "z\udcff": 3})
    assert read_folder(tmp_path, 6, exclude=["z*"]).class_names == ("x", "y")
    monkeypatch.setattr("medjax.data.folder.read", lambda *_: pytest.fail("an image was read"))
    refused(tmp_path, "is not text", "rename it")
