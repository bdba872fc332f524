"""The main command from beginning to end: what it writes, what it says, and what it does with wrong words."""

import dataclasses
import json
import re

import launching
import numpy as np
import pytest
from launching import (
    MATCHING,
    NETWORK,
    RUNS,
    SCORING,
    complaint,
    contents,
    finished,
    mtt,
    other_grey,
    paper_grey,
    paper_rgb,
    tiny,
)
from PIL import Image

from medjax import locks, share
from medjax.pipeline.settings import groups_of
from medjax.recipes import RECIPES

METRICS = {"accuracy", "balanced_accuracy", "auc"}
PHASES = {"data", "experts", "distill", "evaluate"}
FLAGS = {field.name for group in groups_of(RECIPES["mtt"]) for field in dataclasses.fields(group)}


@pytest.fixture(params=RUNS, ids=[run.__name__ for run in RUNS])
def run(request):
    """Each of the runs: RGB and grey, both lowerings, every --select."""
    return request.param()


def value(run, flag):
    """What config.json says of a flag."""
    return run.config["values"][flag]["value"]


def test_result_has_the_documented_interface(run):
    """Names, scores with their mean, deviation and count as fractions, and seconds of every phase."""
    result, data = run.result, run.config["data"]
    assert result["method"] == "mtt"
    assert result["dataset"] == "cells" == data["name"]
    for name in ("ipc", "seed", "preset", "model", "select"):
        assert result[name] == value(run, name)
    for row in ("test", "test_uint8", "start"):
        assert set(result[row]) == METRICS
        for score in result[row].values():
            assert set(score) == {"mean", "std", "n"}
            assert 0 <= score["mean"] <= 1
            assert 0 <= score["std"] <= 0.5
            assert score["n"] == value(run, "networks")
    counts = np.array(result["confusion"])
    assert counts.sum() == value(run, "networks") * data["test"]
    assert np.trace(counts) / counts.sum() == pytest.approx(result["test"]["accuracy"]["mean"])
    assert set(result["seconds"]) >= PHASES
    assert all(seconds >= 0 for seconds in result["seconds"].values())
    assert sum(result["seconds"].values()) > 0


def test_config_says_what_was_asked_and_where_it_came_from(run):
    """Every flag with value and origin; versions, git revision, device, data."""
    config, words = run.config, run.ended and run.config["command"][1:]
    assert set(config["values"]) == FLAGS
    given = {word.removeprefix("--").split("=")[0] for word in words}
    preset = f"preset {run.result['preset']}"
    for name, entry in config["values"].items():
        assert set(entry) == {"value", "origin"}
        assert (entry["origin"] == "flag") == (name in given)
        assert entry["origin"] in ("flag", preset, "default")
    origins = {entry["origin"] for entry in config["values"].values()}
    assert origins == {"flag", preset, "default"}
    assert {"python", "jax", "flax", "optax", "numpy"} <= set(config["versions"])
    assert config["git"]
    assert config["device"]["backend"] == "cpu"
    data = config["data"]
    assert (data["train"], data["val"], data["test"]) == (60, 24, 24)
    assert data["classes"] == [f"kind {c}" for c in range(len(data["classes"]))]
    assert data["fingerprint"] == run.result["fingerprint"] and isinstance(data["notes"], list)
    assert run.folder.parent.name == f"cells-{data['fingerprint'][:8]}"


def test_log_holds_every_iteration_and_every_evaluation_once(run):
    """Iterations 1, 2, ...; interim evaluations every eval_every and at the end, on the right split; of the start too,
    where that split is test."""
    iterations, every = value(run, "iterations"), value(run, "eval_every")
    assert [row["iteration"] for row in run.rows("distill")] == list(range(1, iterations + 1))
    first = 0 if value(run, "select") == "test" else every
    marks = sorted({*range(first, iterations + 1, every), iterations})
    assert [row["iteration"] for row in run.rows("interim")] == marks
    split = "test" if value(run, "select") == "test" else "val"
    assert {row["split"] for row in run.rows("interim")} == {split}
    for row in run.rows("distill"):
        assert {"loss", "step_size", "displacement", "skipped", "seconds", "time"} <= set(row)
        assert np.isfinite(row["loss"])
    last = {r["name"]: r["epoch"] for r in run.rows("evaluate") if "epoch" in r}
    parity = int(value(run, "decay_parity"))
    for name, epochs in last.items():
        final = name in ("test", "test-uint8", "start")
        asked = value(run, "eval_epochs" if final else "interim_epochs")
        assert epochs == asked + parity
    assert {"test", "test-uint8", "start", "start-on-val"} <= set(last)


def test_selected_iteration_is_the_one_that_select_names(run):
    """val: best balanced accuracy on val; test: best accuracy on test; last: the last. The first of equals."""
    key = {"val": "balanced_accuracy", "test": "accuracy"}.get(value(run, "select"))
    rows = run.rows("interim")
    best = max(rows, key=lambda row: row[key]) if key else rows[-1]
    assert run.result["selected_iteration"] == best["iteration"]
    steps = {row["iteration"]: row["step_size"] for row in run.rows("distill")}
    following = steps.get(best["iteration"] + 1)  # a row holds the step size before its update
    if following is not None:
        assert run.result["step_size"] == pytest.approx(following, rel=1e-6)
    with np.load(run.folder / "synthetic.npz") as z:
        assert float(z["step_size"]) == run.result["step_size"]


def test_synthetic_npz_is_whole_and_inverts(run):
    """No pickles; m images in both forms; a preprocessing that can be undone; names and origin."""
    k, ipc, size = len(run.config["data"]["classes"]), value(run, "ipc"), value(run, "size")
    channels = 3 if k == 3 else 1
    with np.load(run.folder / "synthetic.npz", allow_pickle=False) as archive:
        z = dict(archive)
    shape = (k * ipc, size, size, channels)
    assert z["images"].shape == z["images_uint8"].shape == shape
    assert (z["images"].dtype, z["images_uint8"].dtype) == (np.float32, np.uint8)
    assert np.isfinite(z["images"]).all()
    assert z["labels"].tolist() == np.repeat(np.arange(k), ipc).tolist()
    assert list(z["class_names"]) == run.config["data"]["classes"]
    assert z["preprocess"] == value(run, "whiten")
    assert z["fingerprint"] == run.result["fingerprint"]
    assert (z["method"], z["dataset"]) == ("mtt", "cells")
    options = {name: value(run, name) for name in ("width", "depth", "conv")}
    assert json.loads(str(z["network"])) == {"name": "convnet", "config": options}
    flat = z["images"].reshape(k * ipc, -1)
    if value(run, "whiten") == "zca":
        forward = np.zeros((flat.shape[1],) * 2)
        forward[np.tril_indices(len(forward))] = z["preprocess_forward"]
        forward += np.tril(forward, -1).T
        pixels = (np.linalg.solve(forward, flat.T).T + z["preprocess_mean"]).reshape(shape)
    else:
        pixels = z["images"] / z["preprocess_forward"] + z["preprocess_mean"]
    # An image whose pixels leave their range has less contrast as 8 bits: the same times a factor, in model space.
    inside = (np.abs(pixels - 0.5) <= 0.5).all((1, 2, 3))
    error = np.abs(z["images_uint8"] - 255 * pixels).max((1, 2, 3))
    assert (error[inside] <= 0.51).all()
    kept = share.load_set(run.folder / "synthetic.npz")
    shown = np.asarray(share.as_shared(kept).images).reshape(flat.shape)
    cosine = (shown * flat).sum(1) / np.linalg.norm(shown, axis=1) / np.linalg.norm(flat, axis=1)
    assert cosine.min() > 0.9


@pytest.mark.parametrize("name", ["gallery.png", "strip.png", "curves.png"])
def test_pictures_are_whole_and_show_something(run, name):
    """Valid PNG files with more than one colour."""
    with Image.open(run.folder / name) as image:
        assert image.format == "PNG"
        image.load()
        assert min(image.size) > 200
        assert len(np.unique(np.asarray(image.convert("L")))) > 10


def test_table_and_paths_are_printed(run):
    """Three rows, and the path of every file; nothing on the other channel."""
    said = run.ended.stdout
    for words in ("distilled (float)", "distilled (uint8, as shared)", "start (random images)"):
        assert words in said
    for name in ("result.json", "synthetic.npz", "gallery.png", "curves.png", "log.jsonl"):
        assert str(run.folder / name) in said
    assert "forecast" in said
    assert run.ended.stderr == ""


def test_finished_run_repeated_prints_its_table_and_changes_nothing():
    """Bytes and times of all files stay, those of experts and preprocessing too."""
    first = paper_rgb()
    root = launching.workplace() / "one"
    before = contents(root)
    again = mtt(*first.config["command"][1:])
    assert again.status == 0
    assert contents(root) == before
    table = first.ended.stdout[first.ended.stdout.index("mtt on cells") :]
    said, found, rest = again.stdout.partition("mtt on cells")
    assert found + rest == table and "val has 24 images" in said and said.count("\n") == 1


def test_poisoned_test_labels_change_nothing_but_the_test_scores():
    """Selection, images and interim rows do not know the test split."""
    clean, poisoned = paper_rgb(), finished("poisoned", "one", *launching.PAPER, "--conv=winograd")
    assert clean.folder.parent != poisoned.folder.parent
    assert clean.result["fingerprint"] != poisoned.result["fingerprint"]
    for name in ("selected_iteration", "step_size", "start_step_size"):
        assert clean.result[name] == poisoned.result[name]
    # Whether anything was won is said of the test scores.
    said = re.compile("no better|right on .* of the test images")
    own = [[w for w in r.result["warnings"] if not said.search(w)] for r in (clean, poisoned)]
    assert own[0] == own[1]
    files = [np.load(run.folder / "synthetic.npz") for run in (clean, poisoned)]
    for key in files[0].files:
        same = np.array_equal(files[0][key], files[1][key])
        assert same == (key != "fingerprint"), key
    timeless = [
        [{k: v for k, v in r.items() if k not in ("time", "seconds", "wall")} for r in run.log]
        for run in (clean, poisoned)
    ]
    assert timeless[0] == timeless[1]
    assert clean.result["test"] != poisoned.result["test"]


def test_select_test_chooses_on_test_and_says_so():
    """The best interim row of the test split wins, and the table names the protocol."""
    on_val, on_test = paper_rgb(), paper_grey()
    assert {row["split"] for row in on_val.rows("interim")} == {"val"}
    rows = on_test.rows("interim")
    assert {row["split"] for row in rows} == {"test"}
    best = max(rows, key=lambda row: row["accuracy"])
    assert on_test.result["selected_iteration"] == best["iteration"]
    selected = on_test.result["test_selected"]["accuracy"]
    assert selected["mean"] == pytest.approx(best["accuracy"]) and selected["n"] == 1
    assert "optimistic" in on_test.ended.stdout
    assert "optimistic" not in on_val.ended.stdout


def test_lowerings_agree():
    """Another folder, other experts, the same training to rounding."""
    one = paper_rgb()
    place = (f"--dataset={tiny('rgb')}", f"--out={launching.workplace() / 'one'}")
    ended = launching.SERVER.run("experiments.experts", *place, *launching.PAPER, "--conv=lax")
    assert ended.status == 0, ended.stderr
    assert "% balanced accuracy on val" in ended.stdout
    (other,) = (f for f in one.folder.parent.glob("experts-*") if str(f) in ended.stdout)
    assert value(one, "conv") == "winograd" and other != one.experts()
    mine, theirs = (
        [row["loss"] for row in launching.read_log(folder) if row.get("loss")]
        for folder in (one.experts(), other)
    )
    assert len(mine) >= 4
    np.testing.assert_allclose(mine, theirs, rtol=1e-3)
    # A loss may round to the same number; parameters do not.
    sums = [(f / "expert-0000-e0004" / "sums.json").read_text() for f in (one.experts(), other)]
    assert sums[0] != sums[1], "equal to the last bit: is --conv read at all?"


def test_missing_val_split_is_said(tmp_path):
    """A tenth of train is set aside, aloud."""
    with np.load(tiny("rgb")) as z:
        np.savez(tmp_path / "bare.npz", **{k: z[k] for k in z.files if not k.startswith("val")})
    words = (f"--dataset={tmp_path / 'bare.npz'}", f"--out={tmp_path}", *UNFIT["ZCA too large"][0])
    ended = mtt(*launching.GREY, *words)
    assert "note: no val split in bare.npz: 6 of the training images" in ended.stdout


BAD = {
    "unknown flag": (["--nonsense=1"], "nonsense"),
    "no number": (["--ipc=many"], "ipc"),
    "no value": (["--ipc"], "ipc"),
    "too small": (["--ipc=0"], "--ipc=0"),
    "negative": (["--lr_img=-1"], "--lr_img"),
    "not a number": (["--lr_img=nan"], "--lr_img"),
    "not a choice": (["--select=best"], "--select=best"),
    "unknown model": (["--model=vgg"], "--model=vgg"),
    "unknown other model": (["--eval_models=mlp,vgg"], "'vgg'"),
    "other model twice": (["--eval_models=mlp,mlp"], "twice"),
    "unknown preset": (["--preset=huge"], "--preset=huge"),
    "unknown data set": (["--dataset=bloodmist"], "bloodmnist"),
    "missing file": (["--dataset=/nowhere/cells.npz"], "/nowhere/cells.npz"),
    "positional": (["phantom"], "'phantom'"),
    "no boolean": (["--decay_parity=perhaps"], "decay_parity"),
    "a method": (["--method=dsa"], "method"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_words_are_one_line_and_status_2(case, tmp_path):
    """Whatever is wrong with the command line is named, without a traceback, before anything is written."""
    words, named = BAD[case]
    assert named in complaint(mtt(f"--out={tmp_path}", *words))
    assert not list(tmp_path.iterdir())


UNFIT = {
    "pooled away": (["--depth=4"], "depth"),
    "experts too short": (["--expert_epochs=1"], "epoch"),
    "ZCA too large": (["--size=128", "--whiten=zca"], "--whiten=normalise"),
    "average of nothing": (["--average=1"], "--average=1"),
    "seed too large": ([f"--seed={2**70}"], "seed"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_values_that_do_not_fit_together_are_one_line_before_any_work(case, tmp_path):
    """Said at once: not after hours of experts."""
    words, named = UNFIT[case]
    place = (f"--dataset={tiny('rgb')}", f"--out={tmp_path}")
    assert named in complaint(mtt(*place, *launching.GREY, *words))
    assert not list(tmp_path.glob("*/experts-*/expert-*"))


def test_results_folder_that_is_a_file_is_one_line(tmp_path):
    """--out must be a folder."""
    (tmp_path / "taken").write_text("")
    words = (f"--dataset={tiny('rgb')}", f"--out={tmp_path / 'taken'}", *launching.GREY)
    assert "taken" in complaint(mtt(*words))


def test_locked_folder_is_one_line_and_status_2(tmp_path):
    """A run's folder held by a living process is named with that process."""
    first = other_grey()
    words = [w for w in first.config["command"][1:] if not w.startswith("--out=")]
    folder = tmp_path / first.folder.parent.name / first.folder.name
    with locks.locked(folder):
        line = complaint(mtt(*words, f"--out={tmp_path}"))
    assert str(folder) in line
    assert (folder / "lock").read_text() in line
    assert [p.name for p in folder.iterdir()] == ["lock"]


#: What each method is run with; `dc` is in test_evaluate_saved.py.
METHODS = {
    "dsa": (*MATCHING, "--ipc=2"),
    "dm": (*MATCHING, "--augment=none"),
    "tgdd": (
        *SCORING,
        "--iterations=2",
        "--eval_every=1",
        "--experts=1",
        "--max_start_epoch=1",
        "--expert_augment=none",
    ),
    "dp": (
        *SCORING,
        "--iterations=2",
        "--statistic_networks=2",
        "--whiten=half",
        "--noise=false",
        "--pack=1",
    ),
    "margin": (*SCORING, "--ipc=2", "--experts=1", "--expert_augment=none", "--judge_steps=2"),
    "random": (*SCORING, "--ipc=2"),
    "kmeans": (*SCORING, "--ipc=2"),
    "full": ("--full_epochs=2", "--full_networks=2"),
}


def test_every_method_is_run():
    """A new method needs a row here."""
    assert {*METHODS, "mtt", "dc"} == set(RECIPES)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_ends_in_a_result(tmp_path, method):
    """A result with the stable keys; a second command reads it and changes nothing."""
    words = METHODS[method]
    command = (f"experiments.{method}", f"--dataset={tiny('grey')}", f"--out={tmp_path}")
    network = [word for word in NETWORK if method != "dp" or "whiten" not in word]
    ended = launching.SERVER.run(*command, *network, *words)
    assert ended.status == 0, ended.stderr
    (path,) = tmp_path.glob("*/*/result.json")
    result = json.loads(path.read_text())
    assert (result["method"], result["model"], result["preset"]) == (method, "convnet", "quick")
    assert result["ipc"] == (None if method == "full" else 2 if "--ipc=2" in words else 1)
    subsets = ("test", "test_one_subset")
    names = {"random": subsets, "kmeans": subsets, "full": ("test",), "margin": ("test", "start")}
    counts = np.array(result["confusion"])
    assert np.trace(counts) / counts.sum() == pytest.approx(result["test"]["accuracy"]["mean"])
    for name in names.get(method, ("test", "test_uint8", "start")):
        assert 0 <= result[name]["accuracy"]["mean"] <= 1 and result[name]["accuracy"]["n"] == 2
    assert re.search(rf"^ *{method}(, .*)? on ", ended.stdout, re.M)
    before = contents(tmp_path)
    again = launching.SERVER.run(*command, *network, *words)
    assert again.status == 0 and again.stdout.endswith(ended.stdout[-150:])
    assert contents(tmp_path) == before
