"""docs/images/blood.png: the 8-bit images of a distilled set, side by side. Those of the row
results/rows/pbc_blood8-ipc1-mtt-seed0:

python docs/images/blood.py runs/pbc_blood8-FINGERPRINT/mtt-ipc1-cpu-seed0-HASH/synthetic.npz docs/images/blood.png
"""

import sys

import numpy as np
from PIL import Image

import medjax

#: Pixels a side of an image, and between two.
SIDE, GAP = 120, 10


def main(source: str, target: str) -> None:
    """Lay the images in a row, on white."""
    pixels = medjax.load_set(source).images_uint8
    tiles = [Image.fromarray(p).resize((SIDE, SIDE), Image.Resampling.NEAREST) for p in pixels]
    gap = np.full((SIDE, GAP, 3), 255, np.uint8)
    parts = [part for tile in tiles for part in (np.asarray(tile), gap)]
    Image.fromarray(np.concatenate(parts[:-1], axis=1)).save(target, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
