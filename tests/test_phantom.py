"""The embedded set: shape, repeatability, balance, and as hard as it should be."""

import numpy as np
import pytest

from medjax.data.phantom import KINDS, NAMES, draw, phantom
from medjax.data.raw import fingerprint


@pytest.fixture(scope="module")
def data():
    return phantom()


def test_shapes_and_ranges(data):
    assert data.name == "phantom" and data.class_names == NAMES and len(NAMES) == 8
    for split, size in ((data.train, 2304), (data.val, 384), (data.test, 768)):
        assert split.images.shape == (size, 28, 28, 3) and split.images.dtype == np.uint8
        assert split.labels.shape == (size,) and split.labels.dtype == np.int32
        assert split.images.flags.c_contiguous
        shares = np.bincount(split.labels, minlength=8) / size
        assert shares.min() > 0.07 and shares.max() < 0.18
        assert len(set(np.bincount(split.labels))) > 1  # not exactly balanced


def test_bits_are_the_recorded_ones(data):
    # Results name this fingerprint. If NumPy's stream or the drawing changes on purpose, measure
    # the set's difficulty again (test_phantom_difficulty.py, slow) before recording the new one.
    assert data.fingerprint == "e81fad4b7f383af5"
    splits = {"train": data.train, "val": data.val, "test": data.test}
    assert fingerprint(**splits) == data.fingerprint


def test_seed_decides():
    labels = np.arange(8)
    first, again, other = (draw(np.random.default_rng(s), labels) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_no_image_twice(data):
    images = np.concatenate([data.train.images, data.val.images, data.test.images])
    assert len({image.tobytes() for image in images}) == len(images)


def test_images_use_the_range_without_clipping_away(data):
    pixels = data.train.images
    assert 170 < pixels.mean() < 220 and 25 < pixels.std() < 60
    assert (pixels == 255).mean() < 0.15 and (pixels == 0).mean() < 0.01


def test_a_kind_is_drawn_as_its_table_says():
    def darkness(name):
        labels = np.full(100, NAMES.index(name))
        return 255 - draw(np.random.default_rng(0), labels).mean()

    assert KINDS["blast"].radius > KINDS["lymphoid"].radius > KINDS["platelet"].radius
    assert darkness("blast") > darkness("lymphoid") > darkness("platelet")


def test_one_example_says_little_and_pixels_are_not_enough(data):
    """Nearest neighbours in pixel space: poor from one image a class, and far from solved from all."""
    train = data.train.images.reshape(2304, -1).astype(np.float32) / 255
    test = data.test.images.reshape(768, -1).astype(np.float32) / 255

    def accuracy(rows):
        kept = train[rows]
        distance = (kept * kept).sum(1) - 2 * test @ kept.T
        return (data.train.labels[rows][distance.argmin(1)] == data.test.labels).mean()

    one = [np.flatnonzero(data.train.labels == label)[0] for label in range(8)]
    assert accuracy(np.array(one)) < 0.35
    assert 0.2 < accuracy(np.arange(2304)) < 0.8
