"""Golden values of the evaluation networks from PyTorch's own layers: `python tests/golden/make_networks.py`.

Needs torch. Writes mlp, alexnet and vit, each _grey and _rgb.npz, beside this file: PyTorch's names and layouts;
weights and images float32, arithmetic float64, logits, loss and the gradient of the first layer's weight float64.
Shares no code with the project.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

CLASSES, SIDE = 5, 8


class MLP(nn.Module):
    def __init__(self, channels, width=6):
        super().__init__()
        inputs = channels * SIDE * SIDE
        self.first, self.second = nn.Linear(inputs, width), nn.Linear(width, width)
        self.linear = nn.Linear(width, CLASSES)

    def forward(self, x):
        x = torch.relu(self.first(x.flatten(1)))
        return self.linear(torch.relu(self.second(x)))


class AlexNet(nn.Module):
    """Of the public codes with widths 4, 6, 8, 6, 6 for 128, 192, 256, 192, 192."""

    def __init__(self, channels):
        super().__init__()
        self.first = nn.Conv2d(channels, 4, 5, padding=4 if channels == 1 else 2)
        self.rest = nn.Sequential(
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 6, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.linear = nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.linear(self.rest(self.first(x)).flatten(1))


class ViT(nn.Module):
    """nn.TransformerEncoderLayer in its pre-norm form."""

    def __init__(self, channels, width=8, depth=2, heads=2, patch=4):
        super().__init__()
        self.first = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(0.1 * torch.randn(1, (SIDE // patch) ** 2, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                heads,
                dim_feedforward=2 * width,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(depth)
        )
        self.norm, self.linear = nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def forward(self, x):
        x = self.first(x).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.linear(self.norm(x).mean(1))


def make(kind, channels, name):
    torch.manual_seed(3)
    net = kind(channels).float()
    with torch.no_grad():
        for p in net.parameters():
            if p.ndim == 1:
                p += 0.1 * torch.randn_like(p)
    net = net.double()
    x = torch.randn(4, channels, SIDE, SIDE).double()
    logits = net(x)
    loss = nn.functional.cross_entropy(logits, torch.tensor([0, 3, 4, 1]))
    loss.backward()
    arrays = {f"p_{k}": v.detach().numpy().astype(np.float32) for k, v in net.named_parameters()}
    arrays |= {"x": x.numpy().astype(np.float32), "logits": logits.detach().numpy()}
    arrays |= {"loss": loss.item(), "grad_first": net.first.weight.grad.numpy()}
    np.savez_compressed(Path(__file__).parent / f"{name}.npz", **arrays)


if __name__ == "__main__":
    for kind in (MLP, AlexNet, ViT):
        for channels, colour in ((1, "grey"), (3, "rgb")):
            make(kind, channels, f"{kind.__name__.lower()}_{colour}")
