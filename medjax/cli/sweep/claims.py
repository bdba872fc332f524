"""Claims say which of the processes that share a sweep works on a job. A claim is a file OUT/jobs/NAME.claim-G.

A claim is made with an exclusive create, which is atomic on shared file systems too, and its owner touches it every
``BEAT`` seconds. A claim that was not touched for ``DEAD`` seconds belongs to a dead process. Another process takes it
over: it creates generation G + 1, which only one process can do.
"""

import json
import os
import socket
import uuid
from pathlib import Path

BEAT, DEAD = 20.0, 300.0


def take(folder: Path, name: str) -> Path | None:
    """Claim ``name`` in a folder. Returns the file, which its owner must keep alive; None where a living process has
    the claim."""
    folder.mkdir(parents=True, exist_ok=True)
    claims = _claims(folder, name)
    if claims and not _dead(folder, claims[-1]):
        return None
    generation = _generation(claims[-1]) + 1 if claims else 0
    path = folder / f"{name}.claim-{generation:04d}"
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return None
    with os.fdopen(handle, "w") as file:
        file.write(owner())
    # A process that claimed it between the look and the create was first.
    if set(_claims(folder, name)) - {path, *claims}:
        release(path)
        return None
    for old in claims:
        release(old)
    return path


def owner(run: int | None = None) -> str:
    """The content of a claim: the process that made it, and the process of the run that it started."""
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "run": run})


def release(claim: Path) -> None:
    """Give a claim back."""
    claim.unlink(missing_ok=True)


def _claims(folder: Path, name: str) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.name.startswith(f"{name}.claim-"))


def _generation(claim: Path) -> int:
    return int(claim.name.rsplit("-", 1)[1])


def _dead(folder: Path, claim: Path) -> bool:
    """Whether no process keeps a claim alive: its process on this machine is gone, or it was not touched for long.
    Where only the sweep was killed, its run goes on with the job, and the claim lives as long as the run."""
    try:
        owner, touched = json.loads(claim.read_text()), claim.stat().st_mtime
    except FileNotFoundError:
        return True
    except json.JSONDecodeError:
        owner, touched = {}, claim.stat().st_mtime
    if owner.get("host") == socket.gethostname() and owner.get("pid") != os.getpid():
        run = owner.get("run")
        if run and _runs(run):
            return False
        if not _runs(owner["pid"]):
            return True
    # The file system's clock, not this machine's: they may differ.
    probe = folder / f".now-{uuid.uuid4().hex}"
    probe.touch()
    now = probe.stat().st_mtime
    probe.unlink()
    return now - touched > DEAD


def _runs(pid: int) -> bool:
    """Whether there is such a process on this machine."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
