"""PyTorch's rows for a card, cudnn.benchmark on in all of them: eager as research codes run it; torch.compile of
torch.func.vmap over networks, where nothing is differentiated twice; with TF32 and channels_last; and as a CUDA graph,
which leaves no launch to the host.

    python -m benchmarks.torch_card --out=OUT [--only=mtt]

In a graph the augmentation's family of each inner step is drawn once, when it is captured; its numbers are drawn in
each replay. Waits for OUT/lock, and writes a line to OUT/rows.jsonl as each row is done; rows that are there are not
measured again.
"""

import argparse
import fcntl
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import torch_side
from benchmarks.card_table import read_rows

ROUND = 1.0
Once = Callable[[], Any]


class Row(NamedTuple):
    """make: returns what is timed. units: of `benchmarks.programs` in one run of it."""

    torch: str
    name: str
    make: Callable[[], Once]
    units: int = 1


def tuned() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    plain = torch_side.forward
    last = torch.channels_last
    torch_side.forward = lambda parts, x: plain(parts, x.contiguous(memory_format=last))


def captured(once: Once) -> Once:
    """``once`` as a CUDA graph."""
    torch_side.synchronise, wait = (lambda: None), torch_side.synchronise
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            once()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        once()
    torch_side.synchronise = wait

    def replay() -> None:
        graph.replay()
        torch.cuda.synchronize()

    return replay


def mtt_to_capture(images: int, steps: int) -> Once:
    """The iteration of `torch_side.mtt` with its update written out, for optimisers read the host in a graph."""
    torch.manual_seed(0)
    shape = (images, 3, torch_side.SIZE, torch_side.SIZE)
    x = torch.randn(*shape, device=torch_side.DEVICE).requires_grad_()
    labels = torch.arange(images, device=torch_side.DEVICE) % torch_side.CLASSES
    rate = torch.tensor(0.01, device=torch_side.DEVICE).requires_grad_()
    start = torch_side.fresh()
    target = start + 0.01 * torch.randn_like(start)
    traces = [torch.zeros_like(x), torch.zeros_like(rate)]

    def once() -> None:
        loss = torch_side.unroll(start, target, x, labels, rate, [torch_side.drawn] * steps)
        gradients = torch.autograd.grad(loss, (x, rate))
        for value, trace, found in zip((x, rate), traces, gradients, strict=True):
            trace.mul_(0.5).add_(found)
            value.data.sub_(1e-12 * trace)

    return once


def timed(once: Once) -> list[float]:
    """Milliseconds of a run in each of two rounds, medians."""
    once()
    once()
    found = []
    for _ in range(2):
        times, end = [], time.monotonic() + ROUND / 2
        while len(times) < 3 or (time.monotonic() < end and len(times) < 100):
            begin = time.perf_counter()
            once()
            times.append(1e3 * (time.perf_counter() - begin))
        found.append(statistics.median(times))
    return found


def device_milliseconds(once: Once) -> float | None:
    """Of all kernels of a run, without the gaps between them; None where the profiler sees none."""
    if not torch.cuda.is_available():
        return None
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        once()
    return sum(event.self_device_time_total for event in seen.key_averages()) / 1e3 or None


def eager(how: str) -> Iterator[Row]:
    for ipc in (1, 10, 50):
        yield Row(how, f"mtt ipc {ipc}", lambda m=8 * ipc: torch_side.mtt(m, 20)[0])
    # One expert's steps: a step of ten takes as long as ten of one.
    yield Row(how, "10 experts", lambda: torch_side.expert_steps(1, 20)[0], 2)
    for ipc in (1, 50):
        name = f"evaluation of 5, ipc {ipc}"
        yield Row(how, name, lambda m=8 * ipc: torch_side.evaluation(5, m, 4)[0], 4)
    yield Row(how, "dc ipc 1", lambda: torch_side.dc(1, 1, 1)[0])


def rows() -> Iterator[Row]:
    """In the order in which they can be measured: what a later one switches on stays on."""
    yield from eager("eager")
    from benchmarks import torch_fast  # switches TF32 on

    how = "torch.compile of vmap, TF32"
    yield Row(how, "10 experts", lambda: torch_fast.expert_steps(10, 20)[0], 20)
    for ipc in (1, 50):
        name = f"evaluation of 5, ipc {ipc}"
        yield Row(how, name, lambda m=8 * ipc: torch_fast.evaluation(5, m, 4)[0], 4)
    tuned()
    how = "TF32, channels_last"
    for ipc in (1, 10, 50):
        yield Row(how, f"mtt ipc {ipc}: graph", lambda m=8 * ipc: captured(mtt_to_capture(m, 20)))
    yield from eager(how)


def measured(row: Row) -> dict[str, Any]:
    found = {"name": row.name, "torch": row.torch, "units": row.units}
    found["device"] = torch.cuda.get_device_name()
    try:
        torch.cuda.reset_peak_memory_stats()
        once = row.make()
        found["alone_ms"] = [t / row.units for t in timed(once)]
        found["peak_mb"] = torch.cuda.max_memory_allocated() / 2**20
        if device := device_milliseconds(once):
            found["device_ms"] = device / row.units
    except Exception as error:
        found["error"] = str(error)[:300]
    torch.cuda.empty_cache()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torch_card")
    parser.add_argument("--out", required=True)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    path = Path(asked.out) / "rows.jsonl"
    done = {(r["name"], r.get("torch")) for r in read_rows(path) if not r.get("error")}
    with open(Path(asked.out) / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for row in rows():
            if asked.only in row.name and (row.name, row.torch) not in done:
                found = measured(row)
                with open(path, "a", encoding="utf-8") as file:
                    file.write(json.dumps(found) + "\n")
                print(found, flush=True)


if __name__ == "__main__":
    main()
