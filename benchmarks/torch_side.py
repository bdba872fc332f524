"""The PyTorch twin, written from the equations the way research codes do it: eager, autograd with ``create_graph``, one
network after the other, a flat parameter vector. Images are [n, c, h, w]; weights as torch keeps them.

tests/test_benchmarks.py holds its values against medjax's on the same weights and data.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Case = tuple[Callable[[], Any], dict[str, Any]]
CLASSES, SIZE = 8, 32
#: Images of a step.
BATCH = 256
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
FAMILIES = ("color", "crop", "cutout", "flip", "scale", "rotate")


def shapes(width: int = 128, channels: int = 3, classes: int = CLASSES) -> list[tuple[int, ...]]:
    """Weight, bias, norm scale and shift of three blocks; weight and bias of the linear layer."""
    found: list[tuple[int, ...]] = []
    for _ in range(3):
        found += [(width, channels, 3, 3), (width,), (width,), (width,)]
        channels = width
    return [*found, (classes, width * (SIZE // 8) ** 2), (classes,)]


def fresh(width: int = 128) -> Tensor:
    """A network's parameters as one vector."""
    parts = []
    for i, shape in enumerate(shapes(width)):
        if len(shape) > 1:
            bound = math.prod(shape[1:]) ** -0.5
            parts.append(torch.empty(shape).uniform_(-bound, bound))
        else:
            parts.append(torch.ones(shape) if i % 4 == 2 and i < 12 else torch.zeros(shape))
    return torch.cat([p.flatten() for p in parts]).to(DEVICE)


def split(flat: Tensor, width: int = 128) -> list[Tensor]:
    """Views of the vector, one per parameter."""
    sizes = [math.prod(s) for s in shapes(width)]
    pieces = flat.split(sizes)
    return [p.view(s) for p, s in zip(pieces, shapes(width), strict=True)]


def forward(parts: list[Tensor], x: Tensor) -> Tensor:
    """Logits of ConvNet-3."""
    for i in range(3):
        weight, bias, scale, shift = parts[4 * i : 4 * i + 4]
        x = F.conv2d(x, weight, bias, padding=1)
        x = F.avg_pool2d(F.relu(F.instance_norm(x, weight=scale, bias=shift, eps=1e-5)), 2)
    return F.linear(x.flatten(1), parts[-2], parts[-1])


def augment(x: Tensor, family: str, u: Tensor) -> Tensor:
    """One family of DSA with parameters from ``u`` [n, 3], uniform on [0, 1)."""
    n, _, h, w = x.shape
    first, second, third = (v.view(-1, 1, 1, 1) for v in u.T)
    if family == "color":
        x = x + (first - 0.5)
        grey = x.mean(1, keepdim=True)
        x = grey + (x - grey) * (2 * second)
        mean = x.mean((1, 2, 3), keepdim=True)
        return mean + (x - mean) * (third + 0.5)
    if family == "flip":
        return torch.where(first < 0.5, x.flip(3), x)
    rows, columns = torch.arange(h, device=x.device), torch.arange(w, device=x.device)
    if family == "cutout":
        size, left, top = h // 2, (u[:, 0] * (w + 1)).floor(), (u[:, 1] * (h + 1)).floor()
        inside_y = (rows >= (top - size // 2)[:, None]) & (rows < (top + size - size // 2)[:, None])
        inside_x = (columns >= (left - size // 2)[:, None]) & (
            columns < (left + size - size // 2)[:, None]
        )
        hole = inside_y[:, None, :, None] & inside_x[:, None, None, :]
        return x * ~hole
    if family == "crop":
        reach = h // 8
        shift_x, shift_y = (
            (v * (2 * reach + 1)).floor().long() - reach for v in (u[:, 0], u[:, 1])
        )
        padded = F.pad(x, (reach,) * 4).permute(0, 2, 3, 1)
        picture = torch.arange(n, device=x.device)[:, None, None]
        y = (rows + reach + shift_y[:, None])[:, :, None]
        return padded[picture, y, (columns + reach + shift_x[:, None])[:, None, :]].permute(
            0, 3, 1, 2
        )
    theta = torch.zeros(n, 2, 3, device=x.device, dtype=x.dtype)
    if family == "scale":
        theta[:, 0, 0], theta[:, 1, 1] = (
            (1 / 1.2 + v * (1.2 - 1 / 1.2)) for v in (u[:, 0], u[:, 1])
        )
    else:
        angle = torch.deg2rad((2 * u[:, 0] - 1) * 15)
        theta[:, 0, 0], theta[:, 1, 1] = angle.cos(), angle.cos()
        theta[:, 0, 1], theta[:, 1, 0] = -angle.sin(), angle.sin()
    grid = F.affine_grid(theta, list(x.shape), align_corners=True)
    return F.grid_sample(x, grid, align_corners=True)


def drawn(x: Tensor) -> Tensor:
    """The images under a family drawn at random."""
    family = FAMILIES[int(torch.randint(len(FAMILIES), ()))]
    return augment(x, family, torch.rand(len(x), 3, device=x.device))


def unroll(
    start: Tensor,
    target: Tensor,
    images: Tensor,
    labels: Tensor,
    rate: Tensor,
    augmentations: list[Callable[[Tensor], Tensor]],
    width: int = 128,
) -> Tensor:
    """The loss of MTT (eq. 5) after one differentiable step per augmentation."""
    theta = start.clone().requires_grad_()
    for dsa in augmentations:
        loss = F.cross_entropy(forward(split(theta, width), dsa(images)), labels)
        (gradient,) = torch.autograd.grad(loss, theta, create_graph=True)
        theta = theta - rate * gradient
    return ((theta - target) ** 2).sum() / ((start - target) ** 2).sum()


def mtt(images: int, steps: int) -> Case:
    """One MTT iteration, with the SGD of images and step size."""
    torch.manual_seed(0)
    x = torch.randn(images, 3, SIZE, SIZE, device=DEVICE).requires_grad_()
    labels = torch.arange(images, device=DEVICE) % CLASSES
    rate = torch.tensor(0.01, device=DEVICE).requires_grad_()
    start = fresh()
    target = start + 0.01 * torch.randn_like(start)
    # Step sizes so small that every timed iteration sees the same problem.
    optimiser = torch.optim.SGD([{"params": [x]}, {"params": [rate]}], lr=1e-12, momentum=0.5)

    def once() -> None:
        loss = unroll(start, target, x, labels, rate, [drawn] * steps)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        synchronise()

    return once, {}


def gradients(parts: list[Tensor], x: Tensor, label: int, create_graph: bool) -> list[Tensor]:
    """The network's gradient on images of one class."""
    labels = torch.full((len(x),), label, device=x.device)
    loss = F.cross_entropy(forward(parts, x), labels)
    return list(torch.autograd.grad(loss, parts, create_graph=create_graph))


def gradient_distance(real: list[Tensor], made: list[Tensor]) -> Tensor:
    """1 - cos, summed over the output rows of every kernel and of the linear layer (DC)."""
    total = torch.zeros((), device=DEVICE)
    for a, b in zip(real, made, strict=True):
        if a.dim() > 1:
            a, b = a.flatten(1), b.flatten(1)
            total = total + (1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-6)).sum()
    return total


def dc(ipc: int, outer: int, inner: int) -> Case:
    """One DC iteration: ``outer`` updates of all classes, the network trained for ``inner`` epochs between them."""
    torch.manual_seed(0)
    images = torch.randn(CLASSES, 600, 3, SIZE, SIZE, device=DEVICE)
    x = torch.randn(CLASSES * ipc, 3, SIZE, SIZE, device=DEVICE).requires_grad_()
    labels = torch.arange(CLASSES, device=DEVICE).repeat_interleave(ipc)
    optimiser = torch.optim.SGD([x], lr=1e-12, momentum=0.5)

    def once() -> None:
        parts = [p.clone().requires_grad_() for p in split(fresh())]
        training = torch.optim.SGD(parts, lr=0.01)
        for update in range(outer):
            loss = torch.zeros((), device=DEVICE)
            for c in range(CLASSES):
                chosen = torch.randperm(600, device=DEVICE)[:BATCH]
                real = [g.detach() for g in gradients(parts, images[c, chosen], c, False)]
                made = gradients(parts, x[c * ipc : (c + 1) * ipc], c, True)
                loss = loss + gradient_distance(real, made)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            for _ in range(inner if update < outer - 1 else 0):
                order = torch.randperm(len(x), device=DEVICE)
                for i in range(0, len(x), BATCH):
                    chosen = order[i : i + BATCH]
                    loss = F.cross_entropy(forward(parts, x.detach()[chosen]), labels[chosen])
                    training.zero_grad()
                    loss.backward()
                    training.step()
        synchronise()

    return once, {}


def expert_steps(count: int, steps: int = 2) -> Case:
    """``steps`` SGD steps of ``count`` experts, one after the other."""
    torch.manual_seed(0)
    x = torch.randn(steps * BATCH, 3, SIZE, SIZE, device=DEVICE)
    labels = torch.arange(len(x), device=DEVICE) % CLASSES
    networks = [[p.clone().requires_grad_() for p in split(fresh())] for _ in range(count)]

    def once() -> None:
        for parts in networks:
            optimiser = torch.optim.SGD(parts, lr=0.01)
            for i in range(0, len(x), BATCH):
                loss = F.cross_entropy(
                    forward(parts, drawn(x[i : i + BATCH])), labels[i : i + BATCH]
                )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        synchronise()

    return once, {}


def evaluation(networks: int, images: int, epochs: int) -> Case:
    """``epochs`` epochs of the evaluation's networks, one after the other."""
    torch.manual_seed(0)
    x = torch.randn(images, 3, SIZE, SIZE, device=DEVICE)
    labels = torch.arange(images, device=DEVICE) % CLASSES
    people = [[p.clone().requires_grad_() for p in split(fresh())] for _ in range(networks)]

    def once() -> None:
        for parts in people:
            optimiser = torch.optim.SGD(parts, lr=0.01, momentum=0.9, weight_decay=5e-4)
            for _ in range(epochs):
                order = torch.randperm(images, device=DEVICE)
                for i in range(0, images, BATCH):
                    chosen = order[i : i + BATCH]
                    loss = F.cross_entropy(forward(parts, drawn(x[chosen])), labels[chosen])
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
        synchronise()

    return once, {}


def synchronise() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def ceiling() -> dict[str, Any]:
    """Measured by medjax's side."""
    return {}


def rest() -> None:
    """Between two runs: PyTorch gives back the GPU memory that it only keeps."""
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()


def device_megabytes() -> float | None:
    """Peak memory of the GPU, None on a CPU."""
    return torch.cuda.max_memory_allocated() / 2**20 if DEVICE.type == "cuda" else None
