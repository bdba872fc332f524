"""How images are divided among train, val and test, and by what names splits are known."""

import itertools

import numpy as np
import pytest

from medjax.data.splits import SHARES, resembles, split_groups, split_of, twice

RNG = np.random.default_rng(0)


def table(labels, splits):
    """Images of each class (columns) in each split (rows)."""
    counts = np.zeros((3, int(labels.max()) + 1), int)
    np.add.at(counts, (splits, labels), 1)
    return counts


def test_whole_groups_near_the_shares():
    labels, groups = RNG.integers(0, 3, 600), np.repeat(np.arange(60), 10)
    splits = split_groups(labels, groups, SHARES, 0)
    assert all(len(set(splits[groups == g])) == 1 for g in range(60))
    for label in range(3):
        shares = np.bincount(splits[labels == label], minlength=3) / (labels == label).sum()
        assert abs(shares - SHARES).max() < 0.08


@pytest.mark.parametrize(
    ("classes", "each", "expected"),
    [
        ([0] * 5 + [1] * 5, 30, [[90, 90], [30, 30], [30, 30]]),
        ([0, 1, 2] * 4, 10, [[20] * 3, [10] * 3, [10] * 3]),
        ([0, 0, 0, 1, 1, 1], 100, [[100, 100]] * 3),
    ],
)
def test_few_large_patients_leave_no_split_empty(classes, each, expected):
    """Val stayed empty where each group was larger than its share."""
    labels, groups = np.repeat(classes, each), np.repeat(np.arange(len(classes)), each)
    assert table(labels, split_groups(labels, groups, SHARES, 0)).tolist() == expected


def test_five_patients_with_all_classes():
    labels, groups = np.tile([0, 1], 250), np.repeat(np.arange(5), 100)
    assert table(labels, split_groups(labels, groups, SHARES, 0)).all()


def test_one_patient_with_a_rare_class_is_in_train():
    labels = np.array([0] * 20 + [1])
    splits = split_groups(labels, np.arange(21) // 3, SHARES, 0)
    assert splits[-1] == 0


def test_no_image_goes_to_a_split_of_no_share():
    labels, groups = np.tile([0, 1], 20), np.repeat(np.arange(4), 10)
    splits = split_groups(labels, groups, (0.9, 0.1, 0.0), 0)
    assert set(splits) == {0, 1} and table(labels, splits)[:2].all()


def covered(has, home):
    """What matters, in this order: classes in train, splits that are not empty, classes in all splits."""
    full = np.stack([has[home == split].any(0) for split in range(3)])
    return full[0].sum(), full.any(1).sum(), full.sum()


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_missing_that_any_split_of_a_few_groups_has(seed):
    """Against all splits that there are."""
    rng = np.random.default_rng(seed)
    count, k = int(rng.integers(2, 7)), int(rng.integers(2, 5))
    sizes, mixed = rng.integers(1, 30, count), seed % 2
    pools = [rng.choice(k, rng.integers(1, min(k, 3) + 1 if mixed else 2)) for _ in sizes]
    drawn = np.concatenate([rng.choice(p, n) for p, n in zip(pools, sizes, strict=True)])
    labels = np.unique(drawn, return_inverse=True)[1]
    groups = np.repeat(np.arange(count), sizes)
    has = np.zeros((count, labels.max() + 1), bool)
    has[groups, labels] = True
    every = itertools.product(range(3), repeat=count)
    best = max(tuple(covered(has, np.array(home))) for home in every)
    splits = split_groups(labels, groups, SHARES, seed)
    home = np.array([splits[groups == g][0] for g in range(count)])
    assert covered(has, home) == best


def test_many_groups_take_no_time_to_complete():
    """Search by pairs is for few groups; a class in three of many patients still reaches every split."""
    groups, labels = np.repeat(np.arange(3000), 10), RNG.integers(0, 8, 30_000)
    labels[:30] = 8
    splits = split_groups(labels, groups, SHARES, 0)
    assert table(labels, splits)[:, 8].tolist() == [10, 10, 10]


def test_names_of_splits():
    assert [split_of(n) for n in ("Train", "TRAINING", "valid", "dev", "Testing")] == [
        *("train", "train", "val", "val", "test")
    ]
    assert split_of("holdout") is split_of("testes") is split_of("") is None
    assert [resembles(n) for n in ("training_set", "TestData", "val images", "trainset")] == [
        *("train", "test", "val", "train")
    ]
    assert resembles("control") is resembles("trainer") is resembles("latest") is None
    assert twice(["val", "train", "Validation"]) == ["val", "Validation"]
    assert twice(["val", "train", "a", "b"]) == []
