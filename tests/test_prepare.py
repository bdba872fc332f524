"""The command that makes an .npz of a folder: three files, which the next command takes."""

import launching
import numpy as np
from pictures import dicom, put
from PIL import Image
from test_folder import flat
from test_launchers import complaint

from medjax.data import sources


def prepare(*words):
    return launching.SERVER.run("experiments.prepare", *words)


def test_folder_becomes_a_set_with_report_and_contact_sheet(tmp_path):
    flat(tmp_path / "cells", {"<b>|x": 30, "$\\frac{心": 20, "ordinary": 20}, shape=(20, 30, 3))
    out = tmp_path / "made" / "my.npz"
    words = (f"--folder={tmp_path / 'cells'}", f"--out={out}", "--size=16")
    ended = prepare(*words)
    assert (ended.status, ended.stderr) == (0, "")
    raw = sources.load(str(out))
    assert raw.class_names == ("$\\frac{心", "<b>|x", "ordinary") and raw.notes == ()
    assert raw.train.images.shape == (49, 16, 16, 3)
    report = out.with_suffix(".report.md").read_text()
    assert "| ordinary | 14 | 2 | 4 |" in report and "| all | 49 | 7 | 14 |" in report
    assert "<b>/x" in report and "centre square" in report
    assert report.strip() in "\n".join(line.rstrip() for line in ended.stdout.splitlines())
    with Image.open(out.with_suffix(".contact.png")) as sheet:
        assert np.asarray(sheet.convert("L")).std() > 5 and sheet.width > sheet.height
    before = out.read_bytes()
    assert prepare(*words).status == 0 and out.read_bytes() == before
    assert prepare(*words, "--seed=1").status == 0 and out.read_bytes() != before


def test_mistakes_are_one_line(tmp_path):
    assert "--folder=" in complaint(prepare())
    assert "--out=" in complaint(prepare(f"--folder={tmp_path}", "--out=my.zip"))
    assert "no folders" in complaint(prepare(f"--folder={tmp_path}", f"--out={tmp_path}/a.npz"))
    flat(tmp_path / "x", {"a": 3, "b": 3})
    (tmp_path / "taken").write_text("")
    words = (f"--folder={tmp_path / 'x'}", f"--out={tmp_path}/taken/a.npz")
    assert "taken" in complaint(prepare(*words))


def test_a_set_that_is_refused_replaces_none(tmp_path):
    flat(tmp_path / "x", {"a": 30, "b": 30})
    flat(tmp_path / "y", {"a": 2, "b": 2})
    out = tmp_path / "my.npz"
    assert prepare(f"--folder={tmp_path / 'x'}", f"--out={out}", "--size=8").status == 0
    before = {p: p.read_bytes() for p in tmp_path.glob("my.*")}
    said = complaint(prepare(f"--folder={tmp_path / 'y'}", f"--out={out}", "--size=8"))
    assert "leave val empty" in said
    assert {p: p.read_bytes() for p in tmp_path.glob("my.*")} == before


def test_window_flags_reach_the_files(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        for i in range(6):
            stored = rng.integers(0, 100, (8, 8)).astype(np.uint16)
            dicom(tmp_path / f"x/{name}/{i}.dcm", stored)
    words = (f"--folder={tmp_path / 'x'}", f"--out={tmp_path / 'x.npz'}", "--size=8")
    assert "full range" in prepare(*words).stdout
    ended = prepare(*words, "--window_center=50", "--window_width=11")
    assert "DICOM, given window" in ended.stdout
    values = np.unique(sources.load(str(tmp_path / "x.npz")).train.images)
    assert values.min() == 0 and values.max() == 255 and len(values) == 12


def test_flags_of_the_pixels_reach_the_files(tmp_path):
    for name in ("a", "b"):
        for i in range(10):
            put(tmp_path / f"x/{name}/{i}.png", (20, 10))
        put(tmp_path / f"x/{name}/large.png", (80, 80))
    words = (f"--folder={tmp_path / 'x'}", f"--out={tmp_path / 'x.npz'}", "--size=20")
    said = prepare(*words).stdout
    assert "20 are not square: they were cut to their centre square" in said
    said = prepare(*words, "--fit=pad", "--max_megapixels=0.005").stdout
    assert "20 are not square: they were padded with black to a square" in said
    assert "2 files could not be read: a/large.png" in said and "--max_megapixels=0.005" in said
    images = sources.load(str(tmp_path / "x.npz")).train.images[..., 0]
    assert images[:, :, :5].max() == 0 == images[:, :, 15:].max() and images[:, :, 5:15].std() > 50
    assert "--fit=stretch is not known" in complaint(prepare(*words, "--fit=stretch"))
    assert "at least 1 wide" in complaint(prepare(*words, "--window_width=0.5"))


def test_help_fits_a_screen():
    lines = prepare("--help").stdout.splitlines()
    assert len(lines) < 20 and max(map(len, lines)) <= 120
    assert sum(line.startswith("  --") for line in lines) == 8
