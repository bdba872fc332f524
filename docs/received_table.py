"""The table of docs/sharing.md: sets as distilled and as received, from recipe.json: python docs/tables.py"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medjax.score import Score

ROOT = Path(__file__).parents[1]
#: Where bundles' recipe.json are kept.
PLACES = ("medjax/bundles/*", "results/rows/*", "results/whiten/*")
#: Networks of a score that says nothing of them.
USUAL = 5


def row(recipe: Mapping[str, Any]) -> str:
    """One line of the table."""
    result, received = recipe["result"], recipe["result_as_received"]
    name = f"{result['dataset']} | {result['ipc']} | {recipe['values']['whiten']}"
    cells = []
    for scores in (result["test"], received["test"]):
        accuracy, balanced = (Score(**scores[n]) for n in ("accuracy", "balanced_accuracy"))
        more = f", {accuracy.n} networks" if accuracy.n != USUAL else ""
        cells.append(f"{accuracy} ({balanced}){more}")
    return f"| {name} | {' | '.join(cells)} |"


def lines() -> list[str]:
    """The table."""
    paths = [path for place in PLACES for path in ROOT.glob(f"{place}/recipe.json")]
    recipes = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    head = "| data set | images per class | whitening | test accuracy (balanced), as distilled | as received |"
    return [head, "|---|---|---|---|---|", *sorted(row(recipe) for recipe in recipes)]
