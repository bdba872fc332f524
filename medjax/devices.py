"""Where programs run: side by side on an accelerator, on a CPU on devices of their own, one a core.

XLA keeps several cores busy in one program with large products only; most of what distillation runs is small. So a CPU
is made as many devices as it has cores (`use_cores`), and work is dealt out to these "lanes": whole networks
(`populate`), the classes of a method (`deal`), or the images of one batch (`spread`, `share`).
"""

import contextlib
import contextvars
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from medjax.types import PyTree

#: Devices that a CPU is made, at most.
CORES = 8

#: Name of the axis of a CPU's devices, one a core.
LANES = "lanes"

#: Whether what is traced now gets a leading axis by `jax.vmap`, and with it gradients to weights; see `side_by_side`.
_BESIDE: contextvars.ContextVar[bool] = contextvars.ContextVar("beside", default=False)


def side_by_side() -> bool:
    """Whether several networks, or several gradients to one network's weights, are being made one program (tracing
    only). On a GPU the gradient of such a `lax` convolution is a grouped one with a window as large as the image, for
    which cuDNN has no good kernel; a matrix product stays one (`models.conv.lowering`)."""
    return _BESIDE.get()


def each(function: Callable[..., Any], weights: bool = True) -> Callable[..., Any]:
    """``function`` over a leading axis, inside a step: side by side, or on a CPU one after the other. There a single
    network keeps both cores busy and its activations in cache (five at once took 1.4 times as long). weights: whether
    it takes gradients to a network's weights."""
    if jax.default_backend() == "cpu":
        return lambda *args: lax.map(lambda xs: function(*xs), args)

    def beside(*args: Any) -> Any:
        # One alone (a single expert segment) is not beside another.
        token = _BESIDE.set(weights and jax.tree.leaves(args)[0].shape[0] > 1)
        try:
            return jax.vmap(function)(*args)
        finally:
            _BESIDE.reset(token)

    return beside


def populate(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` over a leading axis of networks that a whole program trains: side by side on an accelerator; on a
    CPU each on a device of its own (`use_cores`), of which there must be enough. A network with a core to itself waits
    for nobody: 5 networks of 8 images took 1.25 times as long one after the other on two cores.

    What comes back lies on several devices: `settle` it before it goes into such a program again.
    """
    if lanes() == 1:
        return each(function)

    def dealt(*args: Any) -> Any:
        networks = jax.tree.leaves(args)[0].shape[0]
        if networks > lanes():
            raise ValueError(f"{networks} networks for {lanes()} devices: use in_groups")

        def own(*mine: Any) -> Any:
            out = function(*jax.tree.map(lambda a: a[0], mine))
            return jax.tree.map(lambda a: a[None], out)

        spec, mesh = jax.P(LANES), _mesh(networks)
        return jax.shard_map(own, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)(*args)

    return dealt


def lanes() -> int:
    """Devices among which one network's batch is dealt out: on a CPU all of them."""
    return jax.local_device_count() if jax.default_backend() == "cpu" else 1


def spread(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, the same on each of the `lanes`, whose index ``lax.axis_index(LANES)`` tells it. Arguments and
    result are whole on all of them; what a lane adds to a gradient is summed over the lanes. One student's images on
    two cores: 1.2 times as fast as one program on both, for nothing waits but the sum."""
    if lanes() == 1:
        return function
    return jax.shard_map(function, mesh=_mesh(lanes()), in_specs=jax.P(), out_specs=jax.P())


def total(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """The sum over the `lanes` of what ``function`` gives on each of them; it is not to be differentiated."""
    if lanes() == 1:
        return function

    def summed(*args: Any) -> PyTree:
        return lax.psum(function(*args), LANES)

    mesh, whole = _mesh(lanes()), jax.P()
    return jax.shard_map(summed, mesh=mesh, in_specs=whole, out_specs=whole, check_vma=False)


def share(count: int, piece: int = 1) -> tuple[Int[Array, " s"], Float[Array, " s"]]:
    """Under `spread` or `total`: which of ``count`` entries are this lane's, a multiple of ``piece``, and 1 for each of
    them; a share that is too long is filled up with entries that count 0."""
    size = -(-count // (lanes() * piece)) * piece
    mine = (lax.axis_index(LANES) if lanes() > 1 else 0) * size + jnp.arange(size)
    return jnp.minimum(mine, count - 1), jnp.where(mine < count, 1.0, 0.0)


def deal(function: Callable[..., Any], weights: bool = True) -> Callable[..., Any]:
    """``function`` over a leading axis, inside a step, of entries that need nothing of one another: side by side, or
    on a CPU dealt out to the `lanes`, one after the other on each. weights: as in `each`."""
    if lanes() == 1:
        return each(function, weights)

    def own(*args: Any) -> Any:
        mine, _ = share(jax.tree.leaves(args)[0].shape[0])
        return lax.map(lambda xs: function(*xs), jax.tree.map(lambda a: a[mine], args))

    def dealt(*args: Any) -> Any:
        count = jax.tree.leaves(args)[0].shape[0]
        mesh, parts = _mesh(lanes()), jax.P(LANES)
        out = jax.shard_map(own, mesh=mesh, in_specs=jax.P(), out_specs=parts, check_vma=False)
        return everywhere(jax.tree.map(lambda a: a[:count], out(*args)))

    return dealt


def everywhere(tree: PyTree) -> PyTree:
    """Inside a program: the tree on all lanes, where `spread` leaves what depends on it, so that a program that is
    called again with what it gave back need not be compiled again."""
    if lanes() == 1:
        return tree
    return lax.with_sharding_constraint(tree, jax.sharding.NamedSharding(_mesh(lanes()), jax.P()))


def _mesh(lanes: int) -> jax.sharding.Mesh:
    return jax.sharding.Mesh(np.array(jax.local_devices()[:lanes]), (LANES,))


def in_groups(program: Callable[..., PyTree], *networks: PyTree) -> PyTree:
    """``program(at_work, *networks)`` over leading axes of any length: all at once on an accelerator, on a CPU as many
    at a time as it has devices, so that one compiled program serves every number of networks. The last group is filled
    up with copies that are not at work (a bool for each) and whose results are dropped."""
    count = jax.tree.leaves(networks)[0].shape[0]
    size = jax.local_device_count() if jax.default_backend() == "cpu" else count
    if size == count:
        return settle(program(np.ones(count, bool), *networks))
    parts = []
    for first in range(0, count, size):
        lanes = np.arange(first, first + size)
        chosen = np.minimum(lanes, count - 1)
        group = jax.tree.map(lambda a, chosen=chosen: a[chosen], networks)
        parts.append(settle(program(lanes < count, *group)))
    return jax.tree.map(lambda *a: np.concatenate(a)[:count], *parts)


def settle(tree: PyTree) -> PyTree:
    """What `populate` made, where every call finds it alike (on a CPU: the host), or the next would compile anew."""
    return jax.device_get(tree) if jax.default_backend() == "cpu" else tree


def use_cores() -> None:
    """Make every core (up to ``CORES``) a device of JAX's CPU backend, unless JAX_NUM_CPU_DEVICES says how many.
    Before JAX is used; later it has no effect."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", min(cores or 1, CORES))
