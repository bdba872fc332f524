"""What a run will take, said before it starts: hours and gigabytes, from counted work and a measured rate."""

import math
from typing import NamedTuple

from medjax import cost, devices, memory, train
from medjax.data.preprocess import PreprocessConfig
from medjax.distill.images import ImagesConfig
from medjax.errors import UserError
from medjax.eval_config import (
    GRID,
    EvalConfig,
    InterimConfig,
    SelectConfig,
    seen,
)
from medjax.experts import ExpertsConfig
from medjax.models import Model
from medjax.pipeline.progress import Progress
from medjax.pipeline.settings import Settings
from medjax.ranking import RankingConfig
from medjax.recipes import Costs, Setup

#: Phases of the experts, and of what is computed of them.
SHARED = ("experts", "moments")
#: On a CPU a forecast of more seconds than this comes with a hint.
LONG = 3600.0
#: By preset; "" is for all others.
HINTS = {
    "": "on a CPU use --preset=cpu: it is made for two cores and takes minutes to hours at one image per class",
    "cpu": "more images per class take a GPU, or patience: a run can be stopped, and the same command goes on",
    "best": "it takes patience, or a GPU: a run can be stopped, and the same command goes on",
}


class Forecast(NamedTuple):
    """Of a whole run from nothing. seconds: by phase; memory: bytes at the peak."""

    seconds: dict[str, float]
    memory: float

    @property
    def total(self) -> float:
        """Seconds of all phases."""
        return sum(self.seconds.values())


def estimate(
    settings: Settings,
    setup: Setup,
    others: dict[str, Model],
    costs: Costs,
    rate: float,
    seeds: int = 1,
) -> Forecast:
    """The forecast at ``rate`` floating-point operations a second of a seed."""
    work = dict(costs.work)
    if costs.iterations is not None:
        distillation = work.get("distillation", 0.0) + costs.iterations * costs.iteration
        parts = costs.iterations, costs.searches, costs.finals
        evaluation = evaluation_flops(settings, setup, others, *parts)
        work |= {"distillation": distillation, "evaluation": evaluation}
    seconds = {name: flops / rate for name, flops in work.items()}
    return Forecast(seconds, peak_memory(settings, setup, others, costs, seeds))


def peak_memory(
    settings: Settings, setup: Setup, others: dict[str, Model], costs: Costs, seeds: int = 1
) -> float:
    """Bytes of memory at the peak of a run: while the preprocessing is fitted, in a step of the method, or while
    networks are evaluated, whichever is most. seeds: distilled side by side."""
    image, lanes = setup.shape[1:], devices.device_count()
    config, pre = settings.config(EvalConfig), settings.config(PreprocessConfig)
    people = costs.networks or config.networks
    together = min(people, lanes) if devices.on_cpu() else -(-people // lanes)
    searched = len(GRID) * settings.config(InterimConfig).interim_networks
    waiting = costs.networks or max(config.networks, searched)
    copies = cost.COPIES * together + cost.WAITING * waiting
    needs = []
    for model in () if costs.networks else (setup.model, *others.values()):
        network = cost.footprint(model, image)
        batch = min(config.eval_batch, setup.held * setup.ipc * setup.classes)
        trained = train.alive(model, batch, config.networks)
        scored = together * cost.chunk_size(model, image, config.networks) * network.forward
        images = max(trained * (network.forward + network.gradient), scored)
        needs.append(copies * network.parameters + images)
    own = cost.footprint(setup.model, image)
    passing = costs.forward * own.forward + costs.real * (own.forward + own.gradient)
    twice = costs.made * cost.META_ALIVE * cost.bytes_read(setup.model, image)
    # A CPU distils fewer seeds than it has cores in turn. Accelerators have each its share.
    each = 1 if seeds < lanes else lanes
    side_by_side = each if devices.on_cpu() else -(-seeds // lanes)
    alone = costs.trained * (own.forward + own.gradient)
    at_once = max(alone, side_by_side * max(passing, twice))
    method = copies * own.parameters + side_by_side * costs.kept + at_once
    # float32 images on every device (of a CPU all are in its memory), and once more while they are made.
    data = 4 * (1 + (lanes if devices.on_cpu() else 1)) * math.prod(setup.shape)
    data += 4 * (setup.val + setup.test) * math.prod(image)
    raw = setup.raw if devices.on_cpu() else 0
    running = cost.BASE_BYTES + raw + data + max((method, *needs))
    if pre.whiten != "zca":
        return running
    if setup.held > 1:  # ZCA's two maps, where the images are
        running += 8.0 * (1 + (lanes if devices.on_cpu() else 1)) * math.prod(image) ** 2
    fitting = cost.STARTED_BYTES + raw + 8.0 * cost.ZCA_MATRICES * math.prod(image) ** 2
    return max(running, fitting)


def forecast(
    settings: Settings,
    setup: Setup,
    others: dict[str, Model],
    costs: Costs,
    progress: Progress,
    seeds: int = 1,
) -> None:
    """Say the forecast of a whole run from nothing (what an earlier run left is not subtracted), or of as many as there
    are ``seeds``. Raises UserError for a run that the device's memory cannot hold."""
    found = estimate(settings, setup, others, costs, cost.matrix_rate() * cost.EFFICIENCY, seeds)
    # One seed of experts serves all runs.
    shared = SHARED if settings.config(ExpertsConfig).expert_seed >= 0 else ()
    times = {n: s * (1 if n in shared else seeds) for n, s in found.seconds.items()}
    found = found._replace(seconds=times)
    parts = ", ".join(f"{name} {duration(value)}" for name, value in found.seconds.items())
    progress.say(
        f"forecast of the whole run: {lower_bound()}{duration(found.total)} of computing ({parts}), "
        f"{found.memory / 1e9:.1f} GB of memory"
    )
    check_room(found.memory)
    if found.total > LONG and devices.on_cpu():
        progress.say(f"hint: {HINTS.get(settings.run.preset, HINTS[''])}")


def check_room(needed: float) -> None:
    """Raises UserError where the device has not so many bytes of memory."""
    if needed > (room := device_memory()):
        raise UserError(
            f"this run needs some {needed / 1e9:.1f} GB of memory and the device has {room / 1e9:.1f} GB: lower"
            f" --size, --width, the batches or --ipc{fewer_devices()}"
        )


def evaluation_flops(
    settings: Settings,
    setup: Setup,
    others: dict[str, Model],
    iterations: int,
    searches: int = 1,
    finals: int = 3,
) -> float:
    """Floating-point operations of the interim evaluations, of so many searches for a step size and so many final
    evaluations (of two more with ``ranking``); for each further network, as many and two searches. An image that is
    scored costs a third of one that is trained on (`cost.GRADIENT`), as CPU seconds of both do."""
    final = settings.config(EvalConfig)
    images = setup.held * setup.ipc * setup.classes
    search = len(GRID) * round_passes(settings, images, setup.val)
    each = seen(final.eval_steps, images, final.eval_batch)
    whole = cost.passes(final.networks, final.eval_epochs, each, setup.test)
    # Images that are kept as pixels are rounded to 8 bits: the set and what is shared of it are scored together.
    finals -= settings.config(ImagesConfig).pixels
    last, more = finals * whole, 2 * whole * bool(settings.config(RankingConfig).ranking)
    passes = interim_passes(settings, setup, iterations) + searches * search + last + more
    flops = setup.model.flops * passes
    for name, model in others.items():
        if name != settings.run.model:
            flops += model.flops * (2 * search + last)
    return flops


def interim_passes(settings: Settings, setup: Setup, iterations: int) -> int:
    """Forward passes (`cost.passes`) of all networks that are trained and scored while a set is distilled."""
    choice = settings.config(SelectConfig)
    rounds = -(-iterations // choice.eval_every) if iterations else 0
    rounds += iterations > 0 and choice.select == "test"  # the start
    images = setup.held * setup.ipc * setup.classes
    scored = setup.test if choice.select == "test" else setup.val
    return rounds * len(choice.shares) * round_passes(settings, images, scored)


def round_passes(settings: Settings, images: int, scored: int) -> int:
    """Those of the networks of one interim evaluation, at one step size: on a set of so many, scored on so many."""
    interim = settings.config(InterimConfig)
    each = seen(interim.interim_steps, images, settings.config(EvalConfig).eval_batch)
    return cost.passes(interim.interim_networks, interim.interim_epochs, each, scored)


def fewer_devices() -> str:
    """What else takes less memory: each core that is a device has images of its own."""
    many = devices.on_cpu() and devices.device_count() > 2
    return ", or set JAX_NUM_CPU_DEVICES=2" if many else ""


def lower_bound() -> str:
    """Words before a time on a GPU: counted work leaves out the time in which kernels are launched, which is most of it
    for few images."""
    return "" if devices.on_cpu() else "at best "


def device_memory() -> float:
    """Bytes of memory that the device has."""
    if devices.on_cpu():
        return memory.total()
    return devices.accelerator_bytes()


def duration(seconds: float) -> str:
    """'95 s', '12 min' or '30 h'."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
