"""The file that is shared: everything comes back, and a broken one is one clear line."""

import gc

import jax.numpy as jnp
import numpy as np
import pytest

from medjax import share
from medjax.data import preprocess
from medjax.errors import UserError
from medjax.models import ConvNetConfig, ResNetConfig
from medjax.models.mlp import MLPConfig
from medjax.types import Synthetic

NAMES = ("round", "long", "other")
ORIGIN = {
    "method": "mtt",
    "dataset": "cells",
    "fingerprint": "0123456789abcdef",
    "collapsed": "False",
    "eval_epochs": "9",
}
NETWORK = ("convnet", ConvNetConfig(width=8, depth=2))


@pytest.fixture(params=["zca", "normalise", "half"])
def fitted(request):
    """A preprocessing fitted on a few images, and some images in its model space."""
    raw = np.random.default_rng(0).integers(0, 256, (40, 9, 9, 3)).astype(np.uint8)
    pre = preprocess.fit(preprocess.PreprocessConfig(size=6, whiten=request.param), raw)
    return pre, preprocess.apply(pre, raw[:6])


@pytest.fixture
def saved(fitted, tmp_path):
    """The path of a saved set, the set, and its preprocessing."""
    pre, images = fitted
    labels = jnp.repeat(jnp.arange(3, dtype=jnp.int32), 2)
    synthetic = Synthetic(jnp.asarray(images), labels, jnp.float32(0.0123))
    path = tmp_path / "sub" / "synthetic.npz"
    share.save_set(path, synthetic, pre, NAMES, network=NETWORK, **ORIGIN)
    return path, synthetic, pre


def test_everything_comes_back(saved):
    """Bit for bit: images, labels, step size, matrices, names, origin, network."""
    path, synthetic, pre = saved
    back = share.load_set(path)
    assert back.synthetic.soft is None
    for mine, theirs in zip(synthetic[:3], back.synthetic[:3], strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == theirs.dtype
    assert (back.preprocessor.kind, back.preprocessor.size) == (pre.kind, 6)
    for name in ("mean", "forward"):
        np.testing.assert_array_equal(getattr(back.preprocessor, name), getattr(pre, name))
    np.testing.assert_allclose(back.preprocessor.inverse, pre.inverse, rtol=1e-4, atol=1e-6)
    assert back.class_names == NAMES
    assert back.origin == ORIGIN and back.network == NETWORK
    np.testing.assert_array_equal(
        back.images_uint8, preprocess.to_uint8(pre, np.asarray(synthetic.images))
    )


def rewritten(path, removed=(), **strings):
    """The file without some keys and with these strings."""
    with np.load(path) as z:
        arrays = {name: z[name] for name in z.files if name not in removed}
    np.savez(path, **arrays, **{name: np.array(value) for name, value in strings.items()})


@pytest.mark.parametrize(
    "network",
    [
        ("convnet", ConvNetConfig(conv="lax")),
        ("resnet18", ResNetConfig(resnet_norm="instance")),
        ("mlp", MLPConfig(mlp_width=6)),
        ("of-the-future", None),
        None,
    ],
)
def test_any_network_travels_with_the_set(saved, network):
    """All of its options do; a network that is not known here loads without them."""
    path, synthetic, pre = saved
    share.save_set(path, synthetic, pre, NAMES, network=network, **ORIGIN)
    assert share.load_set(path).network == network


@pytest.mark.parametrize(
    ("strings", "network"),
    [
        ({"model": "convnet", "width": "8", "depth": "2"}, NETWORK),
        ({"model": "convnet"}, ("convnet", None)),
        ({"model": "resnet18"}, ("resnet18", None)),  # its norm was not written
        ({"model": "mlp"}, ("mlp", MLPConfig())),
        ({"model": "of-the-past"}, ("of-the-past", None)),
        ({}, None),
    ],
)
def test_files_written_before(saved, strings, network):
    """The keys model, width and depth mean what they meant."""
    path, *_ = saved
    rewritten(path, ["network"], **strings)
    back = share.load_set(path)
    assert back.network == network and back.origin == ORIGIN


OLD = {"model": "convnet", "width": "8", "depth": "2"}


@pytest.mark.parametrize(
    "strings",
    [
        OLD | {"width": "0"},
        OLD | {"width": "999999"},
        OLD | {"depth": "deep"},
        {"network": ""},
        {"network": "3"},
        {"network": "[" * 100_000},
        {"network": '{"name": "convnet"}'},
        {"network": '{"name": ["convnet"], "config": {}}'},
        {"network": '{"name": "convnet", "config": 3}'},
        {"network": '{"name": "convnet", "config": {"width": 999999}}'},
        {"network": '{"name": "convnet", "config": {"width": "8"}}'},
        {"network": '{"name": "convnet", "config": {"width": NaN}}'},
        {"network": '{"name": "convnet", "config": {"length": 8}}'},
    ],
)
def test_network_that_does_not_fit_is_refused(saved, strings):
    """Before anybody builds it, in one line."""
    path, *_ = saved
    rewritten(path, ["network"], **strings)
    assert "not a whole distilled set" in refusal(path)


def test_receiver_sees_the_rounded_images(saved):
    """as_shared: within half a grey level in pixels, not equal; labels and step size are kept."""
    path, synthetic, pre = saved
    received = share.as_shared(share.load_set(path))
    assert received.images.shape == synthetic.images.shape
    assert not np.array_equal(received.images, synthetic.images)
    pixels = [preprocess.invert(pre, np.asarray(s.images)) for s in (received, synthetic)]
    assert np.abs(pixels[0] - np.clip(pixels[1], 0, 1)).max() < 0.51 / 255
    np.testing.assert_array_equal(received.labels, synthetic.labels)
    assert received.step_size == synthetic.step_size


def refusal(path):
    """The one line of a failed load."""
    with pytest.raises(UserError) as caught:
        share.load_set(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module", autouse=True)
def _frozen():
    """What was made before is no litter: each of many collections would walk all of JAX."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def complaint(path):
    """The same, and no file is left open: it warns now, in the test that opened it."""
    line = refusal(path)
    gc.collect()
    return line


def test_a_set_is_read_once(saved):
    """A run that starts from it asks several times, and the inverse of ZCA takes seconds. A changed file is read again,
    and nobody can change what others get."""
    path = saved[0]
    first = share.load_set(path)
    assert share.load_set(path) is first
    with pytest.raises(ValueError, match="read-only"):
        first.preprocessor.mean[0] = 1
    path.write_bytes(b"PK")
    with pytest.raises(UserError, match="not a whole distilled set"):
        share.load_set(path)


def test_missing_file(tmp_path):
    """Said as such."""
    assert "does not exist" in complaint(tmp_path / "none.npz")
    assert "is a folder" in complaint(tmp_path)


@pytest.mark.parametrize("share_left", [0.0, 0.1, 0.5, 0.99])
def test_truncated_file(saved, share_left):
    """Cut anywhere."""
    path = saved[0]
    content = path.read_bytes()
    path.write_bytes(content[: int(share_left * len(content))])
    assert "not a whole distilled set" in complaint(path)


@pytest.mark.parametrize(
    "key", ["images", "images_uint8", "labels", "step_size", "class_names", "preprocess_forward"]
)
def test_missing_key(saved, key):
    """The key is named."""
    path = saved[0]
    with np.load(path) as z:
        arrays = {name: z[name] for name in z.files if name != key}
    np.savez(path, **arrays)
    assert key in complaint(path)


def test_flipped_bytes(saved):
    """A zip archive's checksums are looked at."""
    path = saved[0]
    content = bytearray(path.read_bytes())
    for i in range(400, 440):
        content[i] ^= 0xFF
    path.write_bytes(bytes(content))
    assert "not a whole distilled set" in complaint(path)


def test_flipped_bytes_of_a_compressed_copy(saved):
    """As np.savez_compressed writes it: zlib has an error of its own."""
    path = saved[0]
    with np.load(path) as z:
        arrays = {name: z[name] for name in z.files}
    np.savez_compressed(path, **arrays)
    whole = path.read_bytes()
    for first in range(60, 400, 20):
        content = bytearray(whole)
        for i in range(first, first + 20):
            content[i] ^= 0xFF
        path.write_bytes(bytes(content))
        refusal(path)
    gc.collect()


def test_another_kind_of_file(tmp_path):
    """A text, a pickle, a single array and a data set are no distilled sets."""
    path = tmp_path / "synthetic.npz"
    path.write_text("hello")
    complaint(path)
    with open(path, "wb") as handle:
        np.save(handle, np.zeros(3))
    complaint(path)
    with open(path, "wb") as handle:
        np.save(handle, np.array([{}]))
    complaint(path)
    np.savez(path, images=np.array([{}]), labels=np.zeros(1))
    complaint(path)
    np.savez(path, train_images=np.zeros((2, 4, 4), np.uint8))
    complaint(path)
