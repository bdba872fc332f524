"""What a case of the fuzzing does besides: where it writes, and what it prints."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

#: The folder that may be written to; none: nothing is being tried.
_HOME: list[str] = []
_HOOKED: list[bool] = []


def _hook(event: str, args: tuple) -> None:
    if not _HOME:
        return
    opened = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
    changed = event in ("os.mkdir", "os.remove") and args[-1] == -1  # else below a folder held open
    if (opened or changed or event == "os.rename") and not isinstance(args[0], int):
        path = os.path.realpath(os.fsdecode(args[0]))
        # JAX keeps a program in its cache where compiling took long, which depends on the machine's load.
        cache = os.path.realpath(os.environ.get("JAX_COMPILATION_CACHE_DIR", _HOME[-1]))
        if not path.startswith((_HOME[-1], cache, "/dev/", "/proc/")):
            raise AssertionError(f"{event} of {path}")


@contextlib.contextmanager
def writes_only(folder: Path) -> Iterator[None]:
    """Within it whatever is written outside of ``folder`` fails the case."""
    if not _HOOKED:
        sys.addaudithook(_hook)  # which cannot be taken away again
        _HOOKED.append(True)
    _HOME.append(str(folder.resolve()))
    try:
        yield
    finally:
        _HOME.pop()


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Nothing is printed; a traceback fails the case."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        yield
    if "Traceback" in err.getvalue():
        raise AssertionError(err.getvalue()[-300:])
