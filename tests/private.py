"""A small private data set, the settings of a run on it, and the noise that an accountant would ask for."""

import numpy as np
from scipy import optimize, stats

import medjax
from medjax.data.raw import pick, raw_dataset
from medjax.pipeline import release as releases
from medjax.types import RawSplit

SIDE = 8


def split(seed, count, groups=None, classes=2):
    """Images whose left half is brighter in class 0, the right one in class 1."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count, dtype=np.int32) % classes)
    images = rng.integers(0, 200, (count, SIDE, SIDE, 1))
    for image, label in zip(images, labels, strict=True):
        image[:, 4 * label : 4 * label + 4] += 50
    return RawSplit(images.astype(np.uint8), labels, groups)


def cells(groups=None, count=40):
    """A data set; groups: patients of the training images."""
    other = None if groups is None else np.arange(1000, 1012)
    splits = {"train": split(0, count, groups)}
    splits |= {"val": split(1, 12, other), "test": split(2, 12, other)}
    return raw_dataset("cells", ("a", "b"), splits)


def without(raw, unit):
    """The data set without one unit."""
    kept = releases.units(raw) != unit
    return raw_dataset(
        "cells", raw.class_names, {"train": pick(raw.train, kept), "val": raw.val, "test": raw.test}
    )


def settings(**more):
    """Of a tiny network and a small release."""
    words = {"size": SIDE, "width": 4, "depth": 1, "statistic_networks": 3, "directions": 4}
    words |= {"networks": 2, "eval_epochs": 4, "interim_epochs": 4, "eval_augment": False}
    words |= {"iterations": 4, "eval_every": 4}
    words |= {"delta": 0.01} if more.get("noise", True) else {}
    return medjax.settings("dp", preset="quick", **words | more)


def sigma_of(epsilon, delta):
    """Balle & Wang 2018, theorem 8, for sensitivity 1: the smallest sigma with
    Phi(1 / 2s - e s) - exp(e) Phi(-1 / 2s - e s) <= delta."""
    cdf = stats.norm.cdf

    def excess(s):
        return (
            cdf(1 / (2 * s) - epsilon * s)
            - np.exp(epsilon) * cdf(-1 / (2 * s) - epsilon * s)
            - delta
        )

    return optimize.brentq(excess, 1e-2, 1e4)
