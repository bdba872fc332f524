"""What a result under differential privacy promises, in words."""

import math
from collections.abc import Mapping
from typing import Any

#: In place of the fingerprint of private data: a hash of them is a function of each of their pixels.
WITHHELD = "withheld"
#: What a unit leaves open.
UNITS = {
    "patient": "The data say which images are of one patient; an image of which they do not counts as a patient.",
    "image": "A patient with m images has m times the epsilon, and a delta that grows faster than m.",
}


def in_words(guarantee: Mapping[str, Any]) -> str:
    """One sentence. guarantee: of result.json."""
    if guarantee.get("epsilon") is None:
        return "No guarantee: the noise was switched off"
    return (
        f"({guarantee['epsilon']:g}, {guarantee['delta']:g})-differentially private for each {guarantee['unit']} of the"
        f" training images ({guarantee['neighbouring']}): {guarantee['mechanism']}"
    )


def delta_of_replacement(guarantee: Mapping[str, Any]) -> float:
    """The delta at which two data sets that differ in one unit, put in place of another, are at most twice epsilon
    apart: one is removed, then one added. 0 where nothing is guaranteed."""
    if guarantee.get("epsilon") is None:
        return 0.0
    return guarantee["delta"] * (1 + math.exp(guarantee["epsilon"]))


def contradicted(guarantee: Mapping[str, Any], shown: float) -> bool:
    """Whether an audit's lower bound of epsilon breaks it. Twice epsilon, because in a shadow one canary takes the
    place of another, and the guarantee is for one added or removed."""
    return guarantee.get("epsilon") is not None and shown > 2 * guarantee["epsilon"]


def terms(guarantee: Mapping[str, Any]) -> list[str]:
    """What a card says of it, in sentences."""
    versions = ", ".join(f"{name} {version}" for name, version in guarantee["versions"].items())
    return [
        f"{in_words(guarantee)}.",
        UNITS[guarantee["unit"]],
        f"Noise multiplier {guarantee['noise_multiplier']:.4g}, L2 sensitivity {guarantee['sensitivity']:g},"
        f" {guarantee['values']} values, sampling: {guarantee['sampling']}. Accountant:"
        f" {guarantee['accountant']}. Versions: {versions}.",
        f"It covers {guarantee['covers']}. The names and the number of classes and the size of images count as public.",
        *([f"It holds only if {start}."] if (start := guarantee.get("only_if")) else []),
        "Several sets of the same data add up: of sets from different releases, their epsilons and their deltas.",
        "The noise is of floating-point numbers, which is not exactly the mechanism of the proof.",
    ]


def same_data(fingerprint: str, other: str) -> bool:
    """Whether two fingerprints can be of the same data: a withheld one fits any."""
    return WITHHELD in (fingerprint, other) or fingerprint == other
