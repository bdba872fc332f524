"""Pytrees of arrays on disk, by orbax: atomic, checked by a hash of our own, never a pickle.

A save is a folder that appears whole or not at all. orbax may load flipped bytes of uncompressed floats silently, so
every save carries a SHA-256 over its arrays, and a load that does not match it raises `Damaged`.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from orbax.checkpoint import v1 as ocp

from medjax.types import PyTree

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


def load(path: Path, like: PyTree) -> Any:
    """The pytree at ``path``, NumPy leaves, in the structure of ``like``. Raises Damaged."""
    shape = jax.tree.map(lambda a: np.empty(a.shape, a.dtype), like)
    try:
        tree = ocp.load(str(path.absolute()), shape)
        metadata = ocp.metadata(str(path.absolute())).custom_metadata
        written = metadata["sha256"] if isinstance(metadata, dict) else None
    except Exception as error:  # orbax raises many kinds for a folder cut short
        raise Damaged(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    # orbax gives back what is there, whatever was asked for: another number of networks, say.
    shapes = [[(a.shape, a.dtype) for a in jax.tree.leaves(t)] for t in (tree, shape)]
    if shapes[0] != shapes[1]:
        raise Damaged(f"{path} holds arrays of other shapes")
    if digest(tree) != written:
        raise Damaged(f"{path} does not match its checksum")
    return tree


def save_step(folder: Path, step: int, tree: PyTree) -> None:
    """Save as number ``step`` of a rolling series in ``folder``; the one before stays as a spare, older ones go."""
    save(folder / f"{step:08d}", tree)
    for old in sorted(folder.glob("[0-9]" * 8))[:-2]:
        shutil.rmtree(old, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what killed saves left anywhere in ``folder``. Only for who holds its lock."""
    for stray in list(folder.rglob("*orbax-checkpoint-tmp*")):
        shutil.rmtree(stray, ignore_errors=True)


def load_latest(folder: Path, like: PyTree) -> tuple[int, Any] | None:
    """(step, tree) of the newest readable save of a rolling series, or None."""
    for path in sorted(folder.glob("[0-9]" * 8), reverse=True):
        try:
            return int(path.name), load(path, like)
        except Damaged:
            shutil.rmtree(path, ignore_errors=True)
    return None
