"""A run's folder: what was asked (config.json), what happened (log.jsonl), what came out (result.json), and a lock.

Files appear whole or not at all. The log is appended to; everything else is replaced by renaming.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from medjax.errors import UserError

#: Numbers that readers of a log count on, by the phase of a row.
LOGGED = {"distill": ("iteration",), "interim": ("iteration",), "experts": ("seconds",)}
LOGGED |= {"evaluate": ("seconds",)}
#: What must be a number or null, and what a text, wherever a row has it.
NUMBERS = ("epoch", "seconds", "loss", "step_size", "displacement", "skipped")
NUMBERS += ("accuracy", "balanced_accuracy")
TEXTS = ("name", "split")
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


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
    write_bytes(path, (json.dumps(_strict(value), indent=2) + "\n").encode())


def read_json(path: Path) -> Any | None:
    """The value in a JSON file, or None where there is no (whole) file."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError, RecursionError):  # no JSON, or no text at all
        return None


def write_arrays(path: Path, **arrays: Any) -> None:
    """Atomic .npz without pickled objects; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{k: np.asarray(v) for k, v in arrays.items()})
    write_bytes(path, buffer.getvalue())


def append_log(path: Path, **row: Any) -> None:
    """One line of log.jsonl; ``time`` is added (seconds since 1970)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A kill may have cut the last line short: start on a fresh one.
    line = json.dumps(_strict({"time": round(time.time(), 3), **row})) + "\n"
    with open(path, "ab+") as handle:
        if handle.tell():
            handle.seek(-1, os.SEEK_END)
            if handle.read(1) != b"\n":
                handle.write(b"\n")
        handle.write(line.encode())


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log.jsonl, without lines cut short by a kill or made unreadable since."""
    rows = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError, RecursionError):
            rows.append(json.loads(line))
    return [row for row in rows if _whole(row)]


def _whole(row: Any) -> bool:
    """Whether a row of a log has its phase, and as numbers what is counted on."""
    if not isinstance(row, dict) or not isinstance(row.get("phase"), str):
        return False
    needed = [row.get(key) for key in LOGGED.get(row["phase"], ())]
    return (
        all(isinstance(n, int | float) and abs(n) < 2**53 for n in needed)
        and all(isinstance(row.get(key), int | float | None) for key in NUMBERS)
        and all(isinstance(row.get(key, ""), str) for key in TEXTS)
    )


def environment() -> dict[str, Any]:
    """Versions, git revision and device that a result was made with."""
    device = jax.devices()[0]
    return {
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in PACKAGES},
        "git": _git_revision(),
        "device": {
            "backend": jax.default_backend(),
            "kind": device.device_kind,
            "count": jax.device_count(),
            "cpus": os.cpu_count(),
            "machine": platform.machine(),
            "processor": processor(),
        },
    }


def processor() -> str:
    """The CPU's name, and its widest vector instructions, which decide its matrix rate."""
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.exists() else ""
    lines = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    vectors = "AVX-512" if "avx512f" in text else "AVX2" if "avx2" in text else ""
    return f"{lines[0] if lines else platform.processor()} {vectors}".strip()


@contextlib.contextmanager
def locked(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold a folder against a second process. The system drops the lock when its process ends, however it ends.

    wait: for another process that holds it; else that is a UserError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            handle.seek(0)
            owner = handle.read().strip() or "unknown"
            raise UserError(
                f"{folder} is in use by another process (pid {owner}): wait for it, or stop it, and run this again"
            ) from error
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def _git_revision() -> str:
    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # Installed below somebody else's repository, that one's revision says nothing of medjax.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        # What runs wrote there changes no run.
        changed = git("status", "--porcelain", "--", ":/", ":(top,exclude)results")
        return git("rev-parse", "HEAD") + ("+dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _strict(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return _strict(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
