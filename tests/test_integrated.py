"""The integrated set: shares of several sets, labelled by the set that an image came from."""

import numpy as np
import pytest

from medjax.data import sources
from medjax.errors import UserError


def saved(folder, stem, *, side=8, channels=3, sizes=(50, 20, 30), seed=0):
    """A set of three classes whose images hold their own number in one pixel."""
    rng, content = np.random.default_rng(seed), {}
    for name, n in zip(("train", "val", "test"), sizes, strict=True):
        images = rng.integers(0, 256, (n, side, side, channels), dtype=np.uint8)
        images[:, 0, 0, 0] = np.arange(n)
        content[f"{name}_images"] = images if channels == 3 else images[..., 0]
        content[f"{name}_labels"] = np.arange(n) % 3
    path = folder / f"{stem}.npz"
    np.savez(path, **content)
    return str(path)


@pytest.fixture
def three(tmp_path):
    """Paths of an RGB set, a grey one and a larger one."""
    grey = saved(tmp_path, "grey", channels=1, sizes=(100, 3, 40), seed=1)
    return saved(tmp_path, "rgb"), grey, saved(tmp_path, "large", side=16, seed=2)


def test_label_is_the_set_and_a_tenth_is_taken(three):
    data = sources.load_integrated(three)
    assert data.name == "integrated" and data.class_names == ("rgb", "grey", "large")
    assert np.bincount(data.train.labels).tolist() == [5, 10, 5]
    assert np.bincount(data.val.labels).tolist() == [2, 1, 2]  # never none
    assert np.bincount(data.test.labels).tolist() == [3, 4, 3]
    assert data.train.images.shape == (20, 8, 8, 3) and data.train.images.dtype == np.uint8
    assert data.train.labels.dtype == np.int32
    grey = data.train.images[data.train.labels == 1]
    assert (grey == grey[..., :1]).all() and grey.std() > 0
    assert any("10% of each set, training images: 5 rgb, 10 grey, 5 large" in n for n in data.notes)
    assert any("large (16 px) was shrunk" in n for n in data.notes)


def test_groups_of_the_parts_stay_apart(three, tmp_path):
    """An image of a part without groups is a group of its own."""
    with np.load(three[0]) as file:
        content = dict(file)
    for name in ("train", "val", "test"):
        content[f"{name}_groups"] = np.arange(len(content[f"{name}_labels"])) // 5
    np.savez(tmp_path / "rgb.npz", **content)
    data = sources.load_integrated((three[0], three[1]), share=1.0)
    numbers = [getattr(data, name).groups for name in ("train", "val", "test")]
    own = [
        n[getattr(data, name).labels == 0]
        for n, name in zip(numbers, ("train", "val", "test"), strict=True)
    ]
    assert own[0].tolist() == [i // 5 for i in range(50)]
    others = np.concatenate(numbers)[
        np.concatenate([data.train.labels, data.val.labels, data.test.labels]) == 1
    ]
    assert len(set(others.tolist())) == 143 and not set(others) & set(np.concatenate(own))
    assert (
        "rgb: WARNING: 6 patients are in more than one split: scores will be too high."
        in data.notes
    )
    assert sources.load_integrated((three[1], three[2])).train.groups is None


def test_images_of_two_splits_are_reported(three, tmp_path):
    with np.load(three[0]) as file:
        content = dict(file)
    content["test_images"][:5] = content["train_images"][:5]
    np.savez(tmp_path / "rgb.npz", **content)
    data = sources.load_integrated((three[0], three[1]), share=1.0)
    assert "5 of the 70 test images are also in train: scores will be too high." in data.notes


def test_images_are_the_real_ones_in_their_splits(three):
    data, whole = sources.load_integrated(three), sources.load(three[0])
    for name in ("train", "val", "test"):
        real = getattr(whole, name).images
        split = getattr(data, name)
        drawn = split.images[split.labels == 0]
        numbers = drawn[:, 0, 0, 0]
        assert (np.diff(numbers.astype(int)) > 0).all()  # each once
        np.testing.assert_array_equal(drawn, real[numbers])


def test_fingerprint_depends_on_parts_share_and_seed(three, tmp_path):
    base = sources.load_integrated(three)
    assert base.fingerprint == sources.load_integrated(three).fingerprint
    others = [
        sources.load_integrated(three, share=0.2),
        sources.load_integrated(three, seed=1),
        sources.load_integrated(three[:2]),
        sources.load_integrated(three[::-1]),
        sources.load_integrated((*three[:2], saved(tmp_path, "large", side=16, seed=3))),
    ]
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == 6


def test_when_a_guarantee_can_be_given(three, tmp_path):
    """Not for a share, whose draw depends on all images, nor where a patient's images in one part have no number, nor
    where val is carved out of train."""
    with np.load(three[0]) as file:
        content = dict(file)
    carved = {key: array for key, array in content.items() if not key.startswith("val_")}
    np.savez(tmp_path / "carved.npz", **carved)
    for name in ("train", "val", "test"):
        content[f"{name}_groups"] = np.arange(len(content[f"{name}_labels"]))
    np.savez(tmp_path / "named.npz", **content)
    found = [sources.load_integrated(three[:2], share=share).unguarded for share in (1.0, 0.5)]
    assert found[0] == () and [line[:45] for line in found[1]] == [
        "which images are drawn depends on all of them"
    ]
    for other, why in (("named", "some parts say"), ("carved", "carved: it has no val images")):
        parts = three[0], str(tmp_path / f"{other}.npz")
        (line,) = sources.load_integrated(parts, share=1.0).unguarded
        assert line.startswith(why)


def test_a_set_added_behind_changes_nothing_before(three):
    two, all_three = sources.load_integrated(three[:2]), sources.load_integrated(three)
    np.testing.assert_array_equal(two.train.images, all_three.train.images[:15])


def test_share_of_all_is_everything(three):
    assert len(sources.load_integrated(three[:2], share=1.0).train.labels) == 150


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, float("nan")])
def test_no_share(three, share):
    with pytest.raises(UserError, match="integrate_share"):
        sources.load_integrated(three, share=share)


def test_one_set_or_the_same_twice(three):
    with pytest.raises(UserError, match="two data sets or more"):
        sources.load_integrated(three[:1])
    with pytest.raises(UserError, match=r"two parts .* named rgb"):
        sources.load_integrated((three[0], three[0]))


def test_everything_missing_is_named_at_once(three, tmp_path):
    names = (three[0], str(tmp_path / "a.npz"), "bloodmist", str(tmp_path / "b.npz"))
    with pytest.raises(UserError, match="3 of 4 parts cannot be loaded") as caught:
        sources.load_integrated(names)
    message = str(caught.value)
    assert all(word in message for word in ("a.npz", "b.npz", "'bloodmnist'"))
    assert "\n" not in message


def test_every_download_that_fails_is_named(three, tmp_path, monkeypatch):
    monkeypatch.setattr("medjax.data.catalog.RECORD", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(UserError, match="2 of 3 parts") as caught:
        sources.load_integrated((three[0], "bloodmnist", "breastmnist"), data_dir=tmp_path)
    message = str(caught.value)
    assert all(str(tmp_path / f"{name}mnist.npz") in message for name in ("blood", "breast"))
