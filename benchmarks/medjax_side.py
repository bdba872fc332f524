"""medjax's hot loops on made-up data of the shapes in question."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from medjax import cost, devices, evaluate, experts, memory
from medjax.augment import augment
from medjax.distill import dc as gradients
from medjax.distill import mtt as trajectory
from medjax.distill.dc import DCConfig
from medjax.distill.mtt_config import MTTConfig
from medjax.distill.segments import Segments
from medjax.eval_config import EvalConfig
from medjax.models import ConvNetConfig, convnet
from medjax.types import Dataset, Trajectories

devices.use_cores()
memory.give_back_after_compiling()

Case = tuple[Callable[[], Any], dict[str, Any]]
CLASSES, SIZE = 8, 32
#: Real images of a step; SGD steps of an expert.
BATCH, STEPS = 256, 2


def network(width: int = 128, conv: str = "auto") -> Any:
    return convnet(ConvNetConfig(width=width, conv=conv), classes=CLASSES, size=SIZE, channels=3)


def labelled(images: int) -> Dataset:
    key = jax.random.key(1)
    labels = jnp.arange(images, dtype=jnp.int32) % CLASSES
    return Dataset(jax.random.normal(key, (images, SIZE, SIZE, 3)), labels)


def facts(flops: float, compiled: Any = None) -> dict[str, Any]:
    """Counted work, and what XLA says that a call needs beside its arguments."""
    known = {"flops": flops}
    if compiled is not None:
        known["temporaries_mb"] = compiled.memory_analysis().temp_size_in_bytes / 2**20
    return known


def mtt(images: int, steps: int, width: int = 128, conv: str = "auto") -> Case:
    """One MTT iteration: N inner steps with DSA, the gradient through them, the update."""
    model, data = network(width, conv), labelled(images)
    start = ravel_pytree(model.init(jax.random.key(0))[0])[0]
    target = start + 0.01 * jax.random.normal(jax.random.key(2), start.shape)
    config = MTTConfig(inner_steps=steps, max_start_epoch=1, expert_span=1)
    rows = np.stack([np.asarray(start), np.asarray(target)])
    trajectories = Trajectories(lambda expert, epochs: rows[epochs], 1, 1)
    parts = {"model": model, "augment": augment, "trajectories": trajectories}
    method = trajectory.mtt(config, **parts, ipc=images // CLASSES, classes=CLASSES)
    state, key = method.init(jax.random.key(3), data), jax.random.key(4)
    item = Segments(start[None], target[None])
    begin = time.perf_counter()
    compiled = jax.jit(method.step).lower(key, state, data, item).compile()
    seconds = time.perf_counter() - begin
    known = facts(trajectory.iteration_flops(config, model, state.images.shape), compiled)
    known["compile_s"] = seconds
    return lambda: jax.block_until_ready(compiled(key, state, data, item)), known


def dc(ipc: int, outer: int, inner: int, conv: str = "auto") -> Case:
    """One DC iteration: ``outer`` updates of all classes, the network trained for ``inner`` epochs between them."""
    model, data = network(conv=conv), labelled(CLASSES * 600)
    config = DCConfig(batch_real=BATCH, outer=outer, inner=inner)
    method = gradients.dc(config, model=model, augment=None, ipc=ipc, classes=CLASSES)
    state, key = method.init(jax.random.key(3), data), jax.random.key(4)
    compiled = jax.jit(method.step).lower(key, state, data, None).compile()
    known = facts(gradients.iteration_flops(config, model, ipc, CLASSES), compiled)
    return lambda: jax.block_until_ready(compiled(key, state, data, None)), known


def expert_steps(count: int, conv: str = "auto") -> Case:
    """``STEPS`` SGD steps of ``count`` experts, in the groups of this backend."""
    model, data = network(conv=conv), labelled(STEPS * BATCH)
    trainer = experts.trainer(experts.ExpertsConfig(expert_batch=BATCH), model, CLASSES)
    size = min(experts.group_size(), count)
    keys = jax.random.split(jax.random.key(0), size)
    orders, step_keys = experts.begin_epoch(trainer, keys, jnp.int32(0), data.labels)
    first, last, rate = jnp.int32(0), jnp.int32(STEPS), jnp.float32(0.01)

    def once() -> None:
        for _ in range(-(-count // size)):
            state = experts.begin_experts(trainer, keys)
            jax.block_until_ready(
                experts.full_batches(trainer, step_keys, state, data, orders, rate, first, last)
            )

    work = cost.GRADIENT * model.flops * count * STEPS * BATCH
    return once, facts(work) | {"images": count * STEPS * BATCH}


def evaluation(networks: int, images: int, epochs: int, conv: str = "auto") -> Case:
    """``epochs`` epochs of the evaluation's networks on a synthetic set."""
    model, data = network(conv=conv), labelled(images)
    config = EvalConfig()
    trainer = evaluate.trainer(config, model, CLASSES, augment)
    people = evaluate.population(config, jax.random.key(0), networks, epochs, jnp.array([0.01]))
    fresh = evaluate.start_networks(trainer, people)

    def once() -> None:
        for _ in evaluate.train_networks(trainer, people, data, fresh):
            pass

    return once, facts(cost.GRADIENT * model.flops * images * networks * epochs)


def ceiling() -> dict[str, Any]:
    """What the machine can do: operations a second of large matrix products."""
    return {"matrix_rate": cost.matrix_rate()}


def rest() -> None:
    """Between two runs: nothing is held that the other side needs."""


def device_megabytes() -> float | None:
    """Peak memory of the GPU, None on a CPU."""
    known = jax.devices()[0].memory_stats()
    return known["peak_bytes_in_use"] / 2**20 if known else None
