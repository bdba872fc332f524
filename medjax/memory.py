"""How much memory there is, so that work which cannot fit is refused before it begins."""

import contextlib
import os
from pathlib import Path


def total() -> int:
    """Bytes of main memory that a process can use: that of the machine, or the limit of the container."""
    room = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):  # not in a container, or "max" (no limit)
        room = min(room, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return room


def available() -> int:
    """Bytes of main memory that are free now; `total` where the system does not say (it does on Linux)."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return min(total(), int(line.split()[1]) * 1024)
    return total()


def words(size: float) -> str:
    """A number of bytes as text: "3.2 GB"."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} bytes"
