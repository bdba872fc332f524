"""The cells of a sweep: one run of one launcher each, what it is called, and who works on it.

A cell's state is files in OUT/cells/: NAME.json once it has ended (done or failed), NAME.log with what it said, and
CLAIM.claim-G while somebody works on it. A claim is made with an exclusive create, which is atomic on shared file
systems too, and its owner touches it every ``BEAT`` seconds. One that was not touched for ``DEAD`` seconds belongs to
a dead process: it is taken over by creating generation G + 1, which again only one can.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from medjax import store

BEAT, DEAD = 20.0, 300.0
#: The launcher of each method, and the words that it wants beside the rest.
LAUNCHERS = {
    "random": ("selection", ()),
    "dc": ("dc", ("--method=dc",)),
    "dsa": ("dc", ("--method=dsa",)),
    "dm": ("dm", ()),
    "mtt": ("mtt", ()),
    "full": ("full", ()),
}


class Cell(NamedTuple):
    """One run. ipc is None for all images; other: a network that the distilled set is evaluated with too, or "";
    integrate: the sets that an integrated one is made of, or ""."""

    dataset: str
    ipc: int | None
    method: str
    model: str
    seed: int
    preset: str
    other: str = ""
    integrate: str = ""

    @property
    def name(self) -> str:
        """Of its files: readable, and unique among cells by a hash of all values (data sets may be paths)."""
        size = "all" if self.ipc is None else f"ipc{self.ipc}"
        stem = re.sub(r"\W+", "-", Path(self.dataset).stem)
        words = [stem, self.method, size, self.model, f"seed{self.seed}", self.preset]
        return "-".join([*words, store.config_hash(self._asdict())])

    @property
    def claim(self) -> str:
        """What must be claimed to work on it. MTT at several IPCs trains the same experts, so one shard does them."""
        if self.method != "mtt":
            return self.name
        values = {**self._asdict(), "ipc": None}
        return f"{Path(self.dataset).stem}-mtt-experts-{store.config_hash(values)}"

    def command(self, out: Path) -> list[str]:
        """The command line that runs it."""
        launcher, words = LAUNCHERS[self.method]
        flags = {"dataset": self.dataset, "preset": self.preset, "seed": self.seed, "out": out}
        flags |= {"model": self.model} | ({} if self.ipc is None else {"ipc": self.ipc})
        flags |= {"eval_models": self.other} if self.other else {}
        flags |= {"integrate": self.integrate} if self.integrate else {}
        named = [f"--{name}={value}" for name, value in flags.items()]
        return [sys.executable, "-m", f"experiments.{launcher}", *words, *named]


def state(out: Path, cell: Cell) -> dict[str, Any] | None:
    """What is known of an ended cell: {"status": "done", "result": path below out} or {"status": "failed", "reason"}.

    None for one that has not ended, or whose result is gone.
    """
    known = store.read_json(out / "cells" / f"{cell.name}.json")
    if not isinstance(known, dict):
        return None
    if known.get("status") == "failed":
        return known | {"reason": str(known.get("reason"))}
    path = known.get("result")
    done = known.get("status") == "done" and isinstance(path, str) and (out / path).is_file()
    return known if done else None


def take(out: Path, cell: Cell) -> Path | None:
    """Claim a cell: the file to keep alive, or None where somebody living has it."""
    folder = out / "cells"
    folder.mkdir(parents=True, exist_ok=True)
    claims = _claims(folder, cell)
    if claims and not _dead(folder, claims[-1]):
        return None
    generation = _generation(claims[-1]) + 1 if claims else 0
    path = folder / f"{cell.claim}.claim-{generation:04d}"
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return None
    with os.fdopen(handle, "w") as file:
        file.write(_owner())
    # Whoever claimed it between the look and the create was first.
    if set(_claims(folder, cell)) - {path, *claims}:
        release(path)
        return None
    for old in claims:
        release(old)
    return path


def _owner(launcher: int | None = None) -> str:
    """What a claim says: who made it, and the launcher that it has started."""
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "launcher": launcher})


def release(claim: Path) -> None:
    """Give a claim back."""
    claim.unlink(missing_ok=True)


def _claims(folder: Path, cell: Cell) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.name.startswith(f"{cell.claim}.claim-"))


def _generation(claim: Path) -> int:
    return int(claim.name.rsplit("-", 1)[1])


def _dead(folder: Path, claim: Path) -> bool:
    """Whether nobody keeps a claim alive: its process on this machine is gone, or it was not touched for long. A
    launcher that outlived its sweep (killed alone) goes on with the cell: its claim lives while it does."""
    try:
        owner, touched = json.loads(claim.read_text()), claim.stat().st_mtime
    except FileNotFoundError:
        return True
    except json.JSONDecodeError:
        owner, touched = {}, claim.stat().st_mtime
    if owner.get("host") == socket.gethostname() and owner.get("pid") != os.getpid():
        launcher = owner.get("launcher")
        if launcher and _runs(launcher):
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


def work_on(out: Path, cell: Cell, claim: Path, command: list[str]) -> dict[str, Any]:
    """Run a claimed cell's command to its end and record how it ended; gives back the record.

    If the claim was taken over (this machine slept), the command is stopped and nothing recorded.
    """
    log, begin = out / "cells" / f"{cell.name}.log", time.monotonic()
    with open(log, "wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        if claim.exists():
            claim.write_text(_owner(process.pid))
        try:
            while True:
                try:
                    process.wait(BEAT)
                    break
                except subprocess.TimeoutExpired:
                    try:
                        os.utime(claim)
                    except FileNotFoundError:
                        return {"status": "taken over"}
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    record = _record(out, log.read_text(errors="replace"), process.returncode)
    if not claim.exists():
        return {"status": "taken over"}
    record |= {"cell": cell._asdict(), "seconds": round(time.monotonic() - begin, 1)}
    record |= {"host": socket.gethostname(), "time": time.time()}
    store.write_json(out / "cells" / f"{cell.name}.json", record)
    return record


def _record(out: Path, said: str, status: int) -> dict[str, Any]:
    """Done with the result that the launcher named, or failed with the last line it said."""
    found = re.findall(r"^result +(.+/result\.json)$", said, re.M)
    if status == 0 and found:
        return {"status": "done", "result": os.path.relpath(found[-1], out)}
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    ended = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    return {"status": "failed", "reason": f"{ended}: {lines[-1][:300] if lines else 'no word'}"}
