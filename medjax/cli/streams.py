"""Standard output and error as a command needs them: open, and able to print any text."""

import contextlib
import os
import sys


def prepare_streams() -> None:
    """Open what was closed (``>&-``) on the null device, or the next file that is opened, a result perhaps, would get
    its number and all that is printed. What an output cannot say, as ± in ASCII, is replaced."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            with contextlib.suppress(OSError):
                _open(number)
            setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # noqa: SIM115
    with contextlib.suppress(AttributeError):  # not a stream of the system, as in tests
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]


def _open(number: int) -> None:
    """Open the null device under this number, if it is free."""
    try:
        os.fstat(number)
    except OSError:
        handle = os.open(os.devnull, os.O_RDWR)
        if handle != number:
            os.dup2(handle, number)
            os.close(handle)
