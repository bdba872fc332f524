"""Download of a file: resumed after an interruption, verified, and moved to its place when it is complete.

Written on the standard library, because none of medjax's dependencies resumes a download, and files at 224 px have
several GB.
"""

import contextlib
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

from medjax import locks, memory
from medjax.errors import UserError, reason_of

TIMEOUT = 60.0  # seconds without a byte after which a connection is abandoned
ATTEMPTS = 4  # connections in a row without a new byte after which the download fails
PAUSE = 1.0  # seconds before the second attempt; later pauses are longer
BLOCK = 1 << 18

#: Progress: (file name, bytes received, bytes in total or None where that is not known yet).
Tell: TypeAlias = Callable[[str, int, int | None], None]


class Failed(Exception):
    """The file could not be downloaded; the message is one line."""


class _OnlySafer(urllib.request.HTTPRedirectHandler):
    """Refuses a redirection from https to another scheme."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str):
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise Failed(f"it is redirected to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(address: str, target: Path, md5: str, tell: Tell | None = None) -> None:
    """Download a file to ``target``, resuming from ``target``.part where an earlier attempt left one.

    A second process that needs the same file waits for the first. Raises Failed where the network or the server fails
    (the part received is kept) and where the file's MD5 is wrong (nothing is kept); UserError where the file cannot be
    written.
    """
    tell = tell or (lambda name, have, total: None)
    part = target.with_name(target.name + ".part")
    with _folders(target.parent), _alone(part, target, tell):
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
                # After resuming, the first part may be of another version: download the whole file once more.
                if not resumed:
                    raise Failed(f"the file received has MD5 {found}, expected {md5}")
        finally:
            if part.exists() and not part.stat().st_size:
                part.unlink()


@contextlib.contextmanager
def _folders(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; at the end, remove again what was made and is empty, for its name may be
    mistyped."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # it holds the file, or was never made
                path.rmdir()


def checksum(path: Path) -> str:
    """A file's MD5, which the record publishes. It finds transfer errors and does not protect against an attacker."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@contextlib.contextmanager
def _alone(part: Path, target: Path, tell: Tell) -> Iterator[None]:
    """Lock the partial file, waiting for another process that holds the lock; the system releases the lock of a process
    that dies."""
    while True:
        with part.open("ab") as handle:
            while locks.take(handle) is False:
                tell(target.name, os.fstat(handle.fileno()).st_size, None)
                time.sleep(0.2)
            # The other process may have renamed or deleted the file that this lock is on: then try again.
            held = part.exists() and os.path.samestat(os.fstat(handle.fileno()), part.stat())
            if held or target.is_file():
                yield
                return


def _complete(address: str, part: Path, name: str, tell: Tell) -> None:
    """Connect until the partial file has the length that the server states."""
    failures, connected = 0, False
    while True:
        have = part.stat().st_size
        try:
            total = _receive(address, part, have, lambda *sizes: tell(name, *sizes))
            size = part.stat().st_size
            if size == (total or size):
                return
            if size > (total or size):
                part.write_bytes(b"")
            reason = f"interrupted after {size} of {total} bytes"
        except urllib.error.HTTPError as error:
            reason = f"the server answers {error.code} {error.reason}"
            error.close()
            # 416: no bytes left; the part is complete, or of another version
            if error.code == 416 and have:
                if error.headers.get("Content-Range", "").rpartition("/")[2] == str(have):
                    return
                part.write_bytes(b"")
            elif error.code < 500 and error.code not in (408, 429):
                raise Failed(reason) from error
        except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
            reason = reason_of(getattr(error, "reason", error))
            if isinstance(error, urllib.error.URLError) and not connected:
                raise Failed(reason) from error  # no network: fail at once
        connected = True
        failures = 0 if part.stat().st_size > have else failures + 1
        if failures >= ATTEMPTS:
            raise Failed(reason)
        time.sleep(PAUSE * failures)


def _receive(address: str, part: Path, have: int, tell: Callable[..., None]) -> int | None:
    """Append the bytes of one connection; returns the length of the whole file, if the server states it."""
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(address, headers=headers | {"User-Agent": "medjax"})
    opener = urllib.request.build_opener(_OnlySafer)
    with opener.open(request, timeout=TIMEOUT) as response:
        length = response.headers.get("Content-Length")
        total = int(length) if length else None
        span = response.headers.get("Content-Range", "")
        if response.status == 206 and span.startswith(f"bytes {have}-"):
            total = int(span.rpartition("/")[2]) if span.rpartition("/")[2].isdigit() else None
        else:  # a server that cannot resume sends the file from the beginning
            have = 0
        free = shutil.disk_usage(part.parent).free
        if total and total - have > free:
            sizes = f"{memory.words(total - have)} needed, {memory.words(free)} free"
            raise UserError(
                f"{part.parent} has no room for {part.stem}: {sizes}; free some space or choose another folder."
            )
        with part.open("r+b") as out:
            out.truncate(have)
            out.seek(have)
            while block := response.read1(BLOCK):
                try:
                    out.write(block)
                except OSError as error:
                    raise UserError(
                        f"cannot write {part} ({reason_of(error)}): free some space and run again."
                    ) from error
                have += len(block)
                tell(have, total)
    return total
