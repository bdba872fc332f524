# SPDX-License-Identifier: Apache-2.0
"""Score this distilled set on your own images. Needs NumPy, JAX and the files beside it.

    python evaluate.py yours.npz             networks trained on the exact set (exact.npz)
    python evaluate.py yours.npz --received  networks trained on its 8-bit images (medmnist.npz, as in data/train)

yours.npz holds test_images, uint8 [n, h, w] or [n, h, w, c], and test_labels, [n] or [n, 1]: the numbers of the classes
in README.md. The networks are ConvNets, trained by SGD with momentum 0.9, weight decay 5e-4 and DSA.
"""

import argparse
import functools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np

sys.dont_write_bytecode = True  # nothing comes into this folder that SHA256SUMS does not list
from own_images import HERE, check, refuse, scores, show, test_split  # noqa: E402


def exact_set(z):
    """Images and shares of classes of exact.npz, as networks train on them, and the map from pixels to their space."""
    mean, forward = z["preprocess_mean"], z["preprocess_forward"]
    f = int(z["pack"]) if "pack" in z else 1
    if str(z["preprocess"]) == "zca":  # symmetric: one triangle is stored
        triangle = np.zeros((mean.size, mean.size), np.float32)
        triangle[np.tril_indices(mean.size)] = forward
        forward = triangle + np.tril(triangle, -1).T

    def model_space(x):
        if forward.ndim == 2:
            return ((x.reshape(len(x), -1) - mean) @ forward).reshape(x.shape)
        return (x - mean) * forward

    images = z["images"] if len(z["images"]) else model_space(z["images_uint8"] / np.float32(255))
    shares = z["soft_labels"] if "soft_labels" in z else np.eye(len(z["class_names"]))[z["labels"]]
    if f > 1:  # each image holds f x f others: decoded as pixels
        if forward.ndim == 2:
            flat = images.reshape(len(images), -1).T.astype(np.float64)
            pixels = (np.linalg.solve(forward.astype(np.float64), flat).T + mean).reshape(
                images.shape
            )
        else:
            pixels = images / forward + mean
        images = model_space(decoded(pixels.astype(np.float32), f))
        shares = np.tile(shares, (f * f, 1))
    return images, shares, model_space


def decoded(x, f):
    """Pixels [m, s, s, c] -> the f * f * m images that they hold: the first tile of all, then the second, ..."""
    s = x.shape[1]
    side = -(-s // f)
    pad = f * side - s  # mid grey at the bottom right
    x = np.pad(x, [(0, 0), (0, pad), (0, pad), (0, 0)], constant_values=0.5)
    place = np.clip((np.arange(s) + 0.5) * side / s - 0.5, 0, side - 1)  # half-pixel centres
    enlarge = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(side))).astype(np.float32)
    tiles = [t for row in np.split(x, f, axis=1) for t in np.split(row, f, axis=2)]
    return np.concatenate([np.einsum("ip,jq,mpqc->mijc", enlarge, enlarge, t) for t in tiles])


def received_set(z):
    """The same of medmnist.npz: pixels, normalised by the mean and the standard deviation of each channel."""
    pixels = z["train_images"].reshape(*z["train_images"].shape[:3], -1) / np.float32(255)

    def model_space(x):
        return (x - z["mean"]) / z["std"]

    return model_space(pixels), np.eye(len(z["class_names"]))[z["train_labels"][:, 0]], model_space


def network(key, shape, classes, width, depth):
    """Initial parameters: U(-1/sqrt(fan in), 1/sqrt(fan in)), norms 1 and 0."""
    side, channels, blocks = shape[0] + 4 * (shape[2] == 1), shape[2], []
    for i in range(depth):
        bound = (9 * channels) ** -0.5
        size = (3, 3, channels, width)
        kernel = jax.random.uniform(jax.random.fold_in(key, i), size, minval=-bound, maxval=bound)
        blocks.append((kernel, jnp.ones(width), jnp.zeros(width)))
        side, channels = side // 2, width
    fan_in, keys = side * side * width, jax.random.split(jax.random.fold_in(key, depth))
    sizes = (fan_in, classes), (classes,)
    last = [
        jax.random.uniform(k, s, minval=-(fan_in**-0.5), maxval=fan_in**-0.5)
        for k, s in zip(keys, sizes, strict=True)
    ]
    return blocks, last


def logits(params, x):
    """Blocks of convolution, instance norm, ReLU and average pooling; one linear layer. (A bias before the norm would
    change nothing.)"""
    blocks, (weights, bias) = params
    for i, (kernel, scale, shift) in enumerate(blocks):
        pad = 3 if i == 0 and x.shape[3] == 1 else 1  # grey images are enlarged by 4
        x = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        mean, var = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
        x = jax.nn.relu((x - mean) / jnp.sqrt(var + 1e-5) * scale + shift)
        n, h, w, c = x.shape
        x = x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))
    return x.reshape(len(x), -1) @ weights + bias


def augmented(key, x):
    """DSA (Zhao & Bilen 2021): one of six families a batch, its parameters drawn for each image."""
    n, h, w, _ = x.shape
    family_key, key = jax.random.split(key)
    u = jax.random.uniform(key, (n, 3))
    a, b, c = (u[:, i].reshape(n, 1, 1, 1) for i in range(3))
    rows, columns = jnp.arange(h).reshape(1, h, 1), jnp.arange(w).reshape(1, 1, w)
    v, t = (rows - (h - 1) / 2) + 0 * columns, (columns - (w - 1) / 2) + 0 * rows

    def whole(u, low, high):  # a whole number, both ends included
        return jnp.minimum(jnp.floor(u * (high - low + 1)), high - low) + low

    def sampled(v, t):  # bilinear, 0 outside
        y, z = (
            jnp.broadcast_to(v + (h - 1) / 2, (n, h, w)),
            jnp.broadcast_to(t + (w - 1) / 2, (n, h, w)),
        )
        plane = functools.partial(jax.scipy.ndimage.map_coordinates, order=1, mode="constant")
        channels = jax.vmap(lambda p, *at: plane(p, at), (-1, None, None), -1)
        return jax.vmap(channels)(x, y, z)

    def color():
        y = x + (a - 0.5)
        grey = y.mean(3, keepdims=True)
        y = grey + (y - grey) * 2 * b
        mean = y.mean((1, 2, 3), keepdims=True)
        return mean + (y - mean) * (c + 0.5)

    def crop():
        y, z = int(h / 8 + 0.5), int(w / 8 + 0.5)
        return sampled(v + whole(b, -y, y)[..., 0], t + whole(a, -z, z)[..., 0])

    def cutout():
        size = int(h / 2 + 0.5)
        y, z = (
            p - whole(d, 0, m)[..., 0] + size // 2 for p, d, m in ((rows, b, h), (columns, a, w))
        )
        return x * ~((y >= 0) & (y < size) & (z >= 0) & (z < size))[..., None]

    def flip():
        return jnp.where(a < 0.5, x[:, :, ::-1], x)

    def scale():
        y, z = ((1 / 1.2 + d * (1.2 - 1 / 1.2))[..., 0] for d in (b, a))
        return sampled(v * y, t * z)

    def rotate():
        angle = jnp.deg2rad((2 * a - 1) * 15)[..., 0]
        sin, cos = jnp.sin(angle), jnp.cos(angle)
        return sampled(sin * t + cos * v, cos * t - sin * v)

    families = color, crop, cutout, flip, scale, rotate
    return jax.lax.switch(jax.random.randint(family_key, (), 0, 6), families)


@functools.partial(jax.jit, static_argnums=0)
def step(augment, params, momentum, key, x, shares, rate):
    """One step of SGD."""
    x = augmented(key, x) if augment else x

    def loss(params):
        return -(shares * jax.nn.log_softmax(logits(params, x))).sum(1).mean()

    gradient = jax.grad(loss)(params)
    momentum = jax.tree.map(lambda m, g, p: 0.9 * m + g + 5e-4 * p, momentum, gradient, params)
    return jax.tree.map(lambda p, m: p - rate * m, params, momentum), momentum


def trained(key, images, shares, recipe):
    """A network, trained as recipe.json says. The step size falls to a tenth after half of the epochs."""
    n, batch, epochs, late = len(images), recipe["batch"], recipe["epochs"], recipe["late_decay"]
    width, depth = recipe["network"]["width"], recipe["network"]["depth"]
    params = network(jax.random.fold_in(key, 0), images.shape[1:], shares.shape[1], width, depth)
    zero = momentum = jax.tree.map(jnp.zeros_like, params)
    ends = n // batch * batch if recipe["full_batches"] and n >= batch else n
    drop = epochs // 2 + 2 if late else max(1, epochs // 2)
    for epoch in range(epochs + late):
        order_key, key = jax.random.split(key)
        order = np.asarray(jax.random.permutation(order_key, n))
        if late and epoch == drop:
            momentum = zero
        for first in range(0, ends, batch):
            chosen, key = order[first : first + batch], jax.random.fold_in(key, first)
            rate = recipe["step_size"] * (0.1 if epoch >= drop else 1.0)
            params, momentum = step(
                recipe["augment"], params, momentum, key, images[chosen], shares[chosen], rate
            )
    return params


def resized(images, shape):
    """Pixels [n, h, w, c] in [0, 1], resized to the side of the set."""
    blocks = np.split(images, range(1000, len(images), 1000))
    return np.concatenate(
        [jax.image.resize(b / np.float32(255), (len(b), *shape), "bilinear") for b in blocks]
    )


def main():
    """Train and score the networks; print mean and standard deviation over them."""
    parser = argparse.ArgumentParser(description="Score the set on your own images.")
    parser.add_argument("npz", help="your images: test_images and test_labels")
    parser.add_argument("--received", action="store_true", help="train on the 8-bit images")
    parser.add_argument("--networks", type=int, help="networks to train")
    parser.add_argument("--step_size", type=float, help="of SGD, in place of the set's own")
    asked = parser.parse_args()
    if asked.networks is not None and asked.networks < 1:
        refuse(f"--networks={asked.networks}: give 1 or more")
    if asked.step_size is not None and not 0 < asked.step_size < 1e3:
        refuse(f"--step_size={asked.step_size}: give a number above 0")
    file, read = ("medmnist.npz", received_set) if asked.received else ("exact.npz", exact_set)
    check("recipe.json", file)
    recipe = json.loads((HERE / "recipe.json").read_text("utf-8"))
    how = recipe["received" if asked.received else "exact"]
    how["step_size"] = asked.step_size or how["step_size"]
    if how["network"] is None or how["step_size"] is None:
        refuse(f"this cannot be repeated here: {how['why_not']}")
    with np.load(HERE / file) as z:
        images, shares, model_space = read(dict(z))
    pixels, labels = test_split(asked.npz, images.shape[3], recipe["classes"])
    x, found = np.asarray(model_space(resized(pixels, images.shape[1:])), np.float32), []
    images, shares = (np.asarray(a, np.float32) for a in (images, shares))
    compiled = jax.jit(logits)
    for number in range(asked.networks or recipe["networks"]):
        params = trained(jax.random.key(number), images, shares, how)
        parts = [compiled(params, part) for part in np.split(x, range(500, len(x), 500))]
        found.append(scores(labels, np.concatenate(parts)))
        print(f"network {number}: accuracy {found[-1][0]:.1%}", file=sys.stderr)
    show(found)


if __name__ == "__main__":
    main()
