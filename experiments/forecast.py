"""What a command will take, said before it starts: hours and gigabytes, from counted work and a measured rate."""

import jax

from experiments.expert_stage import epochs_needed
from experiments.session import Session
from medjax import cost
from medjax.distill.mtt import MTTConfig, iteration_flops
from medjax.evaluate import EvalConfig, InterimConfig
from medjax.experts import ExpertsConfig

#: On a CPU a forecast past this many seconds comes with a hint.
LONG = 3600.0


def forecast(session: Session) -> None:
    """Print the forecast of a whole MTT run from nothing (what an earlier run left is not subtracted)."""
    groups, model = session.settings.groups, session.model
    config, final, experts = groups[MTTConfig], groups[EvalConfig], groups[ExpertsConfig]
    m = session.ipc * session.classes
    n, epochs = len(session.train.labels), epochs_needed(session)
    interim = groups[InterimConfig]
    interims = -(-config.iterations // interim.eval_every)
    trained = interims * interim.interim_networks * interim.interim_epochs
    trained += 3 * final.networks * final.eval_epochs
    gradient = cost.GRADIENT * model.flops
    work = {
        "experts": gradient * experts.experts * epochs * n,
        "distillation": config.iterations * iteration_flops(config, model, m),
        "evaluation": gradient * trained * m,
    }
    rate = cost.matrix_rate() * cost.EFFICIENCY
    seconds = {name: flops / rate for name, flops in work.items()}
    batch = (config.batch_syn or m) * config.meta_batch
    memory = max(batch, 256) * model.flops * cost.BYTES_PER_FLOP + 8 * session.train.images.size
    parts = ", ".join(f"{name} {_time(value)}" for name, value in seconds.items())
    total = sum(seconds.values())
    session.console.print(
        f"forecast from nothing: {_time(total)} ({parts}), {memory / 1e9:.1f} GB of memory",
        soft_wrap=True,
    )
    if total > LONG and jax.default_backend() == "cpu":
        session.console.print("hint: on a CPU, --preset=cpu is made for this: minutes, not days")


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
