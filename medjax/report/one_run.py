"""One run on a page: what it was, its pictures, the rows of its log."""

import shutil
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from medjax import store
from medjax.recipes import describe
from medjax.report.pages import Picture, slug
from medjax.report.runs import Run

#: Pictures that a run leaves in its folder.
PICTURES = {
    "gallery.png": "real images (as confidential as the data) beside the synthetic ones",
    "strip.png": "the first synthetic image of each class over training",
    "curves.png": "loss, step size and interim scores",
}
#: Pixels of a picture for one CSS pixel.
SCALE = 2.0


class RunSection(NamedTuple):
    """What a page shows of a run."""

    name: str
    provenance: str
    warnings: tuple[str, ...]
    pictures: list[Picture]


def run_section(figures: Path, run: Run) -> RunSection:
    """The section of one run; its pictures are copied to the folder of figures."""
    return RunSection(
        called(run), provenance(run), tuple(run.result.warnings), pictures(figures, run)
    )


def called(run: Run) -> str:
    """'MTT on bloodmnist, 1 per class, seed 0'."""
    r = run.result
    size = "all images" if r.ipc is None else f"{r.ipc} per class"
    return f"{describe(r.method).title} on {r.dataset}, {size}, seed {r.seed}"


def provenance(run: Run) -> str:
    """Settings, device, versions and revision, as far as the run's config.json says."""
    r = run.result
    chosen = r.selected_iteration is not None
    words = [
        f"{r.model}, preset {r.preset}",
        f"{r.evaluation['networks']} networks x {r.evaluation['epochs']} epochs",
        f"iteration {r.selected_iteration} (select={r.select})" if chosen else "",
        f"flags {run.changed}" if run.changed else "",
        run.device,
        run.versions,
    ]
    return "; ".join(filter(None, words)) + f". {run.path}"


def pictures(figures: Path, run: Run) -> list[Picture]:
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
            drawn.append(Picture(name, words, width))
    return drawn


def read_course(run: Run) -> list[dict]:
    """The rows of iterations and interim scores in the run's log; what is not such a row is left out."""
    if run.folder is None:
        return []  # a log beside a copied result is not its own
    try:
        rows = store.read_log(run.folder / "log.jsonl")
    except (OSError, ValueError):
        return []
    return [row for row in rows if _is_course(row)]


def _is_course(row: dict) -> bool:
    numbers = [row.get(k) for k in ("loss", "step_size", "balanced_accuracy")]
    return (
        row.get("phase") in ("distill", "interim")
        and isinstance(row.get("iteration"), int)
        and isinstance(row.get("split", ""), str)
        and all(isinstance(v, int | float | None) for v in numbers)
    )
