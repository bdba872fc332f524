"""Golden values of DM for a network with batch norm: PyTorch in float64.

Run: python tests/golden/make_dm.py   (needs torch and numpy only). Writes dm.npz beside this file. Shares no code with
the project. The rule of the public code: the images of all classes are concatenated and embedded in one pass of a
network in training mode; the loss is the squared distance of the mean embeddings of each class, summed over classes.
The gradient to the synthetic images is checked by differences.
"""

import numpy as np
import torch
from make_convnet import HERE, random_images
from make_resnet import ResNet
from torch import nn

CLASSES, REAL, IPC, SIDE = 3, 5, 2, 10


def embed(net, images):
    """What the last layer reads."""
    kept = []
    hook = net.linear.register_forward_pre_hook(lambda layer, inputs: kept.append(inputs[0]))
    net(images)
    hook.remove()
    return kept[0]


def distances(net, real, made):
    """One pass over all real images, one over all synthetic ones."""
    target = embed(net, torch.cat(real)).detach().reshape(CLASSES, REAL, -1).mean(1)
    return ((target - embed(net, torch.cat(made)).reshape(CLASSES, IPC, -1).mean(1)) ** 2).sum(1)


def alone(net, real, made):
    """Each class by itself: what the rule is not."""
    pairs = zip(real, made, strict=True)
    return torch.stack(
        [((embed(net, a).mean(0).detach() - embed(net, b).mean(0)) ** 2).sum() for a, b in pairs]
    )


def main():
    torch.set_num_threads(1)
    torch.manual_seed(7)
    net = ResNet(2, 3, CLASSES, nn.BatchNorm2d).train()
    for p in net.parameters():
        if p.ndim == 1:
            p.data += 0.1 * torch.randn_like(p)
    net = net.double()
    level = (torch.randn(CLASSES, 3, 1, 1, dtype=torch.float64) * 26).round() / 64
    real = [random_images(REAL, 3, SIDE) + c for c in level]
    made = [(random_images(IPC, 3, SIDE) + c).requires_grad_() for c in level]
    losses = distances(net, real, made)
    gradient = torch.cat(torch.autograd.grad(losses.sum(), made))
    way, eps = gradient / gradient.norm(), 1e-6
    steps = way.split(IPC)

    def loss_at(size):
        moved = [m.detach() + size * s for m, s in zip(made, steps, strict=True)]
        return distances(net, real, moved).sum().item()

    error = abs((loss_at(eps) - loss_at(-eps)) / (2 * eps) / gradient.norm().item() - 1)
    other = torch.cat(torch.autograd.grad(alone(net, real, made).sum(), made))
    cosine = ((gradient * other).sum() / gradient.norm() / other.norm()).item()
    print(f"distances {losses.tolist()}; finite differences: relative {error:.1e}")
    print(f"cosine with the gradient of each class by itself: {cosine:.3f}")
    assert error < 1e-5 and cosine < 0.9
    images = {"real": torch.cat(real), "made": torch.cat(made)}
    np.savez_compressed(
        HERE / "dm.npz",
        **{f"p_{k}": v.detach().numpy().astype(np.float32) for k, v in net.named_parameters()},
        **{k: v.detach().numpy().astype(np.float32) for k, v in images.items()},
        losses=losses.detach().numpy(),
        gradient=gradient.numpy(),
    )


if __name__ == "__main__":
    main()
