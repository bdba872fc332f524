"""The catalog's facts: well formed, and those of the medmnist package where it is there."""

import importlib.util
import re
import runpy
from pathlib import Path

import pytest

from medjax.data.catalog import CATALOG, SIDES, STUDY, file_name, find, md5, url

NAMES = ["path", "derma", "oct", "blood", "tissue", "organa", "organc", "organs"]
OTHERS = ["pneumonia", "breast", "retina", "chest"]


def test_the_study_has_its_eight_sets():
    assert list(STUDY) == [f"{name}mnist" for name in NAMES]
    assert list(CATALOG) == [f"{name}mnist" for name in NAMES + OTHERS]


def test_names_of_sizes():
    blood = CATALOG["bloodmnist"]
    assert find("bloodmnist") == (blood, 28) and find("bloodmnist_64") == (blood, 64)
    assert find("bloodmnist_28") is find("bloodmnist_65") is find("blood") is find("_64") is None
    assert [file_name(blood, side) for side in SIDES] == [
        "bloodmnist.npz",
        "bloodmnist_64.npz",
        "bloodmnist_128.npz",
        "bloodmnist_224.npz",
    ]
    assert md5(blood, 224) == blood.md5[3]


@pytest.mark.parametrize("name", CATALOG)
def test_row_is_well_formed(name):
    entry = CATALOG[name]
    assert entry.name == name
    assert len(set(entry.md5)) == 4 and all(len(d) == 32 and int(d, 16) for d in entry.md5)
    assert entry.task in ("classes", "ordinal", "multi-label")
    assert len(set(entry.class_names)) == len(entry.class_names) >= 2
    assert entry.channels in (1, 3)
    assert min(entry.images) > 0
    assert entry.licence.startswith("CC BY") and re.search("(19|20)[0-9][0-9]", entry.source)


def test_what_is_said_of_a_set():
    notes = {name: entry.notes for name, entry in CATALOG.items() if entry.notes}
    assert set(notes) == {"dermamnist", "retinamnist"}
    assert "Scientific Data 12:196, 2025" in notes["dermamnist"][0]


def test_url():
    expected = "https://zenodo.org/records/10519652/files/bloodmnist.npz?download=1"
    assert url(CATALOG["bloodmnist"]) == expected


def test_facts_are_those_of_medmnist(tmp_path, monkeypatch):
    spec = importlib.util.find_spec("medmnist")
    if spec is None or spec.origin is None:
        pytest.skip("medmnist is not installed")
    # The package prints and imports torch; its table alone does neither, but makes ~/.medmnist.
    monkeypatch.setenv("HOME", str(tmp_path))
    table = runpy.run_path(str(Path(spec.origin).with_name("info.py")))["INFO"]
    for name, entry in CATALOG.items():
        info = table[name]
        for side in SIDES:
            word = "" if side == 28 else f"_{side}"
            assert md5(entry, side) == info[f"MD5{word}"]
            assert url(entry, side) == info[f"url{word}"]
            assert file_name(entry, side) == f"{name}{word}.npz"
        assert dict(enumerate(entry.class_names)) == {int(k): v for k, v in info["label"].items()}
        assert entry.channels == info["n_channels"]
        assert entry.images == tuple(info["n_samples"][s] for s in ("train", "val", "test"))
        tasks = {"ordinal-regression": "ordinal", "multi-label, binary-class": "multi-label"}
        assert entry.task == tasks.get(info["task"], "classes")
        assert entry.licence == info["license"]
