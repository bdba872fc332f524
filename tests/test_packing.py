"""Packing: what a stored image holds, gradients through it, and how packed sets are made, scored, shared and shown."""

import jax
import jax.numpy as jnp
import launching
import made
import numpy as np
import pytest
from PIL import Image

import medjax
from medjax import cost, packing, recipes, share
from medjax.data import preprocess
from medjax.distill import dc, dm, mtt
from medjax.distill.dc import DCConfig
from medjax.distill.dm import DMConfig
from medjax.distill.mtt_config import MTTConfig
from medjax.distill.random import packed_images, random_images
from medjax.distill.segments import Segments
from medjax.errors import UserError
from medjax.pipeline import real, score
from medjax.recipes import Setup
from medjax.report import comparison, run_cells, runs, table1
from medjax.report.baseline import baseline
from medjax.report.run_tables import cells_table, runs_table
from medjax.types import Dataset, Synthetic, Trajectories


def by_loops(images, factor):
    """`packing.decode`, pixel by pixel."""
    m, s, _, c = images.shape
    side = int(np.ceil(s / factor))
    wide = np.full((m, side * factor, side * factor, c), 0.5)
    wide[:, :s, :s] = images
    out = []
    for row in range(factor):
        for column in range(factor):
            tile = wide[:, row * side : row * side + side, column * side : column * side + side]
            large = np.zeros((m, s, s, c))
            for i in range(s):
                for j in range(s):
                    y, x = (min(max((k + 0.5) * side / s - 0.5, 0), side - 1) for k in (i, j))
                    top, left = int(y), int(x)
                    low, right = min(top + 1, side - 1), min(left + 1, side - 1)
                    upper = tile[:, top, left] * (1 - x + left) + tile[:, top, right] * (x - left)
                    lower = tile[:, low, left] * (1 - x + left) + tile[:, low, right] * (x - left)
                    large[:, i, j] = upper * (1 - y + top) + lower * (y - top)
            out.append(large)
    return np.concatenate(out)


@pytest.mark.parametrize(("s", "f", "c"), [(8, 2, 1), (7, 2, 3), (9, 3, 1), (10, 3, 3), (4, 4, 1)])
def test_decode(s, f, c):
    """NumPy and JAX against loops, 1e-6; sides that f divides, and sides that are padded."""
    images = np.random.default_rng(s).uniform(size=(2, s, s, c)).astype(np.float32)
    expected = by_loops(images, f)
    found = packing.decode(images, f)
    assert isinstance(found, np.ndarray) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(packing.decode(jnp.asarray(images), f), expected, atol=1e-6)


@pytest.mark.parametrize("f", [2, 3])
def test_what_is_packed_comes_back(f):
    """Flat images are exact, each in its place: the first tile of all stored images, then the second."""
    levels = np.arange(2 * f * f, dtype=np.float32) / 32
    flat = np.broadcast_to(levels.reshape(-1, 1, 1, 1), (2 * f * f, 12, 12, 3))
    stored = packing.pack(jnp.asarray(flat), f)
    assert stored.shape == (2, 12, 12, 3)
    np.testing.assert_allclose(packing.decode(np.asarray(stored), f), flat, atol=1e-7)
    np.testing.assert_allclose(stored[1, 0, 12 // f], levels[3], atol=1e-7)  # top, second


@pytest.mark.parametrize("s", [8, 9])
def test_pack_shrinks(s):
    """Each tile is Pillow's (antialiased, bilinear); the last ones are cut where they reach over the edge."""
    images = np.random.default_rng(0).uniform(size=(4, s, s, 1)).astype(np.float32)
    (stored,), side = np.asarray(packing.pack(jnp.asarray(images), 2)), -(-s // 2)
    for number, image in enumerate(images[..., 0]):
        small = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
        y, x = side * (number // 2), side * (number % 2)
        tile = stored[y : y + side, x : x + side, 0]
        np.testing.assert_allclose(tile, np.asarray(small)[: s - y, : s - x], atol=1e-5)


def whitened(kind, size, channels=3, factor=2):
    """A preprocessing of random images, and its packing."""
    noise = np.random.default_rng(1).integers(-78, 78, (40, size, size, channels))
    wave = 128 + 50 * np.sin(np.linspace(0, np.pi, size)).reshape(-1, 1, 1)  # their mean
    raw = np.rint(wave + np.concatenate([noise, -noise])).astype(np.uint8)
    pre = preprocess.fit(preprocess.PreprocessConfig(size, kind), raw)
    return pre, preprocess.packing_of(pre, factor)


@pytest.mark.parametrize("kind", preprocess.KINDS)
def test_model_space(kind):
    """In model space a stored image holds the whitened images of what its pixels hold; NumPy's and JAX's agree."""
    pre, packed = whitened(kind, 6)
    pixels = np.random.default_rng(2).integers(0, 256, (2, 6, 6, 3)).astype(np.uint8)
    stored = preprocess.apply(pre, pixels)
    held = by_loops(pixels / 255, 2).astype(np.float32)
    flat = held.reshape(8, -1) if kind == "zca" else held
    flat = flat - pre.mean
    expected = (flat @ pre.forward if kind == "zca" else flat * pre.forward).reshape(held.shape)
    set_ = Synthetic(jnp.asarray(stored), jnp.asarray([0, 1], jnp.int32), jnp.float32(0.1))
    found = preprocess.decoded(pre, set_, 2)
    np.testing.assert_allclose(found.images, expected, atol=1e-4)
    np.testing.assert_allclose(packed.decode(set_.images), expected, atol=1e-4)
    assert found.labels.tolist() == packed.labels(set_.labels).tolist() == [0, 1] * 4
    real = jnp.asarray(expected)
    np.testing.assert_allclose(
        packed.pack(real),
        preprocess.forward(pre, np.asarray(packing.pack(jnp.asarray(held), 2))),
        atol=1e-3,
    )


@pytest.mark.parametrize("kind", ["zca", "half"])
def test_decoding_is_affine(kind):
    """D(u) - D(0) is linear, and the gradient is its transpose."""
    _, packed = whitened(kind, 7)
    u, v = jax.random.normal(jax.random.key(0), (2, 3, 7, 7, 3))
    zero, decode = packed.decode(0 * u), packed.decode
    mixed = decode(2 * u - 3 * v) - zero
    expected = 2 * (decode(u) - zero) - 3 * (decode(v) - zero)
    np.testing.assert_allclose(mixed, expected, atol=1e-4)
    g = jax.random.normal(jax.random.key(1), mixed.shape)
    (pulled,) = jax.vjp(decode, u)[1](g)
    np.testing.assert_allclose((pulled * v).sum(), (g * (decode(v) - zero)).sum(), rtol=1e-3)


@pytest.mark.parametrize("name", ["mtt", "dc", "dm"])
def test_finite_differences(name, linear, jitter):
    """A step goes down the slope of its own loss, through decoding and whitening: float64, all classes, two segments of
    MTT, minibatches of decoded images."""
    features, classes = 6 * 6 * 3, 2
    parts = {"model": linear(features, classes), "augment": jitter, "ipc": 2, "classes": classes}
    rng, still = np.random.default_rng(0), {"lr_img": 1.0, "img_momentum": 0.0}
    with jax.enable_x64(True):
        packed = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), whitened("zca", 6)[1])
        images = jnp.asarray(rng.normal(size=(20, 6, 6, 3)))
        data, item = Dataset(images, jnp.arange(20, dtype=jnp.int32) % 2, packed), None
        if name == "mtt":
            sizes = {"inner_steps": 3, "batch_syn": 5, "meta_batch": 2, "expert_span": 1}
            reader = Trajectories(lambda expert, epochs: np.zeros(0), 1, 40)
            method = mtt.mtt(MTTConfig(**still, **sizes), trajectories=reader, **parts)
            start = 0.3 * rng.normal(size=(2, (features + 1) * classes))
            item = Segments(
                jnp.asarray(start), jnp.asarray(start + 0.1 * rng.normal(size=(2, 218)))
            )
        elif name == "dc":
            method = dc.dc(DCConfig(batch_real=4, outer=1, init_images="real", **still), **parts)
        else:
            method = dm.dm(DMConfig(batch_real=4, **still), **parts)
        state = method.init(jax.random.key(0), data)
        state = state._replace(**({"step_size": jnp.float64(0.3)} if name == "mtt" else {}))

        @jax.jit
        def after(images):
            after, info = method.step(jax.random.key(1), state._replace(images=images), data, item)
            return info.loss, images - after.images

        begin, h = state.images, 1e-5
        assert begin.shape == (4, 6, 6, 3) and begin.dtype == np.float64
        _, slope = after(begin)
        for _ in range(3):
            d = jnp.asarray(rng.normal(size=begin.shape)) + slope / jnp.abs(slope).max()
            by_hand = (after(begin + h * d)[0] - after(begin - h * d)[0]) / (2 * h)
            np.testing.assert_allclose((slope * d).sum(), by_hand, rtol=1e-5)
            assert abs(by_hand) > 1e-4


def test_training_within_dc_sees_decoded_images(linear):
    """DC's networks are trained on what the stored images hold: the second update differs where that does."""
    parts = {"model": linear(48, 2), "augment": None, "ipc": 1, "classes": 2}
    images = jax.random.normal(jax.random.key(0), (20, 4, 4, 3))
    data = Dataset(images, jnp.arange(20, dtype=jnp.int32) % 2, whitened("half", 4)[1])
    trained = []

    def watched(trainer, key, network, data, *rest):
        trained.append((data.images.shape, data.labels.shape))
        return network

    method = dc.dc(DCConfig(batch_real=4, outer=2, inner=1), **parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dc.train, "fit", watched)
        jax.eval_shape(
            method.step, jax.random.key(1), method.init(jax.random.key(0), data), data, None
        )
    assert trained == [((8, 4, 4, 3), (8,))]


def test_real_images_are_packed_by_class():
    """A stored image holds four different real images of its class; unpacked, it is what `select` chose."""
    labels = jnp.arange(24, dtype=jnp.int32) % 2
    levels = (jnp.arange(24.0) / 32).reshape(-1, 1, 1, 1)
    plain = Dataset(jnp.broadcast_to(levels, (24, 4, 4, 1)), labels)
    _, packed = whitened("none", 4, channels=1)
    args = (random_images, jax.random.key(3))
    stored, classes = packed_images(*args, plain._replace(packing=packed), 3, 2)
    assert stored.shape == (6, 4, 4, 1) and classes.tolist() == [0, 0, 0, 1, 1, 1]
    held = np.rint(32 * np.asarray(packed.decode(stored))[:, 0, 0, 0]).astype(int)
    assert len(set(held)) == 24  # none twice
    assert (np.asarray(labels)[held] == np.asarray(packed.labels(classes))).all()
    for one, other in zip(
        packed_images(*args, plain, 3, 2), random_images(args[1], plain, 3, 2), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_costs_count_decoded_images(linear):
    """Four times the synthetic images in every method; real images and DC's loops stay."""
    for name in ("mtt", "dc", "dsa", "dm", "tgdd", "random"):
        recipe = recipes.find(name)
        found = []
        for pack in (1, 2):
            groups = medjax.settings(name, preset="quick", ipc=2, size=8, pack=pack).groups
            setup = Setup(groups, linear(64, 3), 3, 2, (30, 8, 8, 1))
            found.append(recipe.costs(setup))
        one, two = found
        if name == "mtt":
            assert two.iteration == 4 * one.iteration and two.made == 4 * one.made
            fed = recipes.mtt.read_bytes(setup, one.iteration)  # all calls are as long here
            assert two.kept - fed == 4 * (one.kept - fed) and two.kept > one.kept > fed
            assert two.work["experts"] == one.work["experts"]
        elif name == "tgdd":
            assert two.iteration == 4 * one.iteration and two.work == one.work
        elif name == "random":
            assert two.work["evaluation"] == 4 * one.work["evaluation"]
        else:
            assert one.iteration < two.iteration < 4 * one.iteration
            assert max(two.made, two.real) > max(one.made, one.real) or two.made == 4 * one.made


#: A tiny run: one program a phase.
VALUES = {"preset": "quick", "ipc": 1, "width": 4, "depth": 1, "size": 8, "pack": 2}
VALUES |= {"networks": 2, "eval_epochs": 3, "interim_networks": 2, "interim_epochs": 3}
VALUES |= {"eval_augment": False}
MTT = {"iterations": 2, "eval_every": 2, "experts": 2, "inner_steps": 2, "expert_span": 1}
MTT |= {"max_start_epoch": 2, "lr_init": 0.0, "eval_models": "mlp"}
MTT |= {"augment": "none", "expert_augment": "none"}


@pytest.fixture(scope="module")
def packed_runs(tmp_path_factory):
    """MTT and random with --pack=2, and MTT's set evaluated again: (folder, {name: result}, {(evaluation of the first
    two, images that each of its networks trains on)})."""
    folder, found, trained = tmp_path_factory.mktemp("packed"), {}, set()
    inner = score.train_and_score

    def watched(session, name, data, test, trainer, people, about, val=None):
        rows = len(data.labels) if people.rows is None else people.rows.shape[1]
        trained.add((name.split("-")[0], rows))
        return inner(session, name, data, test, trainer, people, about, val)

    with pytest.MonkeyPatch.context() as patch:
        for module in (score, real):
            patch.setattr(module, "train_and_score", watched)
        patch.setitem(cost.WORK_PER_CALL, "cpu", launching.WORK)
        patch.setattr(cost, "matrix_rate", lambda: 1e10)
        for name, more in (("mtt", MTT), ("random", {})):
            chosen = medjax.settings(name, dataset=launching.tiny("rgb"), **VALUES | more)
            found[name] = medjax.run(name, chosen, folder)
        again = medjax.evaluation_settings(
            found["mtt"].folder / "synthetic.npz", dataset=str(launching.tiny("rgb")), networks=2
        )
        seen = frozenset(trained)
        found["again"] = medjax.evaluate_saved(again, folder)
    return folder, found, seen


def test_a_run_of_packed_images(packed_runs):
    """Stored images are saved and drawn, what they hold is scored; the result says both counts, and the saved set has
    the scores of its run."""
    _, found, _ = packed_runs
    for result in found.values():
        assert (result.pack, result.stored, result.decoded) == (2, 3, 12)
        assert medjax.Result.read(result.folder) == result
        assert "packed 2 x 2" in repr(result) and "1 stored, 4 decoded images per class" in repr(
            result
        )
    shared = share.load_set(found["mtt"].folder / "synthetic.npz")
    assert shared.pack == 2 and shared.synthetic.images.shape == (3, 8, 8, 3)
    assert shared.images_uint8.shape == (3, 8, 8, 3)
    seen, received = share.decoded(shared), share.as_shared(shared)
    assert seen.images.shape == received.images.shape == (12, 8, 8, 3)
    assert seen.labels.tolist() == [0, 1, 2] * 4
    pixels = by_loops(shared.images_uint8 / 255, 2)
    expected = preprocess.forward(shared.preprocessor, pixels.astype(np.float32))
    np.testing.assert_allclose(received.images, expected, atol=1e-3)
    mine, again = (found[name].test.accuracy for name in ("mtt", "again"))
    assert (mine.mean, mine.n) == (again.mean, again.n)
    assert found["mtt"].eval_models["mlp"].test is not None


def test_every_network_trains_on_decoded_images(packed_runs):
    """Interim and final evaluations, the start, and random subsets see 4 images of each class."""
    names = ("interim", "start", "test", "one", "subsets", "mlp")
    assert packed_runs[2] == {(name, 12) for name in names}


def test_reports_keep_packed_images_apart(packed_runs, tmp_path):
    """A row of its own, compared with random images that are packed alike; the study's numbers are not beside it."""
    folder, found, _ = packed_runs
    plain = [made.result(m, "cells", 1, 0.5) for m in ("mtt", "random")]
    for one in plain:
        made.write(
            folder / "plain", one | {"fingerprint": found["mtt"].fingerprint, "preset": "quick"}
        )
    collected, complaints = runs.collect(folder)
    assert complaints == []
    grouped = run_cells.cells(collected)
    titles = [cell.title for cell in grouped]
    assert titles == ["random", "random, packed 2 x 2", "MTT", "MTT, packed 2 x 2"]
    by_title = dict(zip(titles, grouped, strict=True))
    packed, random = by_title["MTT, packed 2 x 2"], by_title["random, packed 2 x 2"]
    assert packed.distilled and not random.distilled and "pack" not in packed.how
    assert baseline(packed, grouped) == (random.score(), "runs of random")
    assert baseline(by_title["MTT"], grouped)[0] == by_title["random"].score()
    # Without runs of random that are packed alike it is its own start, never unpacked images.
    others = [cell for cell in grouped if cell is not random]
    assert baseline(packed, others)[1] == "the start of each distillation"
    text = cells_table(grouped).markdown()
    assert text.count("1 stored, 4 decoded") == 3  # MTT under two networks, random
    assert "mtt, packed 2 x 2" in runs_table(collected).markdown()
    page = table1.files(grouped, [], [1])["md"]
    head = next(line for line in page.splitlines() if line.startswith("| data set"))
    assert "MTT, packed 2 x 2" in head and "random, packed 2 x 2" in head
    assert "Packed 2 x 2: networks see 4 images" in page
    assert table1.study_score(packed, "convnet", 1) is None
    sides = (found[name].folder for name in ("mtt", "random"))
    assert "MTT, packed 2 x 2" in comparison.write_comparison(*sides, tmp_path).read_text()


def test_saved_sets(tmp_path):
    """pack travels; a file without it is as before; one that does not fit its images is one clear line; 8-bit images
    keep their range."""
    pre, _ = whitened("zca", 8)
    stored = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))  # out of a pixel's range
    synthetic = Synthetic(stored, jnp.asarray([0, 1], jnp.int32), jnp.float32(0.1))
    path = tmp_path / "synthetic.npz"
    share.save_set(path, synthetic, pre, ("a", "b"), network=None, pack=2)
    shared = share.load_set(path)
    assert shared.pack == 2
    # What each stored image holds is the same at a lower contrast. (Around the mean of whole images it is not: 0.4.)
    mine, received = (
        np.asarray(find(shared).images).reshape(4, 2, -1).swapaxes(0, 1).reshape(2, -1)
        for find in (share.decoded, share.as_shared)
    )
    for a, b in zip(mine, received, strict=True):
        contrast = a @ b / (a @ a)
        assert contrast < 0.6
        assert np.linalg.norm(b - contrast * a) < 0.1 * np.linalg.norm(contrast * a)
    with np.load(path) as z:
        arrays = dict(z)
    del arrays["pack"]
    np.savez(path, **arrays)
    old = share.load_set(path)
    assert old.pack == 1 and share.decoded(old) is old.synthetic
    for wrong in (0, -1, 9, 10**9, 2.0, [2], "2"):
        np.savez(path, **arrays, pack=np.array(wrong))
        with pytest.raises(
            UserError, match=r"synthetic\.npz is not a whole distilled set \(pack do not fit"
        ):
            share.load_set(path)


def test_bad_input():
    """One line that says what to do."""
    with pytest.raises(UserError, match=r"--pack=9 leaves .* 8 px .* give --pack=8, or"):
        medjax.settings("mtt", size=8, pack=9)
    with pytest.raises(UserError, match=r"--pack=3 leaves .* 4 px .* give --pack=2, or"):
        medjax.settings("random", size=4, pack=3)
    assert medjax.settings("dm", size=4, pack=4).groups[packing.PackConfig].pack == 4
    with pytest.raises(UserError, match="--pack=-1 is too small"):
        medjax.settings("dc", pack=-1)
    with pytest.raises(UserError, match="'pack' is no option here"):
        medjax.settings("full", pack=2)
