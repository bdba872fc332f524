"""What a run left in its folder for a page: its pictures, and the rows of its log."""

import shutil
from pathlib import Path

from PIL import Image

from medjax import store
from medjax.report.pages import CopiedPicture, slug
from medjax.report.runs import Run

#: Pictures that a run leaves in its folder.
PICTURES = {
    "gallery.png": "real images (as confidential as the data) beside the synthetic ones",
    "strip.png": "the first synthetic image of each class over training",
    "curves.png": "loss, step size and interim scores",
}
#: Pixels of a picture for one CSS pixel.
SCALE = 2.0


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
            drawn.append(CopiedPicture(name, words, width))
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
