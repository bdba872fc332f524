"""Names and files -> RawDataset; every way a file can be wrong is one line."""

import io
import urllib.error
import zipfile
from pathlib import Path

import numpy as np
import pytest

from medjax.data import sources
from medjax.data.catalog import CATALOG
from medjax.errors import UserError

SHARED = Path(__file__).parents[2] / "shared" / "data"


def arrays(sizes=(40, 10, 10), shape=(6, 6, 3), k=4):
    """The arrays of a sound file."""
    rng = np.random.default_rng(0)
    out = {}
    for name, n in zip(("train", "val", "test"), sizes, strict=True):
        out[f"{name}_images"] = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
        out[f"{name}_labels"] = (np.arange(n) % k).astype(np.uint8)[:, None]
    return out


def saved(tmp_path, content, stem="scans"):
    path = tmp_path / f"{stem}.npz"
    np.savez_compressed(path, **content)
    return str(path)


def refused(path, *words):
    """The message with which a file is refused: one line, holding `words`."""
    with pytest.raises(UserError) as caught:
        sources.load(str(path))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message


@pytest.fixture(autouse=True)
def no_network(tmp_path_factory, monkeypatch):
    """No test touches the network or this user's caches."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("MEDJAX_DATA", raising=False)

    def unplugged(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", unplugged)
    return home


# --- sound files


def test_rgb_file(tmp_path):
    content = arrays()
    data = sources.load(saved(tmp_path, content))
    assert data.name == "scans" and data.notes == ()
    assert data.class_names == ("class 0", "class 1", "class 2", "class 3")
    for name in ("train", "val", "test"):
        split = getattr(data, name)
        assert split.images.dtype == np.uint8 and split.images.flags.c_contiguous
        assert split.labels.dtype == np.int32 and split.labels.ndim == 1
        np.testing.assert_array_equal(split.images, content[f"{name}_images"])
        np.testing.assert_array_equal(split.labels, content[f"{name}_labels"][:, 0])


@pytest.mark.parametrize("shape", [(6, 6), (6, 6, 1)])
def test_grey_files(tmp_path, shape):
    data = sources.load(saved(tmp_path, arrays(shape=shape)))
    assert data.train.images.shape == (40, 6, 6, 1)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint64, ">i4"])
def test_label_types_and_flat_labels(tmp_path, dtype):
    content = arrays()
    content["train_labels"] = content["train_labels"][:, 0].astype(dtype)
    data = sources.load(saved(tmp_path, content))
    assert data.train.labels.dtype == np.int32
    np.testing.assert_array_equal(data.train.labels, np.arange(40) % 4)


def test_fortran_order_becomes_contiguous(tmp_path):
    content = arrays()
    plain = sources.load(saved(tmp_path, content))
    content["train_images"] = np.asfortranarray(content["train_images"])
    data = sources.load(saved(tmp_path, content))
    assert data.train.images.flags.c_contiguous and data.fingerprint == plain.fingerprint


def test_fingerprint_sees_every_pixel_and_label(tmp_path):
    prints = set()
    for key in (None, "train_images", "val_images", "test_images", "test_labels"):
        content = arrays()
        if key:
            content[key].flat[0] = 1 + content[key].flat[0] % 2
        prints.add(sources.load(saved(tmp_path, content)).fingerprint)
    assert len(prints) == 5 and {len(p) for p in prints} == {16}


def test_fingerprint_sees_patients(tmp_path):
    """Other patients are other units of an audit and of a guarantee."""
    prints = [sources.load(saved(tmp_path, arrays())).fingerprint]
    for groups in (np.arange(40), np.arange(40) // 2):
        prints.append(sources.load(saved(tmp_path, grouped(groups + 10))).fingerprint)
    assert len(set(prints)) == 3


def test_class_names_from_the_file(tmp_path):
    names = np.array(["a", "b", "c", "d"])
    data = sources.load(saved(tmp_path, arrays() | {"class_names": names}))
    assert data.class_names == ("a", "b", "c", "d")


def test_class_names_from_the_catalog(tmp_path):
    data = sources.load(saved(tmp_path, arrays(), stem="octmnist"))
    assert data.class_names == CATALOG["octmnist"].class_names
    data = sources.load(saved(tmp_path, arrays(), stem="bloodmnist"))  # another number of classes
    assert data.class_names[0] == "class 0"


def test_other_keys_are_left_alone(tmp_path):
    extra = {"ids": np.array([object()], dtype=object)}  # never read, so never unpickled
    assert sources.load(saved(tmp_path, arrays() | extra)).name == "scans"


def renamed(content, **names):
    """The arrays under other keys."""
    swap = {
        f"{s}_{kind}": names[s] + names[kind] for s in ("train", "val", "test") for kind in KINDS
    }
    return {swap.get(key, key): array for key, array in content.items()}


KINDS = ("images", "labels")


@pytest.mark.parametrize(
    "names",
    [
        {
            "train": "train",
            "val": "valid",
            "test": "test",
            "images": "_images",
            "labels": "_labels",
        },
        {"train": "Train", "val": "dev", "test": "TEST", "images": "_image", "labels": "-y"},
    ],
)
def test_splits_by_other_keys_are_read_and_said(tmp_path, names):
    plain = sources.load(saved(tmp_path, arrays()))
    data = sources.load(saved(tmp_path, renamed(arrays(), **names)))
    assert data.fingerprint == plain.fingerprint
    (note,) = data.notes
    assert f"{names['val']}{names['images']} as val_images" in note


def test_the_keys_of_keras_are_read_and_said(tmp_path):
    content, plain = arrays(), sources.load(saved(tmp_path, arrays()))
    keras = {
        f"{letter}_{split}": content[f"{split}_{kind}"]
        for letter, kind in (("x", "images"), ("Y", "labels"))
        for split in ("train", "val", "test")
    }
    data = sources.load(saved(tmp_path, keras))
    assert data.fingerprint == plain.fingerprint
    assert "x_train as train_images" in data.notes[0] and "Y_val as val_labels" in data.notes[0]
    keras["x_train"] = keras["x_train"] / 255
    refused(saved(tmp_path, keras), "train_images is float64", "x_train as train_images")


def test_two_names_of_one_array_are_refused(tmp_path):
    content = arrays()
    content["valid_images"] = content["val_images"]
    refused(saved(tmp_path, content), "val_images and valid_images both mean val_images")
    content = arrays() | {"x_train": content["train_images"]}
    refused(saved(tmp_path, content), "train_images and x_train both mean train_images")


def test_keys_that_are_not_read_are_said(tmp_path):
    extra = {"holdout_images": np.zeros(2), "x\ny": np.zeros(2)}
    data = sources.load(saved(tmp_path, arrays() | extra))
    assert data.notes == ("scans.npz: keys that are not read: holdout_images, 'x\\ny'.",)
    refused(saved(tmp_path, {"images": np.zeros(2), "labels": np.zeros(2)}), "found images, labels")


@pytest.mark.filterwarnings("error")
def test_labels_of_small_floats_are_read_without_a_warning(tmp_path):
    plain = sources.load(saved(tmp_path, arrays()))
    names = ("train_labels", "val_labels", "test_labels")
    small = changed(**dict.fromkeys(names, lambda a: a.astype("f2")))
    assert sources.load(saved(tmp_path, small)).fingerprint == plain.fingerprint


def test_bool_one_hot_labels_are_read_like_ints(tmp_path):
    plain = sources.load(saved(tmp_path, arrays()))
    names = ("train_labels", "val_labels", "test_labels")
    hot = changed(**dict.fromkeys(names, lambda a: np.eye(4, dtype=bool)[a[:, 0]]))
    assert sources.load(saved(tmp_path, hot)).fingerprint == plain.fingerprint
    hot["val_labels"] = hot["val_labels"] | True
    refused(saved(tmp_path, hot), "val_labels", "not one-hot")


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_class_without_images_in_a_split_is_said(tmp_path, split):
    content = arrays() | {"class_names": np.array(["a", "b", "c", "d"])}
    content[f"{split}_labels"] = content[f"{split}_labels"] // 3
    (note,) = sources.load(saved(tmp_path, content)).notes
    assert note.startswith(f"WARNING: {split} has no image of c, d")


def test_missing_val_is_carved_from_train(tmp_path):
    content = arrays(sizes=(200, 10, 20))
    labels = np.repeat([0, 1, 2, 3], [150, 44, 4, 2])
    content["train_labels"] = labels
    del content["val_images"], content["val_labels"]
    path = saved(tmp_path, content)
    data, again = sources.load(path), sources.load(path)
    assert data.fingerprint == again.fingerprint
    assert list(np.bincount(data.val.labels)) == [15, 4, 1, 1]
    assert list(np.bincount(data.train.labels)) == [135, 40, 3, 1]
    assert len(data.notes) == 1 and "21 of the training images" in data.notes[0]
    both = [i.tobytes() for i in (*data.train.images, *data.val.images)]
    assert sorted(both) == sorted(i.tobytes() for i in content["train_images"])


def test_lone_training_image_stays_in_train(tmp_path):
    content = arrays(sizes=(21, 1, 4), k=2)
    content["train_labels"] = np.repeat([0, 1], [20, 1])
    del content["val_images"], content["val_labels"]
    data = sources.load(saved(tmp_path, content))
    assert list(np.bincount(data.val.labels)) == [2] and data.train.labels.max() == 1


# --- unusable files


def test_missing_file(tmp_path):
    refused(tmp_path / "none.npz", "none.npz", "no such file")


@pytest.mark.parametrize("junk", [b"", b"hello", b"PK\x03\x04 not a zip", b"\x80\x04N."])
def test_not_an_npz(tmp_path, junk):
    path = tmp_path / "junk.npz"
    path.write_bytes(junk)
    refused(path, "not an .npz")


def test_cut_short(tmp_path):
    path = Path(saved(tmp_path, arrays()))
    path.write_bytes(path.read_bytes()[:-100])
    refused(path, "cut short")


def test_flipped_bytes(tmp_path):
    path = Path(saved(tmp_path, arrays()))
    content = bytearray(path.read_bytes())
    content[2000:2040] = bytes(40)
    path.write_bytes(bytes(content))
    refused(path, "damaged")


def test_member_is_no_array(tmp_path):
    path = tmp_path / "odd.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("train_images.npy", b"hello")
    refused(path, "odd.npz")


@pytest.mark.parametrize("key", ["train_labels", "class_names"])
def test_pickles_are_never_loaded(tmp_path, key):
    content = arrays()
    content[key] = np.array([0] * 40, dtype=object)
    refused(saved(tmp_path, content), key, "pickle")


@pytest.mark.parametrize("key", ["train_images", "train_labels", "test_images", "val_labels"])
def test_missing_keys(tmp_path, key):
    content = arrays()
    del content[key]
    refused(saved(tmp_path, content), f"no {key}", "expected", "found")


def test_groups_of_some_splits(tmp_path):
    content = arrays() | {"train_groups": np.arange(40)}
    refused(saved(tmp_path, content), "no val_groups, test_groups: give the groups of every split")


def test_no_test_split(tmp_path):
    content = arrays()
    del content["test_images"], content["test_labels"]
    refused(saved(tmp_path, content), "no test_images, test_labels")


def changed(**changes):
    """A sound file's arrays, some of them put through a function."""
    content = arrays()
    return content | {key: change(content[key]) for key, change in changes.items()}


def grouped(train):
    """A sound file's arrays, with these groups of train."""
    groups = {"val_groups": np.arange(10), "test_groups": np.arange(10)}
    return arrays() | groups | {"train_groups": train}


def put(value, at=0):
    def change(array):
        array = array.astype(np.int64)
        array[at] = value
        return array

    return change


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (changed(train_images=lambda a: a / 255), ("float64", "uint8 in 0..255", "scale")),
        (changed(train_images=lambda a: a.astype(np.int32)), ("int32", "uint8")),
        (changed(test_images=lambda a: a[..., :2]), ("test_images", "(10, 6, 6, 2)")),
        (changed(val_images=lambda a: a[:, 0, 0]), ("val_images", "shape")),
        (changed(val_images=lambda a: a[:, :0]), ("val_images", "shape")),
        (changed(val_images=lambda a: a[:, :4, :4]), ("val_images", "train_images", "(4, 4, 3)")),
        (changed(val_images=lambda a: a[:, :4]), ("val_images", "4 x 6 pixels, not square")),
        (arrays(shape=(6, 5)), ("train_images are 6 x 5 pixels, not square", "crop or pad")),
        (changed(val_images=lambda a: a[..., :1]), ("val_images", "train_images")),
        (changed(test_images=lambda a: a[:9]), ("test has 9 images but 10 labels",)),
        (arrays(sizes=(40, 0, 10)), ("val_images is empty",)),
        (changed(train_labels=lambda a: a + 0.5), ("holds 0.5", "not a whole number")),
        (changed(train_labels=lambda a: a * np.nan), ("holds nan",)),
        (changed(train_labels=lambda a: a + np.inf), ("holds inf",)),
        (changed(train_labels=lambda a: a * -1.0), ("holds -3",)),
        (changed(train_labels=lambda a: a.astype(bool)), ("bool", "whole numbers")),
        (changed(train_labels=lambda a: a.astype(str)), ("<U", "whole numbers")),
        (changed(train_labels=lambda a: a[:, :0]), ("(40, 0)",)),
        (changed(train_labels=lambda a: a[0, 0]), ("shape ()",)),
        (changed(train_labels=lambda a: np.eye(4)[a[:, 0]] * 0), ("not one-hot",)),
        (changed(train_labels=lambda a: np.ones((40, 4), int)), ("not one-hot",)),
        (changed(train_images=lambda a: a * 0), ("every image of train_images", "blank")),
        (
            changed(
                train_images=lambda a: a * 0 + np.arange(40, dtype=np.uint8).reshape(-1, 1, 1, 1)
            ),
            ("one value for all pixels",),
        ),
        (changed(train_labels=lambda a: np.repeat(a, 3, 1)), ("several labels per image",)),
        (changed(train_labels=lambda a: a[:, None]), ("(40, 1, 1)",)),
        (changed(train_labels=put(-1)), ("train_labels holds -1",)),
        (changed(train_labels=put(2**40)), ("train_labels holds 1099511627776",)),
        (changed(train_labels=lambda a: a * 0), ("only one class",)),
        (changed(test_labels=lambda a: a + 1), ("test_labels holds class 4", "0..3")),
        (changed(train_labels=lambda a: a * 2), ("val_labels holds class 1", "0, 2, 4, 6")),
        (changed(val_labels=put(4)), ("val_labels holds class 4", "not in train")),
        (changed(test_labels=put(7)), ("test_labels holds class 7", "0..3")),
        (arrays() | {"class_names": np.array(["a", "b"])}, ("class_names", "4 strings")),
        (arrays() | {"class_names": np.arange(4)}, ("class_names", "4 strings")),
        (arrays() | {"train_groups": np.arange(40)}, ("no val_groups, test_groups",)),
        (grouped(np.arange(39)), ("train_groups is int64 (39,), expected 40 whole numbers",)),
        (grouped(np.array(["p"] * 40)), ("train_groups is <U1", "whole numbers")),
    ],
)
def test_refusals(tmp_path, content, words):
    refused(saved(tmp_path, content), *words)


def test_too_few_images_to_carve_val(tmp_path):
    content = arrays(sizes=(4, 1, 4))
    del content["val_images"], content["val_labels"]
    refused(saved(tmp_path, content), "no val split")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda a: a.astype(float), "whole numbers as float64"),
        (lambda a: np.eye(4, dtype=np.uint8)[a[:, 0]], "one-hot"),
        (lambda a: np.eye(4)[a[:, 0]], "one-hot"),
    ],
)
def test_other_labels_are_converted_and_reported(tmp_path, change, word):
    plain = sources.load(saved(tmp_path, arrays()))
    names = ("train_labels", "val_labels", "test_labels")
    data = sources.load(saved(tmp_path, changed(**dict.fromkeys(names, change))))
    assert data.fingerprint == plain.fingerprint
    assert sum(word in note for note in data.notes) == 3


@pytest.mark.parametrize("given", [None, "abcd", ["none", "a", "none", "b", "c", "none", "d"]])
def test_labels_with_gaps_are_renumbered_and_reported(tmp_path, given):
    old = np.array([1, 3, 4, 6])
    names = ("train_labels", "val_labels", "test_labels")
    content = changed(**dict.fromkeys(names, lambda a: old[a]))
    if given:
        content["class_names"] = np.array(list(given))
    data = sources.load(saved(tmp_path, content))
    np.testing.assert_array_equal(data.train.labels, np.arange(40) % 4)
    expected = tuple("abcd") if given else ("class 1", "class 3", "class 4", "class 6")
    assert data.class_names == expected
    assert len(data.notes) == 1 and "1, 3, 4, 6 were renumbered 0..3" in data.notes[0]


def test_blank_images_are_reported(tmp_path):
    data = sources.load(
        saved(
            tmp_path,
            changed(
                test_images=lambda a: a * (np.arange(10) > 2).astype(np.uint8).reshape(-1, 1, 1, 1)
            ),
        )
    )
    assert data.notes == ("3 of 10 test images are blank (one value for all pixels).",)


def test_images_of_two_splits_are_reported(tmp_path):
    """A network that was trained on test images scores too high."""
    content = arrays()
    content["test_images"][:3] = content["train_images"][[5, 5, 9]]
    data = sources.load(saved(tmp_path, content))
    assert data.notes == ("3 of the 10 test images are also in train: scores will be too high.",)


def test_names_of_classes_may_be_bytes(tmp_path):
    names = np.array([name.encode() for name in ("a", "\u00f3", "c", "d")])
    data = sources.load(saved(tmp_path, arrays() | {"class_names": names}))
    assert data.class_names == ("a", "\u00f3", "c", "d")


def test_names_of_classes_are_composed(tmp_path):
    names = np.array(["a", "o\u0301", "c", "d"])
    data = sources.load(saved(tmp_path, arrays() | {"class_names": names}))
    assert data.class_names[1] == "\u00f3"


def test_an_official_file_given_by_its_path_has_its_warnings(tmp_path):
    """And a user's own file of that name has none."""
    content = arrays(sizes=CATALOG["dermamnist"].images, shape=(4, 4), k=7)
    data = sources.load(saved(tmp_path, content, stem="dermamnist"))
    assert any("images of one lesion are in train and in test" in note for note in data.notes)
    data = sources.load(saved(tmp_path, arrays(k=7), stem="dermamnist"))
    assert not any("lesion" in note for note in data.notes)


def test_classes_of_one_name_are_refused(tmp_path):
    with pytest.raises(UserError, match="several classes the name 'b'"):
        sources.load(saved(tmp_path, arrays() | {"class_names": np.array(list("abcb"))}))


def test_hostile_class_names_lose_their_control_characters(tmp_path):
    names = np.array(["a\nb\x1b[31m", "<script>", "../..", "\t"])
    data = sources.load(saved(tmp_path, arrays() | {"class_names": names}))
    assert data.class_names == ("a b [31m", "<script>", "../..", "class 3")


@pytest.mark.parametrize("code", [0x110000, 0xFFFFFFFF, 0xD800])
@pytest.mark.parametrize("order", "<>")
def test_names_that_are_not_text(tmp_path, code, order):
    names = np.full((4, 3), ord("a"), f"{order}u4")
    names[2, 1] = code
    refused(saved(tmp_path, arrays() | {"class_names": names.view(f"{order}U3")[:, 0]}), "not text")


def test_zip_bomb_is_refused(tmp_path):
    path = tmp_path / "bomb.npz"
    header = io.BytesIO()
    shape = {"descr": "|u1", "fortran_order": False, "shape": (20_000, 128, 128)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for key in ("train_labels", "test_images", "test_labels"):
            file.writestr(f"{key}.npy", b"")
        with file.open("train_images.npy", "w") as out:
            out.write(header.getvalue())
            for _ in range(20_000 * 128 * 128 >> 20):
                out.write(bytes(1 << 20))
    refused(path, "bomb.npz", "would unpack to", "do not compress like that")


def test_what_does_not_fit_into_memory_is_refused_with_the_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr("medjax.memory.available", lambda: 8_000)
    refused(saved(tmp_path, arrays()), "unpacks to", "4000 bytes")


def test_header_that_promises_too_much(tmp_path):
    """The shape is a lie: NumPy would ask for a petabyte."""
    path, header = tmp_path / "lie.npz", io.BytesIO()
    shape = {"descr": "|u1", "fortran_order": False, "shape": (1 << 40, 32, 32)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("train_images.npy", header.getvalue() + b"few")
    refused(path, "damaged")


# --- names


def test_unknown_name():
    message = refused("bloodmist", "unknown data set 'bloodmist'", "Did you mean 'bloodmnist'")
    usable = [name for name, entry in CATALOG.items() if entry.task != "multi-label"]
    assert all(name in message for name in ("phantom", *usable, ".npz"))
    assert "chestmnist" not in message + refused("chest_xray3", "unknown data set")
    assert "Did you mean" not in refused("qqqq", "unknown data set")
    refused("bloodmnist_65", "Did you mean 'bloodmnist'", "bloodmnist_64")


def test_folder_is_told_how_to_become_a_file(tmp_path):
    refused(tmp_path, "is a folder", "experiments.prepare --folder=")
    (tmp_path / "odd.npz").mkdir()
    refused(tmp_path / "odd.npz", "is a folder")


def test_phantom_by_name():
    assert sources.load("phantom").name == "phantom"


def test_integrated_by_name(monkeypatch):
    made = sources.load("phantom")
    monkeypatch.setattr(sources, "load_integrated", lambda data_dir, tell: made)
    assert sources.load("integrated") is made


def test_a_name_in_memory_may_have_dots():
    images, labels = np.arange(128, dtype=np.uint8).reshape(8, 4, 4), np.arange(8) % 2
    train, test = ({f"{s}_images": images, f"{s}_labels": labels} for s in ("train", "test"))
    assert sources.from_arrays("chest-v1.2", **train, **test).name == "chest-v1.2"


def test_arrays_in_memory_of_other_libraries():
    """Names that a table holds as objects; None for what there is not. What is no array is named."""
    images, labels = np.arange(128, dtype=np.uint8).reshape(8, 4, 4), [0, 1] * 4
    splits = {"train_images": images, "train_labels": labels, "test_images": images}
    splits |= {"test_labels": labels, "val_images": None, "val_labels": None}
    names = np.array(["a", "b"], object)
    assert sources.from_arrays("mine", class_names=names, **splits).class_names == ("a", "b")
    with pytest.raises(UserError, match="train_images is no array: "):
        sources.from_arrays("mine", **splits | {"train_images": [images[0], images[0, :2]]})


def test_a_multi_label_set_is_refused_before_any_download():
    refused("chestmnist", "14 labels", "one class per image")


# --- the real images at hand


@pytest.mark.parametrize(
    ("stem", "sizes", "channels", "k"),
    [
        ("pbc_blood8", (11952, 1707, 3415), 3, 8),
        ("chest_xray3", (3640, 520, 1040), 1, 3),
        ("pneumonia2", (4550, 650, 618), 1, 2),
    ],
)
def test_real_images(stem, sizes, channels, k):
    path = SHARED / f"{stem}.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    data = sources.load(str(path))
    assert data.name == stem and len(data.class_names) == k and data.notes == ()
    assert tuple(len(s.labels) for s in (data.train, data.val, data.test)) == sizes
    assert data.train.images.shape[1:] == (28, 28, channels)
