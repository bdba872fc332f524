"""The named public sets: the two-dimensional part of the MedMNIST v2 collection, at its four sizes.

The facts (checksums, label names, sizes, licences) are in catalog.toml.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Where the files can be downloaded; one file per set and size.
RECORD = "https://zenodo.org/records/10519652"
#: Sides of the images in pixels. A name without a side means the first.
SIDES = (28, 64, 128, 224)


@dataclass(frozen=True)
class Entry:
    """One named set.

    name: lower-case name, also the stem of its file of 28 px.
    md5: 32 hex digits of the whole .npz file, for each of SIDES.
    class_names: k names in label order.
    channels: 1 (grey) or 3 (RGB).
    images: how many images train, val and test have.
    licence: of the images; "CC BY-NC" forbids commercial use, of distilled images too.
    source: what the images were made from and by whom, whom their licences ask to name.
    task: "classes"; "ordinal" (grades, which medjax treats as classes); or "multi-label" (which medjax refuses).
    warning: what a user should know of the images, or nothing.
    """

    name: str
    md5: tuple[str, str, str, str]
    class_names: tuple[str, ...]
    channels: int
    images: tuple[int, int, int]
    licence: str
    source: str
    task: str = "classes"
    warning: str = ""

    @property
    def notes(self) -> list[str]:
        """Lines that a user should read."""
        text = f"{self.name} has ordered grades; medjax treats them as {len(self.class_names)} plain classes."
        lines = [text] if self.task == "ordinal" else []
        return [*lines, f"WARNING: {self.name}: {self.warning}"] if self.warning else lines


def _fixed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


_FACTS = tomllib.loads(Path(__file__).with_name("catalog.toml").read_text("utf-8"))
#: name -> Entry, in the order of the study's Table 1, then the four sets that the study leaves out.
CATALOG: dict[str, Entry] = {
    name: Entry(name, **{key: _fixed(value) for key, value in facts.items()})
    for name, facts in _FACTS.items()
}
#: The names of the study's eight sets.
STUDY = tuple(CATALOG)[:8]


def parts(integrate: str) -> tuple[str, ...]:
    """The sets of an integrated one: "a, b" -> ("a", "b"); "" -> the study's."""
    return tuple(filter(None, map(str.strip, integrate.split(",")))) or STUDY


def find(name: str) -> tuple[Entry, int] | None:
    """The set and the side that a name means: "bloodmnist" 28 px, "bloodmnist_64" 64 px. None for another name."""
    stem, _, side = name.partition("_")
    sides = {"": 28} if "_" not in name else {str(s): s for s in SIDES[1:]}
    return (CATALOG[stem], sides[side]) if stem in CATALOG and side in sides else None


def file_name(entry: Entry, side: int = 28) -> str:
    """The name of the set's file, in a folder and in the record; the medmnist package uses the same."""
    return f"{entry.name}.npz" if side == 28 else f"{entry.name}_{side}.npz"


def md5(entry: Entry, side: int = 28) -> str:
    """The checksum of that file."""
    return entry.md5[SIDES.index(side)]


def url(entry: Entry, side: int = 28) -> str:
    """The address of that file."""
    return f"{RECORD}/files/{file_name(entry, side)}?download=1"
