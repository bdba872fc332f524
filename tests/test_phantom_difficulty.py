"""The phantom set is no toy: learnable from all of it, not from one image per class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medjax import evaluate, metrics, train
from medjax.augment import augment
from medjax.data import preprocess
from medjax.data.phantom import phantom
from medjax.distill.random import random_images
from medjax.eval_config import EvalConfig
from medjax.models import ConvNetConfig, convnet
from medjax.types import Synthetic


@pytest.fixture(scope="module")
def space():
    """Train and test in model space, and the study's ConvNet."""
    raw = phantom()
    pre = preprocess.fit(preprocess.PreprocessConfig(), raw.train.images)
    model = convnet(ConvNetConfig(), classes=8, size=32, channels=3)
    return preprocess.to_device(pre, raw.train), preprocess.to_device(pre, raw.test), model


@pytest.mark.slow
def test_all_images_pass_90_percent(space):
    """One ConvNet on all training images, 15 epochs of SGD at 0.01 with momentum 0.9."""
    data, test, model = space
    trainer = train.Trainer(model, train.sgd(0.9), None, 256, 8)
    key = jax.random.key(0)
    fit = jax.jit(lambda d, s: train.fit(trainer, key, s, d, RATES, FRESH, 0, 15))
    state = jax.tree.map(lambda a: a[None], fit(data, train.start(trainer, key)))
    (scores,) = evaluate.score(model, state, test.images, test.labels)
    assert scores.accuracy > 0.90


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_one_random_image_per_class_stays_under_45_percent(space, seed):
    """The final protocol (with fewer epochs) on random real images, at the best of three step sizes on test."""
    data, test, model = space
    images, labels = random_images(jax.random.key(seed), data, 1, 8)
    config = EvalConfig()
    trainer = evaluate.trainer(config, model, 8, augment)
    rates = jnp.array([0.003, 0.01, 0.03])
    people = evaluate.population(config, jax.random.key(seed), 2, 300, rates)
    scores = evaluate.evaluate(trainer, people, Synthetic(images, labels, rates[0]), test)
    means = [metrics.summary(scores[i : i + 2])["accuracy"]["mean"] for i in (0, 2, 4)]
    assert 0.15 < np.max(means) < 0.45


RATES, FRESH = jnp.full(15, 0.01), jnp.zeros(15, bool)
