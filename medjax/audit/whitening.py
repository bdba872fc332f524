"""What the whitening map of a set says of who was among its training images. It is no part of the 8-bit images, but of
synthetic.npz and of a bundle's exact.npz.

ZCA's map is (C + 0.1)^-1/2 of the covariance C of the training images, so that whoever holds the map has C. An image
that was among n < d training images of d values lies where C has spread; another one does not. With more images the
difference fades, and does not vanish.
"""

import numpy as np
from jaxtyping import Float, UInt8

from medjax.data.preprocess import ZCA_EPS, Preprocessor, resize

#: Added to the variances of C: what float32 leaves of those that are zero.
LEAST = 1e-7


def membership_score(
    pre: Preprocessor, images: UInt8[np.ndarray, "n h w c"]
) -> Float[np.ndarray, " n"] | None:
    """How well each image fits the covariance in the map, larger: it was in; minus the logarithm of its squared
    Mahalanobis distance from the mean. None where the map is not ZCA's: its two numbers for a channel, or none, are not
    attacked."""
    if pre.kind != "zca":
        return None
    values, vectors = np.linalg.eigh(pre.forward.astype(np.float64))
    spread = np.maximum(values**-2 - ZCA_EPS, 0) + LEAST
    x = resize(images, pre.size).reshape(len(images), -1) - pre.mean
    return -np.log(((x @ vectors) ** 2 / spread).sum(1))
