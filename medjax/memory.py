"""How much memory there is, so that work which cannot fit is refused before it begins."""

import contextlib
import ctypes
import os
import resource
from collections.abc import Iterator
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
    return [limit for limit, _ in _groups(root)]


def _groups(root: Path) -> Iterator[tuple[int, int]]:
    """(limit, bytes in use) of these groups that have a limit. What was read of files and can be dropped is not in
    use."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        number, controllers, place = line.split(":", 2)
        if number == "0":  # version 2
            top, limit, used = root / "sys/fs/cgroup", "memory.max", "memory.current"
        elif "memory" in controllers.split(","):  # version 1
            top = root / "sys/fs/cgroup/memory"
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        # In a container the path may be that outside it: then its own group is the top.
        inner = Path(place.lstrip("/"))
        for group in (inner, *inner.parents):
            with contextlib.suppress(
                OSError, ValueError
            ):  # no such group here, or "max" (no limit)
                yield int((top / group / limit).read_text()), _used(top / group, used)


def _used(group: Path, name: str) -> int:
    """Bytes in use by a group; 0 where it does not say."""
    with contextlib.suppress(OSError, ValueError):
        used, stat = int((group / name).read_text()), (group / "memory.stat").read_text()
        kept = dict(line.split() for line in stat.splitlines())
        return used - int(kept.get("total_inactive_file", kept.get("inactive_file", 0)))
    return 0


def available(root: Path = Path("/")) -> int:
    """Bytes of main memory that are free now, on the machine and within the limits of `group_limits`; `total` where the
    system does not say (it does on Linux)."""
    free = [total(), *(limit - used for limit, used in _groups(root))]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = (root / "proc/meminfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        free.append(int(line.split()[1]) * 1024)
    return max(0, min(free))


def give_back_after_compiling() -> None:
    """Give back to the system, after each long compilation, what the compiler has freed. glibc keeps it: 240 MB after
    an MTT iteration's, which would add to what the iteration needs. Without effect where the C library is another."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def listen(event: str, duration_secs: float, **_: object) -> None:
        if event == COMPILED and duration_secs > LONG and trim is not None:
            trim(0)

    jax.monitoring.register_event_duration_secs_listener(listen)


def words(size: float) -> str:
    """A number of bytes as text: "3.2 GB"."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} bytes"
