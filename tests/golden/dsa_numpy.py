"""The six DSA operations with explicit parameters, in plain NumPy and float64.

Not a script: import it. Check:  /tmp/tvenv/bin/python tests/golden/check_dsa_torch.py
Images are [n, h, w, c]; every parameter has one value per image. Each function returns a new
float64 array. Written from the equations alone; shares no code with the project.
"""

import math

import numpy as np


def flip(images, flags):
    """Mirror left-right the images whose flag is true."""
    out = np.array(images, np.float64)
    for i, flag in enumerate(flags):
        if flag:
            out[i] = out[i, :, ::-1].copy()
    return out


def _pixel(image, row, col):
    """One pixel, zero outside the image."""
    height, width, channels = image.shape
    return image[row, col] if 0 <= row < height and 0 <= col < width else np.zeros(channels)


def _affine(image, theta):
    """Sample one image on the grid theta @ (x, y, 1): align-corners, bilinear, zeros outside."""
    height, width, _ = image.shape
    out = np.zeros(image.shape, np.float64)
    for i in range(height):
        for j in range(width):
            x, y = -1 + 2 * j / (width - 1), -1 + 2 * i / (height - 1)
            source_x = theta[0][0] * x + theta[0][1] * y + theta[0][2]
            source_y = theta[1][0] * x + theta[1][1] * y + theta[1][2]
            col, row = (source_x + 1) / 2 * (width - 1), (source_y + 1) / 2 * (height - 1)
            left, top = math.floor(col), math.floor(row)
            right, down = col - left, row - top
            out[i, j] = (
                (1 - down) * (1 - right) * _pixel(image, top, left)
                + (1 - down) * right * _pixel(image, top, left + 1)
                + down * (1 - right) * _pixel(image, top + 1, left)
                + down * right * _pixel(image, top + 1, left + 1)
            )
    return out


def scale(images, sx, sy):
    """Scale the sampling grid by sx (columns) and sy (rows): above 1 the image shrinks."""
    images = np.asarray(images, np.float64)
    return np.stack(
        [_affine(image, [[a, 0, 0], [0, b, 0]]) for image, a, b in zip(images, sx, sy, strict=True)]
    )


def rotate(images, degrees):
    """Rotate the sampling grid by theta = [[cos, -sin, 0], [sin, cos, 0]]."""
    out = []
    for image, degree in zip(np.asarray(images, np.float64), degrees, strict=True):
        cos, sin = math.cos(math.radians(degree)), math.sin(math.radians(degree))
        out.append(_affine(image, [[cos, -sin, 0], [sin, cos, 0]]))
    return np.stack(out)


def crop(images, dx, dy):
    """Zero-filled shift: output[i, j] = input[i + dy, j + dx]."""
    images = np.asarray(images, np.float64)
    out = np.zeros(images.shape)
    for n, image in enumerate(images):
        for i in range(image.shape[0]):
            for j in range(image.shape[1]):
                out[n, i, j] = _pixel(image, i + int(dy[n]), j + int(dx[n]))
    return out


def cutout(images, cx, cy, size):
    """Zero columns cx - size//2 <= col < cx - size//2 + size of the rows given likewise by cy."""
    out = np.array(images, np.float64)
    _, height, width, _ = out.shape
    for n in range(len(out)):
        left, top = int(cx[n]) - size // 2, int(cy[n]) - size // 2
        for i in range(height):
            for j in range(width):
                if top <= i < top + size and left <= j < left + size:
                    out[n, i, j] = 0
    return out


def brightness(images, delta):
    """Add delta."""
    return np.asarray(images, np.float64) + np.asarray(delta, np.float64)[:, None, None, None]


def saturation(images, factor):
    """Stretch each pixel around its mean over the channels."""
    images = np.asarray(images, np.float64)
    mean = images.mean(axis=3, keepdims=True)
    return (images - mean) * np.asarray(factor, np.float64)[:, None, None, None] + mean


def contrast(images, factor):
    """Stretch each image around its mean over rows, columns and channels."""
    images = np.asarray(images, np.float64)
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    return (images - mean) * np.asarray(factor, np.float64)[:, None, None, None] + mean
