"""Run by test_devices.py in a process with so many devices: populations, classes, segments, seeds and one student.

    python tests/on_devices.py FILE.npz [gpu]

With "gpu" the devices are treated as those of a machine with several cards.
"""

import sys

import jax

if sys.argv[2:] == ["gpu"]:
    jax.default_backend = lambda: "gpu"

import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jitter import Jitter

from benchmarks.aot import hlo
from medjax import devices, evaluate, experts
from medjax.distill import Distiller, dc, moments, mtt, run, tgdd
from medjax.distill.base import iterated
from medjax.distill.dc import DCConfig
from medjax.distill.moments import Moments, Wanted
from medjax.distill.mtt_config import MTTConfig
from medjax.distill.seeds import stacked, together
from medjax.distill.tgdd import TGDDConfig
from medjax.eval_config import EvalConfig
from medjax.models import ConvNetConfig, build, convnet
from medjax.models.mlp import MLPConfig
from medjax.types import Dataset, Synthetic, Trajectories

devices.SHARE = 2  # images of a student that are worth a device of their own, in so small a case
DEEP, MODEL = (
    convnet(ConvNetConfig(width=4, depth=depth, conv="im2col"), classes=3, size=8, channels=3)
    for depth in (2, 1)
)
#: Where the network has no part in what is dealt out: one that compiles fast.
SMALL = build("mlp", MLPConfig(4), classes=3, size=8, channels=3)
#: In place of DSA, which is traced slowly.
JITTER = Jitter()
DATA = Dataset(jax.random.normal(jax.random.key(1), (24, 8, 8, 3)), jnp.arange(24) % 3)


def flat(tree):
    return np.concatenate([np.ravel(a) for a in jax.tree.leaves(jax.device_get(tree))])


def expert_group():
    trainer = experts.trainer(experts.ExpertsConfig(expert_batch=8), MODEL, 3)
    read = experts.train_in_memory(trainer, jax.random.key(2), DATA, 0.01, experts=5, epochs=2).read
    return np.stack([read(i, np.arange(3)) for i in range(5)])


def evaluation():
    trainer = evaluate.trainer(EvalConfig(), MODEL, 3, JITTER)
    people = evaluate.population(EvalConfig(), jax.random.key(3), 6, 3, jnp.array([0.01]))
    fresh = evaluate.start_networks(trainer, people)
    *_, (_, state) = evaluate.train_networks(trainer, people, DATA, fresh)
    return np.append(flat(state.params), evaluate.predict(MODEL, state, DATA.images))


def distilled(method: Distiller, key, state, chunk=2):
    *_, last = run(method, key, DATA, state, first=0, iterations=4, chunk=chunk)
    return last.state


def classes():
    method = dc.dc(DCConfig(batch_real=4), model=SMALL, augment=JITTER, ipc=1, classes=3)
    return flat(distilled(method, jax.random.key(4), method.init(jax.random.key(5), DATA)))


def trajectories(seed, model):
    keys = jax.random.split(jax.random.key(seed), 4)
    rows = np.stack([np.asarray(ravel_pytree(model.init(key)[0])[0]) for key in keys])
    return Trajectories(lambda expert, epochs: rows[epochs], 1, 3)


def snapshot():
    """The moments of all images at one snapshot, in pieces of which the last is shorter."""
    key, wanted = jax.random.key(11), Wanted("moments", JITTER, 2, 1)
    groups = moments.cut(np.asarray(DATA.labels), at_once=4, size=5)
    (row,) = trajectories(12, DEEP).read(0, np.arange(1))
    return moments.of_snapshot(wanted, DEEP, key, (0, 0), row, DATA.images, groups, 3)


def class_moments():
    return snapshot().means


def matched_classes():
    """Images that approach them."""
    config, found = TGDDConfig(max_start_epoch=2, draws=2, statistics="moments"), snapshot()
    parts = {"model": DEEP, "augment": JITTER, "trajectories": trajectories(12, DEEP)}
    read = Moments(lambda expert, epoch: found, np.asarray([0, 11], np.uint32))
    method = tgdd.tgdd(config, **parts, moments=read, ipc=2, classes=3)
    state = method.init(jax.random.key(5), DATA)
    return flat(distilled(method, jax.random.key(13), state).images)


def students(meta_batch, seed=6, model=SMALL):
    config = MTTConfig(inner_steps=3, max_start_epoch=2, expert_span=2, meta_batch=meta_batch)
    parts = {"model": model, "augment": JITTER, "trajectories": trajectories(seed, model)}
    return mtt.mtt(config, **parts, ipc=4, classes=3)


def segments():
    method = students(4)
    return flat(distilled(method, jax.random.key(7), method.init(jax.random.key(5), DATA)).images)


def five_seeds():
    methods = [students(1, seed) for seed in range(5)]
    keys = jax.random.split(jax.random.key(8), 5)
    state = stacked([m.init(key, DATA) for m, key in zip(methods, keys, strict=True)])
    return together(methods), keys, state


def seeds():
    return flat(distilled(*five_seeds()).images)


def exchanges():
    """How often devices exchange data in a call of three iterations of five seeds, and of six."""
    method, keys, state = five_seeds()

    def count(iterations):
        numbers = jnp.arange(iterations)
        arguments = state, keys, DATA, numbers, method.feed(keys, numbers)
        compiled = jax.jit(iterated(method, several=True)).lower(*arguments).compile()
        return sum(hlo.collectives(hlo.read_hlo(compiled.as_text())).values())

    return np.array([count(3), count(6)])


def one_student():
    """A gradient through three steps whose images are dealt out."""
    start = jnp.asarray(trajectories(9, DEEP).read(0, np.arange(1))[0])
    table = jnp.tile(jnp.arange(12, dtype=jnp.int32), (3, 1))
    labels = jnp.arange(12, dtype=jnp.int32) % 3

    def loss(images, rate):
        made = Synthetic(images, labels, rate)
        end = mtt.student(DEEP, JITTER, jax.random.key(10), made, start, table)
        return (jnp.sin(end) * jnp.arange(end.size)).sum()

    return flat(jax.jit(jax.grad(loss, (0, 1)))(DATA.images[:12], jnp.float32(0.1)))


if __name__ == "__main__":
    found = {"devices": np.array(jax.device_count())}
    parts = [expert_group, evaluation, class_moments, matched_classes]
    parts += [classes, segments, seeds, one_student]
    for part in parts + [exchanges] * (jax.device_count() > 1):
        found[part.__name__] = part()
    np.savez(sys.argv[1], allow_pickle=False, **found)
