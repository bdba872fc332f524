"""The registry: every method that medjax knows. Nothing else lists methods.

A new method is its algorithm (medjax/distill/NAME.py), a recipe here, presets (configs/NAME.toml), a launcher of ten
lines (experiments/NAME.py) and tests. Code outside medjax adds one with `register`, or as an installed package.
"""

from importlib.metadata import entry_points
from typing import NamedTuple

from medjax.errors import UserError
from medjax.recipes import dc, dm, dp, full, kmeans, margin, mtt, random, tgdd
from medjax.recipes.base import Costs, Recipe, Setup

#: name -> recipe, in the order of tables.
RECIPES: dict[str, Recipe] = {}
#: The entry points by which an installed package names its methods.
GROUP = "medjax.methods"


class Look(NamedTuple):
    """How a method appears in tables and figures."""

    title: str
    place: int
    colour: str
    marker: str


def register(*recipes: Recipe) -> None:
    """Add methods to the registry; a name that is there already is replaced."""
    RECIPES.update({recipe.name: recipe for recipe in recipes})


def register_installed() -> None:
    """Add the methods of installed packages: each is an entry point of the group `GROUP`, with the method's name, that
    names a `Recipe`. A method that is there already is left as it is. Raises UserError for one that cannot be
    loaded."""
    for entry in entry_points(group=GROUP):
        if entry.name in RECIPES:
            continue
        try:
            recipe = entry.load()
        except Exception as error:
            reason = f"cannot be loaded ({type(error).__name__}: {error})"
        else:
            reason = "is no medjax.Recipe of this name"
            if isinstance(recipe, Recipe) and recipe.name == entry.name:
                register(recipe)
                continue
        package = entry.dist.name if entry.dist else "an installed package"
        raise UserError(
            f"the method {entry.name!r} of {package} ({entry.value}) {reason}: mend or uninstall that package"
        )


def find(name: str) -> Recipe:
    """The recipe of a method, also of an installed package. Raises UserError for an unknown name."""
    if name not in RECIPES:
        register_installed()
    if name not in RECIPES:
        raise UserError(f"method {name!r} is not known: choose one of {', '.join(RECIPES)}")
    return RECIPES[name]


def describe(kind: str) -> Look:
    """How a method appears, or a form of it (`medjax.form`: "mtt, packed 2 x 2"), paler and after it; one that is not
    in the registry goes by its own name."""
    name, form = _parts(kind)
    recipe = RECIPES.get(name)
    if recipe is None:
        return Look(kind, 50, "#CC79A7", "X")
    if not form:
        return Look(recipe.title, recipe.place, recipe.colour, recipe.marker)
    colour = recipe.colour + "99" * recipe.colour.startswith("#")
    packed, soft, mixed = "packed" in form, "soft" in form, "CutMix" in form
    marker = "*" if packed and soft else "P" if packed else "D"
    return Look(recipe.title + form, recipe.place + packed + 2 * soft + 4 * mixed, colour, marker)


def real(kind: str) -> bool:
    """Whether a method, or a form of it, trains on real images and distils nothing."""
    recipe = RECIPES.get(_parts(kind)[0])
    return recipe is not None and (recipe.build is None or recipe.chooses)


def _parts(kind: str) -> tuple[str, str]:
    """The method of a `Result.kind`, and what follows: (name, "" or ", packed 2 x 2, soft labels")."""
    name, comma, form = kind.partition(", ")
    return name, comma + form


register(random.RECIPE, kmeans.RECIPE, margin.RECIPE, dc.DC, dc.DSA, dm.RECIPE)
register(tgdd.RECIPE, dp.RECIPE, mtt.RECIPE, full.RECIPE)

__all__ = ["RECIPES", "Costs", "Look", "Recipe", "Setup"]
__all__ += ["describe", "find", "real", "register", "register_installed"]
