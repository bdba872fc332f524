"""Ray as the engine of a sweep (extra ``cluster``): tasks become Ray's, on a cluster that exists or on this machine."""

import os
import signal
import socket
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from medjax.cli.sweep.jobs import Task
from medjax.cli.sweep.work import begin, end, record
from medjax.devices import CORES
from medjax.errors import UserError

#: How often a task is begun again whose worker or machine was lost.
RETRIES = 5


def work_on(out: Path, task: Task, folder: str, needed: object) -> dict[str, Any]:
    """Work on a task from beginning to end; returns how it ended. needed: makes Ray wait for the task before."""
    running = begin(out, task, wait=True, folder=folder)
    assert running
    return end(out, running)


def run(
    out: Path, tasks: list[Task], address: str, memory: Callable[[Task], float]
) -> Generator[tuple[Task, dict[str, Any]]]:
    """Work on tasks; yields each when it has ended, with how. Where this is left early, Ray ends their processes.

    address: of a cluster, HOST:PORT; "" starts one on this machine. memory: bytes that a task will need. Each gets a
    GPU, where the cluster has any, and its share of a machine's cores. Raises UserError where there is no such cluster.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before Ray is imported: nothing is sent out
    try:
        import ray  # type: ignore[import-not-found]
    except ImportError as error:
        raise UserError("--engine=ray needs Ray: pip install 'medjax[cluster]'") from error
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    listening = signal.getsignal(signal.SIGTERM)
    try:
        if address:  # Ray itself tries for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, port), 10).close()
        ray.init(address or "local", **quiet)
        signal.signal(signal.SIGTERM, listening)  # Ray has set its own
    except Exception as error:  # Ray raises that itself
        raise UserError(f"no Ray cluster at {address or 'this machine'}: {error}") from error
    try:
        machines = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
        machines = [m for m in machines if "GPU" in m] or [m for m in machines if "CPU" in m]
        share = min(m["CPU"] // max(1, m.get("GPU", 0)) for m in machines)
        asked = {"num_cpus": min(CORES, max(1, share)), "num_gpus": int("GPU" in machines[0])}
        # A run that no machine can hold says so itself.
        most = max(m["memory"] for m in machines)
        # Ray's own processes leave the GPU alone: each serves for many tasks.
        remote, folder, handles = ray.remote(max_calls=0)(work_on), os.getcwd(), {}
        for task in tasks:
            mine = remote.options(
                name=task.name, max_retries=RETRIES, memory=min(most, memory(task)), **asked
            )
            handles[task.name] = mine.remote(out, task, folder, handles.get(task.needs))
        found = {handle: task for task, handle in zip(tasks, handles.values(), strict=True)}
        while found:
            (ended,), _ = ray.wait(list(found))
            task = found.pop(ended)
            try:
                yield task, ray.get(ended)
            except ray.exceptions.RayError as error:
                why = " ".join(str(error).split())[:300]
                yield task, record(out, task, "failed", reason=why)
    finally:
        ray.shutdown()
