"""Tables about files: CSV or TSV, and which file a line names."""

import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from medjax.data.pixels import SUFFIXES
from medjax.data.splits import nfc
from medjax.errors import UserError, first_few


def read_table(path: Path) -> list[list[str]]:
    """The lines of a table, without empty ones; commas between its columns, or tabs in a .tsv. Raises UserError where
    it cannot be read."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            dialect = "excel-tab" if path.suffix.lower() in (".tsv", ".tab") else "excel"
            rows = csv.reader(handle, dialect)
            return [[word.strip() for word in row] for row in rows if any(map(str.strip, row))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a table of text ({error}); save as CSV in UTF-8.") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error


class Names:
    """Image files by the names that tables give them: a path below the folder, the end of one, or the file's name
    alone; with the ending of images or without."""

    def __init__(self, folder: Path, paths: Sequence[Path]):
        self.paths = [nfc(p.relative_to(folder).as_posix()) for p in paths]
        self.exact = {path: [index] for index, path in enumerate(self.paths)}
        self.whole: dict[str, list[int]] = {}
        self.stems: dict[str, list[int]] = {}
        for index, path in enumerate(self.paths):
            parts = path.split("/")
            for start in range(len(parts)):
                name = "/".join(parts[start:])
                self.whole.setdefault(name, []).append(index)
                self.stems.setdefault(_stem(name), []).append(index)

    def find(self, name: str, table: Path) -> int | None:
        """The index of the image that a table names. Raises UserError where it may be several."""
        name = nfc(name.replace("\\", "/").removeprefix("./"))
        found = self.exact.get(name) or self.whole.get(name) or self.stems.get(_stem(name), [])
        if len(found) > 1:
            places = first_few([self.paths[i] for i in found], 3)
            raise UserError(
                f"{table}: {name} may be any of {places}: give paths, or leave some files out with --exclude."
            )
        return found[0] if found else None


def _stem(name: str) -> str:
    """A name without the ending of an image."""
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in SUFFIXES else name
