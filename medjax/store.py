"""A run's folder: JSON files, arrays, a log, and checkpoints of pytrees (by orbax; nothing else imports it).

Files appear whole or not at all. The log is appended to; everything else is replaced by renaming. There is never a
pickle. A checkpoint is a folder. orbax may load flipped bytes of uncompressed floats without an error, so every
checkpoint carries a SHA-256 of its arrays, and a load that does not match it raises `Damaged`. For files that were cut
short orbax's threads print tracebacks, so a checkpoint also lists the sums of its files: a load can refuse it before
orbax reads it.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from orbax.checkpoint import v1 as ocp

from medjax.types import PyTree

#: Numbers that readers of a log need, by the phase of a row.
LOGGED = {"distill": ("iteration",), "interim": ("iteration",), "experts": ("seconds",)}
LOGGED |= {"evaluate": ("seconds",), "moments": ("seconds",)}
#: Keys whose values must be a number or null, and keys whose values must be text, in every row.
NUMBERS = ("epoch", "group", "seconds", "loss", "step_size", "displacement", "skipped")
NUMBERS += ("accuracy", "balanced_accuracy")
TEXTS = ("name", "split")
#: In a save's folder: {file: SHA-256}. A save without it (killed just before it was written) is read all the same.
SUMS = "sums.json"


def config_hash(values: dict[str, Any]) -> str:
    """Eight hex digits that name a configuration."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file in one step: a reader, and a kill at any moment, sees the old one or the new one. An OSError names
    the file; a full disk is left as full as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_json(path: Path, value: Any) -> None:
    """Atomic, readable, and strict JSON: NaN becomes null."""
    write_bytes(path, (json.dumps(strict(value), indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """The value in a JSON file, or None where there is no (whole) file."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):  # no JSON, or no text at all
        return None


def write_arrays(path: Path, **arrays: Any) -> None:
    """Atomic .npz without pickled objects; equal arrays give equal bytes."""
    write_bytes(path, npz_bytes(**arrays))


def npz_bytes(**arrays: Any) -> bytes:
    """What `write_arrays` writes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{k: np.asarray(v) for k, v in arrays.items()})
    return buffer.getvalue()


def append_log(path: Path, **row: Any) -> None:
    """One line of log.jsonl; ``time`` is added (seconds since 1970)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A kill may have cut the last line short: start on a fresh one.
    line = json.dumps(strict({"time": round(time.time(), 3), **row})) + "\n"
    with open(path, "ab+") as handle:
        if handle.tell():
            handle.seek(-1, os.SEEK_END)
            if handle.read(1) != b"\n":
                handle.write(b"\n")
        handle.write(line.encode())


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log.jsonl. Lines that a kill cut short, or that cannot be read, are left out."""
    rows = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError, RecursionError):
            rows.append(json.loads(line))
    return [row for row in rows if _whole(row)]


def phase_seconds(rows: list[dict], phase: str) -> float:
    """Seconds spent in a phase, over all sessions of a run."""
    return round(sum(r.get("seconds") or 0.0 for r in rows if r["phase"] == phase), 1)


def _whole(row: Any) -> bool:
    """Whether a row of a log has its phase, and numbers where readers need numbers."""
    if not isinstance(row, dict) or not isinstance(row.get("phase"), str):
        return False
    needed = [row.get(key) for key in LOGGED.get(row["phase"], ())]
    return (
        all(isinstance(n, int | float) and abs(n) < 2**53 for n in needed)
        and all(isinstance(row.get(key), int | float | None) for key in NUMBERS)
        and all(isinstance(row.get(key, ""), str) for key in TEXTS)
    )


def strict(value: Any) -> Any:
    """A value as JSON can hold it: NumPy's arrays and numbers as plain ones, what is not finite as None."""
    if isinstance(value, dict):
        return {k: strict(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [strict(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return strict(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


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


def save_tree(path: Path, tree: PyTree) -> None:
    """Write a pytree of arrays to the folder ``path``, atomically, replacing what is there."""
    host = jax.tree.map(np.asarray, jax.device_get(tree))
    path.parent.mkdir(parents=True, exist_ok=True)
    note: dict[str, Any] = {"sha256": digest(host)}
    with _quiet():
        ocp.save(str(path.absolute()), host, overwrite=True, custom_metadata=note)
    files = [p for p in path.rglob("*") if p.is_file()]
    write_json(path / SUMS, {str(p.relative_to(path)): _sum(p) for p in files})


def load_tree(path: Path, like: PyTree) -> Any:
    """The pytree at ``path``, NumPy leaves, in the structure of ``like``. Raises Damaged."""
    shape = jax.tree.map(lambda a: np.empty(a.shape, a.dtype), like)
    _check_files(path)
    try:
        with _quiet():
            tree = ocp.load(str(path.absolute()), shape)
            metadata = ocp.metadata(str(path.absolute())).custom_metadata
        written = metadata.get("sha256") if isinstance(metadata, dict) else None
    except Exception as error:  # orbax raises many kinds for a folder cut short
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise Damaged(f"{path} cannot be read: {reason}") from error
    if digest(tree) != written:
        raise Damaged(f"{path} does not match its checksum")
    # orbax gives back whatever shape was saved.
    if [np.shape(a) for a in jax.tree.leaves(tree)] != [a.shape for a in jax.tree.leaves(shape)]:
        raise Damaged(f"{path} holds arrays of another shape")
    return tree


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence orbax, which logs every save and warns of cloud settings; its errors are raised all the same."""
    logger = logging.get_absl_logger()
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_files(path: Path) -> None:
    """Raises Damaged where a file is not as it was written."""
    sums = read_json(path / SUMS)
    for name, written in sums.items() if isinstance(sums, dict) else ():
        file = path / name
        if not file.is_file() or _sum(file) != written:
            raise Damaged(
                f"{path} cannot be read: {name} is {'damaged' if file.is_file() else 'gone'}"
            )


def save_step(folder: Path, step: int, tree: PyTree) -> None:
    """Save as number ``step`` of a rolling series in ``folder``. The save before it stays as a spare; older ones are
    deleted."""
    save_tree(folder / f"{step:08d}", tree)
    for old in sorted(folder.glob("[0-9]" * 8))[:-2]:
        shutil.rmtree(old, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed saves left anywhere in ``folder``. Call it only while holding the folder's lock."""
    for stray in list(folder.rglob("*orbax-checkpoint-tmp*")):
        shutil.rmtree(stray, ignore_errors=True)


def load_latest(folder: Path, like: PyTree, tell: Callable[[str], None]) -> tuple[int, Any] | None:
    """(step, tree) of the newest readable save of a rolling series, or None. Damaged saves are deleted; tell: is
    called with one line for each."""
    for path in sorted(folder.glob("[0-9]" * 8), reverse=True):
        try:
            return int(path.name), load_tree(path, like)
        except Damaged as error:
            tell(f"{error}; it is passed over for the save before it")
            shutil.rmtree(path, ignore_errors=True)
    return None
