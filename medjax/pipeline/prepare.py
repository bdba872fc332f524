"""A folder of images -> an .npz that every run takes, a report of the data and a contact sheet."""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from medjax import store
from medjax.config import checked, option
from medjax.data.folder import SPLITS, Folder, read_folder
from medjax.data.label_table import LabelTable
from medjax.data.npz import of_arrays
from medjax.data.pixels import MEGAPIXELS, Window
from medjax.errors import UserError
from medjax.paths import user_path
from medjax.pipeline.health import coarse
from medjax.pipeline.progress import Progress, Silent
from medjax.pipeline.resolve import settings
from medjax.report.gallery import contact_sheet
from medjax.types import RawDataset

#: Images of a class on the contact sheet.
SHOWN = 10


@dataclasses.dataclass(frozen=True)
class PrepareConfig:
    """A folder with one folder of images per class (in train/, val/, test/, or to be split), or with a table of labels
    -> my.npz."""

    folder: str = option(
        "",
        "folder of the images; groups.csv in it (file, patient) or PatientID groups them",
    )
    exclude: str = option("", "files and folders to leave out: *_mask.png,masks")
    labels: str = option("", "a table (CSV, TSV) of the labels, if folders are not classes")
    image_column: str = option("", "its column of file names, with ending or without")
    label_column: str = option("", "its column of class names")
    group_column: str = option("", "its column of patients, in place of groups.csv")
    out: str = option("", "the .npz to write; beside it .report.md and .contact.png")
    size: int = option(64, "pixels a side of the square images", low=4)
    fit: str = option(
        "crop",
        "crop: the centre square of images that are not square; pad: add black",
        choices=("crop", "pad"),
    )
    seed: int = option(0, "seed of the split, where the folder has none", low=0)
    window_center: float = option(0.0, "DICOM: centre of the window, in Hounsfield for CT")
    window_width: float = option(0.0, "DICOM: its width; 0: the file's own window", low=0)
    max_megapixels: float = option(
        MEGAPIXELS, "larger images are left out; raise it if you trust them", low=0.001, high=1e5
    )


def prepare(config: PrepareConfig, progress: Progress | None = None) -> RawDataset:
    """Write the .npz, the report and the contact sheet; returns the data set. Nothing that exists is replaced before
    the new one is sound. Raises UserError for folders and values that cannot be used."""
    config = checked(config)
    progress, out = progress or Silent(), user_path(config.out)
    source = user_path(config.folder)
    _check(config, out)
    bars: list = []

    def tell(done: int, total: int) -> None:
        if not bars:
            bars.append(progress.bar("read", total))
        bars[0](done, "files")

    window = Window(config.window_center, config.window_width)
    exclude = [word for word in map(str.strip, config.exclude.split(",")) if word]
    table = LabelTable(
        user_path(config.labels),
        config.image_column,
        config.label_column,
        config.group_column,
    )
    made = read_folder(
        source,
        config.size,
        config.seed,
        window,
        tell,
        exclude=exclude,
        table=table if config.labels else None,
        fit=config.fit,
        megapixels=config.max_megapixels,
    )
    arrays = {"class_names": np.array(made.class_names)}
    for number, split in enumerate(SPLITS):
        arrays[f"{split}_images"] = made.images[made.splits == number]
        arrays[f"{split}_labels"] = made.labels[made.splits == number]
        if made.groups is not None:
            arrays[f"{split}_groups"] = made.groups[made.splits == number]
    raw = of_arrays(out, arrays)  # what a run would refuse is said before anything changes
    lines = report(source, made) + [f"- {note}" for note in (*raw.notes, *too_few(raw))]
    for line in lines:
        progress.say(line)
    store.write_arrays(out, **arrays)
    store.write_bytes(out.with_suffix(".report.md"), ("\n".join(lines) + "\n").encode())
    train = made.splits == 0
    chosen = [made.images[train & (made.labels == k)][:SHOWN] for k in range(len(made.class_names))]
    title = f"{source.name}: training images"
    contact_sheet(out.with_suffix(".contact.png"), chosen, made.class_names, title)
    progress.say(
        "note: the contact sheet shows real images, and the report names files: both are as confidential as the data"
    )
    return raw


def _check(config: PrepareConfig, out: Path) -> None:
    """UserError for values that cannot be used, before the images are read, which may take an hour."""
    if not config.folder or not config.out:
        raise UserError("what and where to? --folder=my_images --out=my.npz")
    if out.suffix != ".npz" or out.is_dir():
        raise UserError(f"--out={config.out}: give the name of a file that ends in .npz")
    if config.window_center and not config.window_width:
        raise UserError(
            f"--window_center={config.window_center} is of no use without --window_width"
        )
    if 0 < config.window_width < 1:
        raise UserError(
            f"--window_width={config.window_width} is too small: DICOM's linear window is at least 1 wide; 0 stands"
            " for the file's own"
        )
    columns = [n for n in ("image_column", "label_column", "group_column") if getattr(config, n)]
    if columns and not config.labels:
        raise UserError(f"--{columns[0]} is of no use without --labels, the table it is in")
    there = next(parent for parent in out.absolute().parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise UserError(f"--out={config.out}: cannot write there ({error.strerror})") from error


def too_few(raw: RawDataset) -> list[str]:
    """What cannot be done, or hardly, with so few images."""
    counts = np.bincount(raw.train.labels, minlength=len(raw.class_names))
    lines = [f"WARNING: {line}" for line in coarse(len(raw.val.labels), len(counts))]
    packed = settings("mtt", preset="best", ipc=1).decoded
    if counts.min() < packed:
        lines.append(
            f"class {raw.class_names[counts.argmin()]!r} has {counts.min()} training images, and experiments.best"
            f" --ipc=1 takes {packed} of each class: give more, or use experiments.mtt --preset=best --pack=1"
        )
    return lines


def report(source: Path, made: Folder) -> list[str]:
    """Lines of Markdown: images per class and split, and everything that was done to them."""
    n, s, _, c = made.images.shape
    table = np.zeros((len(made.class_names), len(SPLITS)), int)
    np.add.at(table, (made.labels, made.splits), 1)
    rows = [f"# {source.name}: {n} images, {s} px, {'RGB' if c == 3 else 'grey'}", ""]
    rows += ["| class | train | val | test |", "| --- | --- | --- | --- |"]
    for name, counts in zip(made.class_names, table, strict=True):
        rows.append(f"| {name.replace('|', '/')} | " + " | ".join(map(str, counts)) + " |")
    rows.append("| all | " + " | ".join(map(str, table.sum(0))) + " |")
    return [*rows, "", *(f"- {line}" for line in made.lines)]
