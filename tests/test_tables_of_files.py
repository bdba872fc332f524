"""Tables beside images: patients in groups.csv, and labels where folders are no classes."""

import numpy as np
import pytest
from test_folder import flat, put, said
from test_layout import refused

from medjax.data.folder import read_folder
from medjax.data.label_table import LabelTable
from medjax.data.npz import of_arrays


def table(folder, *lines, name="groups.csv"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join(lines), encoding="utf-8")
    return folder / name


# --- patients


@pytest.fixture
def two(tmp_path):
    """Two classes of three images whose files have the same names."""
    return flat(tmp_path / "f", {"x": 3, "y": 3})


def test_the_table_is_read_before_the_images(two, monkeypatch):
    def never(*_, **__):
        raise AssertionError("an image was read")

    monkeypatch.setattr("medjax.data.folder.read", never)
    table(two, "one column")
    refused(two, "expected two columns")


def test_too_few_patients_are_told_before_the_images_are_read(two, monkeypatch):
    table(two, *(f"{c}/{i:03d}.png,{c}" for c in "xy" for i in range(3)))
    monkeypatch.setattr("medjax.data.folder.read", lambda *_: pytest.fail("an image was read"))
    refused(two, "its 2 patients, whose images stay together, leave val and test empty")


def test_a_name_that_several_files_have_is_refused(two):
    table(two, "000.png,p")
    refused(two, "000.png may be any of x/000.png, y/000.png", "give paths")


def test_names_may_be_ends_of_paths_and_without_an_ending(tmp_path):
    for split in ("train", "test"):
        for label in ("x", "y"):
            put(tmp_path / split / label / f"{split}{label}.png")
            put(tmp_path / split / label / f"{split}{label}b.png")
    lines = ("trainx,p", "y/trainy.png,p", "./test\\x\\testx.png,q", "testy.dcm,r")
    table(tmp_path, *lines)
    made = read_folder(tmp_path, 6)
    said(made, "groups.csv: 4 images of 3 patients")
    assert made.groups is not None and len(set(made.groups.tolist())) == 7


def test_lines_that_name_no_file_are_told(two):
    table(two, "x/000.png,p", "x/zzz.png,p", "no/such,q")
    said(read_folder(two, 6), "2 lines of groups.csv name no image: x/zzz.png, no/such")


def test_patients_are_numbers_in_the_order_of_the_images(two):
    table(two, "y/000.png,Miller", "x/001.png,Adams", "x/000.png,Miller")
    made = read_folder(two, 6)
    assert made.groups.tolist() == [0, 1, 2, 0, 3, 4]
    (two / "x/002.png").write_bytes(b"?")
    assert read_folder(two, 6).groups.tolist() == [0, 1, 0, 2, 3], "without a gap"
    assert read_folder(flat(two.parent / "g", {"x": 3, "y": 3}), 6).groups is None


# --- labels


@pytest.fixture
def ham(tmp_path):
    """Images as the HAM10000 files have them: two folders, a table, lesions."""
    for i in range(30):
        put(tmp_path / "ham" / f"part_{1 + i // 15}" / f"ISIC_{i:04d}.jpg")
    rows = [f"HAM_{i // 2},ISIC_{i:04d},{('nv', 'mel', 'bkl')[i // 2 % 3]},50" for i in range(30)]
    table(tmp_path / "ham", "lesion_id,image_id,dx,age", *rows, name="HAM10000_metadata.csv")
    return tmp_path / "ham"


def labels(folder, name="HAM10000_metadata.csv", image="image_id", label="dx", group=""):
    return LabelTable(folder / name, image, label, group)


def test_labels_from_a_table(ham):
    made = read_folder(ham, 6, table=labels(ham))
    assert made.class_names == ("bkl", "mel", "nv")
    assert made.labels.tolist() == [(2, 1, 0)[i // 2 % 3] for i in range(30)]
    assert made.groups is None
    said(made, "HAM10000_metadata.csv: 30 images have a label in its column dx")


def test_groups_from_the_same_table(ham):
    made = read_folder(ham, 6, table=labels(ham, group="lesion_id"))
    said(made, "30 images of 15 patients")
    assert made.groups.tolist() == [i // 2 for i in range(30)]
    assert all(len(set(made.splits[made.groups == g])) == 1 for g in range(15))
    assert set(made.splits.tolist()) == {0, 1, 2}


def test_what_does_not_match_is_told(ham):
    text = (ham / "HAM10000_metadata.csv").read_text().splitlines()
    text[1] = "HAM_0,ISIC_0000,,50"
    table(ham, *text[:20], "x,ISIC_9999,nv,3", "short", name="other.csv")
    made = read_folder(ham, 6, table=labels(ham, "other.csv"))
    assert len(made.labels) == 18
    said(
        made,
        "2 lines name no image of the folder: ISIC_9999",
        "1 images have no label there and were left out: ISIC_0000",
        "11 images are not in the table and were left out: part_2/ISIC_0019.jpg",
    )


def test_a_table_with_tabs_and_classes_in_the_order_of_numbers(tmp_path):
    for i in range(24):
        put(tmp_path / f"f/{i}.png")
    rows = [f"{i}.tif\t{8 + i % 3}" for i in range(24)]
    table(tmp_path / "f", "file\tgrade", *rows, name="t.tsv")
    made = read_folder(tmp_path / "f", 6, table=labels(tmp_path / "f", "t.tsv", "file", "grade"))
    assert made.class_names == ("8", "9", "10")


def test_splits_and_a_table(ham):
    (ham / "part_1").rename(ham / "train")
    (ham / "part_2").rename(ham / "Testing")
    made = read_folder(ham, 6, table=labels(ham))
    assert np.bincount(made.splits).tolist()[2] == 15
    said(made, "Testing as test")


def test_a_column_of_splits_is_said_to_be_unread(ham):
    rows = [f"ISIC_{i:04d},{('nv', 'mel')[i % 2]},{('train', 'test')[i % 2]}" for i in range(30)]
    table(ham, "image_id,dx,Split", *rows, name="split.csv")
    said(read_folder(ham, 6, table=labels(ham, name="split.csv")), "column Split is not read")
    as_label = read_folder(ham, 6, table=labels(ham, name="split.csv", label="Split"))
    assert "is not read" not in " ".join(as_label.lines)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"name": "none.csv"}, "none.csv: cannot be read (No such file"),
        ({"image": ""}, "which column is --image_column?; its columns are lesion_id, image_id, dx"),
        ({"label": "diagnosis"}, "no column 'diagnosis'; its columns are lesion_id, image_id, dx"),
        ({"group": "patient"}, "no column 'patient'"),
        ({"image": "lesion_id"}, "names none of the images: it has HAM_0, HAM_0 and 28 more"),
        ({"label": "age"}, "all images have one label, 50"),
        ({"name": "empty.csv"}, "names none of the images: it has no lines"),
        ({"name": "bare.csv"}, "column dx is empty for all images"),
        ({"name": "semi.csv"}, "its columns are image_id;dx; commas part columns, in a .tsv tabs"),
    ],
)
def test_tables_that_are_refused(ham, how, words):
    table(ham, "image_id,dx", name="empty.csv")
    table(ham, "image_id,dx", "ISIC_0000,", "ISIC_0001", name="bare.csv")
    table(ham, "image_id;dx", "ISIC_0000;mel", name="semi.csv")
    refused(ham, words, table=labels(ham, **how))


def test_a_label_of_test_that_train_lacks_is_in_no_folder(tmp_path):
    for split in ("train", "test"):
        for i in range(3):
            put(tmp_path / f"{split}/{split}{i}.png")
    rows = [f"{split}{i},{'xy'[i % 2]}" for split in ("train", "test") for i in range(2)]
    table(tmp_path, "image_id,dx", *rows, "test2,z", name="t.csv")
    refused(
        tmp_path,
        "holds no image of z: add some, or remove it from the table",
        table=labels(tmp_path, "t.csv"),
    )


def test_two_labels_and_two_files_of_one_name(ham):
    text = (ham / "HAM10000_metadata.csv").read_text()
    table(ham, text, "HAM_0,ISIC_0000,mel,50", name="twice.csv")
    refused(ham, "ISIC_0000 has two labels, nv and mel", table=labels(ham, "twice.csv"))
    table(ham, text, "HAM_0,ISIC_0000,nv,50", name="same.csv")
    assert len(read_folder(ham, 6, table=labels(ham, "same.csv")).labels) == 30
    put(ham / "part_2/ISIC_0000.jpg")
    refused(ham, "may be any of part_1/ISIC_0000.jpg, part_2/ISIC_0000.jpg", table=labels(ham))
    made = read_folder(ham, 6, table=labels(ham), exclude=["part_2/ISIC_0000.jpg"])
    assert len(made.labels) == 30


# --- groups in a file


def arrays(**more):
    rng = np.random.default_rng(0)
    made = {}
    for split, n in (("train", 40), ("val", 8), ("test", 8)):
        made[f"{split}_images"] = rng.integers(0, 256, (n, 6, 6), dtype=np.uint8)
        made[f"{split}_labels"] = np.arange(n) % 2
    return made | more


def test_groups_travel_with_a_set_and_are_in_its_fingerprint(tmp_path):
    numbers = {"train": 7 + np.arange(40) // 4, "val": 40 + np.arange(8), "test": np.arange(8) + 90}
    groups = {f"{split}_groups": n[:, None] for split, n in numbers.items()}
    raw, plain = of_arrays(tmp_path / "a.npz", arrays(**groups)), of_arrays(tmp_path, arrays())
    assert raw.train.groups.tolist() == [i // 4 for i in range(40)]
    assert raw.test.groups.tolist() == list(range(18, 26)) and plain.train.groups is None
    assert raw.fingerprint != plain.fingerprint and raw.notes == ()


def test_a_patient_in_two_splits_is_said(tmp_path):
    groups = {"train": np.arange(40), "val": np.arange(8) + 38, "test": np.arange(8) + 45}
    raw = of_arrays(tmp_path, arrays(**{f"{s}_groups": g for s, g in groups.items()}))
    assert raw.notes == (
        "WARNING: 3 patients are in more than one split: scores will be too high.",
    )


def test_val_is_carved_by_patient(tmp_path):
    content = arrays(train_groups=np.arange(40) // 4, test_groups=np.arange(8) + 100)
    del content["val_images"], content["val_labels"]
    raw = of_arrays(tmp_path / "a.npz", content)
    assert len(raw.val.labels) == 4 and len(set(raw.val.groups.tolist())) == 1
    assert not set(raw.val.groups) & set(raw.train.groups)
