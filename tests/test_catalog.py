"""The catalog's facts: well formed, and those of the medmnist package where it is there."""

import importlib.util
import runpy
from pathlib import Path

import pytest

from medjax.data.catalog import CATALOG, file_name, url

STUDY = ["path", "derma", "oct", "blood", "tissue", "organa", "organc", "organs"]


def test_the_study_has_its_eight_sets():
    assert list(CATALOG)[:8] == [f"{name}mnist" for name in STUDY]


@pytest.mark.parametrize("name", CATALOG)
def test_row_is_well_formed(name):
    entry = CATALOG[name]
    assert entry.name == name
    assert len(entry.md5) == 32 and int(entry.md5, 16)
    assert len(set(entry.class_names)) == len(entry.class_names) >= 2
    assert entry.channels in (1, 3)
    assert min(entry.train, entry.val, entry.test) > 0
    assert entry.licence.startswith("CC BY")


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
        assert entry.md5 == info["MD5"]
        assert url(entry) == info["url"]
        assert file_name(entry) == f"{name}.npz"
        assert dict(enumerate(entry.class_names)) == {int(k): v for k, v in info["label"].items()}
        assert entry.channels == info["n_channels"]
        sizes = {"train": entry.train, "val": entry.val, "test": entry.test}
        assert sizes == info["n_samples"]
        assert entry.licence == info["license"]
