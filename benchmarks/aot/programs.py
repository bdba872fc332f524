"""The hot programs at the study's values, traced as they would be on a GPU: shapes only, nothing is computed.

ConvNet-3-128, 32 px, 3 channels, 8 classes, 12,000 training images; MTT with 20 inner steps.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from medjax import cost, evaluate, experts
from medjax.augment import augment
from medjax.distill import dc as gradients
from medjax.distill import mtt as trajectory
from medjax.distill.dc import DCConfig
from medjax.distill.mtt import MTTConfig
from medjax.distill.segments import Segments
from medjax.models import ConvNetConfig, Model, convnet
from medjax.models.base import parameter_count
from medjax.types import Dataset, PyTree, Trajectories

CLASSES, SIZE, IMAGES, STEPS = 8, 32, 12_000, 20


class Case(NamedTuple):
    """A program to compile. function: to be jitted; arguments: shapes; static: of the arguments, places of those that
    are fixed. unit: what one run of it is. trips: of its loops with bounds that are arguments, how often they run.
    flops: counted work."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    unit: str
    flops: float
    trips: tuple[int, ...] = ()
    static: tuple[int, ...] = ()


def network() -> Model:
    return convnet(ConvNetConfig(), classes=CLASSES, size=SIZE, channels=3)


def labelled(images: int) -> Dataset:
    shape = (images, SIZE, SIZE, 3)
    return Dataset(_array(*shape), _array(images, kind=jnp.int32))


def mtt(ipc: int) -> Case:
    """One MTT iteration."""
    model, data = network(), labelled(IMAGES)
    config, count = MTTConfig(inner_steps=STEPS), parameter_count(model)
    experts_there = Trajectories(lambda expert, epochs: None, 1, 50)
    parts: dict[str, Any] = {"model": model, "augment": augment, "trajectories": experts_there}
    method = trajectory.mtt(config, **parts, ipc=ipc, classes=CLASSES)
    state = jax.eval_shape(method.init, _key(), data)
    item = Segments(_array(1, count), _array(1, count))
    flops = trajectory.iteration_flops(config, model, (ipc * CLASSES, SIZE, SIZE, 3))
    return Case(method.step, (_key(), state, data, item), "iteration", flops)


def dc(ipc: int) -> Case:
    """One DC iteration, all its loops."""
    model, data, config = network(), labelled(IMAGES), DCConfig()
    method = gradients.dc(config, model=model, augment=None, ipc=ipc, classes=CLASSES)
    state = jax.eval_shape(method.init, _key(), data)
    flops = gradients.iteration_flops(config, model, ipc, CLASSES)
    inner = gradients.loops(config, ipc)[1]
    # The network's epochs, and the full batches of one: there are fewer than 256 images.
    trips = (inner,) if ipc > 1 else ()
    return Case(method.step, (_key(), state, data, None), "iteration", flops, trips)


def expert_step(count: int) -> Case:
    """One step of ``count`` experts side by side."""
    model, config = network(), experts.ExpertsConfig()
    trainer = experts.trainer(config, model, CLASSES)
    keys = jax.eval_shape(lambda key: jax.random.split(key, count), _key())
    state = jax.eval_shape(lambda keys: experts.begin_experts(trainer, keys), keys)
    orders = _array(count, IMAGES, kind=jnp.int32)
    numbers = _array(), _array(kind=jnp.int32), _array(kind=jnp.int32)
    arguments = (trainer, keys, state, labelled(IMAGES), orders, *numbers)
    flops = cost.GRADIENT * model.flops * config.expert_batch * count
    whole = experts.full_batches
    return Case(whole, arguments, f"step of {count}", flops, (1,), (0,))


def evaluation(networks: int, ipc: int) -> Case:
    """One epoch of the networks of an evaluation."""
    model, config, images = network(), evaluate.EvalConfig(), ipc * CLASSES
    trainer = evaluate.trainer(config, model, CLASSES, augment)
    people = jax.eval_shape(
        lambda key: evaluate.population(config, key, networks, evaluate.SCHEDULE, jnp.ones(1)),
        _key(),
    )
    start = jax.vmap(lambda key: evaluate.train.start(trainer, key))
    state = jax.eval_shape(start, people.keys)
    last = _array(networks, kind=jnp.int32)
    arguments = (trainer, people, labelled(images), state, _array(kind=jnp.int32), last)
    flops = cost.GRADIENT * model.flops * images * networks
    full = images // config.eval_batch
    return Case(evaluate.advance, arguments, "epoch", flops, (1, full) if full else (1,), (0,))


def scoring(networks: int) -> Case:
    """The logits of one chunk of test images."""
    model = network()
    fresh = jax.vmap(lambda key: model.init(key))
    keys = jax.eval_shape(lambda key: jax.random.split(key, networks), _key())
    params, model_state = jax.eval_shape(fresh, keys)
    images = _array(evaluate.TEST_CHUNK, SIZE, SIZE, 3)
    flops = model.flops * evaluate.TEST_CHUNK * networks
    unit = f"{evaluate.TEST_CHUNK} images"
    return Case(evaluate.logits, (model, params, model_state, images), unit, flops, (), (0,))


#: name -> (makes the case, whether an unroll keeps its residuals; None: as medjax decides on this card).
CASES: dict[str, tuple[Callable[[], Case], bool | None]] = {
    "mtt ipc 1, kept": (lambda: mtt(1), True),
    "mtt ipc 1, recomputed": (lambda: mtt(1), False),
    "mtt ipc 10, kept": (lambda: mtt(10), True),
    "mtt ipc 10, recomputed": (lambda: mtt(10), False),
    "mtt ipc 50, recomputed": (lambda: mtt(50), False),
    "10 experts": (lambda: expert_step(10), None),
    "evaluation of 5, ipc 1": (lambda: evaluation(5, 1), None),
    "evaluation of 5, ipc 50": (lambda: evaluation(5, 50), None),
    "dc ipc 1": (lambda: dc(1), None),
    "dc ipc 10": (lambda: dc(10), None),
    "scoring of 5": (lambda: scoring(5), None),
}


def _array(*shape: int, kind: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, kind)


def _key() -> PyTree:
    return jax.eval_shape(lambda: jax.random.key(0))
