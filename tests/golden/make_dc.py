"""Golden values of DC's gradient matching (no augmentation): PyTorch's double backward in float64.

Run: python tests/golden/make_dc.py   (needs torch and numpy only). Writes dc.npz beside this file. Shares no code with
the project. For every class: the distance between the network's gradient on real images and on that class's synthetic
images, summed over layers and output rows (1 - cos, with 1e-6 added to the product of norms; vectors left out), and its
gradient to the synthetic images. The distance is checked against plain NumPy loops, the gradient by differences.
"""

import numpy as np
import torch
import torch.nn.functional as F
from make_convnet import HERE, forward, random_images, random_weights

CLASSES, REAL, IPC = 3, 5, 2


def gradient(weights, images, label, create):
    labels = torch.full((len(images),), label)
    loss = F.cross_entropy(forward(weights, images), labels)
    return torch.autograd.grad(loss, list(weights.values()), create_graph=create)


def distance(real, made):
    total = 0
    for a, b in zip(real, made, strict=True):
        if a.ndim == 1:
            continue
        a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
        norms = a.norm(dim=1) * b.norm(dim=1)
        total = total + (1 - (a * b).sum(1) / (norms + 1e-6)).sum()
    return total


def distance_in_loops(real, made):
    """Row by row, in NumPy."""
    total = 0.0
    for a, b in zip(real, made, strict=True):
        a, b = a.detach().numpy(), b.detach().numpy()
        for row_a, row_b in zip(a, b, strict=True) if a.ndim > 1 else ():
            u, v = row_a.ravel(), row_b.ravel()
            total += 1 - u @ v / (np.sqrt(u @ u) * np.sqrt(v @ v) + 1e-6)
    return total


def main():
    torch.set_num_threads(1)
    torch.manual_seed(5)
    weights = random_weights(channels=3, width=8, classes=CLASSES, side=16)
    weights = {key: value.requires_grad_() for key, value in weights.items()}
    real, made = random_images(CLASSES * REAL, 3, 16), random_images(CLASSES * IPC, 3, 16)
    losses, gradients = [], []
    for c in range(CLASSES):
        target = gradient(weights, real[c * REAL : (c + 1) * REAL], c, False)
        images = made[c * IPC : (c + 1) * IPC].clone().requires_grad_()

        def loss_at(images, target=target, c=c):
            return distance(target, gradient(weights, images, c, True))

        loss = loss_at(images)
        (g,) = torch.autograd.grad(loss, images)
        assert (
            abs(distance_in_loops(target, gradient(weights, images, c, False)) - loss.item()) < 1e-9
        )
        way, eps = g / g.norm(), 1e-6
        difference = loss_at(images + eps * way).item() - loss_at(images - eps * way).item()
        error = abs(difference / (2 * eps) / (g * way).sum().item() - 1)
        print(f"class {c}: distance {loss.item():.9f}; finite differences: relative {error:.1e}")
        assert error < 1e-4
        losses.append(loss.item())
        gradients.append(g.numpy())
    arrays = {key: value.detach().numpy() for key, value in weights.items()}
    np.savez(
        HERE / "dc.npz",
        **{k: v.astype(np.float32) for k, v in arrays.items()},
        real=real.numpy().astype(np.float32),
        made=made.numpy().astype(np.float32),
        losses=losses,
        gradients=gradients,
    )


if __name__ == "__main__":
    main()
