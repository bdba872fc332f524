"""A file from the network: resumed after a cut, verified, and in its place only when it is whole."""

import contextlib
import fcntl
import hashlib
import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from medjax import memory
from medjax.errors import UserError

TIMEOUT = 60.0  # seconds without a byte before a connection is given up
ATTEMPTS = 4  # connections in a row that brought nothing new before a download is given up
PAUSE = 1.0  # seconds before the first of them is tried again, growing
BLOCK = 1 << 18

#: Progress: (file name, bytes here, bytes in all or None where that is not known yet).
Tell: TypeAlias = Callable[[str, int, int | None], None]


class Failed(Exception):
    """The network did not bring the file; one line, why."""


class _OnlySafer(urllib.request.HTTPRedirectHandler):
    """Follows no redirection from https to anything else."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str):
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise Failed(f"it is redirected to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(address: str, target: Path, md5: str, tell: Tell | None = None) -> None:
    """Bring a file to ``target``; what an earlier try left in ``target``.part is gone on from.

    A second process that wants the same file waits for the first. Raises Failed where the network or the server fails
    (what has come is kept) or the file's MD5 is wrong (nothing is kept), UserError where it cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    tell = tell or (lambda name, have, total: None)
    part = target.with_name(target.name + ".part")
    with _alone(part, target, tell):
        if target.is_file():
            return
        try:
            for resumed in (part.stat().st_size > 0, False):
                _complete(address, part, target.name, tell)
                if (found := checksum(part)) == md5:
                    part.chmod(0o644)
                    os.replace(part, target)
                    return
                part.write_bytes(b"")
                if (
                    not resumed
                ):  # else a part of another version may be to blame: once more, from nothing
                    raise Failed(f"what came has MD5 {found}, expected {md5}")
        finally:
            if part.exists() and not part.stat().st_size:
                part.unlink()


def checksum(path: Path) -> str:
    """A file's MD5: against transfer errors, as the record publishes it; no defence against an attacker."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@contextlib.contextmanager
def _alone(part: Path, target: Path, tell: Tell) -> Iterator[None]:
    """Hold the partial file against other processes, waiting for one that holds it; the system drops the lock of a
    process that dies."""
    while True:
        with part.open("ab") as handle:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    tell(target.name, os.fstat(handle.fileno()).st_size, None)
                    time.sleep(0.2)
            # The one who held it may have renamed or deleted it: then this lock is on nothing.
            if part.exists() and os.path.samestat(os.fstat(handle.fileno()), part.stat()):
                yield
                return
            if target.is_file():
                yield
                return


def _complete(address: str, part: Path, name: str, tell: Tell) -> None:
    """Connect until the partial file is as long as the server says that the whole is."""
    failures, connected = 0, False
    while True:
        have = part.stat().st_size
        try:
            total = _receive(address, part, have, lambda have, total: tell(name, have, total))
            size = part.stat().st_size
            if size == (total or size):
                return
            if size > (total or size):
                part.write_bytes(b"")
            reason = f"cut after {size} of {total} bytes"
        except urllib.error.HTTPError as error:
            reason = f"the server says {error.code} {error.reason}"
            error.close()
            if (
                error.code == 416 and have
            ):  # nothing after what we have: it is whole, or of another version
                if error.headers.get("Content-Range", "").rpartition("/")[2] == str(have):
                    return
                part.write_bytes(b"")
            elif error.code < 500 and error.code not in (408, 429):
                raise Failed(reason) from error
        except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
            reason = line(getattr(error, "reason", error))
            if isinstance(error, urllib.error.URLError) and not connected:
                raise Failed(reason) from error  # no network: say so at once
        connected = True
        failures = 0 if part.stat().st_size > have else failures + 1
        if failures >= ATTEMPTS:
            raise Failed(reason)
        time.sleep(PAUSE * failures)


def _receive(
    address: str, part: Path, have: int, tell: Callable[[int, int | None], None]
) -> int | None:
    """Append what one connection brings; the length of the whole file, if the server says it."""
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(address, headers=headers | {"User-Agent": "medjax"})
    opener = urllib.request.build_opener(_OnlySafer)
    with opener.open(request, timeout=TIMEOUT) as response:
        length = response.headers.get("Content-Length")
        total = int(length) if length else None
        span = response.headers.get("Content-Range", "")
        if response.status == 206 and span.startswith(f"bytes {have}-"):
            total = int(span.rpartition("/")[2]) if span.rpartition("/")[2].isdigit() else None
        else:  # a server that resumes nothing begins anew
            have = 0
        free = shutil.disk_usage(part.parent).free
        if total and total - have > free:
            sizes = f"{memory.words(total - have)} to come, {memory.words(free)} free"
            raise UserError(
                f"{part.parent} has no room for {part.stem}: {sizes}; make room or choose another folder."
            )
        with part.open("r+b") as out:
            out.truncate(have)
            out.seek(have)
            while block := response.read1(BLOCK):
                try:
                    out.write(block)
                except OSError as error:
                    raise UserError(
                        f"cannot write {part} ({line(error)}): make room, and run again."
                    ) from error
                have += len(block)
                tell(have, total)
    return total


def line(error: object) -> str:
    """An exception's text on one line."""
    return " ".join(str(error).split()) or type(error).__name__
