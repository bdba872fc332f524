"""Compile the hot programs for a GPU that is not there, and count what would run on it.

    python -m benchmarks.aot --out=results/aot/NAME.json [--only="mtt ipc 1"]

Needs the extra `aot` (Python 3.12 or newer; the CUDA wheels, 4.6 GB). The card is described in h100_sxm.txtpb. Kernels
are counted in the sequence that the host launches, as often as their loops run. Autotuning needs a card, so counts are
close, not exact. Times are estimates, never measurements: the larger of the launches and of bytes and operations at the
rates in `ASSUMED`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

HERE = Path(__file__).parent
CARD = HERE / "h100_sxm.txtpb"
#: Seconds a kernel takes at least, bytes and operations (of convolutions, in TF32 and in bf16) a second: guesses for an H100.
ASSUMED = {"kernel_s": 2e-6, "bytes_s": 2.4e12, "flops_s": 1.2e14, "bf16_s": 2.4e14}
HEAD = ("program", "kernels", "library", "copies", "graphs", "launches", "GB moved", "GB temporary")


def measured(name: str, cards: int = 1) -> dict[str, Any]:
    """Compile one program and count. In a process of its own: XLA reads the place of its dump once."""
    import jax
    from jax.experimental import topologies
    from jax.sharding import SingleDeviceSharding

    from benchmarks import programs
    from benchmarks.aot import thunks

    topology = topologies.get_topology_desc(
        platform="cuda", target_config=CARD.read_text(), topology=f"1x1x{cards}"
    )
    place = SingleDeviceSharding(topology.devices[0])
    _, make, policy = next(found for found in programs.every() if found[0] == name)
    # Code that asks where it runs is told: on a GPU.
    with mock.patch.object(jax, "default_backend", lambda: "gpu"), programs.under(policy):
        case = make(policy)
        arguments = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=place),
            jax.eval_shape(case.arguments),
        )
        begin = time.monotonic()
        options = programs.compiler_options(policy)
        traced = jax.jit(case.function, compiler_options=options).trace(*arguments)
        compiled = traced.lower(lowering_platforms=("cuda",)).compile()
    seconds = time.monotonic() - begin
    folder = Path(os.environ["MEDJAX_DUMP"])
    before, after = (
        max(folder.glob(f"*.{kind}.txt"), key=lambda p: p.stat().st_size).read_text()
        for kind in ("thunk_sequence", "thunk_sequence_after_thunk_passes")
    )
    module = thunks.read_hlo(compiled.as_text())
    trips = thunks.loop_trips(module, case.trips)
    counts = thunks.count(thunks.parse(before), iter(trips))
    graphs = thunks.count(thunks.parse(after), iter(trips))
    moved = thunks.bytes_moved(module, case.trips)
    temporary = compiled.memory_analysis().temp_size_in_bytes
    return {
        "unit": case.unit,
        **counts._asdict(),
        "graphs": graphs.graphs,
        "launches": graphs.launches,
        "bytes_moved": moved,
        "temporary_bytes": temporary,
        "flops": case.flops,
        "compile_s": round(seconds, 1),
        "estimated_ms": {
            "kernels": 1e3 * counts.kernels * ASSUMED["kernel_s"],
            "bytes": 1e3 * moved / ASSUMED["bytes_s"],
            "operations": 1e3 * case.flops / ASSUMED["bf16_s" if policy.bf16 else "flops_s"],
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
        return {"error": ran.stderr.strip().splitlines()[-1][:300]}
    return json.loads(ran.stdout.splitlines()[-1])


def line(name: str, found: dict[str, Any]) -> str:
    if "error" in found:
        return f"| {name} | {found['error']} |"
    numbers = [found[k] for k in ("kernels", "library", "copies", "graphs", "launches")]
    sizes = [f"{found[k] / 1e9:.2f}" for k in ("bytes_moved", "temporary_bytes")]
    return f"| {name}, {found['unit']} | " + " | ".join([*map(str, numbers), *sizes]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.aot")
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--only", default="", help="programs whose names hold this")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measured(asked.one)))
        return
    import jax

    from benchmarks import programs
    from medjax import provenance, store

    print("| " + " | ".join(HEAD) + " |\n|" + " --- |" * len(HEAD))
    made = {}
    for name, _, _ in programs.every():
        if asked.only in name:
            made[name] = in_a_process(name)
            print(line(name, made[name]), flush=True)
    if asked.out:
        about = {"card": CARD.name, "assumed": ASSUMED, "jax": jax.__version__}
        about |= {"python": platform.python_version(), **provenance.environment()}
        store.write_json(Path(asked.out), about | {"programs": made})


if __name__ == "__main__":
    main()
