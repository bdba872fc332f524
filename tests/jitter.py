"""An augmentation that compiles in no time; for tests of where keys go rather than of DSA."""

import jax
import jax.numpy as jnp

from medjax.augment import Augmentation


class Jitter(Augmentation):
    """A number added to each image."""

    def draw(self, key, images, siamese=False):
        return jnp.broadcast_to(jax.random.normal(key, (1 if siamese else images,)), (images,))

    def apply(self, images, drawn):
        return images + 0.2 * drawn.reshape(-1, 1, 1, 1)
