"""Images that a method keeps as pixels and moves by Adam (`medjax.distill.images.ImagesConfig`)."""

import jax
import jax.numpy as jnp
import launching
import numpy as np
import pytest
from test_packing import whitened

import medjax
from medjax import cost
from medjax.data import preprocess
from medjax.distill import images, mtt
from medjax.distill.images import ImagesConfig
from medjax.distill.mtt_config import MTTConfig
from medjax.distill.segments import Segments
from medjax.pipeline.evaluate_saved import evaluate_saved, evaluation_settings
from medjax.pipeline.forecast import evaluation_flops
from medjax.share import is_8bit
from medjax.types import Dataset, Trajectories

ADAM = ImagesConfig("adam")
#: What a run compiles fast: no DSA, and a set that is distilled hardly at all.
VALUES = {"size": 8, "model": "mlp", "networks": 1, "ipc": 2, "experts": 1, "max_start_epoch": 2}
VALUES |= {"lr_init": 0.01, "eval_epochs": 2, "interim_epochs": 2}
VALUES |= {"augment": "none", "expert_augment": "none", "eval_augment": False}


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("kind", ["zca", "normalise", "none"])
def test_kept_as_pixels(kind, factor):
    """What networks see, and what is stored, is that of the same images kept in model space."""
    pre, packed = whitened(kind, 6, factor=factor)
    kept = preprocess.packing_of(pre, factor, pixels=True)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 6, 6, 3)).astype(np.uint8)
    stored, scaled = jnp.asarray(preprocess.apply(pre, pixels)), jnp.asarray(pixels / 255)
    np.testing.assert_allclose(kept.keep(stored), scaled, atol=1e-5)
    np.testing.assert_allclose(kept.stored(kept.keep(stored)), stored, atol=1e-4)
    np.testing.assert_allclose(kept.decode(scaled), packed.decode(stored), atol=1e-4)
    real = packed.decode(stored)
    np.testing.assert_allclose(kept.stored(kept.pack(real)), packed.pack(real), atol=1e-3)
    values = jnp.array([-1.0, 0.5, 2.0]).reshape(1, 1, 1, 3)
    assert kept.clip(values).ravel().tolist() == [0, 0.5, 1]
    assert packed.clip(values).ravel().tolist() == [-1, 0.5, 2]


def test_noise_begins_within_the_range():
    """Standard normal values of model space, clipped where no pixel can be."""
    pre, _ = whitened("zca", 6)
    made = Dataset(jnp.zeros((4, 6, 6, 3)), jnp.array([0, 0, 1, 1], jnp.int32))
    kept = made._replace(packing=preprocess.packing_of(pre, 1, pixels=True))
    pixels, _ = images.first_images(jax.random.key(0), kept, "noise", 2, 2)
    model, _ = images.first_images(jax.random.key(0), made, "noise", 2, 2)
    expected = np.clip(preprocess.invert(pre, model), 0, 1)
    np.testing.assert_allclose(pixels, expected, atol=1e-5)


@pytest.mark.parametrize("factor", [1, 2])
def test_steps_of_mtt_against_adam_by_hand(linear, factor):
    """Two iterations: Kingma and Ba's formulas on the gradient to the pixels, which finite differences give."""
    pre, _ = whitened("zca", 4, factor=factor)
    packing = preprocess.packing_of(pre, factor, pixels=True)
    rows = 0.1 * np.random.default_rng(3).normal(size=(1, 3, 98)).astype(np.float32)
    config = MTTConfig(
        iterations=2, inner_steps=2, expert_span=1, max_start_epoch=1, lr_img=0.01, lr_init=0.5
    )
    parts = {"model": linear(48, 2), "augment": None, "ipc": 1, "classes": 2}
    trajectories = Trajectories(lambda e, epochs: rows[e, epochs], 1, 2)
    distiller = mtt.mtt(config, trajectories=trajectories, kept=ADAM, **parts)
    real = preprocess.apply(pre, np.random.default_rng(4).integers(0, 256, (16, 4, 4, 3), np.uint8))
    labels = jnp.asarray(np.arange(16) % 2, jnp.int32)
    data = Dataset(jnp.asarray(real), labels, packing)
    segment = Segments(jnp.asarray(rows[:1, 0]), jnp.asarray(rows[:1, 1]))
    state, step = distiller.init(jax.random.key(0), data), jax.jit(distiller.step)

    @jax.jit
    def matched(pixels, step_size):
        one = Segments(segment.start[0], segment.target[0])
        made = packing.decode(pixels), packing.labels(state.labels), step_size
        return mtt.match(config, parts["model"], None, jax.random.key(9), *made, one)[0]

    def loss(pixels, step_size):
        return float(matched(jnp.asarray(pixels.reshape(2, 4, 4, 3), jnp.float32), step_size))

    first, second = np.zeros(96), np.zeros(96)
    for number in (1, 2):
        pixels = np.asarray(state.images, np.float64).ravel()
        gradient = np.array(
            [
                loss(pixels + 0.01 * unit, state.step_size)
                - loss(pixels - 0.01 * unit, state.step_size)
                for unit in np.eye(96)
            ]
        )
        gradient /= 0.02
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        moves = first / (1 - 0.9**number) / (np.sqrt(second / (1 - 0.999**number)) + 1e-8)
        expected = np.clip(pixels - 0.01 * moves, 0, 1)
        state, _ = step(jax.random.key(number), state, data, segment)
        clear = (
            np.abs(gradient) > 0.02 * np.abs(gradient).max()
        )  # Adam takes a sign from small ones
        assert clear.sum() > 48
        np.testing.assert_allclose(np.ravel(state.images)[clear], expected[clear], atol=4e-4)
        assert np.ptp(np.ravel(state.images) - pixels) > 0.015


def test_the_forecast_counts_one_final_evaluation_less(linear):
    """Of two in place of three."""
    counts, model = [], linear(64, 3)
    for optimizer in ("sgd", "adam"):
        asked = medjax.settings("mtt", "quick", **VALUES, lr_img=0.01, img_optimizer=optimizer)
        setup = asked.setup(model, 3, (60, 8, 8, 1))
        counts.append(evaluation_flops(asked, setup, {}, 2))
    images = VALUES["networks"] * VALUES["eval_epochs"] * 3 * VALUES["ipc"]
    assert counts[0] - counts[1] == cost.GRADIENT * model.flops * images


@pytest.mark.slow
@pytest.mark.parametrize("pack", [1, 2])
def test_a_run(tmp_path, pack):
    """The saved set is in model space and is its 8-bit images, which are scored once, in a later evaluation too; the
    start is that of a run in model space."""
    values = VALUES | {"dataset": launching.tiny("rgb"), "iterations": 3, "eval_every": 3}
    values |= {"pack": pack, "average": 0.9, "img_optimizer": "adam", "lr_img": 0.02}
    settings = medjax.settings("mtt", "quick", **values)
    result = medjax.run("mtt", settings, tmp_path)
    shared = medjax.load_set(result.folder / "synthetic.npz")
    pixels = preprocess.invert(shared.preprocessor, shared.synthetic.images)
    np.testing.assert_allclose(shared.images_uint8 / 255, pixels, atol=1e-4)
    assert is_8bit(shared)
    asked = evaluation_settings(result.folder / "synthetic.npz", dataset=values["dataset"])
    later = evaluate_saved(asked, tmp_path)
    for one in (result, later):
        assert one.test_uint8 == one.test
        names = {p.name for p in (one.folder / "evaluations").iterdir()}
        assert "test.json" in names and "test-uint8.json" not in names
    plain = medjax.settings("mtt", "quick", **values | {"img_optimizer": "sgd", "lr_img": 1.0})
    other = medjax.run("mtt", plain, tmp_path)
    assert not is_8bit(medjax.load_set(other.folder / "synthetic.npz"))
    assert (other.folder / "evaluations" / "test-uint8.json").exists()
    assert other.start.accuracy.mean == pytest.approx(result.start.accuracy.mean)
    assert result.pack == (None if pack == 1 else pack)


@pytest.mark.slow
def test_a_run_begins_with_a_set(tmp_path):
    """With ``init_set`` the first images are those of the file, also in another model space and kept as pixels; a set
    that was moved is the same run; one that does not fit is refused."""
    values = VALUES | {"dataset": launching.tiny("rgb"), "iterations": 2, "eval_every": 2}
    values |= {"average": 0.0}
    first = medjax.run("mtt", medjax.settings("mtt", "quick", **values), tmp_path)
    saved = first.folder / "synthetic.npz"
    made = medjax.load_set(saved)
    pixels = preprocess.invert(made.preprocessor, made.synthetic.images)
    for kind, optimizer in (("zca", "sgd"), ("half", "adam")):
        more = values | {"init_set": str(saved), "whiten": kind, "img_optimizer": optimizer}
        more |= {"lr_img": 0.0}
        result = medjax.run("mtt", medjax.settings("mtt", "quick", **more), tmp_path)
        found = medjax.load_set(result.folder / "synthetic.npz")
        expected = np.clip(pixels, 0, 1) if optimizer == "adam" else pixels
        shown = preprocess.invert(found.preprocessor, found.synthetic.images)
        rounding = 0.5 / 255 if optimizer == "adam" else 0.0
        np.testing.assert_allclose(shown, expected, rtol=1e-4, atol=1e-3 + rounding)
    moved = tmp_path / "moved.npz"
    moved.write_bytes(saved.read_bytes())
    again = medjax.settings("mtt", "quick", **more | {"init_set": str(moved)})
    assert medjax.run("mtt", again, tmp_path).folder == result.folder
    for wrong, line in (
        ({"ipc": 1}, "images per class: 2 there, 1 here"),
        ({"size": 4}, "pixels a side: 8 there, 4"),
    ):
        with pytest.raises(medjax.UserError, match=line):
            medjax.run("mtt", medjax.settings("mtt", "quick", **more | wrong), tmp_path)
