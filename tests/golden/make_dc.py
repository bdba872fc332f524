"""Golden values of DC's gradient matching (no augmentation): PyTorch's double backward in float64.

Run: python tests/golden/make_dc.py   (needs torch and numpy only). Writes dc.npz beside this file. Shares no code with
the project. For every class: the distance between the network's gradient on real images and on that class's synthetic
images, and its gradient to the synthetic images. Of the three distances of the public code: `layerwise` is summed over
layers and output rows (1 - cos, with 1e-6 added to the product of norms; vectors left out); `mse` (sum of squares) and
`cos` take all values, vectors included, as one vector. They are checked against plain NumPy, the gradients by
differences.
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


def layerwise(real, made):
    total = 0
    for a, b in zip(real, made, strict=True):
        if a.ndim == 1:
            continue
        a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
        norms = a.norm(dim=1) * b.norm(dim=1)
        total = total + (1 - (a * b).sum(1) / (norms + 1e-6)).sum()
    return total


def mse(real, made):
    a, b = (torch.cat([value.reshape(-1) for value in values]) for values in (real, made))
    return ((a - b) ** 2).sum()


def cos(real, made):
    a, b = (torch.cat([value.reshape(-1) for value in values]) for values in (real, made))
    return 1 - (a * b).sum() / (a.norm() * b.norm() + 1e-6)


def in_loops(name, real, made):
    """Row by row or value by value, in NumPy."""
    pairs = [(a.detach().numpy(), b.detach().numpy()) for a, b in zip(real, made, strict=True)]
    if name == "mse":
        return sum(((a - b) ** 2).sum() for a, b in pairs)
    if name == "cos":
        product, one, other = (
            sum(np.vdot(x, y) for x, y in of)
            for of in (pairs, [(a, a) for a, _ in pairs], [(b, b) for _, b in pairs])
        )
        return 1 - product / (np.sqrt(one) * np.sqrt(other) + 1e-6)
    total = 0.0
    for a, b in pairs:
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
    # The names of layerwise have no suffix: it was the first.
    distances = {"": layerwise, "_mse": mse, "_cos": cos}
    found = {f"{kind}{name}": [] for name in distances for kind in ("losses", "gradients")}
    for c in range(CLASSES):
        target = gradient(weights, real[c * REAL : (c + 1) * REAL], c, False)
        images = made[c * IPC : (c + 1) * IPC].clone().requires_grad_()
        for name, distance in distances.items():

            def loss_at(images, target=target, c=c, distance=distance):
                return distance(target, gradient(weights, images, c, True))

            loss = loss_at(images)
            (g,) = torch.autograd.grad(loss, images)
            plain = in_loops(distance.__name__, target, gradient(weights, images, c, False))
            assert abs(plain - loss.item()) < 1e-9 * max(1, abs(plain))
            way, eps = g / g.norm(), 1e-6
            difference = loss_at(images + eps * way).item() - loss_at(images - eps * way).item()
            error = abs(difference / (2 * eps) / (g * way).sum().item() - 1)
            print(f"class {c}, {distance.__name__} {loss.item():.9f}: differences {error:.1e}")
            assert error < 1e-4
            found[f"losses{name}"].append(loss.item())
            found[f"gradients{name}"].append(g.numpy())
    arrays = {key: value.detach().numpy() for key, value in weights.items()}
    np.savez_compressed(
        HERE / "dc.npz",
        **{k: v.astype(np.float32) for k, v in arrays.items()},
        real=real.numpy().astype(np.float32),
        made=made.numpy().astype(np.float32),
        **found,
    )


if __name__ == "__main__":
    main()
