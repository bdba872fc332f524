"""The command that makes an .npz of a folder: three files, which the next command takes."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import launching
import numpy as np
import pytest
from pictures import dicom, put
from PIL import Image
from test_folder import flat
from test_launchers import complaint

from medjax.data import pixels, sources
from medjax.data.folder import read_folder
from medjax.errors import UserError
from medjax.pipeline.prepare import PrepareConfig


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
    assert "WARNING: val has 7 images for 3 classes" in report and "--ipc=1 takes" not in report
    assert "too few training images for an audit" not in ended.stdout
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
    complaint(prepare(f"--folder={tmp_path}", f"--out={tmp_path}/new/a.npz"))
    assert not [*tmp_path.iterdir()], "nothing is left of what failed"
    flat(tmp_path / "x", {"a": 3, "b": 3})
    (tmp_path / "taken").write_text("")
    words = (f"--folder={tmp_path / 'x'}", f"--out={tmp_path}/taken/a.npz")
    assert "taken" in complaint(prepare(*words))


def test_a_set_that_is_refused_replaces_none(tmp_path):
    flat(tmp_path / "x", {"a": 30, "b": 30})
    flat(tmp_path / "y", {"a": 1, "b": 2})
    out = tmp_path / "my.npz"
    assert prepare(f"--folder={tmp_path / 'x'}", f"--out={out}", "--size=8").status == 0
    before = {p: p.read_bytes() for p in tmp_path.glob("my.*")}
    said = complaint(prepare(f"--folder={tmp_path / 'y'}", f"--out={out}", "--size=8"))
    assert "leave val empty" in said
    assert {p: p.read_bytes() for p in tmp_path.glob("my.*")} == before


def test_what_so_few_images_do_not_allow_is_said(tmp_path):
    """Neither `best` nor an audit, by the reasons that each of them would give."""
    for split, count in (("train", 3), ("val", 10), ("test", 1)):
        flat(tmp_path / "x" / split, {"a": count, "b": count})
    ended = prepare(f"--folder={tmp_path / 'x'}", f"--out={tmp_path / 'my.npz'}", "--size=8")
    assert ended.status == 0 and "WARNING: val has" not in ended.stdout
    assert "3 training images, and experiments.best --ipc=1 takes 4 of each class" in ended.stdout
    assert "too few training images for an audit" in ended.stdout


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


def test_groups_are_written_as_numbers(tmp_path):
    """Names of patients must not leave the house."""
    flat(tmp_path / "x", {"a": 30, "b": 30})
    rows = [f"{c}/{i:03d}.png,Miller {i // 3}" for c in "ab" for i in range(30)]
    (tmp_path / "x/groups.csv").write_text("\n".join(rows))
    out = tmp_path / "my.npz"
    ended = prepare(f"--folder={tmp_path / 'x'}", f"--out={out}", "--size=8")
    assert ended.status == 0 and "60 images of 10 patients" in ended.stdout
    raw, splits = sources.load(str(out)), ("train", "val", "test")
    groups = [getattr(raw, split).groups for split in splits]
    assert sorted(np.concatenate(groups).tolist()) == sorted([i // 3 for i in range(30)] * 2)
    assert sum(len(set(g.tolist())) for g in groups) == 10  # none is in two splits
    assert all(b"Miller" not in path.read_bytes() for path in tmp_path.glob("my.*"))


def test_a_patient_in_two_given_splits_is_said(tmp_path):
    for split in ("train", "test"):
        flat(tmp_path / "x" / split, {"a": 20, "b": 20})
    (tmp_path / "x/groups.csv").write_text("train/a/000.png,p\ntest/a/000.png,p\n")
    words = (f"--folder={tmp_path / 'x'}", f"--out={tmp_path / 'my.npz'}", "--size=8")
    assert "1 patients are in more than one split" in prepare(*words).stdout
    assert "1 patients are in more" in sources.load(str(tmp_path / "my.npz")).notes[0]


def test_labels_from_a_table_and_files_left_out(tmp_path):
    flat(tmp_path / "x", {"part 1": 20, "part 2": 20})
    flat(tmp_path / "x", {"masks": 3})
    rows = [f"part {p}/{i:03d},{'ab'[i % 2]},L{i // 2}{p}" for p in (1, 2) for i in range(20)]
    (tmp_path / "t.csv").write_text("\n".join(["image,dx,lesion", *rows]))
    words = [f"--folder={tmp_path / 'x'}", f"--out={tmp_path / 'my.npz'}", "--size=8"]
    table = ("image", "dx", "lesion")
    kinds = ("image", "label", "group")
    more = [f"--{k}_column={name}" for k, name in zip(kinds, table, strict=True)]
    said = complaint(prepare(*words, more[0]))
    assert "--image_column is of no use without --labels" in said
    ended = prepare(*words, *more, f"--labels={tmp_path / 't.csv'}", "--exclude=masks,*_mask.png")
    assert ended.status == 0, ended.stderr
    assert "40 images have a label" in ended.stdout and "masks: 1 left out" in ended.stdout
    raw = sources.load(str(tmp_path / "my.npz"))
    assert raw.class_names == ("a", "b") and len(set(raw.train.groups.tolist())) == 14


def test_names_that_are_no_text_are_shown_by_their_bytes(tmp_path):
    flat(tmp_path / "x", {"a": 10, "b": 10})
    try:
        (tmp_path / "x/a" / os.fsdecode(b"\xf1.png")).write_bytes(b"?")
    except OSError:
        pytest.skip("this file system takes text alone")
    out = tmp_path / "my.npz"
    ended = prepare(f"--folder={tmp_path / 'x'}", f"--out={out}", "--size=8")
    assert ended.status == 0, ended.stderr
    assert "a/\\udcf1.png (" in out.with_suffix(".report.md").read_text()


def test_no_file_of_the_user_is_touched(tmp_path):
    """Whether the place can be written to was tried with a file that somebody may have."""
    flat(tmp_path / "x", {"a": 10, "b": 10})
    mine = [tmp_path / f"my{suffix}" for suffix in (".probe", ".npz.probe", ".txt")]
    for path in mine:
        path.write_text("mine")
    words = (f"--folder={tmp_path / 'x'}", f"--out={tmp_path / 'my.npz'}", "--size=8")
    assert prepare(*words).status == 0
    assert [path.read_text() for path in mine] == ["mine"] * 3
    names = {"x", "my.npz", "my.report.md", "my.contact.png", *(path.name for path in mine)}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_what_does_not_fit_into_memory_is_refused_before_reading(tmp_path, monkeypatch):
    """The forecast counts channels and copies."""
    flat(tmp_path / "x", {"a": 100, "b": 100})
    read = []
    monkeypatch.setattr(
        "medjax.data.folder.read", lambda *a, **k: read.append(a) or pixels.read(*a, **k)
    )
    monkeypatch.setattr("medjax.memory.available", lambda: 200 * 16 * 16 * 3 * 6 - 1)
    with pytest.raises(UserError, match=r"200 images of 16 px need 921600 bytes.* lower --size"):
        read_folder(tmp_path / "x", 16)
    assert len(read) <= 25
    monkeypatch.setattr("medjax.memory.available", lambda: 200 * 16 * 16 * 3 * 6)
    assert len(read_folder(tmp_path / "x", 16).labels) == 200


MEASURED = """
import resource, sys
from pathlib import Path
from medjax import memory
from medjax.data import folder
def peak():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) * 1024
folder.read_folder(Path(sys.argv[1]) / "few", 112)
before = peak()
folder.read_folder(Path(sys.argv[1]) / "many", 112)
after = peak()
memory.available = lambda: 0
try:
    folder.read_folder(Path(sys.argv[1]) / "many", 112)
except Exception as error:
    print(after - before, error)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say it")
def test_the_forecast_of_memory_is_within_a_third(tmp_path):
    """The peak of a process that reads 1,200 images of 112 px in colour."""
    flat(tmp_path / "few", {"a": 5, "b": 5}, shape=(12, 12, 3))
    flat(tmp_path / "many", {"a": 600, "b": 600}, shape=(12, 12, 3))
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, tmp_path],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    measured, said = ran.stdout.split(maxsplit=1)
    forecast = float(re.search(r"need ([\d.]+) MB", said)[1]) * 1e6
    assert 0.75 < forecast / int(measured) < 1.34, ran.stdout


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
    options = dataclasses.fields(PrepareConfig)
    assert sum(line.startswith("  --") for line in lines) == len(options)
