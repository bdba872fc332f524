"""The thunk sequence of a compiled program, as XLA:GPU writes it -> kernels, library calls, copies, launches.

It lists what the host launches, in order; the bodies of loops are indented.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

THUNK = re.compile(r"^( *)\d+: k(\w+)")
#: Thunks that are no work of the device: containers, and waits for what runs beside.
EMPTY = {"While", "Conditional", "Sequential", "AsyncStart", "AsyncDone", "DynamicSliceFusion"}
EMPTY |= {"CommandBuffer", "WaitForStreams"}
LIBRARY = {"Convolution", "Gemm", "CublasLtMatmul", "CuDnn", "Cudnn", "Cholesky", "CubSort"}
COPIES = {"Copy", "Memset", "Memzero", "DeviceToDeviceCopy", "HostToDeviceCopy"}


class Thunk(NamedTuple):
    """One entry of a thunk sequence. inner: of a container. loop: of a While, (condition, body)."""

    kind: str
    inner: tuple["Thunk", ...] = ()
    loop: tuple[tuple["Thunk", ...], tuple["Thunk", ...]] | None = None


class Counts(NamedTuple):
    """Of one run of a program. kernels: all work of the device, library calls and copies among it. launches: what the
    host starts; a graph is one launch."""

    kernels: int = 0
    library: int = 0
    copies: int = 0
    graphs: int = 0
    launches: int = 0

    def plus(self, other: "Counts", times: int = 1) -> "Counts":
        """The sum with so many of ``other``."""
        return Counts._make(a + times * b for a, b in zip(self, other, strict=True))


def parse(text: str) -> tuple[Thunk, ...]:
    """The thunks of a dump."""
    return _block(text.splitlines(), 0)[0]


def _block(lines: Sequence[str], at: int) -> tuple[tuple[Thunk, ...], int]:
    """The thunks of one indentation from line ``at`` on, and the line behind them."""
    thunks: list[Thunk] = []
    depth = None
    while at < len(lines):
        word = lines[at].strip()
        if word in ("condition:", "body:"):
            # These lines are not indented as their loop is: they belong to the loop just before them.
            if not thunks or thunks[-1].kind != "While":
                break
            inner, at = _block(lines, at + 1)
            last = thunks.pop()
            loop = (inner, ()) if word == "condition:" else ((last.loop or ((), ()))[0], inner)
            thunks.append(last._replace(loop=loop))
            continue
        if not (found := THUNK.match(lines[at])):
            at += 1
            continue
        here = len(found[1])
        depth = here if depth is None else depth
        if here < depth:
            break
        if here > depth:
            inner, at = _block(lines, at)
            thunks[-1] = thunks[-1]._replace(inner=(*thunks[-1].inner, *inner))
            continue
        thunks.append(Thunk(found[2]))
        at += 1
    return tuple(thunks), at


def count(thunks: Sequence[Thunk], trips: Iterator[int], launched: bool = False) -> Counts:
    """What a sequence runs. trips: how often each loop runs, outer loops before those in their bodies. launched: the
    sequence is part of a graph, which the host starts as one."""
    total = Counts()
    for thunk in thunks:
        if thunk.loop:
            condition, body = thunk.loop
            times = next(trips)
            total = total.plus(count(condition, trips, launched), times + 1)
            total = total.plus(count(body, trips, launched), times)
        graph = thunk.kind == "CommandBuffer"
        total = total.plus(count(thunk.inner, trips, launched or graph))
        if graph and not launched:
            total = total.plus(Counts(graphs=1, launches=1))
        if thunk.kind not in EMPTY:
            library, copy = thunk.kind in LIBRARY, thunk.kind in COPIES
            total = total.plus(Counts(1, int(library), int(copy), 0, int(not launched)))
    return total
