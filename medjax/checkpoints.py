"""Pytrees of arrays on disk, by orbax: atomic, checked by a hash of our own, never a pickle.

A save is a folder that appears whole or not at all. orbax may load flipped bytes of uncompressed floats silently, so
every save carries a SHA-256 over its arrays, and a load that does not match it raises `Damaged`. Files that were cut
short make orbax's threads print tracebacks, also after it has failed: a list of the files' own sums, written when a
save is whole, lets a load refuse before orbax looks.
"""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from orbax.checkpoint import v1 as ocp

from medjax import runs
from medjax.types import PyTree

#: In a save's folder: {file: SHA-256}. A save without it (killed just before it was written) is read all the same.
SUMS = "sums.json"

# orbax and its filesystem layer report every save at INFO and unrelated cloud settings at WARNING.
logging.set_verbosity(logging.ERROR)


class Damaged(Exception):
    """A checkpoint that cannot be read back as it was written."""


def digest(tree: PyTree) -> str:
    """SHA-256 over shapes, types and bytes of all leaves, in tree order."""
    total = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        array = np.ascontiguousarray(leaf)
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def save(path: Path, tree: PyTree) -> None:
    """Write a pytree of arrays to the folder ``path``, atomically, replacing what is there."""
    host = jax.tree.map(np.asarray, jax.device_get(tree))
    path.parent.mkdir(parents=True, exist_ok=True)
    note: dict[str, Any] = {"sha256": digest(host)}
    ocp.save(str(path.absolute()), host, overwrite=True, custom_metadata=note)
    files = [p for p in path.rglob("*") if p.is_file()]
    runs.write_json(path / SUMS, {str(p.relative_to(path)): _sum(p) for p in files})


def load(path: Path, like: PyTree) -> Any:
    """The pytree at ``path``, NumPy leaves, in the structure of ``like``. Raises Damaged."""
    shape = jax.tree.map(lambda a: np.empty(a.shape, a.dtype), like)
    _check_files(path)
    logger = logging.get_absl_logger()
    logger.disabled = True  # what is wrong is raised, and said once
    try:
        tree = ocp.load(str(path.absolute()), shape)
        metadata = ocp.metadata(str(path.absolute())).custom_metadata
        written = metadata.get("sha256") if isinstance(metadata, dict) else None
    except Exception as error:  # orbax raises many kinds for a folder cut short
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise Damaged(f"{path} cannot be read: {reason}") from error
    finally:
        logger.disabled = False
    if digest(tree) != written:
        raise Damaged(f"{path} does not match its checksum")
    # orbax gives back whatever shape was saved.
    if [np.shape(a) for a in jax.tree.leaves(tree)] != [a.shape for a in jax.tree.leaves(shape)]:
        raise Damaged(f"{path} holds arrays of another shape")
    return tree


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_files(path: Path) -> None:
    """Raises Damaged where a file is not as it was written."""
    sums = runs.read_json(path / SUMS)
    for name, written in sums.items() if isinstance(sums, dict) else ():
        file = path / name
        if not file.is_file() or _sum(file) != written:
            raise Damaged(
                f"{path} cannot be read: {name} is {'damaged' if file.is_file() else 'gone'}"
            )


def save_step(folder: Path, step: int, tree: PyTree) -> None:
    """Save as number ``step`` of a rolling series in ``folder``; the one before stays as a spare, older ones go."""
    save(folder / f"{step:08d}", tree)
    for old in sorted(folder.glob("[0-9]" * 8))[:-2]:
        shutil.rmtree(old, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what killed saves left anywhere in ``folder``. Only for who holds its lock."""
    for stray in list(folder.rglob("*orbax-checkpoint-tmp*")):
        shutil.rmtree(stray, ignore_errors=True)


def load_latest(folder: Path, like: PyTree, tell: Callable[[str], None]) -> tuple[int, Any] | None:
    """(step, tree) of the newest readable save of a rolling series, or None. tell: hears, in a line each, of saves
    that are damaged; they are deleted."""
    for path in sorted(folder.glob("[0-9]" * 8), reverse=True):
        try:
            return int(path.name), load(path, like)
        except Damaged as error:
            tell(f"{error}; it is passed over for the save before it")
            shutil.rmtree(path, ignore_errors=True)
    return None
