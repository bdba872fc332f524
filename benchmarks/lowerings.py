"""medjax's hot loops under each lowering of the convolution, in turns: what `--conv=auto` should choose here."""

import json
from typing import Any

import jax

from benchmarks.measure import in_turns, row, words
from medjax.models.conv import LOWERINGS

#: Several networks side by side, or one; differentiated once, or again.
CASES = (
    ("mtt", {"images": 8, "steps": 10}),
    ("mtt", {"images": 80, "steps": 10}),
    ("expert_steps", {"count": 1}),
    ("expert_steps", {"count": 4 if jax.default_backend() == "cpu" else 16}),
    ("evaluation", {"networks": 5, "images": 8, "epochs": 20}),
    ("evaluation", {"networks": 5, "images": 80, "epochs": 5}),
    ("dc", {"ipc": 1, "outer": 1, "inner": 1}),
)


def rows(suite: str, quick: bool) -> list[dict[str, Any]]:
    """A row for each loop, its case and each lowering; none of them is among a few cases."""
    found = []
    for name, case in () if quick else CASES:
        for conv in LOWERINGS:
            side = in_turns(name, case | {"conv": conv}, ("medjax",))["medjax"]
            found.append(row(suite, f"{name}, {words(case)}, {conv}", {"medjax": side}))
            print(json.dumps(found[-1]), flush=True)
    return found
