"""The report: files that are there and differ where their input differs, and tables with the right numbers."""

import copy
import io
import math

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from medjax.report.curves import curves
from medjax.report.gallery import DPI, MOST, TILE, contact_sheet, gallery
from medjax.report.run_tables import print_result
from medjax.result import Result


def images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def size(path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


@pytest.mark.parametrize(("k", "s", "c"), [(2, 1, 1), (11, 12, 3)])
def test_gallery_is_large_enough_for_its_tiles(tmp_path, k, s, c):
    path = tmp_path / "gallery.png"
    names = tuple(f"class {i}" for i in range(k))
    gallery(path, images(k, 3, 28, 28, c), images(k, s, 32, 32, c), names, "a title")
    width, height = size(path)
    assert width > (3 + min(s, MOST)) * TILE * DPI
    assert k * TILE * DPI < height < (k * TILE + 2) * DPI * 1.1


def test_gallery_shows_every_pixel_of_an_image(tmp_path):
    """Colours that occur nowhere else: one tile of each block is found again, at its size and colour."""
    real = np.full((2, 1, 28, 28, 3), 255, np.uint8)
    real[1, 0] = (200, 30, 60)
    synthetic = np.full((2, 1, 32, 32, 3), 255, np.uint8)
    synthetic[0, 0] = (20, 90, 160)
    gallery(tmp_path / "g.png", real, synthetic, ("a", "b"), "a title")
    with Image.open(tmp_path / "g.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    red, blue = (
        np.argwhere((pixels == colour).all(-1)) for colour in (real[1, 0, 0, 0], (20, 90, 160))
    )
    for found in (red, blue):
        np.testing.assert_allclose(np.ptp(found, axis=0) + 1, TILE * DPI, atol=2)
    assert red[:, 0].min() > blue[:, 0].max(), "the second class lies below the first"
    assert red[:, 1].max() < blue[:, 1].min(), "the real images lie left of the synthetic ones"


def test_gallery_grows_with_long_names_and_is_deterministic(tmp_path):
    real, synthetic = images(2, 2, 28, 28, 1), images(2, 1, 28, 28, 1)
    drawn = {}
    for name, names, block in (
        ("short", ("a", "b"), synthetic),
        ("again", ("a", "b"), synthetic),
        ("other", ("a", "b"), 255 - synthetic),
        ("long", ("a", "a name of five words $x_1$, with an_underscore " * 3), synthetic),
    ):
        gallery(tmp_path / name, real, block, names, "t")
        drawn[name] = (tmp_path / name).read_bytes()
    assert drawn["short"] == drawn["again"]
    assert drawn["short"] != drawn["other"]
    assert size(tmp_path / "long")[0] > size(tmp_path / "short")[0] + DPI
    assert size(tmp_path / "long")[1] > size(tmp_path / "short")[1]


def test_contact_sheet_takes_classes_of_any_size(tmp_path):
    """Grey or colour, few or many; as wide as the largest class, and the same bytes again. None writes nothing."""
    rows = [images(n, 28, 28, c) for n, c in ((10, 3), (1, 1))]
    for name in ("once", "again"):
        contact_sheet(tmp_path / name, rows, ("a", "a $name$"), "a title")
    assert (tmp_path / "once").read_bytes() == (tmp_path / "again").read_bytes()
    width, height = size(tmp_path / "once")
    assert width > 10 * TILE * DPI and 2 * TILE * DPI < height < 4 * TILE * DPI
    shown = contact_sheet(None, rows[1:], ("a",), "a title")
    assert shown.get_size_inches()[0] * DPI < width / 2 and len(list(tmp_path.iterdir())) == 2


def distill_row(iteration: int, loss: float | None, skipped: int = 0) -> dict:
    return {
        "phase": "distill",
        "iteration": iteration,
        "loss": loss,
        "step_size": 0.01 + 0.001 * iteration,
        "skipped": skipped,
        "displacement": 1.0,
    }


def interim_row(iteration: int, split: str = "val") -> dict:
    scores = {"accuracy": 0.5 + 0.01 * iteration, "balanced_accuracy": 0.4}
    return {"phase": "interim", "iteration": iteration, "split": split, **scores}


def drawn(tmp_path, rows: list[dict]) -> bytes:
    curves(tmp_path / "curves.png", rows)
    assert min(size(tmp_path / "curves.png")) > 0
    return (tmp_path / "curves.png").read_bytes()


def test_a_repeated_iteration_is_drawn_once(tmp_path):
    start, stale, end = distill_row(1, 0.9), distill_row(2, 0.2), distill_row(2, 0.7)
    score, stale_score = interim_row(2), interim_row(2) | {"accuracy": 0.1}
    once = drawn(tmp_path, [start, end, score])
    assert drawn(tmp_path, [start, stale, stale_score, end, score]) == once
    assert drawn(tmp_path, [start, stale, score]) != once


def test_skipped_steps_are_marked(tmp_path):
    plain = [distill_row(i, 0.9) for i in range(5)]
    skipped = [distill_row(i, 0.9, skipped=int(i >= 3)) for i in range(5)]
    assert drawn(tmp_path, plain) != drawn(tmp_path, skipped)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"phase": "experts", "epoch": 1}],
        [interim_row(0), interim_row(5, "test")],
        [distill_row(1, 0.5)],
        [distill_row(1, math.nan), distill_row(2, None), distill_row(3, 0.0)],
        [distill_row(1, 1e-3), distill_row(2, math.inf), distill_row(3, 1e3, skipped=1)],
    ],
    ids=["none", "other phase", "interim only", "one row", "no finite loss", "wide range"],
)
def test_curves_without_some_of_the_parts(tmp_path, rows):
    drawn(tmp_path, rows)


def scores(accuracy: float, balanced: float, auc: float | None) -> dict:
    values = {"accuracy": accuracy, "balanced_accuracy": balanced, "auc": auc}
    return {key: {"mean": value, "std": 0.0134, "n": 5} for key, value in values.items()}


RESULT = {
    "method": "mtt",
    "dataset": "phantom",
    "ipc": 10,
    "seed": 0,
    "preset": "quick",
    "model": "convnet",
    "select": "val",
    "selected_iteration": 450,
    "majority_share": 0.1437,
    "chance": 0.125,
    "test": scores(0.7512, 0.7391, 0.9421),
    "test_uint8": scores(0.7487, 0.7352, None),
    "start": scores(0.4116, 0.4008, None),
    "start_step_size": 0.01,
    "step_size": 0.02346,
    "fingerprint": "0" * 16,
    "warnings": ["no val split: 10 % of train [held out]"],
    "seconds": {"experts": 61.4, "distill": 40.2, "evaluate": 20.0},
    "evaluation": {"networks": 5, "epochs": 300},
}


def printed(result: dict, paths: dict[str, str] | None = None, **console) -> str:
    out = io.StringIO()
    print_result(
        Result.from_json(result), paths or {}, Console(file=out, **{"width": 100} | console)
    )
    return out.getvalue()


def row_of(text: str, label: str) -> str:
    (line,) = (line for line in text.splitlines() if line.strip().startswith(label))
    return " ".join(line.split()).removeprefix(label).strip()


def test_table_has_the_numbers():
    text = printed(RESULT)
    assert row_of(text, "distilled (float)") == "75.1 ± 1.3 73.9 ± 1.3 94.2 ± 1.3"
    assert row_of(text, "distilled (uint8, as shared)") == "74.9 ± 1.3 73.5 ± 1.3 –"
    assert row_of(text, "start (random images)") == "41.2 ± 1.3 40.1 ± 1.3 –"
    assert "distilled, step size chosen on val" not in text
    for part in ("phantom", "10 images per class", "5 networks x 300 epochs", "iteration 450"):
        assert part in text
    for part in (
        "14.4 accuracy",
        "12.5 balanced",
        "0.02346",
        "experts 61, distill 40",
        "[held out]",
    ):
        assert part in text
    assert "optimistic" not in text and "\x1b" not in text


def test_table_says_what_is_out_of_the_ordinary():
    result = copy.deepcopy(RESULT) | {"select": "test", "test_chosen_step": scores(0.8, 0.7, 0.9)}
    result["test"]["accuracy"]["n"] = 1
    text = printed(result)
    assert "select=test: the test split chose the iteration" in text
    assert row_of(text, "distilled, step size chosen on val").startswith("80.0 ± 1.3")
    assert row_of(text, "distilled (float)").startswith("75.1 73.9"), "one network: no deviation"


def test_table_shows_other_networks():
    """A group of rows each, with the step size and where it is from; no start where it was not measured."""
    rows = {"test": scores(0.61, 0.6, 0.9), "test_uint8": scores(0.59, 0.58, None)}
    others = {
        "mlp": rows | {"step_size": 0.03, "step_size_from": "val", "start": scores(0.3, 0.3, 0.6)},
        "convnet": rows | {"step_size": 0.02346, "step_size_from": "set"},
    }
    text = printed(RESULT | {"eval_models": others})
    mlp, own = (text.index(f"by {n}, step size 0.0{s}") for n, s in (("mlp", 3), ("convnet", 2346)))
    assert "0.03 (chosen on val)" in text and "0.02346 (" not in text
    assert row_of(text[mlp:own], "distilled (float)") == "61.0 ± 1.3 60.0 ± 1.3 90.0 ± 1.3"
    assert row_of(text[mlp:own], "start (random images)") == "30.0 ± 1.3 30.0 ± 1.3 60.0 ± 1.3"
    assert row_of(text[own:], "distilled (uint8, as shared)") == "59.0 ± 1.3 58.0 ± 1.3 –"
    assert "start (random" not in text[own:]


@pytest.mark.parametrize("width", [80, 100])
def test_table_fits_and_paths_are_whole(width):
    long = "/runs/" + "a_long_folder/" * 12 + "gallery.png"
    mine = scores(0.8, 0.7, 0.9)
    other = {"test": mine, "test_uint8": mine, "step_size": 0.001, "step_size_from": "val"}
    result = RESULT | {"test_chosen_step": mine, "eval_models": {"resnet18": other}}
    lines = printed(result, {"gallery": long, "result": "/r.json"}, width=width).splitlines()
    assert f"gallery  {long}" in lines and "result   /r.json" in lines
    assert all(len(line) <= width for line in lines if long not in line)
    assert "\x1b[33mwarning" in printed(RESULT, force_terminal=True, color_system="standard")
