"""A folder of images -> an .npz that every launcher takes, a report of the data and a contact sheet.

python -m experiments.prepare --folder=my_images --out=my.npz
"""

import dataclasses
from pathlib import Path

import numpy as np

from experiments.display import make_console, make_progress, track
from experiments.flags import launch, resolve
from medjax import store
from medjax.config import option
from medjax.data.folder import SPLITS, Folder, read_folder
from medjax.data.npz import from_arrays
from medjax.data.pixels import Window
from medjax.errors import UserError
from medjax.report.gallery import contact_sheet


@dataclasses.dataclass(frozen=True)
class PrepareConfig:
    """A folder with one folder of images per class (in train/, val/, test/, or to be split) -> my.npz."""

    folder: str = option(
        "", "folder of the images; groups.csv in it (file, patient) keeps patients together"
    )
    out: str = option("", "the .npz to write; beside it .report.md and .contact.png")
    size: int = option(64, "pixels a side: the centre square, resized", low=4)
    seed: int = option(0, "seed of the split, where the folder has none", low=0)
    window_center: float = option(0.0, "DICOM: centre of the window, in Hounsfield for CT")
    window_width: float = option(0.0, "DICOM: its width; 0: the file's own window", low=0)


SHOWN = 10  # images of a class on the contact sheet


def main() -> None:
    config = resolve((PrepareConfig,), {"paper": {}}).groups[PrepareConfig]
    console, out = make_console(), Path(config.out).expanduser()
    if not config.folder or not config.out:
        raise UserError("what and where to? --folder=my_images --out=my.npz")
    if out.suffix != ".npz" or out.is_dir():
        raise UserError(f"--out={config.out}: give the name of a file that ends in .npz")
    if config.window_center and not config.window_width:
        raise UserError(
            f"--window_center={config.window_center} is of no use without --window_width"
        )
    # Read for an hour, then nowhere to write to: found out before.
    store.write_bytes(out.with_suffix(".probe"), b"")
    out.with_suffix(".probe").unlink()
    with make_progress(console) as progress:
        bars: list = []

        def tell(done: int, total: int) -> None:
            bars or bars.append(track(progress, "read", total))
            bars[0](done, "files")

        window = Window(config.window_center, config.window_width)
        source = Path(config.folder).expanduser()
        made = read_folder(source, config.size, config.seed, window, tell)
    if empty := [name for i, name in enumerate(SPLITS) if i not in made.splits]:
        raise UserError(
            f"{source}: its {len(made.labels)} images leave {' and '.join(empty)} empty (a patient's stay together):"
            " more are needed, or folders train, val and test"
        )
    arrays = {"class_names": np.array(made.class_names)}
    for number, split in enumerate(SPLITS):
        arrays[f"{split}_images"] = made.images[made.splits == number]
        arrays[f"{split}_labels"] = made.labels[made.splits == number]
    raw = from_arrays(out, arrays)  # what a launcher would refuse is said before anything changes
    lines = report(source, made) + [f"- {note}" for note in raw.notes]
    for line in lines:
        console.print(line, soft_wrap=True)
    store.write_arrays(out, **arrays)
    store.write_bytes(out.with_suffix(".report.md"), ("\n".join(lines) + "\n").encode())
    train = made.splits == 0
    chosen = [made.images[train & (made.labels == k)][:SHOWN] for k in range(len(made.class_names))]
    contact_sheet(
        out.with_suffix(".contact.png"), chosen, made.class_names, f"{source.name}: training images"
    )
    console.print("note: the contact sheet shows real images: it is as confidential as they are")
    console.print(
        f"\n{out}\n{out.with_suffix('.report.md')}\n{out.with_suffix('.contact.png')}",
        soft_wrap=True,
    )


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


if __name__ == "__main__":
    launch("Make an .npz of a folder of images.", (PrepareConfig,), main)
