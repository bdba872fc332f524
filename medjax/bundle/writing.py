"""Files -> the folder of a bundle: written beside and put in place by renaming, with a list of checksums. Nothing that
somebody else put there is lost."""

import hashlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from medjax import store
from medjax.errors import UserError, first_few

#: The list of checksums of a bundle; of a folder without it nothing is deleted.
SUMS = "SHA256SUMS"


def sums_of(files: Mapping[str, bytes]) -> dict[str, str]:
    """{path: SHA-256}, by path."""
    return {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}


def check_place(out: Path) -> None:
    """UserError where a bundle cannot be put: whatever is there and was not written by an earlier command, or has been
    changed since, stays."""
    there = next(parent for parent in out.parents if parent.exists())
    try:
        with tempfile.TemporaryDirectory(dir=there):
            pass
    except OSError as error:
        raise UserError(f"--out={out}: cannot write there ({error.strerror})") from error
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir() or out.is_symlink():
        raise UserError(f"--out={out} is no folder: give the name of a new one")
    there = {str(p.relative_to(out)): p for p in out.rglob("*") if not p.is_dir() or p.is_symlink()}
    if not there:
        return
    if SUMS not in there:
        raise UserError(
            f"--out={out} is a folder with other things in it: give the name of a new one"
        )
    known = read_sums(out)
    foreign = [n for n, p in there.items() if n != SUMS and known.get(n) != _sum(p)]
    if foreign:
        raise UserError(
            f"--out={out} would lose {first_few(sorted(foreign))}: not of the bundle there, or changed since; move that"
            " away, or give another --out"
        )


def read_sums(folder: Path) -> dict[str, str]:
    """{path in a bundle: SHA-256} of its list. Raises UserError where there is none, or a damaged one."""
    try:
        lines = (folder / SUMS).read_text("utf-8").splitlines()
        pairs = [line.split("  ", 1) for line in lines]
        return {name: digest for digest, name in pairs}
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} is no bundle: its {SUMS} is missing or damaged") from error


def check_files(folder: Path, names: Sequence[str]) -> None:
    """UserError where a file of a bundle is not as it was written."""
    known = read_sums(folder)
    if wrong := [name for name in names if _sum(folder / name) != known.get(name)]:
        raise UserError(f"{folder / wrong[0]} is not as it was written: get the bundle again")


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def write_folder(out: Path, files: Mapping[str, bytes]) -> None:
    """Put these files, and the list of their checksums, in the place of the folder ``out``: it appears whole."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sums_of(files).items())
    beside = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        for name, content in {**files, SUMS: lines.encode()}.items():
            store.write_bytes(beside / name, content)
        check_place(out)  # once more: what was there may have changed while scores were measured
        if out.exists():
            os.replace(out, old)
        os.replace(beside, out)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        if old.exists() and not out.exists():
            os.replace(old, out)
        shutil.rmtree(beside, ignore_errors=True)


def zip_of(folder: Path) -> Path:
    """The path of a bundle as one file."""
    return folder.with_name(folder.name + ".zip")


def check_zip(path: Path) -> None:
    """UserError where a file that is no bundle lies at the path."""
    if path.exists() and not _is_bundle(path):
        raise UserError(f"{path} is there and is no bundle: move it away, or give another --out")


def _is_bundle(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith(f"/{SUMS}") for name in file.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def write_zip(folder: Path) -> None:
    """Write the bundle as one file: equal bundles of one name give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name in (*sorted(read_sums(folder)), SUMS):
            entry = zipfile.ZipInfo(f"{folder.name}/{name}")  # of 1980-01-01
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            file.writestr(entry, (folder / name).read_bytes())
    store.write_bytes(zip_of(folder), buffer.getvalue())
