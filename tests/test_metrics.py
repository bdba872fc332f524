"""Scores against an independent derivation, and where they are undefined."""

import math

import numpy as np
import pytest

from medjax import metrics


def test_golden(golden):
    """200 predictions with many ties: confusion, accuracy, balanced accuracy, AUC."""
    g = golden("evaluation")
    table = metrics.confusion(g["labels"], g["probabilities"].argmax(1), 4)
    np.testing.assert_array_equal(table, g["confusion"])
    got = metrics.scores(g["labels"], g["probabilities"])
    expected = [g["accuracy"], g["balanced_accuracy"], g["auc"]]
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    by_class = [
        metrics.auc_one_vs_rest(g["probabilities"][:, k], g["labels"] == k) for k in range(4)
    ]
    np.testing.assert_allclose(by_class, g["auc_per_class"], rtol=1e-12)


def test_auc_by_definition():
    """Two ties, one win, one loss of a positive over a negative: (1 + 2 / 2) / 4."""
    values = np.array([0.5, 0.2, 0.5, 0.2])
    assert metrics.auc_one_vs_rest(values, np.array([True, True, False, False])) == 0.5
    values = np.array([0.9, 0.5, 0.5, 0.1])
    assert metrics.auc_one_vs_rest(values, np.array([True, True, False, False])) == 3.5 / 4


def test_nan_probabilities():
    """A network that ends in NaN scores as if it had always said class 0."""
    labels = np.array([0, 0, 0, 1, 2], np.int32)
    got = metrics.scores(labels, np.full((5, 3), np.nan, np.float32))
    assert got == (3 / 5, pytest.approx(1 / 3), 0.5)


def test_a_network_that_is_too_sure_has_no_ties():
    """Probabilities in float32 are all 1 or 0; the AUC is that of the logits all the same, of both classes alike."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 500).astype(np.int32)
    margin = (40 * (labels - 0.5) + 60 * rng.normal(size=500)).astype(np.float32)
    logits = np.stack([np.zeros_like(margin), margin], axis=1)
    got = metrics.scores(labels, metrics.log_odds(logits))
    assert got.auc == pytest.approx(metrics.auc_one_vs_rest(margin, labels == 1), abs=1e-12)
    p = np.exp(metrics.log_odds(logits))
    np.testing.assert_allclose((p / (1 + p)).sum(1)[np.abs(margin) < 20], 1)
    assert metrics.scores(labels, metrics.log_odds(np.full((500, 2), np.nan)))[2] == 0.5


def test_log_odds_by_definition():
    """log p - log (1 - p), of few classes and of many."""
    for classes in (2, 3, 50):
        logits = np.random.default_rng(0).normal(size=(4, classes)).astype(np.float32)
        p = np.exp(np.float64(logits))
        p /= p.sum(1, keepdims=True)
        np.testing.assert_allclose(metrics.log_odds(logits), np.log(p / (1 - p)), atol=1e-9)


def test_absent_classes():
    """Classes without images take no part in the balanced accuracy and in the AUC."""
    labels = np.array([0, 0, 2, 2], np.int32)
    p = np.array([[6, 1, 2, 1], [3, 1, 5, 1], [1, 2, 6, 1], [1, 6, 2, 1]], np.float32) / 10
    got = metrics.scores(labels, p)
    assert got.accuracy == 0.5 and got.balanced_accuracy == 0.5
    assert got.auc == (4 / 4 + 2.5 / 4) / 2  # class 0: all pairs won; class 2: two, and one tie


def test_one_class_only():
    """With a single class the AUC is undefined, the rest is not."""
    got = metrics.scores(np.array([1, 1], np.int32), np.array([[0.2, 0.8], [0.9, 0.1]], np.float32))
    assert got[:2] == (0.5, 0.5) and math.isnan(got.auc)


def test_summary():
    """Mean and population standard deviation over networks."""
    got = metrics.summary([metrics.Metrics(0.5, 0.25, 1.0), metrics.Metrics(0.7, 0.25, 0.5)])
    assert got["accuracy"] == {"mean": pytest.approx(0.6), "std": pytest.approx(0.1), "n": 2}
    assert got["balanced_accuracy"]["std"] == 0 and got["auc"]["mean"] == 0.75
