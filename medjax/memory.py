"""How much memory there is, so that work which cannot fit is refused before it begins."""

import contextlib
import ctypes
import os
import resource
from pathlib import Path

import jax

#: What JAX calls the end of a compilation, and the seconds from which on one is long.
COMPILED, LONG = "/jax/core/compile/backend_compile_duration", 1.0


def total() -> int:
    """Bytes of main memory that a process can use: that of the machine, or the smallest limit set on the process, on
    its container, or on a scheduler's job."""
    room = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    limits = [*group_limits(), *([] if space == resource.RLIM_INFINITY else [space])]
    return min(room, *limits) if limits else room


def group_limits(root: Path = Path("/")) -> list[int]:
    """The limits of the control groups that this process is in, and of those around them: each of them holds. root:
    where ``proc`` and ``sys`` are found."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return []
    limits = []
    for line in lines:
        number, controllers, place = line.split(":", 2)
        if number == "0":  # version 2
            top, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):  # version 1
            top, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container the path may be that outside it: then its own group is the top.
        inner = Path(place.lstrip("/"))
        for group in (inner, *inner.parents):
            with contextlib.suppress(
                OSError, ValueError
            ):  # no such group here, or "max" (no limit)
                limits.append(int((top / group / name).read_text()))
    return limits


def available() -> int:
    """Bytes of main memory that are free now; `total` where the system does not say (it does on Linux)."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return min(total(), int(line.split()[1]) * 1024)
    return total()


def give_back_after_compiling() -> None:
    """Give back to the system, after each long compilation, what the compiler freed. glibc keeps it (240 MB and more
    after an MTT iteration's), beside what the program then needs. Without effect where the C library is another."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def listen(event: str, seconds: float, **_: object) -> None:
        if event == COMPILED and seconds > LONG and trim is not None:
            trim(0)

    jax.monitoring.register_event_duration_secs_listener(listen)


def words(size: float) -> str:
    """A number of bytes as text: "3.2 GB"."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} bytes"
