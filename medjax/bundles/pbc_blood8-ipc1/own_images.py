# SPDX-License-Identifier: Apache-2.0
"""Your own images: read from a file, their labels numbered as the classes of this set, and networks scored on them.
`evaluate.py` and `evaluate_torch.py` use it. Needs NumPy alone."""

import hashlib
import re
import sys
import unicodedata
import zipfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent


def scores(labels, found):
    """Accuracy, mean recall of the classes, and mean one-against-rest AUC, of logits [n, k]."""
    k, found = found.shape[1], np.nan_to_num(np.asarray(found, np.float64))
    right = found.argmax(1) == labels
    recall = [right[labels == c].mean() for c in range(k) if (labels == c).any()]
    aucs = []
    for c in range(k):
        odds = found[:, c] - np.logaddexp.reduce(np.delete(found, c, 1), axis=1)
        mine, others = np.sort(odds[labels == c]), np.sort(odds[labels != c])
        if len(mine) and len(others):
            below, upto = (np.searchsorted(others, mine, side) for side in ("left", "right"))
            aucs.append((below + upto).mean() / 2 / len(others))
    return right.mean(), np.mean(recall), np.mean(aucs) if aucs else np.nan


def show(found):
    """Print the mean of `scores` over networks, and the standard deviation where there are two or more."""
    names = "accuracy", "balanced accuracy", "AUC"
    for name, column in zip(names, np.transpose(found), strict=True):
        spread = f" ± {100 * column.std():.1f}" if len(found) > 1 else ""
        print(f"{name:<18}{100 * column.mean():.1f}{spread}")


def refuse(words):
    """End with one line."""
    print(words, file=sys.stderr)
    sys.exit(2)


def check(*names):
    """End where a file of this folder is not as SHA256SUMS has it."""
    try:
        lines = (HERE / "SHA256SUMS").read_text("utf-8").splitlines()
    except (OSError, ValueError):
        refuse("SHA256SUMS is missing, or cannot be read: get the set again")
    known = {line[66:]: line[:64] for line in lines}
    for name in names:
        path = HERE / name
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        if known.get(name) != found:
            refuse(f"{name} is missing, or not as it was written: get the set again")


def arrays_of(path):
    """test_images [n, h, w, c], uint8, test_labels [n], the labels that its train_labels has, and class_names; None for
    those of the last two that are not in the file."""
    try:
        with np.load(path) as z:
            if missing := {"test_images", "test_labels"} - set(z.files):
                refuse(f"{path} has no {' and no '.join(sorted(missing))}")
            images, labels = z["test_images"], z["test_labels"]
            trained = labels_in(z)
            names = spelled(z["class_names"]) if "class_names" in z else None
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        refuse(f"{path} is no .npz file that can be read ({type(error).__name__})")
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or not len(images):
        refuse(f"{path}: test_images must be uint8 [n, h, w] or [n, h, w, c], and not empty")
    if labels.ndim == 2 and labels.shape[1] > 1:  # one-hot
        if not (np.sort(labels, 1)[:, -2:] == [0, 1]).all():
            refuse(f"{path}: test_labels must be one number for each image, or one-hot rows")
        labels = labels.argmax(1)
    labels = labels.reshape(-1)
    if len(labels) != len(images) or labels.dtype.kind not in "iuf" or (labels % 1 != 0).any():
        refuse(f"{path}: test_labels must be one whole number for each of {len(images)} images")
    return images.reshape(*images.shape[:3], -1), labels.astype(np.int64), trained, names


def labels_in(z):
    """The labels of training images, sorted; None where a file has none that can be used."""
    try:
        found = z["train_labels"]
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile):
        return None
    if found.ndim == 2 and found.shape[1] > 1:
        found = found.argmax(1)
    return np.unique(found.astype(np.int64)).tolist() if found.dtype.kind in "iuf" else None


def spelled(names):
    """Names of classes, however they are composed and spaced."""
    return [" ".join(unicodedata.normalize("NFC", str(name)).split()) for name in names]


def test_split(path, channels, names):
    """Pixels, uint8 [n, h, w, c], and labels [n], numbered as the classes of the set. names: of these.

    Classes are found by their names, whatever their order. Those of a file that has no names, or of a set that has
    none, are taken in the order of their labels, which may have gaps.
    """
    images, labels, trained, theirs = arrays_of(path)
    if images.shape[3] != channels:
        how = (
            "repeat them: np.repeat(images.reshape(n, h, w, 1), 3, -1)"
            if channels == 3
            else "average them"
        )
        refuse(
            f"{path}: test_images have {images.shape[3]} channels, and the set has {channels}: {how}"
        )
    ours, numbers = spelled(names), list(range(len(names)))
    if trained is not None and len(trained) == len(names):
        numbers = trained
    elif theirs is not None:
        numbers = list(range(len(theirs)))
    elif nameless(ours):
        numbers = [int(name.split()[1]) for name in ours]
    if theirs is None:
        theirs = [f"class {number}" for number in numbers]
    elif len(theirs) > max(numbers):
        theirs = [theirs[number] for number in numbers]
    if {*ours} <= {*theirs}:
        numbers = [numbers[theirs.index(name)] for name in ours]
    fits = {*ours} <= {*theirs} or nameless(ours) or nameless(theirs)
    place = {number: label for label, number in enumerate(numbers)}
    if not fits or len(place) != len(names) or not {*labels.tolist()} <= place.keys():
        there = (
            ", ".join(theirs) if not nameless(theirs) else f"labels {np.unique(labels).tolist()}"
        )
        pairs = ", ".join(f"{n} ({name})" for n, name in enumerate(names))
        refuse(
            f"{path} has {there}; the set has {pairs}: give its class_names these names, or leave class_names out and"
            " number test_labels as here"
        )
    return images, np.array([place[label] for label in labels.tolist()])


def nameless(names):
    """Whether classes are called by their labels."""
    return all(re.fullmatch(r"class \d+", name) for name in names)
