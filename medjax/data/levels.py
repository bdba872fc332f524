"""Images with values of all kinds -> grey levels 0..255 of one set, and what tells the classes apart beside them."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt8

from medjax.data.pixels import Picture
from medjax.data.planes import DEPTHS

#: Share of the values that may lie outside the range of a set.
OUTSIDE = 0.001
#: Kinds of pixels that a report lists.
KINDS = 20
#: Part of the set's range that an image should use.
NARROW = 1 / 16
#: Difference in share between two classes, of at least so many images, that is warned of.
APART, FEWEST = 0.5, 4


def to_uint8(
    pictures: list[Picture], fit: str = "crop"
) -> tuple[UInt8[np.ndarray, "n s s c"], list[str]]:
    """All images with the same number of channels, 0..255, and lines about them."""
    kinds = [f"{n} x {kind}" for kind, n in Counter(p.kind for p in pictures).most_common()]
    if len(kinds) > KINDS:
        kinds = [*kinds[:KINDS], f"{len(kinds) - KINDS} other kinds"]
    heights, widths = zip(*(p.shape for p in pictures), strict=True)
    lines = [
        f"pixels: {'; '.join(kinds)}.",
        f"sizes: {min(heights)} to {max(heights)} high, {min(widths)} to {max(widths)} wide.",
    ]
    if oblong := sum(height != width for height, width in (p.shape for p in pictures)):
        how = "padded with black to a square" if fit == "pad" else "cut to their centre square"
        lines.append(f"{oblong} are not square: they were {how}.")
    ranges = {"": (0.0, 255.0)}
    for deep in sorted({p.deep for p in pictures} - {""}):
        ranges[deep], said = _range(deep, [p.ranks for p in pictures if p.deep == deep])
        lines += said
    channels = max(p.values.shape[-1] for p in pictures)
    if channels == 3 and any(p.values.shape[-1] == 1 for p in pictures):
        lines.append("grey images were converted to RGB, because others are in colour.")
    images = [_shown(p, *ranges[p.deep]) for p in pictures]
    return np.stack([np.broadcast_to(i, (*i.shape[:2], channels)) for i in images]), lines


def _shown(picture: Picture, low: float, high: float) -> UInt8[np.ndarray, "s s c"]:
    """One image, low..high as 0..255."""
    grey = ((picture.values - low) * (255 / max(high - low, 1e-12))).clip(0, 255)
    if picture.inverted:
        grey = 255 - grey
    if picture.black is not None:
        grey = grey * (1 - picture.black)
    return np.rint(grey).astype(np.uint8)


def _range(deep: str, ranks: list[np.ndarray]) -> tuple[tuple[float, float], list[str]]:
    """The range of a set's raw values, given sorted for each image, and lines about it.

    Of unsigned 16-bit values: 0 to the smallest depth that holds nearly all. Of others: all of them, unless a few are
    far from the rest.
    """
    values = np.sort(np.concatenate(ranks))
    skip = int(OUTSIDE * len(values))
    low, high = float(values[0]), float(values[-1])
    inner_low, inner_high = float(values[skip]), float(values[-1 - skip])
    if deep == "16-bit":
        largest, low, high = high, 0.0, float(next(d for d in DEPTHS if inner_high <= d))
        line = f"16-bit images: 0..{high:.0f} was scaled to 0..255 (largest value {largest:.0f})"
    else:
        room = 2 * (inner_high - inner_low)
        if room and high - inner_low > room:
            high = inner_high
        if room and inner_high - low > room:
            low = inner_low
        what = "DICOM without a window, modality units" if deep == "DICOM" else f"{deep} images"
        line = f"{what}: {low:g}..{high:g}, the range of the whole set, was scaled to 0..255"
    outside = float(((values < low) | (values > high)).mean())
    lines = [f"{line}; {outside:.2%} of the values are cut off." if outside else f"{line}."]
    # Most of the values of each image, without its few darkest and brightest.
    spans = [float(r[int(0.99 * (len(r) - 1))] - r[int(0.01 * (len(r) - 1))]) for r in ranks]
    if 2 * (narrow := sum(0 < span < NARROW * (high - low) for span in spans)) >= len(spans):
        lines.append(
            f"WARNING: {narrow} of these {len(spans)} images use less than a sixteenth of that range, because of larger"
            " values in others or in a few pixels: they have few grey levels."
        )
    return (low, high), lines


def by_class(
    pictures: list[Picture], labels: Int[np.ndarray, " n"], names: Sequence[str]
) -> list[str]:
    """Warnings of kinds of pixels, windows and sizes that are common in one class and rare in another."""
    lines = []
    sizes = [f"{height} x {width}" for height, width in (p.shape for p in pictures)]
    kinds, windows = ([getattr(p, name) for p in pictures] for name in ("origin", "window"))
    for what, values in (("kind of pixels", kinds), ("window", windows), ("size", sizes)):
        found, codes = np.unique(values, return_inverse=True)
        counts = np.zeros((len(names), len(found)))
        np.add.at(counts, (labels, codes.reshape(-1)), 1)
        enough = np.flatnonzero(counts.sum(1) >= FEWEST)
        if len(enough) < 2:
            continue
        shares = counts[enough] / counts[enough].sum(1, keepdims=True)
        apart = np.ptp(shares, 0) * (found != "")
        if apart.max() >= APART:
            column = int(apart.argmax())
            most, least = int(shares[:, column].argmax()), int(shares[:, column].argmin())
            lines.append(
                f"WARNING: the {what} in the files differs by class, and networks may learn it in place of the disease:"
                f' "{found[column]}" is {shares[most, column]:.0%} of {names[enough[most]]} and'
                f" {shares[least, column]:.0%} of {names[enough[least]]}."
            )
    return lines
