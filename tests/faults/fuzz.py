"""Files that were damaged or made up: a normal result or one clear line; no traceback, no hang, no write elsewhere.

python -m tests.faults.fuzz --n=10000

That many mutations of each kind of file, and as many command lines (`words`), in this process; prints a table, status 1
if anything went wrong. tests/test_fuzz.py tries a few hundred.
"""

import argparse
import io
import json
import os
import resource
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import launching
import numpy as np

from medjax.errors import UserError
from tests.faults import kinds, layouts, makers, watch, words
from tests.faults.kinds import FILES, VALUES

#: Seconds that a case may take, and bytes that this process may have: a machine is not to be filled up.
PATIENCE, ROOM = 20.0, 12 << 30


class Tried(NamedTuple):
    """sound: cases that were read as if nothing were wrong. wrong: what must not be, a line each."""

    sound: int
    wrong: list[str]


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Bytes with something wrong: flipped, cut, doubled, moved, zeroed, numbers made huge, or joined with junk."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        if not data:
            break
        at, length = int(rng.integers(len(data))), int(2 ** rng.uniform(0, 8))
        match rng.integers(8):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                del data[at:]
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length]
            case 4:
                data[at : at + length] = bytes(length)
            case 5:
                data[at : at + 4] = b"\xff\xff\xff\x7f"
            case 6:
                data[at : at + length] = rng.bytes(length)
            case 7:
                # Digits are where shapes and versions are written.
                digits = [i for i, b in enumerate(data[:4000]) if 48 <= b <= 57]
                if digits:
                    data[digits[int(rng.integers(len(digits)))]] = int(rng.integers(48, 58))
    return bytes(data)


JUNK = (None, True, -1, 0, 2, 1e308, -0.5, 10**30, "", "x", "mtt", [], {}, [[]], [0.5], {"mean": 2})


def distort(value: Any, rng: np.random.Generator) -> Any:
    """A JSON value with one of its parts replaced, taken away, or moved."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.1:
        return JUNK[int(rng.integers(len(JUNK)))]
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[int(rng.integers(len(keys)))]
    changed = value.copy()
    match rng.integers(6):
        case 0:
            del changed[key]
        case 1:
            changed[key] = value[keys[int(rng.integers(len(keys)))]]
        case _:
            changed[key] = distort(value[key], rng)
    return changed


def ends_well(call: Callable[[Path], Any], path: Path) -> bool:
    """Whether it gave a result; else it must have said one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)
        warnings.simplefilter(
            "ignore", RuntimeWarning
        )  # huge numbers in a whitening matrix overflow
        try:
            return call(path) is not False
        except UserError as error:
            assert "\n" not in str(error) and len(str(error)) > 10
            return False


def unchecked(content: bytes, rng: np.random.Generator) -> bytes:
    """A zip whose members were mutated and packed again: its checksums hold, so that what is inside is read."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, mutate(data, rng) if rng.random() < 0.2 else data)
    return out.getvalue()


def cases(count: int, folder: Path, call: Callable[[Path], Any], change: Callable) -> Tried:
    """``count`` times: change(number) a file of the folder and gives its path; call(path) must end well."""
    sound, wrong = 0, []
    for number in range(count):
        path, begin = change(number), time.monotonic()
        try:
            with watch.writes_only(folder), watch.silent():
                sound += ends_well(call, path)
            if time.monotonic() - begin > PATIENCE:
                wrong.append(f"case {number} took {time.monotonic() - begin:.0f} s")
        except Exception as error:
            wrong.append(f"case {number}: {type(error).__name__}: {error}"[:400])
    return Tried(sound, wrong)


def mutated(kind: str, count: int, folder: Path, seed: int = 0) -> Tried:
    """Bytes of a file changed; of a zip every second time those of its members, with new checksums."""
    make, name, call, form = (FILES | VALUES)[kind]
    whole, rng, path = make(), np.random.default_rng(seed), folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind in VALUES:
        whole = (form or (lambda value: json.dumps(value).encode()))(whole)

    def change(number: int) -> Path:
        inside = kind in FILES and number % 2
        path.write_bytes(unchecked(whole, rng) if inside else mutate(whole, rng))
        return path

    return cases(count, folder, call, change)


def distorted(kind: str, count: int, folder: Path, seed: int = 1) -> Tried:
    """JSON that is well formed, and not what it was."""
    make, name, call, form = VALUES[kind]
    whole, rng, path = make(), np.random.default_rng(seed), folder / name
    path.parent.mkdir(parents=True, exist_ok=True)

    def change(number: int) -> Path:
        value = whole
        for _ in range(int(rng.integers(1, 4))):
            value = distort(value, rng)
        rows = value if isinstance(value, list) else [value]
        path.write_bytes(form(rows) if form else json.dumps(value).encode())
        return path

    return cases(count, folder, call, change)


def images(count: int, folder: Path, kind: str = "", seed: int = 2) -> Tried:
    """Folders in which one image, or the table of patients, is damaged. kind: see `makers.MADE`; every fourth file of
    these is left whole."""
    rng = np.random.default_rng(seed)
    for label in ("a", "b"):
        (folder / label).mkdir()
        for i in range(10):  # enough for three splits at the first try
            (folder / label / f"{i}.png").write_bytes(makers.common("png", rng)[1])
    kept = set(folder.rglob("*"))

    def change(number: int) -> Path:
        for old in set(folder.rglob("*")) - kept:
            old.unlink()
        if not kind and number % 5 == 4:
            (folder / "groups.csv").write_bytes(mutate(kinds.groups_csv(), rng))
            return folder
        made = makers.MADE[kind] if kind else makers.COMMON
        name, content = made[number % len(made)](rng)
        whole = kind and rng.random() < 0.25
        (folder / "a" / name).write_bytes(content if whole else mutate(content, rng))
        return folder

    return cases(count, folder, kinds.load_images, change)


def folders(count: int, folder: Path, seed: int = 5) -> Tried:
    """Folders of images of every layout."""
    rng = np.random.default_rng(seed)

    def change(number: int) -> Path:
        layouts.build(folder / "f", rng)
        return folder / "f"

    return cases(count, folder, layouts.load, change)


def saves(count: int, folder: Path, seed: int = 4) -> Tried:
    """A checkpoint in which one file is damaged: the save is what it was, or is passed over."""
    rng = np.random.default_rng(seed)
    kinds.checkpoint(folder)
    whole = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    names = [name for name, content in whole.items() if content]

    def change(number: int) -> Path:
        for name, content in whole.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        name = names[int(rng.integers(len(names)))]
        (folder / name).write_bytes(mutate(whole[name], rng))
        return folder

    return cases(count, folder, kinds.load_checkpoint, change)


def command_lines(count: int, folder: Path, seed: int = 3) -> Tried:
    """Words that nobody would write, given to every command."""
    work = folder / "in"
    work.mkdir()
    words.furnish(work, kinds.dataset_bytes(), kinds.synthetic_bytes())
    with watch.writes_only(work):
        return Tried(*words.command_lines(count, work, seed))


ALL: dict[str, Callable[[int, Path], Tried]] = {
    **{f"{kind}, bytes": lambda n, f, k=kind: mutated(k, n, f) for kind in FILES | VALUES},
    **{f"{kind}, JSON": lambda n, f, k=kind: distorted(k, n, f) for kind in VALUES},
    "image folder": images,
    "layout of a folder": folders,
    **{kind: lambda n, f, k=kind: images(n, f, k) for kind in makers.MADE},
    "checkpoint": saves,
    "command line": command_lines,
}


def main(count: int) -> int:
    print(
        "| kind | cases | read as sound | refused or passed over | wrong |\n|---|---|---|---|---|"
    )
    wrong = []
    for name, tried in ALL.items():
        with tempfile.TemporaryDirectory() as folder:
            found = tried(count, Path(folder).resolve())
        refused = count - found.sound - len(found.wrong)
        print(f"| {name} | {count} | {found.sound} | {refused} | {len(found.wrong)} |", flush=True)
        wrong += [f"{name}: {line}" for line in found.wrong]
    print("\n".join(wrong[:60]))
    return bool(wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10000, help="cases of each kind")
    given = parser.parse_args()
    os.environ |= launching.environment()
    resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
    sys.exit(main(given.n))
