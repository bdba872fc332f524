"""What a command will take, said before it starts: hours and gigabytes, from counted work and a measured rate."""

from typing import NamedTuple

import jax

from experiments.eval_stage import GRID
from experiments.session import Session
from medjax import cost, memory
from medjax.errors import UserError
from medjax.evaluate import EvalConfig, InterimConfig, SelectConfig

#: On a CPU a forecast past this many seconds comes with a hint.
LONG = 3600.0
#: By preset; "" is for all others.
HINTS = {
    "": "on a CPU, --preset=cpu is made for this: minutes, not days",
    "cpu": "more images per class want a GPU, or patience: it can be stopped and goes on",
}


class Costs(NamedTuple):
    """What a method counts before it starts.

    work: floating-point operations by phase, a distilled set's evaluation not among them. iterations: None where
    nothing is distilled. made: synthetic images at once in a step that is differentiated again; real: images at once in
    one that is not. kept: bytes that an unroll keeps.
    """

    work: dict[str, float]
    iterations: int | None
    made: int
    real: int
    kept: float = 0.0


def estimate(session: Session, costs: Costs, rate: float) -> tuple[dict[str, float], float]:
    """Seconds by phase of a whole run from nothing, and bytes of memory. rate: operations a second."""
    work = costs.work
    if costs.iterations is not None:
        work = work | {"evaluation": evaluation_flops(session, costs.iterations)}
    seconds = {name: flops / rate for name, flops in work.items()}
    step = max(costs.made * cost.META_ALIVE, costs.real * cost.GRADIENT_ALIVE)
    image = tuple(session.train.images.shape[1:])
    # float32 images on every device, and once more while they are made.
    copies = 1 + (jax.local_device_count() if jax.default_backend() == "cpu" else 1)
    data = 4 * copies * session.train.images.size
    return seconds, cost.BASE_BYTES + data + costs.kept + step * cost.bytes_read(
        session.model, image
    )


def forecast(session: Session, costs: Costs) -> None:
    """Print the forecast of a whole run from nothing (what an earlier run left is not subtracted). Raises UserError for
    one that the device's memory cannot hold."""
    seconds, needed = estimate(session, costs, cost.matrix_rate() * cost.EFFICIENCY)
    parts = ", ".join(f"{name} {in_words(value)}" for name, value in seconds.items())
    total = sum(seconds.values())
    session.console.print(
        f"forecast from nothing: {at_best()}{in_words(total)} of computing ({parts}), {needed / 1e9:.1f} GB of memory",
        soft_wrap=True,
    )
    if needed > (room := device_memory()):
        raise UserError(
            f"this run needs some {needed / 1e9:.1f} GB of memory and the device has {room / 1e9:.1f} GB: lower --size,"
            " --width, the batches or --ipc"
        )
    if total > LONG and jax.default_backend() == "cpu":
        session.console.print(f"hint: {HINTS.get(session.run.preset, HINTS[''])}")


def evaluation_flops(session: Session, iterations: int) -> float:
    """Floating-point operations of the interim evaluations, of the search for the random start's step size and of the
    three final evaluations; for each further network, of three final ones and of two searches."""
    groups = session.settings.groups
    interim, final = groups[InterimConfig], groups[EvalConfig]
    rounds = -(-iterations // groups[SelectConfig].eval_every) if iterations else 0
    once, search = interim.interim_networks * interim.interim_epochs, search_epochs(interim)
    last = 3 * final.networks * final.eval_epochs
    flops = session.model.flops * (rounds * once + search + last)
    for name, model in session.others.items():
        if name != session.run.model:
            flops += model.flops * (2 * search + last)
    return cost.GRADIENT * flops * session.ipc * session.classes


def search_epochs(interim: InterimConfig) -> int:
    """Epochs of all the networks with which a step size is chosen on val."""
    return len(GRID) * interim.interim_networks * interim.interim_epochs


def at_best() -> str:
    """Counted work says nothing of the time in which a GPU is told what to do next: most of it, for few images."""
    return "" if jax.default_backend() == "cpu" else "at best "


def device_memory() -> float:
    """Bytes of memory that the device has; infinite where it does not tell."""
    if jax.default_backend() == "cpu":
        return memory.total()
    return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", float("inf"))


def in_words(seconds: float) -> str:
    """'95 s', '12 min' or '30 h'."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
