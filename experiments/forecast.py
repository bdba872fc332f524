"""What a command will take, said before it starts: hours and gigabytes, from counted work and a measured rate."""

import jax

from experiments.eval_stage import GRID
from experiments.session import Session
from medjax import cost
from medjax.evaluate import EvalConfig, InterimConfig

#: On a CPU a forecast past this many seconds comes with a hint.
LONG = 3600.0


def forecast(
    session: Session, work: dict[str, float], iterations: int, made: int, real: int
) -> None:
    """Print the forecast of a whole run from nothing (what an earlier run left is not subtracted).

    work: floating-point operations by phase, evaluation not among them. made: synthetic images at once in a step
    that is differentiated again; real: images at once in one that is not.
    """
    work = work | {"evaluation": evaluation_flops(session, iterations)}
    rate = cost.matrix_rate() * cost.EFFICIENCY
    seconds = {name: flops / rate for name, flops in work.items()}
    step = max(made * cost.META_BYTES, real * cost.GRADIENT_BYTES) * session.model.flops
    # float32 images on every device, and once more while they are made.
    copies = 1 + (jax.local_device_count() if jax.default_backend() == "cpu" else 1)
    memory = cost.BASE_BYTES + 4 * copies * session.train.images.size + step
    parts = ", ".join(f"{name} {_time(value)}" for name, value in seconds.items())
    total = sum(seconds.values())
    session.console.print(
        f"forecast from nothing: {_time(total)} ({parts}), {memory / 1e9:.1f} GB of memory",
        soft_wrap=True,
    )
    if total > LONG and jax.default_backend() == "cpu":
        session.console.print("hint: on a CPU, --preset=cpu is made for this: minutes, not days")


def evaluation_flops(session: Session, iterations: int) -> float:
    """Floating-point operations of the interim evaluations and of the three final ones; for each further network, of
    three final ones and of two searches for a step size."""
    interim, final = (session.settings.groups[g] for g in (InterimConfig, EvalConfig))
    rounds = -(-iterations // interim.eval_every)
    once = interim.interim_networks * interim.interim_epochs
    last = 3 * final.networks * final.eval_epochs
    flops = session.model.flops * (rounds * once + last)
    for name, model in session.others.items():
        if name != session.run.model:
            flops += model.flops * (2 * len(GRID) * once + last)
    return cost.GRADIENT * flops * session.ipc * session.classes


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
