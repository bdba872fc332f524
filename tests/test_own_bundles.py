"""The bundles that come with medjax: small, whole, under their licence, and as good as their cards say."""

import hashlib
import json
import re
import subprocess
import sys

import launching
import numpy as np
import pytest

import medjax
from medjax.bundle.loading import BUNDLES
from medjax.bundle.making import PROGRAMS, TEMPLATES
from medjax.bundle.writing import SUMS, read_sums

NAMES = [("pbc_blood8", 1), ("pbc_blood8", 10)]
DATA = launching.ROOT.parent / "shared" / "data"


def folder_of(name, ipc):
    return BUNDLES / f"{name}-ipc{ipc}"


def test_these_are_all():
    """A folder for each, and nothing else."""
    assert {p.name for p in BUNDLES.iterdir()} == {folder_of(*one).name for one in NAMES}


@pytest.mark.parametrize(("name", "ipc"), NAMES)
def test_one_call_loads_it(name, ipc):
    """Below 1 MB, each file as its list says, and the same images in MedMNIST's layout."""
    shared, folder = medjax.load_distilled(name, ipc=ipc), folder_of(name, ipc)
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert sum(map(len, files.values())) < 1_000_000
    sums = {n: hashlib.sha256(content).hexdigest() for n, content in files.items() if n != SUMS}
    assert sums == read_sums(folder)
    for program in PROGRAMS:
        assert files[program] == (TEMPLATES / program).read_bytes(), "those of today"
    with np.load(folder / "medmnist.npz") as z:
        np.testing.assert_array_equal(z["train_images"], shared.images_uint8)
        assert len(z["train_labels"]) % (8 * ipc) == 0 and set(z["train_labels"][:, 0]) == {
            *range(8)
        }
    assert shared.origin["method"] == "mtt"


@pytest.mark.parametrize(("name", "ipc"), NAMES)
def test_its_card_says_whose_it_is(name, ipc):
    """Licence and attribution, what was measured, and no path of the machine that made it."""
    folder = folder_of(name, ipc)
    card, plan = (folder / "README.md").read_text("utf-8"), (folder / "recipe.json").read_text()
    assert 'license: "cc-by-4.0"' in card and "Acevedo" in card and "basophil" in card
    assert "pbc_blood8.npz" not in card + plan
    assert "none is the same but for rounding" in card
    received = json.loads(plan)["result_as_received"]["test"]["accuracy"]
    assert received["n"] >= 20 and received["mean"] > 0.7


@pytest.mark.skipif(not (DATA / "pbc_blood8.npz").exists(), reason="needs ../shared/data")
def test_networks_learn_from_it(tmp_path):
    """One network, an eighth of the steps, some of the test images: more than random photographs give after all steps
    (42 % of test, results/rows)."""
    path = folder_of("pbc_blood8", 1) / "exact.npz"
    with np.load(DATA / "pbc_blood8.npz") as z:
        arrays = {name: z[name][:400] if name.startswith("test") else z[name] for name in z}
    few = medjax.from_arrays("pbc_blood8", **arrays)
    settings = medjax.evaluation_settings(path, networks=1, eval_steps=60)
    assert medjax.evaluate_saved(settings, tmp_path, data=few).test.accuracy.mean > 0.5


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "pbc_blood8.npz").exists(), reason="needs ../shared/data")
@pytest.mark.parametrize(("name", "ipc"), NAMES)
def test_its_score_is_repeated(name, ipc, tmp_path):
    """Networks of the card, trained once more by medjax: within one standard deviation."""
    path = folder_of(name, ipc) / "exact.npz"
    given = {"dataset": str(DATA / f"{name}.npz")}
    result = medjax.evaluate_saved(medjax.evaluation_settings(path, **given), tmp_path)
    wanted = json.loads((path.parent / "recipe.json").read_text())["result_as_received"]["test"]
    accuracy = wanted["accuracy"]
    assert abs(result.test.accuracy.mean - accuracy["mean"]) <= accuracy["std"]


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "pbc_blood8.npz").exists(), reason="needs ../shared/data")
@pytest.mark.parametrize(("name", "ipc"), NAMES)
def test_a_receiver_repeats_its_score(name, ipc):
    """evaluate.py, which draws networks of its own, called as the card says: within one standard deviation."""
    words = [sys.executable, "evaluate.py", str(DATA / f"{name}.npz")]
    folder = folder_of(name, ipc)
    ended = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    mean = float(re.search(r"^accuracy +([\d.]+) ", ended.stdout, re.M)[1]) / 100
    recipe = json.loads((folder / "recipe.json").read_text())
    accuracy = recipe["result_as_received"]["test"]["accuracy"]
    assert abs(mean - accuracy["mean"]) <= accuracy["std"]
