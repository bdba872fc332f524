# SPDX-License-Identifier: Apache-2.0
"""Score this distilled set as received on your own images, in PyTorch. Needs NumPy, PyTorch and the files beside it.

    python evaluate_torch.py yours.npz

Networks are trained on the 8-bit images (medmnist.npz, as in data/train), normalised by mean and standard deviation:
the protocol of `evaluate.py yours.npz --received`. yours.npz is as evaluate.py takes it.
"""

import argparse
import json
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

sys.dont_write_bytecode = True  # nothing comes into this folder that SHA256SUMS does not list
from own_images import HERE, check, refuse, scores, show, test_split  # noqa: E402


def planes(images, mean, std, side=None):
    """uint8 [n, h, w] or [n, h, w, c] -> what networks see, float [n, c, side, side]."""
    x = torch.tensor(images).reshape(*images.shape[:3], -1).permute(0, 3, 1, 2).float() / 255
    if side and x.shape[2:] != (side, side):
        smaller = side < max(x.shape[2:])
        x = F.interpolate(x, (side, side), mode="bilinear", antialias=smaller)
    return (x - torch.tensor(mean).reshape(-1, 1, 1)) / torch.tensor(std).reshape(-1, 1, 1)


def convnet(channels, side, classes, width, depth):
    """Blocks of convolution, instance norm, ReLU and average pooling; one linear layer."""
    layers, side = [], side + 4 * (channels == 1)
    for block in range(depth):
        pad = 3 if block == 0 and channels == 1 else 1  # grey images are enlarged by 4
        layers += [
            nn.Conv2d(channels, width, 3, padding=pad),
            nn.InstanceNorm2d(width, affine=True),
        ]
        layers += [nn.ReLU(), nn.AvgPool2d(2)]
        channels, side = width, side // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * side * side, classes))


def augmented(x):
    """DSA (Zhao & Bilen 2021): one of six families a batch, its parameters drawn for each image."""
    n, _, h, w = x.shape
    u = torch.rand(3, n, 1, 1, 1)
    one, zero = torch.ones(n), torch.zeros(n)
    family = int(torch.randint(6, ()))
    if family == 0:  # colour
        x = x + (u[0] - 0.5)
        grey = x.mean(1, keepdim=True)
        x = grey + (x - grey) * 2 * u[1]
        mean = x.mean((1, 2, 3), keepdim=True)
        return mean + (x - mean) * (u[2] + 0.5)
    if family == 1:  # cut out a square
        size, places = int(h / 2 + 0.5), []
        for values, side, shape in ((u[1], h, (1, 1, h, 1)), (u[0], w, (1, 1, 1, w))):
            start = (values * (side + 1)).floor().clamp(max=side) - size // 2
            place = torch.arange(side).reshape(shape)
            places.append((place >= start) & (place < start + size))
        return x * ~(places[0] & places[1])
    if family == 2:  # mirror
        return torch.where(u[0] < 0.5, x.flip(3), x)
    u = u.reshape(3, n)
    if family == 3:  # shift by an eighth at most
        reach = [int(side / 8 + 0.5) for side in (w, h)]
        shift = [
            ((u[i] * (2 * r + 1)).floor() - r) * 2 / (side - 1)
            for i, (r, side) in enumerate(zip(reach, (w, h), strict=True))
        ]
        rows = [one, zero, shift[0], zero, one, shift[1]]
    elif family == 4:  # zoom
        zoom = 1 / 1.2 + u[:2] * (1.2 - 1 / 1.2)
        rows = [zoom[0], zero, zero, zero, zoom[1], zero]
    else:  # rotate by 15 degrees at most
        angle = torch.deg2rad((2 * u[0] - 1) * 15)
        rows = [angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero]
    grid = F.affine_grid(torch.stack(rows, 1).reshape(n, 2, 3), list(x.shape), align_corners=True)
    return F.grid_sample(x, grid, align_corners=True)


def trained(x, labels, net, how):
    """Train a network: SGD, the step size a tenth after half of the epochs."""
    n, batch, epochs = len(x), how["batch"], how["epochs"]
    sgd = torch.optim.SGD(net.parameters(), how["step_size"], momentum=0.9, weight_decay=5e-4)
    ends = n // batch * batch if how["full_batches"] and n >= batch else n
    for epoch in range(epochs):
        for group in sgd.param_groups:
            group["lr"] = how["step_size"] * (0.1 if epoch >= max(1, epochs // 2) else 1.0)
        order = torch.randperm(n)
        for first in range(0, ends, batch):
            chosen = order[first : first + batch]
            sgd.zero_grad()
            F.cross_entropy(net(augmented(x[chosen])), labels[chosen]).backward()
            sgd.step()
    return net


def main():
    """Train and score the networks; print mean and standard deviation over them."""
    parser = argparse.ArgumentParser(description="Score the set on your own images.")
    parser.add_argument("npz", help="your images: test_images and test_labels")
    parser.add_argument("--networks", type=int, help="networks to train")
    parser.add_argument("--step_size", type=float, help="of SGD, in place of the set's own")
    asked = parser.parse_args()
    if asked.networks is not None and asked.networks < 1:
        refuse(f"--networks={asked.networks}: give 1 or more")
    if asked.step_size is not None and not 0 < asked.step_size < 1e3:
        refuse(f"--step_size={asked.step_size}: give a number above 0")
    check("recipe.json", "medmnist.npz")
    recipe = json.loads((HERE / "recipe.json").read_text("utf-8"))
    how = recipe["received"]
    how["step_size"] = asked.step_size or how["step_size"]
    if how["step_size"] is None:
        refuse(f"this cannot be repeated here: {how['why_not']}")
    with np.load(HERE / "medmnist.npz") as z:
        mean, std, names = z["mean"], z["std"], [str(n) for n in z["class_names"]]
        x, k = planes(z["train_images"], mean, std), len(names)
        labels = torch.tensor(z["train_labels"].reshape(-1).astype(np.int64))
    images, numbers = test_split(asked.npz, x.shape[1], names)
    test = planes(images, mean, std, x.shape[2])
    found = []
    for number in range(asked.networks or recipe["networks"]):
        torch.manual_seed(number)
        net = trained(x, labels, convnet(x.shape[1], x.shape[2], k, **how["network"]), how)
        with torch.no_grad():
            logits = torch.cat([net(part) for part in test.split(500)])
        found.append(scores(numbers, logits.numpy()))
        print(f"network {number}: accuracy {found[-1][0]:.1%}", file=sys.stderr)
    show(found)


if __name__ == "__main__":
    main()
