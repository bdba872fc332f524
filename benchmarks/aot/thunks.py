"""What XLA:GPU writes of a compiled program -> kernels, library calls, launches and bytes.

The thunk sequence lists what the host launches, in order; the bodies of loops are indented. The optimised HLO says how
often a loop runs, where that is known, and how large the arrays are.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

THUNK = re.compile(r"^( *)\d+: k(\w+)")
#: Thunks that are no work of the device: containers, and waits for what runs beside.
EMPTY = {"While", "Conditional", "Sequential", "AsyncStart", "AsyncDone", "DynamicSliceFusion"}
EMPTY |= {"CommandBuffer", "WaitForStreams"}
LIBRARY = {"Convolution", "Gemm", "CublasLtMatmul", "CuDnn", "Cudnn", "Cholesky", "CubSort"}
COPIES = {"Copy", "Memset", "Memzero", "DeviceToDeviceCopy", "HostToDeviceCopy"}

COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
INSTRUCTION = re.compile(r"^ +(?:ROOT )?%?([\w.-]+) = (.+?) ([\w-]+)\((.*)$")
ARRAY = re.compile(r"\b(pred|[sufb]f?\d+\w*)\[([\d,]*)\]")
NAME = re.compile(r"%([\w.-]+)")
#: Instructions that move nothing by themselves.
FREE = {"get-tuple-element", "tuple", "parameter", "constant", "bitcast", "while", "after-all"}
FREE |= {"conditional", "opt-barrier", "async-start", "async-done", "partition-id", "replica-id"}

#: Instructions that cards exchange data by; where one is asynchronous, its start counts.
COLLECTIVES = {"all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"}
COLLECTIVES |= {"collective-broadcast", "ragged-all-to-all"}


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


class Program(NamedTuple):
    """The optimised HLO by computation: {name: lines of its instructions}, and the name of the entry."""

    computations: dict[str, list[str]]
    entry: str


def read_hlo(text: str) -> Program:
    """The computations of a module."""
    found: dict[str, list[str]] = {}
    entry = name = ""
    for line in text.splitlines():
        if head := COMPUTATION.match(line):
            name = head[2]
            entry = name if head[1] else entry
            found[name] = []
        elif name and line.startswith("  "):
            found[name].append(line)
    return Program(found, entry)


def loop_trips(program: Program, unknown: Sequence[int] = ()) -> list[int]:
    """How often each loop runs, in the order of `count`. unknown: of the loops whose bounds are arguments, in order."""
    rest = iter(unknown)

    def walk(name: str) -> Iterator[int]:
        for line in program.computations[name]:
            if " while(" in line:
                known = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
                yield int(known[1]) if known else next(rest)
                yield from walk(_called(line, "body"))

    return list(walk(program.entry))


def runs(program: Program, unknown: Sequence[int] = ()) -> list[tuple[str, int]]:
    """The computations that run, and how often: the entry and the bodies of loops."""
    trips = iter(loop_trips(program, unknown))

    def walk(name: str, times: int) -> Iterator[tuple[str, int]]:
        yield name, times
        for line in program.computations[name]:
            if " while(" in line:
                yield from walk(_called(line, "body"), times * next(trips))

    return list(walk(program.entry, 1))


def collectives(program: Program, unknown: Sequence[int] = ()) -> dict[str, int]:
    """How often each kind of communication between cards runs."""
    found: dict[str, int] = {}
    for name, times in runs(program, unknown):
        for line in program.computations[name]:
            instruction = INSTRUCTION.match(line)
            kind = instruction[3].removesuffix("-start") if instruction else ""
            if kind in COLLECTIVES:
                found[kind] = found.get(kind, 0) + times
    return found


def bytes_moved(program: Program, unknown: Sequence[int] = ()) -> float:
    """Bytes that all instructions read and write, each array once an instruction: a lower bound of the traffic. Of an
    array that is only sliced, or only updated in a part, the part counts."""
    return sum(times * _moved_by(program, name) for name, times in runs(program, unknown))


def _moved_by(program: Program, name: str) -> float:
    """The same of one computation, without its loops."""
    total = 0.0
    lines = [m for line in program.computations[name] if (m := INSTRUCTION.match(line))]
    sizes = {m[1]: _size(m[2]) for m in lines}
    for found in lines:
        if found[3] not in FREE:
            operands = NAME.findall(found[4].split("), ")[0])
            read = [sizes.get(operand, 0) for operand in operands]
            written = _size(found[2])
            if found[3] == "fusion":
                read, written = _fused(program, _called(found[0], "calls"), read, written)
            total += sum(read) + written
    return total


def of_a_unit(
    module: Program,
    thunks: Sequence[Thunk],
    graphs: Sequence[Thunk],
    trips: Sequence[int],
    more: Sequence[int],
) -> dict[str, Any]:
    """Counts, bytes moved and collectives of one unit.

    graphs: the sequence once the passes have made graphs. trips: of the loops whose bounds are arguments, for one unit;
    more: for two, which is the same where a call is one unit. Of a call of several units, one more counts.
    """

    def tally(unknown: Sequence[int]) -> dict[str, float]:
        loops = loop_trips(module, unknown)
        launched = count(graphs, iter(loops))
        found = count(thunks, iter(loops))._replace(
            graphs=launched.graphs, launches=launched.launches
        )
        between = collectives(module, unknown)
        return found._asdict() | {"bytes_moved": bytes_moved(module, unknown)} | between

    one = tally(trips)
    if tuple(trips) != tuple(more):
        two = tally(more)
        one = {name: two[name] - one[name] for name in one}
    kinds = {name for name in one if name in COLLECTIVES}
    return {name: one[name] for name in one if name not in kinds} | {
        "collectives": {name: one[name] for name in sorted(kinds)}
    }


def _fused(
    program: Program, name: str, read: list[float], written: float
) -> tuple[list[float], float]:
    """The same of a fusion: an operand that is only sliced counts as its slices, a result that is an update in place
    as the update."""
    lines = [m for line in program.computations[name] if (m := INSTRUCTION.match(line))]
    sizes = {m[1]: _size(m[2]) for m in lines}
    for own in (m for m in lines if m[3] == "parameter"):
        number = int(own[4].split(")")[0])
        users = [m for m in lines if own[1] in NAME.findall(m[4].split("), ")[0])]
        if users and number < len(read) and all("slice" in m[3] for m in users):
            sliced = [m for m in users if m[3] != "dynamic-update-slice"]
            read[number] = min(read[number], sum(sizes[m[1]] for m in sliced))
    for update in (m for m in lines if m[3] == "dynamic-update-slice"):
        part = NAME.findall(update[4])[1]
        written -= min(written, sizes[update[1]]) - sizes.get(part, 0)
    return read, max(written, 0)


def _called(line: str, kind: str) -> str:
    found = re.search(rf"\b{kind}=%?([\w.-]+)", line)
    assert found, line[:200]
    return found[1]


def _size(shape: str) -> float:
    """Bytes of all arrays of a shape."""
    total = 0
    for kind, sides in ARRAY.findall(shape):
        bits = 8 if kind == "pred" else int(re.sub(r"^\D+", "", kind.split("e")[0]) or 8)
        size = bits // 8 or 1
        for side in filter(None, sides.split(",")):
            size *= int(side)
        total += size
    return total
