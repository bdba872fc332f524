"""The registry: every method that medjax knows. Nothing else lists methods.

A new method is its algorithm (medjax/distill/NAME.py), a recipe here, presets (configs/NAME.toml), a launcher of ten
lines (experiments/NAME.py) and tests. Code outside medjax adds one with `register`.
"""

from typing import NamedTuple

from medjax.errors import UserError
from medjax.recipes import dc, dm, full, mtt, random
from medjax.recipes.base import Costs, Recipe, Setup

#: name -> recipe, in the order of tables.
RECIPES: dict[str, Recipe] = {}


class Look(NamedTuple):
    """How a method appears in tables and figures."""

    title: str
    place: int
    colour: str
    marker: str


def register(*recipes: Recipe) -> None:
    """Add methods to the registry; a name that is there already is replaced."""
    RECIPES.update({recipe.name: recipe for recipe in recipes})


def find(name: str) -> Recipe:
    """The recipe of a method. Raises UserError for an unknown name."""
    if name not in RECIPES:
        raise UserError(f"method {name!r} is not known: choose one of {', '.join(RECIPES)}")
    return RECIPES[name]


def describe(name: str) -> Look:
    """How a method appears; one that is not in the registry goes by its own name."""
    recipe = RECIPES.get(name)
    if recipe is None:
        return Look(name, 50, "#CC79A7", "X")
    return Look(recipe.title, recipe.place, recipe.colour, recipe.marker)


def real(name: str) -> bool:
    """Whether a method trains on real images and distils nothing."""
    return name in RECIPES and RECIPES[name].build is None


register(random.RECIPE, dc.DC, dc.DSA, dm.RECIPE, mtt.RECIPE, full.RECIPE)

__all__ = ["RECIPES", "Costs", "Look", "Recipe", "Setup", "describe", "find", "real", "register"]
