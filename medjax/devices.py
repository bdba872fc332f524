"""Where programs run: on all devices of the process, which are the GPUs of a machine or the cores of its CPU.

XLA keeps several cores busy within one program only where products are large, and most products in distillation are
small. So `use_cores` makes a CPU as many JAX devices as it has cores. These functions spread work over the devices:

``map``             a function over a leading axis, on one device;
``map_sharded``     the same, the entries dealt out to the devices (classes, expert segments, seeds);
``map_per_device``  the same for networks that a whole program trains, whose states stay where they are; `map_in_groups`
                    for any number of them;
``replicate``       one function on every device, which takes its `shard` of the work (the images of a batch).

A device works through its share one after the other on a CPU, and side by side (`jax.vmap`) on an accelerator. What is
dealt out once is not dealt out again: inside a share there is one device.
"""

import contextlib
import contextvars
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from medjax.types import PyTree

#: The most devices that a CPU is split into.
CORES = 8
#: Name of the mesh axis of the devices.
AXIS = "devices"
#: Images of a batch that an accelerator must have for itself; fewer do not keep it busy, and would only wait for sums.
SHARE = 32
#: While a share is traced: entries side by side in it, and whether it is of several devices.
_BESIDE: contextvars.ContextVar[int] = contextvars.ContextVar("beside", default=1)
_DEALT: contextvars.ContextVar[bool] = contextvars.ContextVar("dealt", default=False)


def on_cpu() -> bool:
    """Whether programs run on a CPU."""
    return jax.default_backend() == "cpu"


def device_count() -> int:
    """Devices that work can be spread over: all of the process; 1 inside a share."""
    return 1 if _DEALT.get() else jax.local_device_count()


def host() -> Any:
    """The host's own device, free while accelerators work; one of theirs, where JAX_PLATFORMS leaves it out."""
    with contextlib.suppress(RuntimeError):
        return jax.local_devices(backend="cpu")[0]
    return jax.local_devices()[0]


def accelerator_bytes() -> float:
    """Memory of an accelerator that JAX may use; a guess where it does not say."""
    return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", 64e9)


def splits(images: int) -> bool:
    """Whether the images of one network's batch are dealt out to the devices."""
    count = device_count()
    return count > 1 and (on_cpu() or images >= SHARE * count)


def beside() -> int:
    """Entries of a leading axis that are worked on at once where this is called while a program is traced."""
    return _BESIDE.get()


def use_cores() -> None:
    """Make every core (up to ``CORES``) a device of JAX's CPU backend, unless JAX_NUM_CPU_DEVICES says how many.
    Call it before JAX is used; later it has no effect."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", min(cores or 1, CORES))


@contextlib.contextmanager
def own_settings() -> Iterator[None]:
    """JAX as a run needs it: 32 bits, one generator of random numbers, and NaN allowed, which stands for what is not
    there. What a user has set otherwise (JAX_ENABLE_X64, JAX_DEFAULT_PRNG_IMPL, JAX_DEBUG_NANS, ...) holds outside, so
    that a command has the same result everywhere. Also a decorator."""
    with (
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),
        jax.default_prng_impl("threefry2x32"),
        jax.threefry_partitionable(True),
        jax.debug_nans(False),
        jax.debug_infs(False),
    ):
        yield


def map(function: Callable[..., Any], *shared: Any) -> Callable[..., Any]:
    """function(*shared, *entry) over a leading axis, inside a step: `jax.vmap` on an accelerator, one entry after the
    other on a CPU, where a single network keeps the cores busy and its activations in cache (five at once took 1.4
    times as long)."""
    function = functools.partial(function, *shared)
    if on_cpu():
        return lambda *args: lax.map(lambda xs: function(*xs), args)

    def side_by_side(*args: Any) -> Any:
        token = _BESIDE.set(_BESIDE.get() * jax.tree.leaves(args)[0].shape[0])
        try:
            return jax.vmap(function)(*args)
        finally:
            _BESIDE.reset(token)

    return side_by_side


def map_sharded(function: Callable[..., Any], *shared: Any) -> Callable[..., Any]:
    """`map` of function(*shared, *entry) for entries that are independent, dealt out to the devices. Arguments and
    results are whole on all of them; the last device may do some entries twice. shared: what has been on the devices
    before goes here, for a program cannot close over it."""
    if device_count() == 1:
        return map(function, *shared)

    def own(shared: tuple[Any, ...], *args: Any) -> Any:
        mine, _ = shard(jax.tree.leaves(args)[0].shape[0])
        entries = jax.tree.map(lambda a: a[mine], args)
        return _share(map(function, *shared), *entries)

    def dealt(*args: Any) -> Any:
        entries = jax.tree.leaves(args)[0].shape[0]
        mesh, parts = _mesh(device_count()), jax.P(AXIS)
        out = jax.shard_map(own, mesh=mesh, in_specs=jax.P(), out_specs=parts, check_vma=False)
        return replicated(jax.tree.map(lambda a: a[:entries], out(shared, *args)))

    return dealt


def _at_work(networks: int) -> int:
    """The devices that `map_per_device` uses for so many networks."""
    return max(d for d in range(1, device_count() + 1) if networks % d == 0)


def place(tree: PyTree, networks: int) -> PyTree:
    """What all of so many networks need, whole on each device that `map_per_device` uses for them: from one device
    alone every call would copy it to the others again. 90,000 images took a second on two cores."""
    if device_count() == 1:
        return tree
    return jax.device_put(tree, jax.NamedSharding(_mesh(_at_work(networks)), jax.P()))


def map_per_device(function: Callable[..., Any], *shared: Any) -> Callable[..., Any]:
    """function(*shared, *entry) over a leading axis of networks that a whole program trains: an equal share for as many
    devices as their number can be divided by; on a CPU one network each. A network with a core of its own waits for no
    other: 5 networks of 8 images took 1.25 times as long one after the other on two cores.

    The result lies on several devices: `gather` it before it goes into such a program again. shared: see `place`.
    """
    if device_count() == 1:
        return map(function, *shared)

    def dealt(*args: Any) -> Any:
        networks, lanes = jax.tree.leaves(args)[0].shape[0], device_count()
        if networks > lanes and on_cpu():
            raise ValueError(f"{networks} networks for {lanes} devices: use map_in_groups")
        at_work = _at_work(networks)

        def own(shared: tuple[Any, ...], *mine: Any) -> Any:
            if networks > at_work:
                return _share(map(function, *shared), *mine)
            out = _share(function, *shared, *jax.tree.map(lambda a: a[0], mine))
            return jax.tree.map(lambda a: a[None], out)

        spec, mesh = jax.P(AXIS), _mesh(at_work)
        specs = (jax.P(), *[spec] * len(args))
        dealt_out = jax.shard_map(own, mesh=mesh, in_specs=specs, out_specs=spec, check_vma=False)
        return dealt_out(shared, *args)

    return dealt


def _share(function: Callable[..., Any], *args: Any) -> Any:
    """What one of several devices does."""
    token = _DEALT.set(True)
    try:
        return function(*args)
    finally:
        _DEALT.reset(token)


def group_size(count: int) -> int:
    """Networks in each call of `map_in_groups` with ``count``."""
    lanes = device_count()
    return lanes if on_cpu() else count if count < lanes else -(-count // lanes) * lanes


def map_in_groups(program: Callable[..., PyTree], *networks: PyTree) -> PyTree:
    """``program(at_work, *networks)`` over leading axes of any length: all at once on accelerators; on a CPU as many at
    a time as it has devices, so that one compiled program serves any number of networks. The last group is padded with
    copies; ``at_work`` (a bool for each entry) is False for them, and their results are dropped."""
    size, parts = group_size(count := jax.tree.leaves(networks)[0].shape[0]), []
    if size == count:
        return gather(program(np.ones(count, bool), *networks))
    for first in range(0, count, size):
        places = np.arange(first, first + size)
        chosen = np.minimum(places, count - 1)
        group = jax.tree.map(lambda a, chosen=chosen: a[chosen], networks)
        parts.append(gather(program(places < count, *group)))
    return jax.tree.map(lambda *a: np.concatenate(a)[:count], *parts)


def replicate(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` on every device; `shard` tells each its share. Arguments and result are whole on all devices, and
    gradients to the arguments are summed over the devices. One student's images on two cores: 1.2 times as fast as one
    program on both, for only the sum has to wait."""
    if device_count() == 1:
        return function
    return jax.shard_map(function, mesh=_mesh(device_count()), in_specs=jax.P(), out_specs=jax.P())


def replicate_and_sum(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """The sum over the devices of what ``function`` returns on each; it cannot be differentiated."""
    if device_count() == 1:
        return function

    def summed(*args: Any) -> PyTree:
        return lax.psum(function(*args), AXIS)

    mesh, whole = _mesh(device_count()), jax.P()
    return jax.shard_map(summed, mesh=mesh, in_specs=whole, out_specs=whole, check_vma=False)


def shard(count: int, piece: int = 1) -> tuple[Int[Array, " s"], Float[Array, " s"]]:
    """Inside `replicate` or `replicate_and_sum`: (indices, weights) of this device's share of ``count`` entries. The
    share's length is a multiple of ``piece``; a share that is too long is padded with entries of weight 0, all others
    have weight 1."""
    devices = device_count()
    size = -(-count // (devices * piece)) * piece
    mine = (lax.axis_index(AXIS) if devices > 1 else 0) * size + jnp.arange(size)
    return jnp.minimum(mine, count - 1), jnp.where(mine < count, 1.0, 0.0)


def replicated(tree: PyTree) -> PyTree:
    """Inside a program: the tree on all devices, where `replicate` leaves its results, so that a program that is called
    again with its own result is not compiled again."""
    if device_count() == 1:
        return tree
    whole = jax.sharding.NamedSharding(_mesh(device_count()), jax.P())
    return lax.with_sharding_constraint(tree, whole)


def gather(tree: PyTree) -> PyTree:
    """The result of `map_per_device` in one place (of several devices: the host), so that the next call of such a
    program is not compiled again."""
    return jax.device_get(tree) if jax.local_device_count() > 1 or on_cpu() else tree


def _mesh(devices: int) -> jax.sharding.Mesh:
    return jax.sharding.Mesh(np.array(jax.local_devices()[:devices]), (AXIS,))
