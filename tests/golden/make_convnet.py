"""Golden values of the ConvNet: logits, loss and gradients, from PyTorch in float64.

Run:  /tmp/tvenv/bin/python tests/golden/make_convnet.py   (needs torch and numpy only)
Writes convnet_rgb.npz and convnet_grey.npz beside this file. Shares no code with the project.

Layouts are PyTorch's: images [n, c, h, w], convolution weights [out, in, 3, 3], linear weight
[k, c*h*w]: the features before the linear layer are flattened in (c, h, w) order.
All inputs are float32-valued; all arithmetic is float64. Stored as float64: logits, loss,
grad_conv0_weight; as float32: weights, images, grad_images (rounded after the calculation, to keep
the file small).
"""

import pathlib

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).parent
DEPTH = 3


def final_side(channels, side):
    """Side of the feature map before the linear layer; a one-channel image is padded by 3 first."""
    side = side + 4 if channels == 1 else side
    for _ in range(DEPTH):
        side //= 2
    return side


def random_weights(channels, width, classes, side):
    """Random float32-valued weights (as float64 tensors) in a dict with the keys of the npz."""
    weights = {}
    for i in range(DEPTH):
        fan = (channels if i == 0 else width) * 9
        weights[f"conv{i}_weight"] = (torch.rand(width, fan // 9, 3, 3) * 2 - 1) / fan**0.5
        weights[f"conv{i}_bias"] = (torch.rand(width) * 2 - 1) / fan**0.5
        weights[f"norm{i}_scale"] = 1 + 0.2 * torch.randn(width)
        weights[f"norm{i}_shift"] = 0.2 * torch.randn(width)
    fan = width * final_side(channels, side) ** 2
    weights["linear_weight"] = (torch.rand(classes, fan) * 2 - 1) / fan**0.5
    weights["linear_bias"] = (torch.rand(classes) * 2 - 1) / fan**0.5
    return {key: value.float().double() for key, value in weights.items()}


def forward(weights, x):
    """Logits of the ConvNet, the instance norm written out (biased variance, eps 1e-5)."""
    for i in range(DEPTH):
        padding = 3 if i == 0 and x.shape[1] == 1 else 1
        x = F.conv2d(x, weights[f"conv{i}_weight"], weights[f"conv{i}_bias"], padding=padding)
        centred = x - x.mean((2, 3), keepdim=True)
        x = centred / (centred.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
        scale, shift = weights[f"norm{i}_scale"], weights[f"norm{i}_shift"]
        x = x * scale[None, :, None, None] + shift[None, :, None, None]
        x = F.avg_pool2d(F.relu(x), 2)
    return x.flatten(1) @ weights["linear_weight"].T + weights["linear_bias"]


def module(weights, channels, width, classes, side):
    """The same network of torch.nn layers: a check of `forward` and of the parameter count."""
    layers = []
    for i in range(DEPTH):
        layers += [
            torch.nn.Conv2d(
                channels if i == 0 else width,
                width,
                3,
                padding=3 if i == 0 and channels == 1 else 1,
            ),
            torch.nn.GroupNorm(width, width, eps=1e-5, affine=True),
            torch.nn.ReLU(),
            torch.nn.AvgPool2d(2),
        ]
    features = width * final_side(channels, side) ** 2
    layers += [torch.nn.Flatten(), torch.nn.Linear(features, classes)]
    net = torch.nn.Sequential(*layers).double()
    if weights is not None:
        with torch.no_grad():
            for parameter, value in zip(net.parameters(), weights.values(), strict=True):
                assert parameter.shape == value.shape
                parameter.copy_(value)
    return net


def random_images(n, channels, side):
    """Random images in steps of 1/64 (exact in float32, and they compress)."""
    return (torch.randn(n, channels, side, side, dtype=torch.float64) * 64).round() / 64


def make(name, channels, seed, width=16, classes=5, side=32):
    """Calculate and write one file."""
    torch.manual_seed(seed)
    weights = random_weights(channels, width, classes, side)
    images = random_images(6, channels, side).requires_grad_()
    labels = torch.tensor([0, 1, 2, 3, 4, 1])
    first = weights["conv0_weight"].requires_grad_()
    logits = forward(weights, images)
    loss = F.cross_entropy(logits, labels)
    grad_images, grad_first = torch.autograd.grad(loss, (images, first))

    other = module(weights, channels, width, classes, side)(images)
    error = (other - logits).abs().max().item()
    assert error < 1e-12, error
    with torch.no_grad():  # the gradient against a central difference in a random direction
        step = torch.randn_like(images)
        difference = (
            sum(
                s * F.cross_entropy(forward(weights, images + s * 1e-6 * step), labels)
                for s in (1, -1)
            )
            / 2e-6
        )
        relative = (difference / (grad_images * step).sum() - 1).abs().item()
        assert relative < 1e-5, relative

    arrays = {key: value.detach().numpy().astype(np.float32) for key, value in weights.items()}
    arrays.update(
        images=images.detach().numpy().astype(np.float32),
        labels=labels.numpy().astype(np.int32),
        logits=logits.detach().numpy(),
        loss=np.float64(loss.item()),
        grad_images=grad_images.numpy().astype(np.float32),
        grad_conv0_weight=grad_first.numpy(),
    )
    path = HERE / name
    np.savez_compressed(path, **arrays)
    print(
        f"{name}: {path.stat().st_size} bytes, loss {loss.item():.9f}, "
        f"nn.Module differs by {error:.1e}, finite difference by {relative:.1e} (relative)"
    )
    for key, value in arrays.items():
        print(f"  {key:18s} {value.dtype!s:8s} {list(value.shape)}")


def main():
    """Write both files and check the parameter count of the full-width network."""
    torch.set_num_threads(1)
    make("convnet_rgb.npz", channels=3, seed=1)
    make("convnet_grey.npz", channels=1, seed=2)
    count = sum(p.numel() for p in module(None, 3, 128, 8, 32).parameters())
    count_weights = sum(w.numel() for w in random_weights(3, 128, 8, 32).values())
    print(f"parameters at width 128, 3 channels, 8 classes: {count}")
    assert count == count_weights == 315_912


if __name__ == "__main__":
    main()
