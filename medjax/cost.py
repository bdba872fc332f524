"""How much work things are: for the size of a device call, and for the forecast before a run.

Chunk sizes follow from these constants, the configuration and the kind of device, never from a measurement, so that
two runs of one command are cut alike and agree bit for bit.
"""

import functools
import math
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from medjax import devices
from medjax.models.base import Model
from medjax.types import PyTree

#: Floating-point operations of one device call: a few seconds of work, so that progress is shown, Ctrl-C is heard and
#: checkpoints are written often.
WORK_PER_CALL = {"cpu": 5e11, "gpu": 2e14}

#: Images whose activations of one layer stay in a CPU's cache (ConvNet-3-128, 32 px).
CPU_PIECE = 16
#: Test images a device call sees per network on an accelerator: at least, at most, and bytes of all networks.
TEST_CHUNK, LARGE_CHUNK, CHUNK_BYTES = 64, 1024, 4e9

#: A gradient costs three forward passes, the gradient of a function of a gradient nine, an MTT inner step with its
#: share of a checkpointed meta-gradient twelve.
GRADIENT, SECOND_GRADIENT, META_STEP = 3, 9, 12

#: Share of the matrix-product rate that training reaches, counted as direct convolutions, of which Winograd does about
#: half (2 CPU cores, ConvNet-3-128, results/benchmarks-cpu: 0.7 on 8 images to 1.4). Forecasts take the low end.
EFFICIENCY = 0.7

#: Bytes alive in a step whose gradient is differentiated again, as a multiple of `bytes_read` of its images (10 MB an
#: image with ConvNet-3-128 on a CPU, of which 1.9 are read).
META_ALIVE = 5.5
#: Fitted to the peaks of runs of all networks on two CPU cores (tests/test_memory.py): the share alive of what a
#: gradient keeps; of the largest operation; a process with its compiled programs.
KEPT_ALIVE, WIDEST_ALIVE, BASE_BYTES = 1.0, 1.2, 8e8
#: Fitted too: copies of the parameters of a network at work (Winograd's filters and derivatives among them), and of one
#: that waits for its turn, is saved or scored.
COPIES, WAITING = 15, 6
#: float64 matrices d x d that are alive while ZCA is fitted, and a process before it.
ZCA_MATRICES, STARTED_BYTES = 8, 2.6e8

#: What an unroll may keep of its steps for the derivative: all that it reads; the outputs of convolutions; nothing, so
#: that it computes each step again. And which share of the bytes that is (ConvNet-3-128 on an H200).
KEPT_OF = {"kept": 1.0, "convolutions": 0.42, "recomputed": 0.0}
RESIDUALS = tuple(KEPT_OF)
#: Bytes that a CPU keeps together; the share of its memory that an accelerator keeps.
KEPT, KEPT_SHARE = 5e8, 0.25
#: Copies in memory of what a device call's iterations read: while it is gathered, of the call at work, of the next.
FED = 4
#: Images of an inner step that do not keep an accelerator busy.
FEW_IMAGES = 100


@functools.lru_cache(maxsize=64)
def bytes_read(model: Model, image: tuple[int, ...]) -> float:
    """Bytes that the derivative of a training step reads of each ``image`` (h, w, c): what an unrolled step keeps where
    nothing is computed again; the parameters of the step and their gradient, which it reads too, are not in it. Counted
    in the traced program; nothing is computed."""
    params, model_state = jax.eval_shape(model.init, jax.random.key(0))

    def loss(params: PyTree, model_state: PyTree, images: Array) -> Array:
        return jnp.sum(model.apply(params, model_state, images, True)[0] ** 2)

    def reads(params: PyTree, model_state: PyTree, images: Array) -> PyTree:
        gradient = jax.grad(loss)
        return jax.vjp(lambda p, x: gradient(p, model_state, x), params, images)[1]

    # So many images that the parameters, which are read once, do not matter.
    many = 4096
    images = jax.ShapeDtypeStruct((many, *image), jnp.float32)
    kept = jax.eval_shape(reads, params, model_state, images)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept)) / many


class Footprint(NamedTuple):
    """Bytes of a network: of its parameters; while an ``image`` passes through it; and of what its gradient adds."""

    parameters: float
    forward: float
    gradient: float


@functools.lru_cache(maxsize=64)
def footprint(model: Model, image: tuple[int, ...]) -> Footprint:
    """What a network needs, counted in traced programs; nothing is computed. image: (h, w, c)."""
    many = 4096
    params, model_state = jax.eval_shape(model.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((many, *image), jnp.float32)

    def forward(params: PyTree, images: Array) -> Array:
        fresh = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), model_state)
        return model.apply(params, fresh, images, True)[0]

    def keep(params: PyTree, images: Array) -> PyTree:
        return jax.vjp(lambda p: jnp.sum(forward(p, images) ** 2), params)[1]

    kept = sum(_bytes(leaf) for leaf in jax.tree.leaves(jax.eval_shape(keep, params, images)))
    widest = _widest(jax.make_jaxpr(forward)(params, images).jaxpr)
    size = sum(_bytes(leaf) for leaf in jax.tree.leaves(params))
    return Footprint(size, WIDEST_ALIVE * widest / many, KEPT_ALIVE * kept / many)


def _widest(program: Any) -> int:
    """Bytes that the largest operation of a traced program reads and writes."""
    largest = 0
    for operation in program.eqns:
        inner = [p for value in operation.params.values() for p in _programs(value)]
        sides = [_bytes(v.aval) for v in (*operation.invars, *operation.outvars)]
        largest = max(largest, *map(_widest, inner)) if inner else max(largest, sum(sides))
    return largest


def _programs(value: Any) -> list[Any]:
    """The programs in a parameter of an operation."""
    values = value if isinstance(value, list | tuple) else [value]
    found = [getattr(v, "jaxpr", v) for v in values]
    return [p for p in found if hasattr(p, "eqns")]


def _bytes(array: Any) -> int:
    return array.size * array.dtype.itemsize


def residuals(size: float) -> str:
    """What an unroll keeps whose derivative reads ``size`` bytes, of `RESIDUALS`. Follows from configuration and
    device alone. An accelerator computes faster than it reads, so that it keeps the outputs of convolutions alone
    (H200, MTT at 8 to 400 images: 1.05 to 1.1 times as fast as with nothing kept, 1.15 to 1.3 times as with all)."""
    if devices.on_cpu():
        return "kept" if size <= KEPT else "recomputed"
    room = KEPT_SHARE * devices.accelerator_bytes()
    fits = size * KEPT_OF["convolutions"] * devices.beside() <= room
    return "convolutions" if fits else "recomputed"


def unroll(images: int) -> int:
    """Inner steps on so many images in one turn of an unroll's loop. On an accelerator a small step is many short
    kernels, of which fewer are left when steps are compiled together (H200, 8 images, 4 steps: 1.15 times as fast); a
    large one only takes longer to compile. XLA takes loops into CUDA graphs from two on."""
    if devices.on_cpu():
        return 1
    return 4 if images <= FEW_IMAGES else 2


def chunk_size(model: Model, image: tuple[int, ...], networks: int) -> int:
    """Test images of a device call per network, for images [h, w, c]."""
    if devices.on_cpu():
        return CPU_PIECE
    fit = CHUNK_BYTES * devices.device_count() / (networks * footprint(model, image).forward)
    return max(TEST_CHUNK, min(LARGE_CHUNK, int(fit)))


def passes(networks: int, epochs: int, images: int, scored: int) -> int:
    """Forward passes of an image that the training of networks takes, and their score on so many images in the end."""
    return networks * (GRADIENT * epochs * images + scored)


def work_per_call() -> float:
    """Floating-point operations of one device call here."""
    return WORK_PER_CALL.get(jax.default_backend(), WORK_PER_CALL["gpu"])


def fed_bytes(every: int, iteration: float, size: float) -> float:
    """Bytes of what the iterations of device calls read. every: iterations between evaluations. iteration:
    floating-point operations of one. size: bytes that it reads."""
    return FED * per_call(every, work_per_call() / iteration) * size


def matrix_rate() -> float:
    """Floating-point operations a second of large matrix products here; for forecasts only. Takes a second or less."""
    n = 1024 if devices.on_cpu() else 8192
    x = jnp.full((n, n), 0.5)
    product = jax.jit(lambda a: a @ a)
    product(x).block_until_ready()
    best = float("inf")
    for _ in range(5):
        begin = time.perf_counter()
        product(x).block_until_ready()
        best = min(best, time.perf_counter() - begin)
    return 2.0 * n**3 / best


def per_call(every: int, wanted: float) -> int:
    """Iterations a device call, at most ``wanted``, so that calls end at every multiple of ``every``: a divisor of it
    where one is near, so that all calls are one program; else pieces that are nearly equal, which are two."""
    wanted = max(1.0, min(wanted, every))
    fewest = math.ceil(every / wanted)
    for pieces in range(fewest, 2 * fewest):
        if every % pieces == 0:
            return every // pieces
    return math.ceil(every / fewest)
