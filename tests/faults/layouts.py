"""Folders of images as people might have them: splits by any name, links, hidden files, tables that fit or do not.

Each is read, or refused in one line; an image that is in no split is told of.
"""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from medjax.data.folder import read_folder
from medjax.data.label_table import LabelTable
from medjax.data.pixels import SUFFIXES

TOPS = ("train", "Training", "val", "valid", "dev", "test", "Testing", "holdout", "train_set")
CLASSES = ("a", "b", "ó", "o\u0301", "test", "_aside", "@eaDir", ".git", "c d", "é{0}%s")
FILES = ("0.png", "1.png", "2.bmp", "._0.png", "x_mask.png", "notes.txt", "no ending")
TARGETS = ("..", ".", "../..", "nowhere", "../a", "0.png", "../../elsewhere")
#: Words of the lines that tell of images which are in no split.
TOLD = ("ignored", "left out", "not followed", "duplicates removed", "opened", "could not be read")
TOLD += ("not in the table", "no label", "lead nowhere")


def build(root: Path, rng: np.random.Generator) -> None:
    """A new folder in place of the last one."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    tops = [root]
    if rng.random() < 0.3:
        tops = [root / "train", root / "valid", root / "Test"][:: rng.integers(1, 3)]
    elif rng.random() < 0.4:
        tops = [root / str(name) for name in rng.choice(TOPS, rng.integers(1, 5), replace=False)]
    if len(tops) > 1 and rng.random() < 0.1:
        tops.append(root)
    named = rng.choice(CLASSES, rng.integers(2, 5), replace=False)
    for top in tops:
        for name in named if rng.random() < 0.9 else rng.choice(CLASSES, 2):
            for i in range(rng.integers(1, 6)):
                file = FILES[rng.integers(len(FILES)) if rng.random() < 0.5 else 0]
                path = top / str(name) / ("deeper" if rng.random() < 0.1 else "") / f"{i}{file}"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
                if path.suffix in SUFFIXES:
                    Image.fromarray(pixels).save(path)
                else:
                    path.write_bytes(b"")
    places = [p for p in root.rglob("*") if p.is_dir()] + [root]
    for number in range(rng.integers(0, 3) if rng.random() < 0.5 else 0):
        place = places[rng.integers(len(places))]
        (place / f"link {number}").symlink_to(TARGETS[rng.integers(len(TARGETS))])
    if rng.random() < 0.4:
        table(root / ("groups.csv" if rng.random() < 0.5 else "t.csv"), root, rng)


def table(path: Path, root: Path, rng: np.random.Generator) -> None:
    """Lines for some of the files, some of them wrong."""
    names = [p.relative_to(root).as_posix() for p in root.rglob("*.png")] + ["none.png", "0.png"]
    rows = ["file,patient,dx"] if rng.random() < 0.9 else ["a;b"]
    for name in names:
        name = Path(name).stem if rng.random() < 0.2 else name
        rows += [f"{name},{rng.integers(4)},{'xyz'[rng.integers(3)]}"] * (rng.random() < 0.9)
    path.write_text("\n".join(rows), encoding="utf-8")


def load(root: Path) -> None:
    """Read it as `prepare` does. Raises AssertionError where an image is lost without a word."""
    labels = LabelTable(root / "t.csv", "file", "dx", "patient")
    tabled = labels.path.exists()
    made = read_folder(root, 4, exclude=["*_mask.png"], table=labels if tabled else None)
    files = [p for p in root.rglob("*") if p.suffix in SUFFIXES and p.is_file()]
    said = " ".join(made.lines).replace("--exclude=*_mask.png: 0 left out", "")
    assert len(made.labels) == len(files) or any(word in said for word in TOLD), made.lines
    assert len(made.labels) == len(made.splits) == len(made.images)
    assert set(made.labels.tolist()) == set(range(len(made.class_names)))
