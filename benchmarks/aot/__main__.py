"""Compile the hot programs for a GPU that is not there, and count what would run on it.

    python -m benchmarks.aot --out=results/aot/NAME.json [--only="mtt ipc 1"]

Needs the extra `aot` (Python 3.12 or newer; the CUDA wheels, 4.6 GB). The card is described in h100_sxm.txtpb. Kernels
are counted in the sequence that the host launches, as often as their loops run. Of a program that runs many units in a
call, one more unit counts: what a call does once, such as copies of its arguments, is left out. Autotuning needs a
card, so counts are close, not exact. Times are estimates, never measurements: kernels, bytes and operations at rates
of `ASSUMED`. Programs that two cards share are compiled for two; their numbers are those of one of the two.
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.aot import hlo, thunks

HERE = Path(__file__).parent
CARD = HERE / "h100_sxm.txtpb"
#: Seconds a kernel takes at least, bytes a second, operations of convolutions a second in TF32 and in bf16: guesses for
#: an H100.
ASSUMED = {"kernel_s": 2e-6, "bytes_s": 2.4e12, "flops_s": 1.2e14, "bf16_s": 2.4e14}
COUNTS = ("kernels", "library", "copies", "graphs", "launches")
HEAD = ("program", "policy", *COUNTS, "GB moved", "GB temporary", "between cards")
TWO = " on 2 cards"


def names() -> list[str]:
    """Every program under each of its policies, and those that two cards share."""
    from benchmarks import programs

    return [name for name, _, _ in programs.every()] + [name + TWO for name in programs.SPREAD]


def chosen(name: str) -> tuple[Any, Any, int]:
    """A program's maker, policy and number of cards."""
    from benchmarks import programs
    from benchmarks.policies import Policy

    if name.endswith(TWO):
        return programs.SPREAD[name.removesuffix(TWO)], Policy(), 2
    return *next(found for found in programs.every() if found[0] == name)[1:], 1


@contextlib.contextmanager
def on(cards: Sequence[Any]) -> Iterator[None]:
    """Code that asks where it runs is told: on these GPUs."""
    import jax
    import numpy as np

    from medjax import devices

    def mesh(count: int) -> jax.sharding.Mesh:
        return jax.sharding.Mesh(np.array(cards[:count]), (devices.AXIS,))

    with (
        mock.patch.object(jax, "default_backend", lambda: "gpu"),
        mock.patch.object(jax, "local_device_count", lambda: len(cards)),
        mock.patch.object(devices, "_mesh", mesh),
    ):
        yield


def of_a_unit(
    module: hlo.Program,
    sequence: Sequence[thunks.Thunk],
    graphs: Sequence[thunks.Thunk],
    trips: Sequence[int],
    more: Sequence[int],
) -> dict[str, Any]:
    """Counts, bytes moved and collectives of one unit.

    sequence: of thunks. graphs: the same after the passes that make CUDA graphs. trips: of the loops whose bounds are
    arguments, for one unit; more: for two, which is the same where a call is one unit. Of a call of several units, one
    more counts.
    """

    def tally(unknown: Sequence[int]) -> dict[str, Any]:
        loops = hlo.loop_trips(module, unknown)
        found = thunks.count(sequence, iter(loops))._asdict()
        launched = thunks.count(graphs, iter(loops))
        found |= {"graphs": launched.graphs, "launches": launched.launches}
        found["bytes_moved"] = hlo.bytes_moved(module, unknown)
        return found | hlo.collectives(module, unknown)

    one = tally(trips)
    if tuple(trips) != tuple(more):
        two = tally(more)
        one = {name: two[name] - one[name] for name in one}
    kinds = {name for name in one if name in hlo.COLLECTIVES}
    return {name: one[name] for name in one if name not in kinds} | {
        "collectives": {name: one[name] for name in sorted(kinds)}
    }


def measured(name: str) -> dict[str, Any]:
    """Compile one program and count. In a process of its own: XLA reads the place of its dump once."""
    import jax
    from jax.experimental import topologies
    from jax.sharding import SingleDeviceSharding

    from benchmarks import policies, programs

    make, policy, count = chosen(name)
    topology = topologies.get_topology_desc(
        platform="cuda", target_config=CARD.read_text(), topology=f"1x1x{count}"
    )
    begin = time.monotonic()
    with on(topology.devices), policies.under(policy):
        case = make(policy)
        with mock.patch.object(programs, "REPEAT", 2 * programs.REPEAT):
            longer = make(policy)
        # One card has to be named; of two, the program itself says where it runs, as it does with arrays of the host.
        place = SingleDeviceSharding(topology.devices[0]) if count == 1 else None
        arguments = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=place),
            jax.eval_shape(case.arguments),
        )
        options = policies.compiler_options(policy)
        traced = jax.jit(case.function, compiler_options=options).trace(*arguments)
        compiled = traced.lower(lowering_platforms=("cuda",)).compile()
    seconds = time.monotonic() - begin
    folder = Path(os.environ["MEDJAX_DUMP"])
    before, after = (
        thunks.parse(max(folder.glob(f"*.{kind}.txt"), key=lambda p: p.stat().st_size).read_text())
        for kind in ("thunk_sequence", "thunk_sequence_after_thunk_passes")
    )
    module = hlo.read_hlo(compiled.as_text() or "")
    found = of_a_unit(module, before, after, case.trips, longer.trips)
    flops, memory = case.flops / count, compiled.memory_analysis()
    assert memory
    return {
        "program": name.split(":")[0],
        "policy": policy.words,
        "unit": case.unit,
        **found,
        "temporary_bytes": memory.temp_size_in_bytes,
        "flops": flops,
        "compile_s": round(seconds, 1),
        "estimated_ms": {
            "kernels": 1e3 * found["kernels"] * ASSUMED["kernel_s"],
            "bytes": 1e3 * found["bytes_moved"] / ASSUMED["bytes_s"],
            "operations": 1e3 * flops / ASSUMED["bf16_s" if policy.bf16 else "flops_s"],
        },
    }


def in_a_process(name: str) -> dict[str, Any]:
    """`measured` in a process that dumps what it compiles."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"--xla_dump_to={folder}",
            "MEDJAX_DUMP": folder,
        }
        words = [sys.executable, "-m", "benchmarks.aot", "--one", name]
        ran = subprocess.run(words, env=environment, capture_output=True, text=True)
    if ran.returncode:
        said = ran.stderr.strip().splitlines() or [f"ended with status {ran.returncode}"]
        return {"error": said[-1][:300]}
    return json.loads(ran.stdout.splitlines()[-1])


def line(name: str, found: dict[str, Any]) -> str:
    """A row of the table below `HEAD`."""
    if "error" in found:
        return f"| {name} | {found['error']} |"
    cells = [f"{found['program']}, {found['unit']}", found["policy"]]
    cells += [str(found[k]) for k in COUNTS]
    cells += [f"{found[k] / 1e9:.2f}" for k in ("bytes_moved", "temporary_bytes")]
    cells.append(", ".join(f"{n} {kind}" for kind, n in found["collectives"].items()))
    return "| " + " | ".join(cells) + " |"


def table(programs: dict[str, dict[str, Any]]) -> str:
    """Markdown."""
    head = "| " + " | ".join(HEAD) + " |\n|" + " --- |" * len(HEAD) + "\n"
    return head + "".join(line(name, found) + "\n" for name, found in programs.items())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.aot")
    parser.add_argument("--out", help="JSON file to write; its table goes beside it (.md)")
    parser.add_argument("--only", default="", help="programs whose names hold this")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measured(asked.one)))
        return
    import jax

    from medjax import provenance, store

    about = {"card": CARD.name, "assumed": ASSUMED, "jax": jax.__version__}
    about |= {"python": platform.python_version(), **provenance.environment()}
    print(table({}), end="")
    made: dict[str, dict[str, Any]] = {}
    for name in names():
        if asked.only in name:
            made[name] = in_a_process(name)
            print(line(name, made[name]), flush=True)
            if asked.out:  # after each, so that a run cut short leaves what it has
                path = Path(asked.out)
                store.write_json(path, about | {"programs": made})
                path.with_suffix(".md").write_text(table(made), encoding="utf-8")


if __name__ == "__main__":
    main()
