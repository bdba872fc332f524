"""Resize, ZCA and normalisation against independent derivations, and back."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

import medjax
from medjax.data import preprocess
from medjax.data.preprocess import PreprocessConfig
from medjax.data.raw import raw_dataset
from medjax.errors import UserError
from medjax.pipeline.progress import Silent
from medjax.pipeline.session import check_data
from medjax.types import RawSplit


def smooth(n, side=12, channels=3, seed=0):
    """uint8 images whose pixels are correlated, like those of real images."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (n, 3, 3, channels))
    images = coarse.repeat(side // 3, 1).repeat(side // 3, 2) + 25 * rng.normal(
        size=(n, side, side, channels)
    )
    return np.clip(images, 0, 255).astype(np.uint8)


def weights(source, target):
    """Bilinear weights [target, source], half-pixel centres; a wider triangle where the image shrinks."""
    factor = source / target
    centre = (np.arange(target)[:, None] + 0.5) * factor - 0.5
    w = np.maximum(0, 1 - np.abs(centre - np.arange(source)[None]) / max(1, factor))
    return w / w.sum(1, keepdims=True)


@pytest.mark.parametrize("shape", [(28, 28), (64, 64), (20, 28), (40, 24)])
def test_resize(shape):
    """28 -> 32 as half-pixel bilinear; what is larger shrinks antialiased; oblong images become square."""
    images = np.random.default_rng(0).integers(0, 256, (3, *shape, 3), dtype=np.uint8)
    rows, columns = weights(shape[0], 32), weights(shape[1], 32)
    expected = np.einsum("ih,jw,nhwc->nijc", rows, columns, images / 255)
    np.testing.assert_allclose(preprocess.resize(images, 32), expected, atol=2e-6)


@pytest.mark.parametrize("shape", [(28, 28, 3), (33, 20, 1)])
def test_an_image_is_resized_alone(shape):
    """The bits of one depend on no other: without an image in the middle, all others are what they were."""
    images = np.random.default_rng(0).integers(0, 256, (67, *shape), dtype=np.uint8)
    kept = np.arange(67) != 30
    np.testing.assert_array_equal(
        preprocess.resize(images[kept], 32), preprocess.resize(images, 32)[kept]
    )


def test_resize_to_itself_is_exact():
    """Images of the wanted size are only divided by 255."""
    images = smooth(4)
    np.testing.assert_array_equal(
        preprocess.resize(images, 12), images.astype(np.float32) / np.float32(255)
    )


@pytest.mark.parametrize("n", [300, 60])
def test_zca_is_pca(n):
    """W = U diag((s + 0.1)^-1/2) U^T with scikit-learn's PCA; directions without images have s = 0."""
    images = smooth(n)
    pre = preprocess.fit(PreprocessConfig(size=8), images)
    flat = preprocess.resize(images, 8).reshape(n, -1).astype(np.float64)
    pca = PCA(svd_solver="full").fit(flat)
    u = pca.components_.T
    rest = np.eye(192) - u @ u.T
    for matrix, power in ((pre.forward, -0.5), (pre.inverse, 0.5)):
        expected = (u * (pca.explained_variance_ + 0.1) ** power) @ u.T + rest * 0.1**power
        np.testing.assert_allclose(matrix, expected, atol=2e-5)
    white = preprocess.apply(pre, images).reshape(n, -1)
    np.testing.assert_allclose(white, (flat - flat.mean(0)) @ pre.forward, atol=1e-5)
    other = smooth(5, seed=9)  # mean and W come from the training images alone
    expected = (preprocess.resize(other, 8).reshape(5, -1) - flat.mean(0)) @ pre.forward
    np.testing.assert_allclose(preprocess.apply(pre, other).reshape(5, -1), expected, atol=1e-5)


def test_normalise():
    """Mean 0 and standard deviation 1 per channel, over all images and pixels."""
    images = smooth(50)
    images[..., 1] = images[..., 1] // 4 + 90
    white = preprocess.apply(
        preprocess.fit(PreprocessConfig(size=16, whiten="normalise"), images), images
    )
    np.testing.assert_allclose(white.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(white.std((0, 1, 2)), 1, atol=1e-5)


def test_fixed_ranges():
    """none leaves intensities in [0, 1]; half maps them to [-1, 1]: whatever the images are."""
    images = np.full((3, 4, 4, 1), 51, np.uint8)
    images[0, :2], images[0, 2:] = 0, 255
    for whiten, expected in (("none", [0.0, 1.0, 0.2]), ("half", [-1.0, 1.0, -0.6])):
        found = preprocess.apply(preprocess.fit(PreprocessConfig(4, whiten), images), images)
        np.testing.assert_allclose([found.min(), found.max(), found[1, 0, 0, 0]], expected, 1e-6)


def test_normalise_an_empty_channel():
    """A channel without contrast does not divide by zero."""
    images = np.zeros((4, 8, 8, 3), np.uint8)
    pre = preprocess.fit(PreprocessConfig(size=8, whiten="normalise"), images)
    assert (preprocess.apply(pre, images) == 0).all()


@pytest.mark.parametrize("whiten", preprocess.KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_there_and_back(whiten, channels):
    """invert undoes apply; the 8-bit images of unresized ones are the originals."""
    images = smooth(40, channels=channels)
    pre = preprocess.fit(PreprocessConfig(size=16, whiten=whiten), images)
    white = preprocess.apply(pre, images)
    assert white.shape == (40, 16, 16, channels) and white.dtype == np.float32
    back = preprocess.invert(pre, white)
    np.testing.assert_allclose(back, preprocess.resize(images, 16), atol=1e-5)
    pre = preprocess.fit(PreprocessConfig(size=12, whiten=whiten), images)
    np.testing.assert_array_equal(preprocess.to_uint8(pre, preprocess.apply(pre, images)), images)
    wild = preprocess.to_uint8(pre, 100 * white[:, :12, :12])
    assert wild.min() == 0 and wild.max() == 255


@pytest.mark.parametrize("whiten", ["zca", "normalise"])
def test_shared_images_keep_their_direction(whiten):
    """An image far out of range is shared at a lower contrast: in model space the same image times a factor, to 5 %."""
    images = smooth(40)
    pre = preprocess.fit(PreprocessConfig(size=16, whiten=whiten), images)
    white = 4 * preprocess.apply(pre, images)[:8]
    inverted = preprocess.invert(pre, white)
    assert ((inverted < 0) | (inverted > 1)).mean() > 0.2
    shown = preprocess.into_range(pre, white)
    shared = preprocess.apply(pre, preprocess.to_uint8(pre, shown))
    real = preprocess.apply(pre, images)
    np.testing.assert_array_equal(preprocess.into_range(pre, real), real)
    for mine, theirs in zip(white, shared, strict=True):
        factor = (mine * theirs).sum() / (mine**2).sum()
        assert 0.05 < factor < 0.6
        assert np.linalg.norm(theirs / factor - mine) < 0.05 * np.linalg.norm(mine)


def test_blocks_change_nothing(monkeypatch):
    """Images are worked on in blocks; the result is that of one block."""
    images = smooth(35)
    whole = preprocess.fit(PreprocessConfig(size=8), images)
    applied = preprocess.apply(whole, images)
    monkeypatch.setattr(preprocess, "BLOCK", 7)
    blocks = preprocess.fit(PreprocessConfig(size=8), images)
    np.testing.assert_allclose(blocks.mean, whole.mean, atol=1e-6)
    np.testing.assert_allclose(blocks.forward, whole.forward, atol=1e-5)
    np.testing.assert_allclose(preprocess.apply(whole, images), applied, atol=1e-5)


def test_too_large_for_zca():
    """Matrices past the limit are refused in one line that says what to do; normalising is not."""
    images = np.zeros((2, 4, 4, 3), np.uint8)
    with pytest.raises(UserError) as caught:
        preprocess.fit(PreprocessConfig(size=64), images)
    message = str(caught.value)
    assert "\n" not in message and "--whiten=normalise" in message and "63" in message
    preprocess.fit(PreprocessConfig(size=64, whiten="normalise"), images)


def test_normalise_a_block_at_a_time(monkeypatch):
    """The same statistics from blocks, the last of them smaller, as from all images at once."""
    images = np.random.default_rng(0).integers(0, 256, (11, 9, 9, 3), np.uint8)
    config = PreprocessConfig(size=6, whiten="normalise")
    whole = preprocess.fit(config, images)
    monkeypatch.setattr(preprocess, "BLOCK", 4)
    for a, b in zip(preprocess.fit(config, images)[2:], whole[2:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize(
    ("side", "channels", "words", "said"),
    [
        (64, 1, {}, "images of 64 px are resized to 28 px"),
        (224, 3, {}, "images of 224 px are resized to 32 px"),
        (64, 3, {"size": 32}, None),
        (32, 3, {}, None),
        (28, 1, {}, None),
    ],
)
def test_images_that_networks_see_smaller_are_said(side, channels, words, said):
    """By a run and a dry run, unless the size was asked for; with a command that can be given."""
    images = np.zeros((20, side, side, channels), np.uint8)
    split = RawSplit(images, np.arange(20, dtype=np.int32) % 2)
    raw = raw_dataset("large", ("a", "b"), {"train": split, "val": split, "test": split})
    heard = []

    class Heard(Silent):
        def say(self, text):
            heard.append(text)

    check_data(medjax.settings("mtt", "best", **words), raw._replace(notes=()), Heard())
    assert len(heard) == bool(said)
    if said:
        assert said in heard[0] and "--preset=best --size=64 --whiten=normalise" in heard[0]
        medjax.settings("mtt", "best", size=64, whiten="normalise")
