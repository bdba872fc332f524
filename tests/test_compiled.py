"""A guard against slow programs that needs no clock: work and memory of the compiled hot loops, as XLA counts them.

The numbers in golden/compiled.json belong to one version of jax on a CPU; `python tests/test_compiled.py` writes them
anew. A change that makes a program do or hold more than a tenth more must say why.
"""

import functools
import json
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from medjax import cost, evaluate, experts
from medjax.augment import augment
from medjax.distill.mtt import mtt
from medjax.distill.mtt_config import MTTConfig
from medjax.distill.segments import Segments
from medjax.eval_config import EvalConfig
from medjax.models import ConvNetConfig, convnet
from medjax.types import Dataset, Trajectories

GOLDEN = Path(__file__).parent / "golden" / "compiled.json"
MODEL = convnet(ConvNetConfig(width=32), classes=4, size=16, channels=3)


def images(n):
    return Dataset(jnp.zeros((n, 16, 16, 3)), jnp.arange(n, dtype=jnp.int32) % 4)


def iteration(steps):
    """One MTT iteration on eight images."""
    flat = ravel_pytree(MODEL.init(jax.random.key(0))[0])[0]
    reader = Trajectories(lambda expert, epochs: np.stack([flat] * len(epochs)), 1, 1)
    config = MTTConfig(inner_steps=steps, max_start_epoch=1, expert_span=1)
    method = mtt(config, model=MODEL, augment=augment, trajectories=reader, ipc=2, classes=4)
    key, data = jax.random.key(0), images(8)
    state, item = method.init(key, data), Segments(flat.reshape(1, -1), flat.reshape(1, -1))
    return jax.jit(method.step).lower(key, state, data, item)


def frugal_iteration(steps):
    """The same where memory is too small to keep what the steps' derivatives read."""
    with mock.patch.object(cost, "KEPT", 0):
        return iteration(steps)


def expert_epoch():
    """Two steps of 64 images."""
    trainer = experts.trainer(experts.ExpertsConfig(expert_batch=64), MODEL, 4)
    data, keys = images(128), jax.random.split(jax.random.key(0), 1)
    state = experts.begin_experts(trainer, keys)
    orders, step_keys = experts.begin_epoch(trainer, keys, jnp.int32(0), data.labels)
    numbers = jnp.float32(0.01), jnp.int32(0), jnp.int32(2)
    return experts.full_batches.lower(trainer, step_keys, state, data, orders, *numbers)


def evaluation():
    """Two networks (one a device), some epochs."""
    config = EvalConfig()
    trainer = evaluate.trainer(config, MODEL, 4, augment)
    people = evaluate.population(config, jax.random.key(0), 2, 4, jnp.array([0.01]))
    state = evaluate.start_networks(trainer, people)
    first, last = jnp.int32(0), jnp.int32([4, 4])
    return evaluate.advance.lower(trainer, people, images(8), state, first, last)


PROGRAMS = {
    "iteration": lambda: iteration(4),
    "longer iteration": lambda: iteration(8),
    "frugal iteration": lambda: frugal_iteration(4),
    "longer frugal iteration": lambda: frugal_iteration(8),
    "experts": expert_epoch,
    "evaluation": evaluation,
}


@functools.cache
def measured(name):
    """Counted floating-point operations, and bytes of temporaries."""
    compiled = PROGRAMS[name]().compile()
    flops = compiled.cost_analysis()["flops"]
    return {"flops": flops, "temporaries": compiled.memory_analysis().temp_size_in_bytes}


def golden():
    known = json.loads(GOLDEN.read_text())
    if known["jax"] != jax.__version__ or jax.default_backend() != "cpu":
        pytest.skip(f"counted with jax {known['jax']} on a CPU")
    return known


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_program_grew(name):
    """At most a tenth more work and memory than before."""
    before, now = golden()[name], measured(name)
    for what, value in now.items():
        assert value <= 1.1 * before[what], f"{what} of {name}: {before[what]:.3g} -> {value:.3g}"


def test_memory_of_the_unroll():
    """Checkpointed steps: four more of them cost little more than four more parameter vectors."""
    names = ("frugal iteration", "longer frugal iteration")
    few, many = (measured(name)["temporaries"] for name in names)
    parameters = sum(p.size for p in jax.tree.leaves(MODEL.init(jax.random.key(0))[0]))
    assert many - few < 4 * 4 * 4 * parameters


def test_what_a_step_keeps_is_counted_before_it_is_compiled():
    """Four more steps that nothing computes again hold as much more as `cost.bytes_read` says, in each lane, and their
    parameters with the gradient to them."""
    few, many = (measured(name)["temporaries"] for name in ("iteration", "longer iteration"))
    a_lane = 8 // jax.local_device_count()
    parameters = sum(p.size for p in jax.tree.leaves(MODEL.init(jax.random.key(0))[0]))
    a_step = a_lane * cost.bytes_read(MODEL, (16, 16, 3)) + 2 * 4 * parameters
    assert many - few == pytest.approx(4 * a_step, rel=0.1)


def test_what_a_step_keeps_grows_with_the_width_and_the_area():
    """Not with the operations, which grow with the width's square."""

    def read(width, size):
        model = convnet(ConvNetConfig(width=width), classes=4, size=size, channels=3)
        return cost.bytes_read(model, (size, size, 3))

    assert read(128, 16) == pytest.approx(2 * read(64, 16), rel=0.15)
    assert read(64, 32) == pytest.approx(4 * read(64, 16), rel=0.15)


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 2)  # as in conftest.py
    table = {name: measured(name) for name in PROGRAMS}
    GOLDEN.write_text(json.dumps({"jax": jax.__version__} | table, indent=1) + "\n")
