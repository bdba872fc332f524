"""Stand-in: how tables and figures show each method."""

from typing import NamedTuple


class Look(NamedTuple):
    """Title, place in tables and legends, colour and marker of a method."""

    title: str
    place: int
    colour: str
    marker: str


KNOWN = {
    "random": Look("random", 0, "#6e6e6e", "o"),
    "dc": Look("DC", 10, "#E69F00", "s"),
    "dsa": Look("DSA", 20, "#56B4E9", "D"),
    "dm": Look("DM", 30, "#009E73", "^"),
    "mtt": Look("MTT", 40, "#0072B2", "v"),
    "full": Look("all images", 90, "#000000", "*"),
}


def describe(name: str) -> Look:
    """The look of a method; a method that is not known has the name it goes by."""
    return KNOWN.get(name, Look(name, 50, "#CC79A7", "X"))


def real(name: str) -> bool:
    """Whether a method distils nothing."""
    return name in ("random", "full")
