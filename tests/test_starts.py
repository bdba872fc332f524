"""Images that begin as random ones of another data set (``--init_set=other.npz``)."""

import jax
import jax.numpy as jnp
import launching
import numpy as np
import pytest

import medjax
from medjax import share
from medjax.data import preprocess, sources
from medjax.errors import UserError
from medjax.pipeline import starts


@pytest.fixture
def other(tmp_path):
    """Images of the classes of the tiny set in another order, each of one grey level that says which image it is."""
    raw = sources.load(str(launching.tiny("rgb")))
    names = raw.class_names[::-1]
    labels = np.arange(30) % len(names)
    images = np.broadcast_to(
        np.arange(30, dtype=np.uint8).reshape(-1, 1, 1, 1) * 8, (30, 12, 12, 3)
    )
    images = images.copy()
    images[:, 0, 0] += 1  # none is blank
    return raw, write(tmp_path / "other.npz", names, images, labels)


def write(path, names, images, labels):
    arrays = {f"{s}_images": images for s in ("train", "val", "test")}
    arrays |= {f"{s}_labels": labels.reshape(-1, 1) for s in ("train", "val", "test")}
    np.savez(path, class_names=np.array(names), **arrays)
    return path


def begun(raw, path, whiten="normalise", pack=1, private=False):
    config = preprocess.PreprocessConfig(8, whiten)
    pre = preprocess.fit(config, raw.train.images)
    packing = preprocess.packing_of(pre, pack, False)
    train = preprocess.to_device(pre, raw.train)._replace(packing=packing)
    made = starts.begin_with(str(path), 2, raw, pre, train, jax.random.key(0), private)
    decoded = preprocess.decoded(
        pre, medjax.Synthetic(made, jnp.arange(len(made)), 0.0), packing.factor
    )
    levels = 255 * preprocess.invert(pre, decoded.images).mean((1, 2, 3))
    return made, np.rint(levels / 8).astype(int)


@pytest.mark.parametrize("pack", [1, 2])
@pytest.mark.parametrize("whiten", ["normalise", "zca"])
def test_images_of_each_class(other, pack, whiten):
    """By the names of the classes, none twice, packed as the run's own; the key draws them."""
    raw, path = other
    k = len(raw.class_names)
    made, which = begun(raw, path, whiten=whiten, pack=pack)
    assert made.shape == (2 * k, 8, 8, 3) and len(set(which.tolist())) == 2 * k * pack**2
    theirs = np.tile(np.repeat(np.arange(k), 2), pack**2)  # the class of each decoded image, here
    np.testing.assert_array_equal(which % k, k - 1 - theirs)


def test_other_classes_and_sets_that_do_not_fit(other, tmp_path):
    """Images of other classes are taken for any; too few, or of other channels, are refused in one line."""
    raw, path = other
    with np.load(path) as z:
        images = z["train_images"]
    strange = write(tmp_path / "strange.npz", ["a", "b", "c", "d", "e"], images, np.arange(30) % 5)
    made, which = begun(raw, strange)
    assert made.shape == (6, 8, 8, 3) and len(set(which.tolist())) == 6
    few = write(tmp_path / "few.npz", raw.class_names, images[:5], np.arange(5) % 3)
    with pytest.raises(UserError, match=r"few\.npz has 1 images for a class, .* begins with 2"):
        begun(raw, few)
    grey = write(tmp_path / "grey.npz", raw.class_names, images[..., 0], np.arange(30) % 3)
    with pytest.raises(UserError, match="images of 1 channels, and this run of 3"):
        begun(raw, grey)


def test_private_images_are_no_start(other):
    """Under a guarantee the same images are refused, by their name and by their content; others are taken."""
    raw, path = other
    mine = str(launching.tiny("rgb"))
    for one in (raw, raw._replace(name="another")):
        with pytest.raises(UserError, match=r"was made from .*, which is private"):
            begun(one, mine, private=True)
    assert len(begun(raw, path, private=True)[0]) == 6
    begun(raw, mine)  # without one it is the user's choice


def test_a_run_says_what_it_began_with(other, tmp_path):
    """Its set names the data, whose licence holds too; the set of a run is no data set."""
    _, path = other
    values = {"dataset": launching.tiny("rgb"), "size": 8, "width": 4, "depth": 1, "iterations": 1}
    values |= {"experts": 1, "max_start_epoch": 1, "networks": 1, "eval_epochs": 1, "eval_every": 1}
    values |= {"interim_networks": 1, "interim_epochs": 1, "inner_steps": 1, "init_set": str(path)}
    result = medjax.run("mtt", medjax.settings("mtt", "quick", **values), tmp_path / "runs")
    made = result.folder / "synthetic.npz"
    assert share.load_set(made).origin["begun"] == "other"
    assert not starts.is_data(made) and starts.is_data(path)
    moved = path.with_name("moved.npz")
    moved.write_bytes(path.read_bytes())
    same = medjax.settings("mtt", "quick", **values | {"init_set": str(moved)})
    assert same.identity() == medjax.settings("mtt", "quick", **values).identity()
    another = medjax.settings("mtt", "quick", **values | {"init_set": str(launching.tiny("rgb"))})
    assert another.identity()["init_set"] != same.identity()["init_set"]
    assert starts.origin_of(str(made))["dataset"] == "cells"
    assert starts.origin_of(str(path))["dataset"] == "other"
