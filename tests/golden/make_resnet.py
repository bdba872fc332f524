"""Golden values of ResNet-18 from PyTorch's own layers: `python tests/golden/make_resnet.py` (needs torch)."""

from pathlib import Path

import numpy as np
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, before, after, stride, norm):
        super().__init__()
        self.a = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm_a = norm(after)
        self.b = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm_b = norm(after)
        self.short = nn.Sequential()
        if stride != 1 or before != after:
            self.short = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), norm(after))

    def forward(self, x):
        y = self.norm_b(self.b(torch.relu(self.norm_a(self.a(x)))))
        return torch.relu(y + self.short(x))


class ResNet(nn.Module):
    def __init__(self, width, channels, classes, norm):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(channels, width, 3, 1, 1, bias=False), norm(width)
        blocks, before = [], width
        for stage in range(4):
            for block in range(2):
                after = width * 2**stage
                blocks.append(Block(before, after, 2 if stage and not block else 1, norm))
                before = after
        self.blocks, self.linear = nn.Sequential(*blocks), nn.Linear(before, classes)

    def forward(self, x):
        x = self.blocks(torch.relu(self.norm(self.stem(x))))
        return self.linear(x.mean((2, 3)))


def instance(width):
    return nn.InstanceNorm2d(width, affine=True)


def make(norm, name):
    """Two training passes (running statistics move), then a pass without training, in float64."""
    torch.manual_seed(1)
    net = ResNet(2, 3, 5, norm).double()
    for p in net.parameters():
        if p.ndim == 1:
            p.data += 0.1 * torch.randn_like(p)
    x = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    arrays = {f"p_{k}": v.detach().numpy() for k, v in net.named_parameters()}
    net.train()
    arrays["first"] = net(x).detach().numpy()
    loss = nn.functional.cross_entropy(net(x * 0.5 + 0.2), torch.tensor([0, 3, 4]))
    loss.backward()
    arrays |= {"loss": loss.item(), "grad_stem": net.stem.weight.grad.numpy()}
    net.eval()
    arrays |= {"tested": net(x).detach().numpy(), "x": x.numpy()}
    np.savez(Path(__file__).parent / f"resnet_{name}.npz", **arrays)


if __name__ == "__main__":
    make(nn.BatchNorm2d, "batch")
    make(instance, "instance")
