"""Locks on files and folders. The system releases them when their process ends, however it ends."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from medjax.errors import UserError

#: What a system answers where a file system has no locks, as some network file systems and containers.
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
#: The file systems of which it has been said that they have no locks.
_said: set[int] = set()


def take(handle: IO, wait: bool = False) -> bool | None:
    """Lock an open file. False: another process holds the lock (``wait``: wait until it does not); None: there are no
    locks on this file system."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return None
    return True


@contextlib.contextmanager
def locked(
    folder: Path, wait: bool = False, tell: Callable[[str], None] = lambda line: None
) -> Iterator[None]:
    """Lock a folder against other processes.

    wait: wait for another process that holds the lock; otherwise raise UserError. tell: is called with a line that says
    whom it waits for, and with one where the file system has no locks: then nothing is locked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "a+", encoding="utf-8") as handle:
        taken = take(handle)
        if taken is False:
            handle.seek(0)
            owner = handle.read().strip() or "unknown"
            if not wait:
                raise UserError(
                    f"{folder} is in use by another process (pid {owner}): wait for it, or stop it, and run this again"
                )
            tell(f"{folder} is in use by another process (pid {owner}); this one waits for it")
            take(handle, wait=True)
        elif taken is None and (place := os.fstat(handle.fileno()).st_dev) not in _said:
            _said.add(place)
            tell(
                f"the file system of {folder} has no locks: nothing keeps a second process out, so start none there"
            )
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield
