"""How a program of `benchmarks.programs` is computed: what medjax chooses for a device, replaced for a comparison."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

from jax import lax

from medjax import cost, devices, graphs


class Policy(NamedTuple):
    """How a program is computed; None, or "": as medjax decides.

    residuals: of `cost.RESIDUALS`. unroll: inner steps in a turn of the loop. graphs: whole loops as CUDA graphs.
    bf16: activations. conv: lowering. one_by_one: networks one after the other instead of side by side. chunk: test
    images of a call.
    """

    residuals: str = ""
    unroll: int | None = None
    graphs: bool = False
    bf16: bool = False
    conv: str = "auto"
    one_by_one: bool = False
    chunk: int = 0

    @property
    def words(self) -> str:
        """The policy in a few words."""
        parts = [self.residuals, self.unroll and f"unroll {self.unroll}", self.graphs and "graphs"]
        parts += [self.bf16 and "bf16", self.conv != "auto" and self.conv]
        parts += [self.one_by_one and "one by one", self.chunk and f"chunks of {self.chunk}"]
        return ", ".join(part for part in parts if part)


@contextlib.contextmanager
def under(policy: Policy) -> Iterator[None]:
    """medjax's own choices replaced by the policy's, while a program is traced."""
    with contextlib.ExitStack() as stack:

        def replace(where: Any, name: str, value: Any) -> None:
            stack.enter_context(mock.patch.object(where, name, value))

        if policy.residuals:
            replace(cost, "residuals", lambda size: policy.residuals)
        if policy.unroll:
            replace(cost, "unroll", lambda images: policy.unroll)
        if policy.one_by_one:
            replace(devices, "map_per_device", one_by_one)
        yield


def one_by_one(function: Callable[..., Any], *shared: Any) -> Callable[..., Any]:
    """In place of `devices.map_per_device`."""
    return lambda *args: lax.map(lambda xs: function(*shared, *xs), args)


def compiler_options(policy: Policy) -> dict[str, Any] | None:
    """For `jax.jit`."""
    return graphs.GRAPHS if policy.graphs else None
