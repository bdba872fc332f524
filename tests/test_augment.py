"""DSA: each operation against plain NumPy, what is drawn and from which range, and its gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import dsa_numpy

from medjax import augment as dsa
from medjax.augment import cutmix
from medjax.errors import UserError

SHAPES = [(3, 12, 12, 3), (3, 9, 14, 1)]
IDENTITY = dict(scale_x=1.0, scale_y=1.0, degrees=0.0, shift_x=0.0, shift_y=0.0)
PLAIN = dict(brightness=0.0, saturation=1.0, contrast=1.0)


@pytest.fixture(params=SHAPES, ids=str)
def images(request):
    """Three images, square and oblong, any value range."""
    return np.random.default_rng(5).normal(size=request.param).astype(np.float32)


def full(defaults, values):
    """Every parameter of an operation, one value per image, those not given at the identity."""
    return {k: jnp.asarray(values.get(k, [v] * 3), jnp.float32) for k, v in defaults.items()}


def warped(images, **values):
    return jax.jit(dsa.warp)(images, **full(IDENTITY, values))


def colored(images, **values):
    return dsa.color(jnp.asarray(images), **full(PLAIN, values))


def test_flip(images):
    """Mirrored images are mirrored exactly."""
    expected = dsa_numpy.flip(images, [True, False, True])
    np.testing.assert_array_equal(warped(images, scale_x=[-1, 1, -1]), expected.astype(np.float32))


def test_scale(images):
    """x and y have scales of their own; above 1 the image shrinks."""
    x, y = [1.2, 0.87, 1.0], [0.84, 1.1, 1.15]
    expected = dsa_numpy.scale(images, x, y)
    np.testing.assert_allclose(warped(images, scale_x=x, scale_y=y), expected, atol=2e-5)


def test_rotate(images):
    """Rotation of the sampling grid, on oblong images in the grid's own units."""
    degrees = [15.0, -7.0, 1.0]
    expected = dsa_numpy.rotate(images, degrees)
    np.testing.assert_allclose(warped(images, degrees=degrees), expected, atol=2e-5)


def test_crop(images):
    """A shift is exact and filled with zeros."""
    x, y = [4, -2, 0], [-1, 3, 0]
    expected = dsa_numpy.crop(images, x, y)
    np.testing.assert_array_equal(warped(images, shift_x=x, shift_y=y), expected.astype(np.float32))


@pytest.mark.parametrize("size", [5, 6])
def test_cutout(images, size):
    """A square hole, cut by the border where its centre is near."""
    n, h, w, _ = images.shape
    x, y = [0, w, 4], [h, 2, 5]
    mask = dsa.cutout_mask(h, w, size, jnp.float32(x), jnp.float32(y))
    np.testing.assert_array_equal(images * mask, dsa_numpy.cutout(images, x, y, size))


def test_color(images):
    """Brightness, then saturation, then contrast."""
    b, s, c = [0.4, -0.3, 0.0], [0.0, 1.9, 1.3], [0.5, 1.4, 0.9]
    expected = dsa_numpy.contrast(dsa_numpy.saturation(dsa_numpy.brightness(images, b), s), c)
    got = colored(images, brightness=b, saturation=s, contrast=c)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_identity_is_exact(images):
    """Images of the families not drawn are not touched by resampling: not one bit."""
    np.testing.assert_array_equal(warped(images), images)


@pytest.fixture
def draws(monkeypatch):
    """(keys, n, side, siamese) -> what `augment` passes to its operations, each [keys, n]."""

    def parameters(keys, n, side, siamese=False):
        def one(key):
            seen = {}

            def record(images, **values):
                seen.update(values)
                return images

            def hole(h, w, size, x, y):
                seen.update(hole_x=x, hole_y=y, hole_size=jnp.full(n, size))
                return jnp.ones((n, h, w, 1))

            monkeypatch.setattr(dsa, "warp", record)
            monkeypatch.setattr(dsa, "color", record)
            monkeypatch.setattr(dsa, "cutout_mask", hole)
            dsa.augment(key, jnp.ones((n, side, side, 1)), siamese=siamese)
            return {**seen, "hole": seen["hole_x"] >= 0}

        found = jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(keys))
        monkeypatch.undo()
        return found

    return parameters


def families(found):
    """The family of every key, and that it alone is away from the identity: bool [keys] by name."""
    moved = {
        "color": [found[k] != v for k, v in PLAIN.items()],
        "crop": [found["shift_x"] != 0, found["shift_y"] != 0],
        "cutout": [found["hole"]],
        "flip": [found["scale_x"] == -1],
        "scale": [(found["scale_x"] != 1) & (found["scale_x"] != -1), found["scale_y"] != 1],
        "rotate": [found["degrees"] != 0],
    }
    return {name: np.any(np.stack(parts), axis=(0, 2)) for name, parts in moved.items()}


def test_families(draws):
    """One family a call, each of the six about equally often."""
    by_name = families(draws(jax.random.split(jax.random.key(0), 1200), 16, 32))
    assert set(by_name) == set(dsa.FAMILIES)
    np.testing.assert_array_equal(sum(by_name.values()), 1)
    counts = np.array([f.sum() for f in by_name.values()])
    assert ((counts - 200) ** 2 / 200).sum() < 25.7  # chi-square with 5 degrees: one in 10,000


def test_ranges(draws):
    """The ranges of the public code at 32 px, reached to their ends and not left."""
    found = draws(jax.random.split(jax.random.key(1), 600), 16, 32)
    by_name = families(found)

    def spans(family, name, low, high):
        values = found[name][by_name[family]]
        assert low <= values.min() < low + 0.02 * (high - low), name
        assert high - 0.02 * (high - low) < values.max() <= high, name
        middle = (low + high) / 2
        assert abs(values.mean() - middle) < 0.03 * (high - low), name

    spans("color", "brightness", -0.5, 0.5)
    spans("color", "saturation", 0.0, 2.0)
    spans("color", "contrast", 0.5, 1.5)
    spans("rotate", "degrees", -15.0, 15.0)
    eps = 1e-6
    spans("scale", "scale_x", 1 / 1.2 - eps, 1.2 + eps)
    spans("scale", "scale_y", 1 / 1.2 - eps, 1.2 + eps)
    for name in ("shift_x", "shift_y"):
        assert set(found[name][by_name["crop"]].ravel()) == set(range(-4, 5))
    for name in ("hole_x", "hole_y"):
        assert set(found[name][by_name["cutout"]].ravel()) == set(range(33))
    assert (found["hole_size"] == 16).all()
    mirrored = found["scale_x"][by_name["flip"]]
    assert set(mirrored.ravel()) == {-1, 1} and abs(mirrored.mean()) < 0.12


def test_parameters_per_image(draws):
    """Every image has draws of its own, x and y too; siamese images share theirs."""
    keys = jax.random.split(jax.random.key(2), 60)
    found, shared = draws(keys, 16, 32), draws(keys, 16, 32, siamese=True)
    by_name = families(found)
    for family, names in {
        "color": ["brightness", "saturation", "contrast"],
        "scale": ["scale_x", "scale_y"],
        "rotate": ["degrees"],
        "crop": ["shift_x", "shift_y"],
        "cutout": ["hole_x", "hole_y"],
        "flip": ["scale_x"],
    }.items():
        for name in names:
            values = found[name][by_name[family]]
            assert len(values) > 2 and (np.ptp(values, axis=1) > 0).all()
            assert (np.ptp(shared[name], axis=1) == 0).all()
    for a, b in (("shift_x", "shift_y"), ("scale_x", "scale_y"), ("hole_x", "hole_y")):
        rows = by_name[{"sh": "crop", "sc": "scale", "ho": "cutout"}[a[:2]]]
        assert (found[a][rows] != found[b][rows]).mean() > 0.7


def one_key_each(draws, n=3, side=16):
    """For each family a key that draws it (and, for flip, mirrors an image), with the parameters drawn."""
    keys = jax.random.split(jax.random.key(3), 100)
    found = draws(keys, n, side)
    for name, rows in families(found).items():
        i = int(np.argmax(rows))
        assert rows[i]
        yield name, keys[i], {k: v[i] for k, v in found.items()}


def test_whole_against_numpy(draws):
    """`augment` is the NumPy operation of the family with the parameters drawn, for all six."""
    images = np.random.default_rng(6).normal(size=(3, 16, 16, 3)).astype(np.float32)
    whole = jax.jit(dsa.augment)

    def color(p):
        x = dsa_numpy.brightness(images, p["brightness"])
        return dsa_numpy.contrast(dsa_numpy.saturation(x, p["saturation"]), p["contrast"])

    expected = {
        "color": color,
        "crop": lambda p: dsa_numpy.crop(images, p["shift_x"], p["shift_y"]),
        "cutout": lambda p: dsa_numpy.cutout(images, p["hole_x"], p["hole_y"], 8),
        "flip": lambda p: dsa_numpy.flip(images, p["scale_x"] < 0),
        "scale": lambda p: dsa_numpy.scale(images, p["scale_x"], p["scale_y"]),
        "rotate": lambda p: dsa_numpy.rotate(images, p["degrees"]),
    }
    for name, key, parameters in one_key_each(draws):
        got = whole(key, images)
        assert np.abs(got - images).max() > 0.05, name
        np.testing.assert_allclose(got, expected[name](parameters), atol=2e-5, err_msg=name)


def test_chosen_families(draws):
    """Only families that are named are drawn, in whatever order; all six are `augment` itself; none is None."""
    assert dsa.strategy(dsa.ALL, "augment") == dsa.strategy("rotate_" + dsa.ALL, "x") == dsa.augment
    assert dsa.strategy("none", "augment") is None
    images = np.random.default_rng(6).normal(size=(2, 8, 8, 3)).astype(np.float32)
    chosen = dsa.strategy("rotate_flip", "augment")
    keys = jax.random.split(jax.random.key(0), 40)
    found = np.asarray(jax.jit(jax.vmap(chosen, (0, None)))(keys, images))
    flipped = (np.abs(found - images[:, :, ::-1]).max((2, 3, 4)) < 1e-5).mean()
    same = (np.abs(found - images).max((2, 3, 4)) < 1e-5).mean()
    # half of the draws are flip, which mirrors half of the images; rotations change every one
    assert 0.1 < flipped < 0.4 and 0.1 < same < 0.4
    cut = np.asarray(jax.jit(dsa.strategy("cutout", "augment"))(keys[0], images))
    assert (cut == 0).any() and ((abs(cut - images) < 1e-5) | (cut == 0)).all()
    with pytest.raises(UserError, match="--augment=flip_blur: 'blur' is no augmentation"):
        dsa.strategy("flip_blur", "augment")


def test_siamese():
    """Siamese: identical images stay identical, and two calls with one key treat two batches alike."""
    rng = np.random.default_rng(7)
    image = jnp.asarray(rng.normal(size=(1, 16, 16, 3)), jnp.float32)
    few, many = image.repeat(2, 0), image.repeat(5, 0)
    keys = jax.random.split(jax.random.key(4), 24)

    def over_keys(images, siamese):
        one = functools.partial(dsa.augment, images=images, siamese=siamese)
        return np.asarray(jax.jit(jax.vmap(one))(keys))

    a, b, apart = over_keys(few, True), over_keys(many, True), over_keys(many, False)
    np.testing.assert_allclose(a, a[:, :1].repeat(2, 1), atol=1e-6)
    np.testing.assert_allclose(b, a[:, :1].repeat(5, 1), atol=1e-6)
    assert (np.ptp(apart, axis=1).max((1, 2, 3)) > 0.05).mean() > 0.9
    assert (
        np.abs(a - np.asarray(few)).max((1, 2, 3, 4)) > 0.05
    ).mean() > 0.6  # flips may leave all as they are


@pytest.mark.parametrize("kind", ["grey", "equal"])
def test_gradient_is_finite(draws, kind):
    """No NaN on constant grey images (colour jitters divide there) nor on equal ones, in any family."""
    noise = np.random.default_rng(8).normal(size=(1, 16, 16, 3))
    images = jnp.asarray(np.full((3, 16, 16, 3), 0.5) if kind == "grey" else noise.repeat(3, 0))
    gradient = jax.jit(jax.grad(lambda x, key: (dsa.augment(key, x) ** 2).sum()))
    for name, key, _ in one_key_each(draws):
        g = gradient(images, key)
        assert jnp.isfinite(g).all() and jnp.abs(g).max() > 0, name


def test_gradient_is_the_difference(draws):
    """Given the key `augment` is affine: a difference of any length is the derivative, and vjp its transpose."""
    rng = np.random.default_rng(9)
    x, d, g = rng.normal(size=(3, 3, 16, 16, 3))
    with jax.enable_x64(True):
        cases = list(one_key_each(draws))

        @jax.jit
        def products(key, x, d, g):
            f = functools.partial(dsa.augment, key)
            return f(x + d) - f(x), jax.jvp(f, (x,), (d,))[1], jax.vjp(f, x)[1](g)[0]

        for name, key, _ in cases:
            difference, derivative, transposed = products(key, x, d, g)
            np.testing.assert_allclose(difference, derivative, atol=1e-6, err_msg=name)
            np.testing.assert_allclose((derivative * g).sum(), (transposed * d).sum(), rtol=1e-9)


def test_cutmix_counts_what_it_pasted():
    """Flat images, one of each class: the share of a class in a label is its share of the pixels; half of the calls
    change nothing; the box has every size."""
    images = jnp.arange(4.0).reshape(4, 1, 1, 1) * jnp.ones((1, 8, 6, 2))
    labels, shares = jnp.arange(4, dtype=jnp.int32), []
    mix = jax.jit(cutmix, static_argnums=3)
    for number in range(60):
        mixed, target = map(np.asarray, mix(jax.random.key(number), images, labels, 5))
        counts = [[(image == c).mean() for c in range(5)] for image in mixed]
        np.testing.assert_allclose(target, counts, atol=1e-6)
        pasted = mixed != np.asarray(images)
        rows, columns = np.nonzero(pasted.any((0, 3)))
        if len(rows):  # one box, the same in all images that get another one
            box = np.zeros((8, 6), bool)
            box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
            assert {p.all(-1).tobytes() for p in pasted} <= {box.tobytes(), (0 * box > 0).tobytes()}
        shares.append(1 - np.diag(target[:, :4]).min())
    shares = np.array(shares)
    assert 15 < (shares == 0).sum() < 45
    assert shares.max() > 0.6 and ((shares > 0) & (shares < 0.2)).any()
