"""The optimised HLO of a compiled program -> how often its loops run, bytes moved, communication between cards."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
INSTRUCTION = re.compile(r"^ +(?:ROOT )?%?([\w.-]+) = (.+?) ([\w-]+)\((.*)$")
ARRAY = re.compile(r"\b(pred|[sufb]f?\d+\w*)\[([\d,]*)\]")
NAME = re.compile(r"%([\w.-]+)")
#: Instructions that move nothing by themselves.
FREE = {"get-tuple-element", "tuple", "parameter", "constant", "bitcast", "while", "after-all"}
FREE |= {"conditional", "opt-barrier", "async", "partition-id", "replica-id"}

#: Instructions that cards exchange data by; where one is asynchronous, its start counts.
COLLECTIVES = {"all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"}
COLLECTIVES |= {"collective-broadcast", "ragged-all-to-all"}


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
    """Bytes that all instructions read and write, each array once an instruction. Of an array that is only sliced, or
    only updated in a part, the part counts."""
    return sum(times * _moved_by(program, name) for name, times in runs(program, unknown))


def _moved_by(program: Program, name: str) -> float:
    """The same of one computation, without its loops."""
    total = 0.0
    lines = [m for line in program.computations[name] if (m := INSTRUCTION.match(line))]
    sizes = {m[1]: _size(m[2]) for m in lines}
    for found in lines:
        kind = found[3].removesuffix("-start")
        if kind not in FREE and not kind.endswith("-done"):
            operands = NAME.findall(found[4].split("), ")[0])
            read = [sizes.get(operand, 0) for operand in operands]
            written = _size(found[2])
            if kind != found[3]:  # an asynchronous one names its operands beside its result
                written -= min(written, sum(read))
            if kind == "fusion":
                read, written = _fused(program, _called(found[0], "calls"), read, written)
            total += sum(read) + written
    return total


def _fused(
    program: Program, name: str, read: list[float], written: float
) -> tuple[list[float], float]:
    """The same of a fusion: an operand that is only sliced counts as its slices, a result that is an update in place
    as the update."""
    lines = [m for line in program.computations[name] if (m := INSTRUCTION.match(line))]
    sizes = {m[1]: _size(m[2]) for m in lines}

    def users(value: str) -> Iterator[tuple[re.Match[str], str]]:
        """Instructions that read a value, and what they call it: bitcasts are other names."""
        for m in lines:
            if value in NAME.findall(m[4].split("), ")[0]):
                yield from users(m[1]) if m[3] == "bitcast" else [(m, value)]

    for own in (m for m in lines if m[3] == "parameter"):
        number, parts = int(own[4].split(")")[0]), 0.0
        for user, called in users(own[1]):
            if user[3] in ("slice", "dynamic-slice"):
                parts += sizes[user[1]]
            elif user[3] != "dynamic-update-slice" or NAME.findall(user[4])[0] != called:
                break
        else:
            read[number] = min(read[number], parts)
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
