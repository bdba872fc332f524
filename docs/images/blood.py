"""docs/images/blood.png: the synthetic images of a finished run's gallery, side by side.

python docs/images/blood.py results/cpu/pbc_blood8-mtt-ipc1-seed0/gallery.png docs/images/blood.png
"""

import sys

import numpy as np
from PIL import Image

#: Layout of that gallery in pixels: the first synthetic tile, a tile's side, and the distance from row to row.
LEFT, TOP, SIDE, STEP, ROWS = 886, 181, 120, 130, 8


def main(source: str, target: str) -> None:
    """Cut the tiles out and lay them in a row, on white."""
    gallery = np.asarray(Image.open(source).convert("RGB"))
    gap = np.full((SIDE, STEP - SIDE, 3), 255, np.uint8)
    parts = []
    for row in range(ROWS):
        y = TOP + row * STEP
        parts += [gallery[y : y + SIDE, LEFT : LEFT + SIDE], gap]
    Image.fromarray(np.concatenate(parts[:-1], axis=1)).save(target, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
