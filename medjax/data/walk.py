"""The image files below a folder, and lines about everything that was passed over on the way."""

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from medjax.data.pixels import is_image
from medjax.data.splits import nfc
from medjax.errors import first_few

#: Folders that systems and archivers make, in lower case; so do names that begin with a dot or an underscore.
MADE = ("@eadir", "#recycle", "$recycle.bin", "lost+found", "system volume information")


@dataclasses.dataclass
class Walk:
    """A search below ``base``, and what it passed over.

    patterns: file names or paths below base that are left out, with ``*``; a folder that matches is left out whole.
    """

    base: Path
    patterns: Sequence[str] = ()
    kinds: Counter[str] = dataclasses.field(default_factory=Counter)  # files that are no images
    matched: Counter[str] = dataclasses.field(default_factory=Counter)  # left out by a pattern
    aside: list[str] = dataclasses.field(default_factory=list)  # folders, by their names
    hidden: list[str] = dataclasses.field(default_factory=list)  # images, by their names
    broken: list[str] = dataclasses.field(default_factory=list)  # links
    again: list[str] = dataclasses.field(default_factory=list)  # links to a folder that was read
    closed: list[str] = dataclasses.field(default_factory=list)  # what may not be read

    def below(self, path: Path) -> str:
        """A path as messages name it: from ``base`` on."""
        return nfc(path.relative_to(self.base).as_posix())

    def entries(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """The folders and the files in a folder, sorted, without those that are passed over."""
        folders: list[Path] = []
        files: list[Path] = []
        try:
            found = sorted(folder.iterdir(), key=lambda p: (p.name.lower(), p.name))
        except OSError as error:
            self.closed.append(f"{self.below(folder)} ({error.strerror})")
            return [], []
        for path in found:
            is_folder, name = os.path.isdir(path), path.name
            if not os.path.lexists(path):
                self.closed.append(self.below(path))
            elif pattern := self._pattern(path, is_folder):
                self.matched[pattern] += 1
            elif os.path.islink(path) and not os.path.exists(path):
                self.broken.append(self.below(path))
            elif is_folder and (name[0] in "._" or name.lower() in MADE):
                self.aside.append(self.below(path))
            elif name[0] == "." and not is_folder:
                self.hidden += [self.below(path)] if is_image(path) else []
            elif is_folder or os.path.isfile(path):
                (folders if is_folder else files).append(path)
            else:
                self.kinds["special file"] += 1
        return folders, files

    def images(self, root: Path, seen: set[tuple[int, int]]) -> list[Path]:
        """The images below a folder, sorted. A link to a folder is followed, unless it is among ``seen``, the places of
        folders that are read elsewhere; what is read is added to them."""
        if (here := place(root)) in seen:
            self.again.append(self.below(root))
            return []
        seen.add(here)
        folders, files = self.entries(root)
        found: list[Path] = []
        for path in files:
            if is_image(path):
                found.append(path)
            else:
                self.kinds[path.suffix.lower() or "no ending"] += 1
        # What is not reached through a link first, so that an image has the path that its user knows.
        for folder in sorted(folders, key=os.path.islink):
            found += self.images(folder, seen)
        return sorted(found)

    def _pattern(self, path: Path, is_folder: bool) -> str | None:
        """The pattern that leaves a path out."""
        names = (nfc(path.name), self.below(path) + "/" * is_folder, self.below(path))
        return next((p for p in self.patterns if any(fnmatchcase(n, nfc(p)) for n in names)), None)

    def lines(self) -> list[str]:
        """What was passed over."""
        kinds = [f"{count} x {kind}" for kind, count in self.kinds.most_common() if count]
        lines = [f"files ignored: {first_few(kinds)}."] if kinds else []
        for text, paths in (
            (
                "folders ignored, because systems make them or their names begin with a dot or an underscore",
                self.aside,
            ),
            ("images ignored, because their names begin with a dot", self.hidden),
            ("WARNING: links that lead nowhere", self.broken),
            ("links not followed, because what they lead to is read elsewhere", self.again),
            ("WARNING: what could not be opened", self.closed),
        ):
            lines += [f"{text}: {first_few(paths)}."] if paths else []
        return lines + [f"--exclude={p}: {self.matched[p]} left out." for p in self.patterns]


def place(folder: Path) -> tuple[int, int]:
    """What is the same for all paths of a folder: device and inode."""
    found = os.stat(folder)
    return found.st_dev, found.st_ino
