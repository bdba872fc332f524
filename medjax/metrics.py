"""Scores of a classifier on labelled images, as fractions in [0, 1], in NumPy."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Metrics(NamedTuple):
    """accuracy; balanced_accuracy: mean recall of the classes present; auc: mean one-vs-rest AUC (NaN if undefined)."""

    accuracy: float
    balanced_accuracy: float
    auc: float


def confusion(
    labels: Int[np.ndarray, " n"], predicted: Int[np.ndarray, " n"], classes: int
) -> Int[np.ndarray, "k k"]:
    """Counts [true class, predicted class]."""
    flat = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes)


def auc_one_vs_rest(scores: Float[np.ndarray, " n"], positive: np.ndarray) -> float:
    """Probability that a positive scores above a negative, ties counted as one half; NaN where a kind is missing."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    u = ranks[positive].sum() - positives * (positives + 1) / 2
    return float(u / (positives * negatives))


def log_odds(logits: Float[np.ndarray, "*e n k"]) -> Float[np.ndarray, "*e n k"]:
    """The log odds of each class, log p - log (1 - p), in float64. They have the order of the probabilities, also where
    these round to 0 or 1 and would be ties."""
    z = np.asarray(logits, np.float64)
    with np.errstate(invalid="ignore"):  # a network may end in NaN or infinity
        none = np.full((*z.shape[:-1], 1), -np.inf)
        before, after = (np.logaddexp.accumulate(x, -1)[..., :-1] for x in (z, z[..., ::-1]))
        before = np.concatenate(
            [none, before], -1
        )  # of the classes before each, and of those after it
        after = np.concatenate([none, after], -1)[..., ::-1]
        return z - np.logaddexp(before, after)


def scores(labels: Int[np.ndarray, " n"], confidence: Float[np.ndarray, "n k"]) -> Metrics:
    """Accuracy, balanced accuracy and AUC of log odds or probabilities. A network that ends in NaN scores as if it had
    always predicted class 0, with AUC one half."""
    confidence = np.nan_to_num(confidence, nan=0.0)
    classes = confidence.shape[1]
    table = confusion(labels, confidence.argmax(1), classes)
    support = table.sum(1)
    recall = np.diag(table)[support > 0] / support[support > 0]
    aucs = [auc_one_vs_rest(confidence[:, c], labels == c) for c in range(classes)]
    defined = [a for a in aucs if not np.isnan(a)]
    auc = float(np.mean(defined)) if defined else float("nan")
    return Metrics(float(np.diag(table).sum() / len(labels)), float(recall.mean()), auc)


def summary(runs: list[Metrics]) -> dict[str, dict[str, float]]:
    """Mean and (population) standard deviation over networks: {score: {mean, std, n}}."""
    table = np.asarray(runs, dtype=np.float64)
    return {
        name: {"mean": float(column.mean()), "std": float(column.std()), "n": len(runs)}
        for name, column in zip(Metrics._fields, table.T, strict=True)
    }
