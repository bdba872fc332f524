"""The embedded set: blood cells drawn from equations. It needs no network and no files.

Eight kinds of cell differ in the features that haematologists use (lobes of the nucleus, granules, cell size, share of
the nucleus, stain). Place, rotation, size, staining, light, neighbours, debris, blur and noise vary between images as
much as the kinds do, so that a network needs many examples of each kind. The cells do not model a disease: the set
exists to try and to test medjax.

Only + - * / sqrt, comparisons and uniform draws are used, element by element. They are exact or correctly rounded, so
that every machine gives the same bits (exp, sin, sums and matrix products do not ensure that).
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float32, UInt8

from medjax.data.raw import SPLITS, raw_dataset
from medjax.types import RawDataset, RawSplit

SIDE = 28
BLOCK = 200  # images drawn at once, so that their planes stay in the cache

_VIOLET = (0.42, 0.24, 0.58)
_NOWHERE = (9.0, 9.0, 0.1)  # a notch far outside the cell


class Kind(NamedTuple):
    """The appearance of a kind of cell; lengths in units of the cell's radius unless stated otherwise.

    radius: of the cell, in pixels.
    lobes: up to four (x, y, radius) discs whose union is the nucleus.
    notch: one disc (x, y, radius) cut out of it.
    cytoplasm, nucleus, granule: colours, RGB in [0, 1].
    granules: how opaque the granules are, in [0, 1].
    coarse: 0 for granules one pixel wide, 1 for granules of two to three pixels.
    over: how opaque the granules are over the nucleus, in [0, 1].
    clumps: contrast of the chromatin, in [0, 1].
    """

    radius: float
    lobes: tuple[tuple[float, float, float], ...]
    cytoplasm: tuple[float, float, float]
    nucleus: tuple[float, float, float] = _VIOLET
    granule: tuple[float, float, float] = _VIOLET
    notch: tuple[float, float, float] = _NOWHERE
    granules: float = 0
    coarse: float = 0
    over: float = 0
    clumps: float = 0.2


# fmt: off
KINDS = {
    # small, almost filled by the nucleus, a sky-blue rim
    "lymphoid": Kind(6.0, ((0.05, 0, 0.86),), cytoplasm=(0.52, 0.62, 0.92), clumps=0.25),
    # large and grey-blue, a kidney-shaped nucleus
    "monocytoid": Kind(9.4, ((0, 0.1, 0.66),), notch=(0, 0.75, 0.5), cytoplasm=(0.64, 0.68, 0.78),
                       granules=0.15, clumps=0.3),
    # two lobes, coarse orange granules
    "eosinophilic": Kind(8.0, ((-0.42, 0, 0.38), (0.42, 0, 0.38)), cytoplasm=(0.92, 0.70, 0.66),
                         granule=(0.92, 0.40, 0.28), granules=0.9, coarse=1),
    # a chain of four lobes, fine pink granules
    "neutrophilic": Kind(8.0, ((-0.52, 0.1, 0.27), (-0.17, -0.42, 0.27), (0.35, -0.35, 0.27),
                               (0.45, 0.25, 0.27)), cytoplasm=(0.88, 0.78, 0.84),
                         granule=(0.76, 0.55, 0.74), granules=0.5),
    # coarse ink-blue granules that hide a pale nucleus
    "basophilic": Kind(7.6, ((-0.25, 0, 0.5), (0.3, 0.1, 0.45)), cytoplasm=(0.80, 0.74, 0.86),
                       nucleus=(0.66, 0.52, 0.80), granule=(0.20, 0.10, 0.46), granules=1,
                       coarse=1, over=1, clumps=0.1),
    # small, a dense round nucleus in a wide red rim
    "erythroid": Kind(6.4, ((0, 0.05, 0.52),), cytoplasm=(0.84, 0.56, 0.62),
                      nucleus=(0.26, 0.10, 0.36)),
    # a tiny grainy fragment without a nucleus
    "platelet": Kind(4.0, (), cytoplasm=(0.80, 0.64, 0.86), granule=(0.60, 0.30, 0.66),
                     granules=0.7, clumps=0),
    # large, a huge pale nucleus with open chromatin, a deep blue rim
    "blast": Kind(9.4, ((0, 0, 0.82),), cytoplasm=(0.46, 0.52, 0.86), nucleus=(0.60, 0.42, 0.72),
                  clumps=0.6),
}
# fmt: on
NAMES = tuple(KINDS)
# train, val, test: multiples of 256 (the batch size) and of 64 (the evaluation's chunk), so that a first run compiles
# no program for a remainder
SIZES = (2304, 384, 768)
# of the classes: roughly balanced
SHARES = (1.1, 1.0, 0.9, 1.15, 0.85, 1.0, 0.95, 1.05)

Planes: TypeAlias = Float32[np.ndarray, "n h w"]


def phantom() -> RawDataset:
    """The embedded set: 2304 / 384 / 768 RGB images of 28x28 pixels in 8 classes. Drawing takes a second on one core.

    Each call gives the same bits, and the three splits are drawn independently of each other. A ConvNet trained on
    all images exceeds 90 % on test; one trained on a random image per class stays below 45 % (chance is 12.5 %;
    tests/test_phantom_difficulty.py).
    """
    splits = [_split(np.random.default_rng([0, i]), size) for i, size in enumerate(SIZES)]
    return raw_dataset("phantom", NAMES, dict(zip(SPLITS, splits, strict=True)))


def _split(rng: np.random.Generator, size: int) -> RawSplit:
    shares = np.asarray(SHARES) / sum(SHARES)
    labels = np.searchsorted(np.cumsum(shares)[:-1], rng.random(size), side="right")
    blocks = [draw(rng, labels[i : i + BLOCK]) for i in range(0, size, BLOCK)]
    return RawSplit(np.concatenate(blocks), labels.astype(np.int32))


def draw(rng: np.random.Generator, labels: np.ndarray) -> UInt8[np.ndarray, "n h w c"]:
    """One drawn image for each label in [0, 8).

    While they are drawn, images are a list of three planes [n, h, w]; a value that applies to a whole image has shape
    [n, 1, 1]. `pick(low, high)` draws one such value for each image.
    """
    kind, b = _table(labels), len(labels)
    pick = partial(_uniform, rng, b)
    grid = np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2
    x = np.broadcast_to(grid, (b, SIDE, SIDE))
    y = np.broadcast_to(grid[:, None], (b, SIDE, SIDE))
    image = _background(pick, x, y)

    # (u, v): the pixels in the coordinates of the cell, whose unit is its radius
    cell_x, cell_y = pick(-2.5, 2.5), pick(-2.5, 2.5)
    radius = kind["radius"] * pick(0.84, 1.16)
    cos, sin = _direction(pick)
    stretch = pick(0.87, 1.15)
    u = (cos * (x - cell_x) + sin * (y - cell_y)) / radius * stretch
    v = (cos * (y - cell_y) - sin * (x - cell_x)) / radius / stretch
    edge = 1.4 / radius  # contours are 1.4 pixels wide

    dye = pick(0.75, 1.15)  # strength of the stain
    body = _disc(u, v, 0, 0, _outline(pick, u, v), edge)
    image = _paint(image, 0.85 * body, _tint(pick, kind["cytoplasm"], dye))

    warp = _uniform(rng, (4, 3, b), -0.09, 0.09)
    nucleus = np.zeros_like(x)
    for lobe, jitter in zip(kind["lobes"], warp, strict=True):
        lx, ly, lr = (lobe[i] + jitter[i] * (lobe[2] > 0) for i in range(3))
        nucleus = np.maximum(nucleus, _disc(u, v, lx, ly, lr, edge))
    notch_x, notch_y, notch_r = kind["notch"]
    nucleus = nucleus * (1 - _disc(u, v, notch_x, notch_y, notch_r * pick(0.85, 1.15), edge))
    _, coarse = _texture(rng, b)
    chromatin = 1 + kind["clumps"] * (coarse - 0.5) * 2
    colour = [tone * chromatin for tone in _tint(pick, kind["nucleus"], dye)]
    image = _paint(image, 0.92 * nucleus, colour)

    fine, coarse = _texture(rng, b)
    dots = _ramp((fine + (coarse - fine) * kind["coarse"] - 0.58) * 5)
    cover = kind["granules"] * dots * body * (1 - nucleus * (1 - kind["over"]))
    image = _paint(image, cover, _tint(pick, kind["granule"], dye))
    return _camera(rng, pick, image, x, y)


def _table(labels: np.ndarray) -> dict[str, np.ndarray]:
    """The fields of the images' kinds: numbers [b, 1, 1], colours and notches [3, b, 1, 1], lobes [4, 3, b, 1, 1]."""
    none = (0.0, 0.0, -1.0)
    kinds = [k._replace(lobes=(*k.lobes, *(none,) * (4 - len(k.lobes)))) for k in KINDS.values()]
    table = {f: np.asarray([getattr(k, f) for k in kinds], np.float32) for f in Kind._fields}
    return {f: np.moveaxis(v[labels], 0, -1)[..., None, None] for f, v in table.items()}


def _uniform(rng, shape: int | tuple[int, ...], low: float, high: float) -> np.ndarray:
    """Uniform draws, float32, with two more axes for the pixels."""
    draws = rng.random(shape, np.float32)[..., None, None]
    return draws * np.float32(high - low) + np.float32(low)


def _direction(pick: Callable) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of a nearly uniform direction, by the circle's rational parametrisation."""
    t = pick(-1.0, 1.0)
    sign = np.where(pick(-1.0, 1.0) < 0, np.float32(-1), np.float32(1))
    return sign * (1 - t * t) / (1 + t * t), sign * 2 * t / (1 + t * t)


def _ramp(value: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth between."""
    value = np.clip(value, 0, 1)
    return value * value * (3 - 2 * value)


def _disc(u, v, x, y, radius, edge) -> Planes:
    """How much of each pixel a disc covers, in [0, 1]; a radius below 0 gives an empty disc."""
    return _ramp(0.5 + (radius - np.sqrt((u - x) * (u - x) + (v - y) * (v - y))) / edge)


def _outline(pick: Callable, u, v) -> Planes:
    """The cell's radius, 1 +- 0.1, in the direction of (u, v): a second harmonic."""
    r2 = u * u + v * v + 1e-6
    return 1 + pick(-0.1, 0.1) * ((u * u - v * v) / r2) + pick(-0.1, 0.1) * (2 * u * v / r2)


def _paint(image: list, cover: Planes, colour: Iterable) -> list:
    """The image with a layer of `colour` (three planes) over it; `cover` in [0, 1]."""
    return [p + cover * (tone - p) for p, tone in zip(image, colour, strict=True)]


def _tint(pick: Callable, colour: Iterable, dye) -> list:
    """A stain's colour in each image: nearer to white where the dye is weak, with a random deviation."""
    return [1 - (1 - tone) * dye + pick(-0.05, 0.05) for tone in colour]


def _texture(rng: np.random.Generator, b: int) -> tuple[Planes, Planes]:
    """Two planes of noise in [0, 1], with grains of one pixel and of two to three pixels."""
    fine = rng.random((b, SIDE, SIDE), np.float32)
    return fine, np.clip((_blur(rng.random((b, SIDE, SIDE), np.float32)) - 0.5) * 2.6 + 0.5, 0, 1)


def _blur(plane: Planes) -> Planes:
    """The binomial blur (1 2 1) / 4 along both axes; border pixels are repeated."""
    p = np.pad(plane, ((0, 0), (1, 1), (0, 0)), mode="edge")
    plane = (p[:, :-2] + p[:, 1:-1] * 2 + p[:, 2:]) * 0.25
    p = np.pad(plane, ((0, 0), (0, 0), (1, 1)), mode="edge")
    return (p[:, :, :-2] + p[:, :, 1:-1] * 2 + p[:, :, 2:]) * 0.25


def _background(pick: Callable, x, y) -> list:
    """Plasma with up to five red cells, which are pale in the middle, and up to three specks of debris."""
    plasma = [pick(0.86, 1.0) + 0 * x, pick(0.82, 0.98) + 0 * x, pick(0.80, 0.98) + 0 * x]
    red = [pick(0.78, 0.95), pick(0.55, 0.75), pick(0.55, 0.75)]
    image = plasma
    for _ in range(5):
        cx, cy, r = pick(-17.0, 17.0), pick(-17.0, 17.0), pick(3.5, 6.0)
        image = _paint(image, _disc(x, y, cx, cy, r, 1.4) * pick(0.0, 0.8), red)
        image = _paint(image, _disc(x, y, cx, cy, r * 0.35, 2.5) * 0.6, plasma)
    for _ in range(3):
        # where the radius is below zero, the image has fewer specks
        speck = _disc(x, y, pick(-15.0, 15.0), pick(-15.0, 15.0), pick(-0.8, 1.8), 1.4)
        image = _paint(image, 0.8 * speck, [pick(0.3, 0.8), pick(0.3, 0.8), pick(0.3, 0.8)])
    return image


def _camera(rng, pick: Callable, image: list, x, y) -> UInt8[np.ndarray, "n h w c"]:
    """The image with uneven light, blur, white balance and noise, as eight bits."""
    light = pick(0.8, 1.08) + pick(-0.008, 0.008) * x + pick(-0.008, 0.008) * y
    focus, grain = pick(0.0, 0.7), pick(0.01, 0.04) * 2.4
    out = np.empty((*x.shape, 3), np.uint8)
    for channel, plane in enumerate(image):
        plane = plane + focus * (_blur(plane) - plane)
        plane = plane * light * pick(0.92, 1.08) + pick(-0.03, 0.03)
        noise = rng.random(x.shape, np.float32) + rng.random(x.shape, np.float32) - 1
        out[..., channel] = np.clip((plane + grain * noise) * 255 + 0.5, 0, 255).astype(np.uint8)
    return out
