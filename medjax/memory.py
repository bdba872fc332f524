"""How much memory there is, so that what cannot fit is refused before it is begun."""

import contextlib
import os
from pathlib import Path


def available() -> int:
    """Bytes of main memory that a process may still take: what the system has left, or this container's limit."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    rooms = [pages * size]
    with contextlib.suppress(OSError, ValueError, StopIteration):  # Linux
        lines = Path("/proc/meminfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        rooms.append(int(line.split()[1]) * 1024)
    with contextlib.suppress(OSError, ValueError):  # a container ("max" where it has no limit)
        rooms.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(rooms)


def words(size: float) -> str:
    """Bytes for people: "3.2 GB"."""
    unit, name = next(
        (u, n) for u, n in ((1e9, "GB"), (1e6, "MB"), (1, "bytes")) if size >= u or u == 1
    )
    return f"{size / unit:.0f} {name}" if unit == 1 else f"{size / unit:.1f} {name}"
