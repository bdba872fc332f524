"""Static HTML pages. A page needs its figures and nothing else: no script, no font, no network. What a run
left in its folder for a page is read here: its pictures, the rows of its log, and what an audit found."""

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from medjax import store
from medjax.guarantee import terms
from medjax.report.privacy import OF_CANARIES, beside_table
from medjax.report.runs import Run
from medjax.table import Table, templates

#: Pictures that a run leaves in its folder.
PICTURES = {
    "gallery.png": "real images (as confidential as the data) beside the synthetic ones",
    "strip.png": "the first image of each class over training; the run began with real images, unless it says otherwise"
    " (as confidential as the data)",
    "curves.png": "loss, step size and interim scores",
    "roc.png": "what a membership attack finds",
    "closest.png": "synthetic images beside the nearest real ones (as confidential as the data)",
}
#: Pixels of a picture for one CSS pixel.
SCALE = 2.0


class Chart(NamedTuple):
    """A figure that lies beside the page as figures/STEM.svg and .png. words: what it shows, also for the blind."""

    stem: str
    words: str


class CopiedPicture(NamedTuple):
    """A picture of a run, copied to lie beside the page as figures/FILE, at most ``width`` CSS pixels wide."""

    file: str
    words: str
    width: int


def write_page(path: Path, template: str, **values: Any) -> Path:
    """Fill in medjax/templates/TEMPLATE and write the page; gives back its path."""
    text = templates().get_template(template).render(values)
    store.write_bytes(path, text.encode())
    return path


def slug(*words: object) -> str:
    """A file name for words that may hold anything: readable, unique, and safe on every file system."""
    text = "-".join(str(word) for word in words)
    readable = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48]
    return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def pictures(figures: Path, run: Run) -> list[CopiedPicture]:
    """The pictures in a run's folder, copied beside the page; a damaged one is left out."""
    drawn = []
    for file, words in PICTURES.items() if run.folder else ():
        source = run.path.with_name(file)
        if source.is_file():
            try:
                with Image.open(source) as image:
                    image.verify()
                    width = round(image.width / SCALE)
            except (OSError, ValueError, SyntaxError):
                continue
            name = f"{slug(source.stem, run.folder)}.png"
            shutil.copyfile(source, figures / name)
            real = run.result.chosen_images and file == "strip.png"
            said = words + " (real ones, as confidential as the data)" * bool(real)
            drawn.append(CopiedPicture(name, said, width))
    return drawn


def read_course(run: Run) -> list[dict]:
    """The rows of iterations and interim scores in the run's log."""
    if run.folder is None:
        return []  # a log beside a copied result is not its own
    try:
        rows = store.read_log(run.folder / "log.jsonl")
    except OSError:
        return []
    return [row for row in rows if row["phase"] in ("distill", "interim")]


class Privacy(NamedTuple):
    """What the set of a run promises and what an audit of it found, in sentences; and the table of procedures, where
    several were attacked."""

    lines: list[str]
    beside: Table | None
    of_canaries = OF_CANARIES


def read_privacy(run: Run) -> Privacy:
    """From the run's result, and from privacy.json in its folder, where there is one that can be read."""
    guarantee = run.result.guarantee
    stated = terms(guarantee) if guarantee and guarantee.get("epsilon") is not None else []
    found = store.read_json(run.folder / "privacy.json") if run.folder else None
    found = found if isinstance(found, dict) else {}
    parts = [found.get(name) for name in ("card", "card_exact")]
    lines = [*stated, *(str(line) for part in parts if isinstance(part, list) for line in part)]
    try:
        return Privacy(lines, beside_table(found) if len(found["beside"]) > 1 else None)
    except (TypeError, KeyError, ValueError, AttributeError):
        return Privacy(lines, None)
