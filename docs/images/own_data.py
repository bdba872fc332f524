"""The pictures of docs/own_data.md: its walk from a folder to a bundle, with drawn cells in place of photographs.

    python docs/images/own_data.py FOLDER

In FOLDER it writes the images my_images/<class>/*.png with groups.csv, then runs the first commands of the page there:
some ten minutes on two cores. A small distillation stands in for `best`, which with its audit would take hours.
"""

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import medjax

PAGE = Path(__file__).parents[1] / "own_data.md"
#: Images of a patient in the folder.
EACH = 4
#: In place of `best --dataset=my.npz`.
SMALL = "dm --dataset=my.npz --preset=quick --size=16 --width=32"
#: Pictures of the walk, in FOLDER or in the folder of the run -> their name beside this file, the widest they are kept.
PICTURES = {
    "my.contact.png": ("own_data_contact.png", 700),
    "gallery.png": ("own_data_gallery.png", 900),
    "roc.png": ("own_data_roc.png", 420),
    "closest.png": ("own_data_closest.png", 420),
    "my_bundle/gallery.png": ("own_data_bundle.png", 700),
}


def main(folder: Path) -> None:
    """Make the images, run the walk, keep its pictures beside this file."""
    write_images(folder / "my_images")
    run = folder
    for command in walk():
        words = command.replace("best --dataset=my.npz", SMALL)
        words = re.sub(r"runs/my-\S+", str(run.relative_to(folder)), words)
        print(f"$ {words}", flush=True)
        subprocess.run([sys.executable, *shlex.split(words)[1:]], cwd=folder, check=True)
        run = next(folder.glob("runs/my-*/dm-*"), folder)
    for source, (target, width) in PICTURES.items():
        at = folder / source
        keep(at if at.is_file() else run / source, Path(__file__).parent / target, width)


def write_images(folder: Path) -> None:
    """The training images of the phantom set, as a folder of classes, four of each patient."""
    data = medjax.load("phantom")
    lines = ["file,patient"]
    for label, name in enumerate(data.class_names):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for place, index in enumerate(np.flatnonzero(data.train.labels == label)):
            path = folder / name / f"{index:04}.png"
            Image.fromarray(data.train.images[index]).save(path)
            lines.append(f"{name}/{path.name},{name}-{place // EACH}")
    (folder / "groups.csv").write_text("\n".join(lines) + "\n")


def walk() -> list[str]:
    """The commands of the page's first block."""
    block = re.search(r"^```sh\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert block
    return block[1].strip().splitlines()


def keep(source: Path, target: Path, width: int) -> None:
    """A picture, shrunk to a width and to 128 colours."""
    picture = Image.open(source).convert("RGB")
    if picture.width > width:
        size = width, round(picture.height * width / picture.width)
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    picture.quantize(128).save(target, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where images and runs go")
    main(parser.parse_args().folder)
