"""How much memory there is, so that what cannot fit is refused before it is begun."""

import contextlib
import os
from pathlib import Path


def total() -> int:
    """Bytes of main memory that a process may ever take: the machine's, or this container's limit."""
    room = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):  # a container ("max" where it has no limit)
        room = min(room, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return room


def available() -> int:
    """Bytes of it that are free now, where the system tells (Linux)."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return min(total(), int(line.split()[1]) * 1024)
    return total()


def words(size: float) -> str:
    """Bytes for people: "3.2 GB"."""
    unit, name = next(
        (u, n) for u, n in ((1e9, "GB"), (1e6, "MB"), (1, "bytes")) if size >= u or u == 1
    )
    return f"{size / unit:.0f} {name}" if unit == 1 else f"{size / unit:.1f} {name}"
