"""How time and memory of one MTT iteration grow with inner steps, images, segments and width; the slope in words."""

import json
from typing import Any

import numpy as np

from benchmarks.measure import in_turns, row, words

BASE = {"images": 8, "steps": 10, "width": 128, "meta_batch": 1}
RANGES = {
    "steps": (5, 10, 20, 40),
    "images": (8, 16, 40, 80),
    "meta_batch": (1, 2, 4),
    "width": (32, 64, 128, 256),
}


def slope(values: tuple[int, ...], measured: list[float]) -> float:
    """The exponent of the power law through these points, by least squares on logarithms."""
    return float(np.polyfit(np.log(values), np.log(measured), 1)[0])


def in_words(exponent: float) -> str:
    """Growth for a reader: what doubling does."""
    return f"doubling it takes {2**exponent:.2f} times as much (exponent {exponent:.2f})"


def rows(suite: str, quick: bool) -> list[dict[str, Any]]:
    """A row a point, and with the last point of each range the slopes."""
    found = []
    for name, values in (("steps", (5, 10)),) if quick else RANGES.items():
        points = []
        for value in values:
            side = in_turns("mtt", BASE | {name: value}, ("medjax",))["medjax"]
            points.append((side.seconds or np.nan, side.facts.get("temporaries_mb", np.nan)))
            found.append(row(suite, words({name: value}), {"medjax": side}))
            print(json.dumps(found[-1]), flush=True)
        seconds, memory = (slope(values, list(column)) for column in zip(*points, strict=True))
        found[-1]["slope"] = f"time: {in_words(seconds)}; temporaries: {in_words(memory)}"
    return found
