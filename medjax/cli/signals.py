"""How a command is stopped: SIGTERM and Ctrl-C end it within seconds, with the status that shells expect.

What a run has done is on disk before it goes on, so that stopping is never more than letting go.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

#: Seconds for the main thread to come round to a signal: a long compilation does not let it, and some libraries catch
#: what is raised in them.
GRACE = 7.0


#: The signals that have raised a stop since `listening` began.
_raised: list[int] = []


class Terminated(KeyboardInterrupt):
    """SIGTERM: a scheduler takes the machine back. A KeyboardInterrupt, for asyncio (in orbax) lets nothing else out
    of its callbacks."""


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Within it SIGTERM raises `Terminated` and Ctrl-C KeyboardInterrupt; if either is without effect for ``GRACE``
    seconds, the process ends all the same."""
    heard = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as it is below nohup
        heard.append(signal.SIGINT)
    # Not Python's own handler for Ctrl-C, which asyncio (in orbax) would take for a wish to have its own.
    earlier = {number: signal.signal(number, _stop) for number in heard}
    _raised.clear()
    left, (read, write) = threading.Event(), os.pipe()
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    hook, sys.unraisablehook = sys.unraisablehook, _again
    watcher = threading.Thread(target=_watch, args=(read, left), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in earlier.items():
            signal.signal(number, handler)
        left.set()
        signal.set_wakeup_fd(before)
        os.close(write)
        watcher.join()
        os.close(read)


def before_launch() -> None:
    """A stop is one line also while modules are still being imported, and after the end of `listening`."""
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)


def _again(unraisable: Any) -> None:
    """Where a stop is raised in a callback that lets nothing out (jax has one in the garbage collector), the signal is
    sent once more, when the callback is over."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        return sys.__unraisablehook__(unraisable)
    ended = issubclass(unraisable.exc_type, Terminated)
    number = signal.SIGTERM if ended else signal.SIGINT
    threading.Timer(0.1, os.kill, (os.getpid(), number)).start()


def stopped(error: BaseException) -> int | None:
    """The signal that an error came of, or None. What is stopped while it cleans up may fail in its own way: orbax was
    seen to end in a bad file descriptor."""
    number = _raised.pop() if _raised else None
    _raised.clear()
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
    return number


def leave(number: int) -> NoReturn:
    """End at once, as a shell expects of this signal. What was done is on disk; the interpreter's own end would wait
    for what the device is still computing (16 s seen on a busy machine)."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # the stream has been closed
            stream.flush()
    os._exit(128 + number)


def _stop(number: int, frame: object) -> None:
    _raised.append(number)
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _leave(number: int, frame: object) -> None:
    os.write(2, b"\nstopped\n")
    os._exit(128 + number)


def _watch(read: int, left: threading.Event) -> None:
    """Wait for a signal's number, which the system writes even where Python is held up."""
    while number := os.read(read, 1):
        if number[0] in (signal.SIGTERM, signal.SIGINT) and not left.wait(GRACE):
            os.write(2, b"\nstopped; the same command goes on from what is on disk\n")
            os._exit(128 + number[0])
