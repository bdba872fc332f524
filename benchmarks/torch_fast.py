"""What a PyTorch user reaches with little work: channels_last, TF32, torch.func.vmap over networks, torch.compile.

torch.compile does not differentiate twice, so MTT and DC stay eager here; the other loops are compiled whole.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad, vmap

from benchmarks import torch_side
from benchmarks.torch_side import (
    BATCH,
    CLASSES,
    DEVICE,
    SIZE,
    Case,
    ceiling,
    device_megabytes,
    drawn,
    forward,
    fresh,
    rest,
    split,
    synchronise,
)

__all__ = ["ceiling", "dc", "device_megabytes", "evaluation", "expert_steps", "mtt", "rest"]

torch.backends.cuda.matmul.allow_tf32 = True
torch.backends.cudnn.allow_tf32 = True


def mtt(images: int, steps: int) -> Case:
    """The eager iteration on channels_last images."""
    how = channels_last()
    return torch_side.mtt(images, steps)[0], how


def dc(ipc: int, outer: int, inner: int) -> Case:
    """The eager iteration on channels_last images."""
    how = channels_last()
    return torch_side.dc(ipc, outer, inner)[0], how


def channels_last() -> dict[str, Any]:
    """Switch the twin's networks to channels_last images; says so."""
    plain = torch_side.forward

    def forward_last(parts: list[Tensor], x: Tensor) -> Tensor:
        return plain(parts, x.contiguous(memory_format=torch.channels_last))

    torch_side.forward = forward_last
    return {"how": "channels_last" + (", TF32" if DEVICE.type == "cuda" else "")}


def population(count: int) -> list[Tensor]:
    """The parameters of ``count`` networks, stacked."""
    people = [split(fresh()) for _ in range(count)]
    return [torch.stack(parts) for parts in zip(*people, strict=True)]


def step_of(momentum: float, decay: float) -> Callable[..., Any]:
    """A compiled SGD step of all networks; every network has images of its own."""

    def loss(parts: list[Tensor], x: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(forward(parts, x), labels)

    def step(parts: list[Tensor], trace: list[Tensor], x: Tensor, labels: Tensor) -> Any:
        gradients = vmap(grad(loss))(parts, x, labels)
        gradients = [g + decay * p for g, p in zip(gradients, parts, strict=True)]
        trace = [momentum * t + g for t, g in zip(trace, gradients, strict=True)]
        return [p - 0.01 * t for p, t in zip(parts, trace, strict=True)], trace

    return torch.compile(step)


def train(count: int, x: Tensor, labels: Tensor, epochs: int, recipe: tuple) -> Case:
    """``epochs`` passes of ``count`` networks over the images, DSA drawn once for all networks."""
    networks, step = population(count), step_of(*recipe)

    def once() -> None:
        parts, trace = networks, [torch.zeros_like(p) for p in networks]
        for _ in range(epochs):
            for i in range(0, len(x), BATCH):
                block = x[i : i + BATCH].repeat(count, 1, 1, 1)
                block = drawn(block).view(count, -1, *x.shape[1:])
                parts, trace = step(parts, trace, block, labels[i : i + BATCH].expand(count, -1))
        synchronise()

    return once, {"how": "torch.compile of torch.func.vmap over networks"}


def expert_steps(count: int, steps: int = 2) -> Case:
    x = torch.randn(steps * BATCH, 3, SIZE, SIZE, device=DEVICE)
    labels = torch.arange(len(x), device=DEVICE) % CLASSES
    return train(count, x, labels, 1, (0.0, 0.0))


def evaluation(networks: int, images: int, epochs: int) -> Case:
    x = torch.randn(images, 3, SIZE, SIZE, device=DEVICE)
    labels = torch.arange(images, device=DEVICE) % CLASSES
    return train(networks, x, labels, epochs, (0.9, 5e-4))
