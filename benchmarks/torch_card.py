"""PyTorch's rows for a card: eager as research codes run it, with cudnn.benchmark, TF32 and channels_last, and as a CUDA
graph, which leaves no launch to the host.

    python -m benchmarks.torch_card --out=OUT [--only=mtt]

In a graph the augmentation's family of each inner step is drawn once, when it is captured; its numbers are drawn in
each replay. Waits for OUT/lock, and writes a line to OUT/rows.jsonl as each row is done.
"""

import argparse
import fcntl
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import torch_side

ROUND = 1.0


def tuned() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    plain = torch_side.forward
    last = torch.channels_last
    torch_side.forward = lambda parts, x: plain(parts, x.contiguous(memory_format=last))


def captured(once: Callable[[], Any]) -> Callable[[], Any]:
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


def mtt_to_capture(images: int, steps: int) -> Callable[[], Any]:
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
        for value, trace, found in zip(
            (x, rate), traces, torch.autograd.grad(loss, (x, rate)), strict=True
        ):
            trace.mul_(0.5).add_(found)
            value.data.sub_(1e-12 * trace)

    return once


def timed(once: Callable[[], Any]) -> list[float]:
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


def cases() -> list[tuple[str, Callable[[], Callable[[], Any]], float]]:
    """(name, maker, units in one run); units as in `benchmarks.programs`."""
    rows: list[tuple[str, Callable[[], Callable[[], Any]], float]] = []
    for ipc in (1, 10, 50):
        images = 8 * ipc
        rows.append((f"mtt ipc {ipc}", lambda m=images: torch_side.mtt(m, 20)[0], 1))
        rows.append((f"mtt ipc {ipc}: graph", lambda m=images: captured(mtt_to_capture(m, 20)), 1))
    # One expert's steps; ten take ten times as long.
    rows.append(("10 experts", lambda: torch_side.expert_steps(1, 20)[0], 2))
    for ipc in (1, 50):
        rows.append(
            (f"evaluation of 5, ipc {ipc}", lambda m=8 * ipc: torch_side.evaluation(5, m, 4)[0], 4)
        )
    rows.append(("dc ipc 1", lambda: torch_side.dc(1, 1, 1)[0], 1))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torch_card")
    parser.add_argument("--out", required=True)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    with open(Path(asked.out) / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for how in ("eager", "TF32, channels_last"):
            if how != "eager":
                tuned()
            # Graphs last: one that fails can leave the process unable to go on.
            for name, make, units in sorted(cases(), key=lambda case: "graph" in case[0]):
                if asked.only not in name or ("graph" in name and how == "eager"):
                    continue
                row: dict[str, Any] = {"name": name, "torch": how, "units": units}
                try:
                    torch.cuda.reset_peak_memory_stats()
                    row["alone_ms"] = [t / units for t in timed(make())]
                    row["peak_mb"] = torch.cuda.max_memory_allocated() / 2**20
                except Exception as error:
                    row["error"] = str(error)[:300]
                torch.cuda.empty_cache()
                with open(Path(asked.out) / "rows.jsonl", "a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                print(row, flush=True)


if __name__ == "__main__":
    main()
