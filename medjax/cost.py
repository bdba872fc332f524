"""How much work things are: for the size of a device call, and for the forecast before a run.

Chunk sizes follow from these constants, the configuration and the kind of device, never from a measurement, so that
two runs of one command are cut alike and agree bit for bit.
"""

import time

import jax
import jax.numpy as jnp

#: Floating-point operations of a device call that keeps progress bars, Ctrl-C and checkpoints lively (some seconds).
WORK_PER_CALL = {"cpu": 5e11, "gpu": 2e13}

#: A gradient costs three forward passes, the gradient of a function of a gradient nine, an MTT inner step with its
#: share of a checkpointed meta-gradient twelve.
GRADIENT, SECOND_GRADIENT, META_STEP = 3, 9, 12

#: Share of the matrix-product rate that training reaches (2 CPU cores, ConvNet-3-128: 230 of 400 GFLOP/s).
EFFICIENCY = 0.5

#: Bytes alive per floating-point operation of the images in one inner step (measured: 10 MB an image of 0.1 GFLOP).
BYTES_PER_FLOP = 0.1


def work_per_call() -> float:
    """Floating-point operations of one device call here."""
    return WORK_PER_CALL.get(jax.default_backend(), WORK_PER_CALL["gpu"])


def matrix_rate() -> float:
    """Floating-point operations a second of large matrix products here; for forecasts only. Takes a second or less."""
    n = 1024 if jax.default_backend() == "cpu" else 8192
    x = jnp.full((n, n), 0.5)
    product = jax.jit(lambda a: a @ a)
    product(x).block_until_ready()
    best = float("inf")
    for _ in range(5):
        begin = time.perf_counter()
        product(x).block_until_ready()
        best = min(best, time.perf_counter() - begin)
    return 2.0 * n**3 / best


def divisor(total: int, wanted: float) -> int:
    """The largest divisor of ``total`` that is at most ``wanted``, at least 1."""
    return max(d for d in range(1, total + 1) if total % d == 0 and d <= max(1, wanted))
