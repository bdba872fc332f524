"""The hot programs at the study's values, each under the policies that could be chosen for it on a GPU.

ConvNet-3-128, 32 px, 3 channels, 8 classes, 12,000 training images; MTT with 20 inner steps. `benchmarks.aot` compiles
them for a card that is not there; `benchmarks.card` runs them on one.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from benchmarks.policies import Policy
from medjax import cost, evaluate, experts, train
from medjax.augment import augment
from medjax.distill import dc as gradients
from medjax.distill import mtt as trajectory
from medjax.distill.base import iterated
from medjax.distill.dc import DCConfig
from medjax.distill.mtt_config import MTTConfig
from medjax.distill.segments import Segments
from medjax.eval_config import EvalConfig
from medjax.models import ConvNetConfig, Model, convnet
from medjax.models.base import in_bf16
from medjax.types import Dataset, Trajectories

CLASSES, SIZE, IMAGES, STEPS = 8, 32, 12_000, 20
#: What medjax chooses on a GPU with MEDJAX_CUDA_GRAPHS=1 (`cost.residuals`, `cost.unroll`, `graphs.jit`).
OWN = Policy(graphs=True)
#: For networks that train beside each other.
SIDE_BY_SIDE = (
    Policy(conv="im2col"),
    Policy(),
    Policy(one_by_one=True),
    Policy(bf16=True),
    Policy(bf16=True, one_by_one=True),
    OWN,
)
#: Expert steps and epochs of an evaluation in one run.
REPEAT = 1


class Case(NamedTuple):
    """A program. function: to be jitted; arguments: makes them, by JAX alone. unit: what one run of it is. trips: of
    its loops with bounds that are arguments, how often they run. flops: counted work."""

    function: Callable[..., Any]
    arguments: Callable[[], tuple[Any, ...]]
    unit: str
    flops: float
    trips: tuple[int, ...] = ()
    units: int = 1


def network(policy: Policy) -> Model:
    model = convnet(ConvNetConfig(conv=policy.conv), classes=CLASSES, size=SIZE, channels=3)
    return in_bf16(model) if policy.bf16 else model


def labelled(images: int) -> Dataset:
    labels = jnp.arange(images, dtype=jnp.int32) % CLASSES
    return Dataset(jax.random.normal(jax.random.key(1), (images, SIZE, SIZE, 3)), labels)


def mtt(ipc: int, policy: Policy, seeds: int = 1) -> Case:
    """One MTT iteration of one seed, or of several side by side."""
    model, config = network(policy), MTTConfig(inner_steps=STEPS)
    experts_there = Trajectories(lambda expert, epochs: np.empty(0), 1, 50)
    parts: dict[str, Any] = {"model": model, "augment": augment, "trajectories": experts_there}
    method = trajectory.mtt(config, **parts, ipc=ipc, classes=CLASSES)

    def one(key: Any, data: Dataset) -> tuple[Any, ...]:
        start = ravel_pytree(model.init(key)[0])[0]
        target = start + 0.01 * jax.random.normal(key, start.shape)
        return key, method.init(key, data), Segments(start[None], target[None])

    def arguments() -> tuple[Any, ...]:
        data, key = labelled(IMAGES), jax.random.key(0)
        if seeds == 1:
            key, state, item = one(key, data)
            return key, state, data, item
        keys, state, item = jax.vmap(lambda k: one(k, data))(jax.random.split(key, seeds))
        items = jax.tree.map(lambda a: a[:, None], item)  # a call of one iteration
        return state, keys, data, jnp.zeros(1, jnp.int32), items

    step = method.step if seeds == 1 else iterated(method, True)
    flops = seeds * trajectory.iteration_flops(config, model, (ipc * CLASSES, SIZE, SIZE, 3))
    return Case(step, arguments, "iteration" if seeds == 1 else f"iteration of {seeds}", flops)


def dc(ipc: int, policy: Policy) -> Case:
    """One DC iteration, all its loops."""
    model, config = network(policy), DCConfig()
    method = gradients.dc(config, model=model, augment=None, ipc=ipc, classes=CLASSES)

    def arguments() -> tuple[Any, ...]:
        data, key = labelled(IMAGES), jax.random.key(0)
        return key, method.init(key, data), data, None

    flops = gradients.iteration_flops(config, model, ipc, CLASSES)
    inner = gradients.loops(config, ipc)[1]
    return Case(method.step, arguments, "iteration", flops, (inner,) if ipc > 1 else ())


def expert_steps(count: int, policy: Policy) -> Case:
    """Steps of ``count`` experts side by side."""
    steps, model, config = REPEAT, network(policy), experts.ExpertsConfig()
    trainer = experts.trainer(config, model, CLASSES)

    def arguments() -> tuple[Any, ...]:
        keys, data = jax.random.split(jax.random.key(0), count), labelled(IMAGES)
        orders = jax.vmap(lambda key: jax.random.permutation(key, IMAGES).astype(jnp.int32))(keys)
        state = jax.vmap(lambda key: train.start(trainer, key))(keys)
        return keys, state, data, orders, jnp.float32(0.01), jnp.int32(0), jnp.int32(steps)

    whole = functools.partial(experts.full_batches.__wrapped__, trainer)
    flops = cost.GRADIENT * model.flops * config.expert_batch * count
    return Case(whole, arguments, f"step of {count}", flops, (steps,), steps)


def evaluation(networks: int, ipc: int, policy: Policy) -> Case:
    """Epochs of the networks of an evaluation."""
    epochs, model, config, images = REPEAT, network(policy), EvalConfig(), ipc * CLASSES
    trainer = evaluate.trainer(config, model, CLASSES, augment)

    def arguments() -> tuple[Any, ...]:
        key = jax.random.key(0)
        people = evaluate.population(config, key, networks, evaluate.SCHEDULE, jnp.full(1, 0.01))
        state = jax.vmap(lambda key: train.start(trainer, key))(people.keys)
        last = jnp.full(networks, epochs, jnp.int32)
        return people, labelled(images), state, jnp.int32(0), last

    whole = functools.partial(evaluate.advance.__wrapped__, trainer)
    flops, full = cost.GRADIENT * model.flops * images * networks, images // 256
    return Case(whole, arguments, "epoch", flops, (epochs, full) if full else (epochs,), epochs)


def scoring(networks: int, policy: Policy) -> Case:
    """The logits of one chunk of test images."""
    model, chunk = network(policy), policy.chunk or cost.LARGE_CHUNK

    def arguments() -> tuple[Any, ...]:
        keys = jax.random.split(jax.random.key(0), networks)
        return *jax.vmap(model.init)(keys), labelled(chunk).images

    whole = functools.partial(evaluate.logits.__wrapped__, model)
    return Case(whole, arguments, f"{chunk} images", model.flops * chunk * networks)


#: name -> (makes the case for a policy, the policies to compare).
PROGRAMS: dict[str, tuple[Callable[[Policy], Case], tuple[Policy, ...]]] = {
    "mtt ipc 1": (
        functools.partial(mtt, 1),
        (
            Policy("kept", 1),
            Policy("recomputed", 1),
            Policy("recomputed", 4),
            Policy("convolutions", 4),
            Policy("recomputed", 4, graphs=True),
            Policy("recomputed", 4, bf16=True),
            OWN,
        ),
    ),
    "mtt ipc 10": (
        functools.partial(mtt, 10),
        (
            Policy("kept", 1),
            Policy("recomputed", 1),
            Policy("recomputed", 4),
            Policy("convolutions", 4),
            Policy("convolutions", 4, bf16=True),
            OWN,
        ),
    ),
    "mtt ipc 50": (
        functools.partial(mtt, 50),
        (
            Policy("recomputed", 1),
            Policy("convolutions", 1),
            Policy("recomputed", 1, bf16=True),
            Policy("convolutions", 1, bf16=True),
            OWN,
        ),
    ),
    "mtt ipc 1, 5 seeds": (
        functools.partial(mtt, 1, seeds=5),
        (Policy("recomputed", 4), Policy("recomputed", 4, graphs=True), OWN),
    ),
    "10 experts": (functools.partial(expert_steps, 10), SIDE_BY_SIDE),
    "evaluation of 5, ipc 1": (
        functools.partial(evaluation, 5, 1),
        (Policy(conv="im2col"), Policy(), OWN),
    ),
    "evaluation of 5, ipc 50": (functools.partial(evaluation, 5, 50), SIDE_BY_SIDE),
    "dc ipc 1": (functools.partial(dc, 1), (Policy(conv="im2col"), Policy())),
    "dc ipc 10": (functools.partial(dc, 10), (Policy(),)),
    "scoring of 5": (functools.partial(scoring, 5), (Policy(chunk=64), Policy(chunk=1024))),
}

#: name -> what several cards share, by medjax's own choices.
SPREAD: dict[str, Callable[[Policy], Case]] = {
    "10 experts": functools.partial(expert_steps, 10),
    "evaluation of 6, ipc 50": functools.partial(evaluation, 6, 50),
    "mtt ipc 1, 5 seeds": functools.partial(mtt, 1, seeds=5),
    "mtt ipc 50": functools.partial(mtt, 50),
}


def every() -> Iterator[tuple[str, Callable[[Policy], Case], Policy]]:
    """(name with the policy's words, maker, policy) of all programs of one card."""
    for name, (make, policies) in PROGRAMS.items():
        for policy in policies:
            yield f"{name}: {policy.words}" if policy.words else name, make, policy
