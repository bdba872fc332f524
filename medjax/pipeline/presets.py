"""Presets: tables of option values in configs/NAME.toml, as [PRESET."DATA SET"."IPC"].

"*" stands for any, and "10+" for 10 images per class or more. A preset with ``like = "OTHER"`` starts from the tables
of another preset, which stands above it in the file.
"""

import functools
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medjax.errors import UserError
from medjax.pipeline.settings import fields, groups_of
from medjax.recipes import Recipe

PACKAGE = Path(__file__).parents[1]
#: Where preset files lie: inside an installed medjax, or beside it in a clone.
FOLDERS = (PACKAGE / "configs", PACKAGE.parent / "configs")

#: Names of the innermost tables.
SIZE = re.compile(r"\*|[0-9]+\+?")

#: {preset: {data set: {ipc: {option: value}}}}
Presets = Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]


def read(recipe: Recipe) -> Presets:
    """The presets of a method; {} where it has no file. Raises UserError for a file that cannot be read, and for an
    entry that is no option of the method."""
    found = _read(Path(recipe.presets)) if recipe.presets else read_file(recipe.name)
    known = {field.name for field in fields(*groups_of(recipe))}
    for preset, sets in found.items():
        for table in (table for sizes in sets.values() for table in sizes.values()):
            if unknown := sorted(set(table) - known):
                file = recipe.presets or f"configs/{recipe.name}.toml"
                raise UserError(
                    f"{file}: {unknown[0]!r} in preset {preset!r} is no option of {recipe.name}: correct it"
                )
    return found


def read_file(name: str) -> Presets:
    """The presets of configs/NAME.toml; {} where there is no such file."""
    paths = (folder / f"{name}.toml" for folder in FOLDERS)
    found = next((path for path in paths if path.is_file()), None)
    return _read(found) if found else {}


def chosen(presets: Presets, preset: str, dataset: str, ipc: int | None) -> dict[str, Any]:
    """The options that a preset sets for a data set (its name, or the stem of its file) and a number of images per
    class; the more specific entry wins. Raises UserError for an unknown preset."""
    if preset not in presets and (presets or preset != "paper"):
        names = ", ".join(presets) or "paper"
        raise UserError(f"--preset={preset} is not known: choose one of {names}")
    table, values = presets.get(preset, {}), {}
    for of in dict.fromkeys(("*", dataset)):
        sizes = table.get(of, {})
        above = [size for size in sizes if size.endswith("+") and int(size[:-1]) <= (ipc or 0)]
        for size in ("*", *sorted(above, key=lambda size: int(size[:-1])), str(ipc)):
            values |= sizes.get(size, {})
    return values


@functools.cache
def _read(path: Path) -> Presets:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no TOML file ({error}): correct it") from error
    for preset, sets in found.items():
        if isinstance(sets, dict) and "like" in sets:
            sets = found[preset] = _merged(path, preset, found)
        tables = []
        for sizes in _tables(path, preset, sets):
            tables += _tables(path, preset, sizes)
            if odd := [size for size in sizes if not SIZE.fullmatch(size)]:
                raise UserError(f'{path}: {odd[0]!r} is no IPC: give "*", a number, or "10+"')
        for table in tables:
            _tables(path, preset, table, leaves=True)
    return found


def _merged(path: Path, preset: str, found: dict[str, Any]) -> dict[str, Any]:
    """A preset's own tables over those of the preset above it that it is ``like``."""
    own = dict(found[preset])
    other = own.pop("like")
    if other not in list(found)[: list(found).index(preset)]:
        raise UserError(f"{path}: {preset!r} is like {other!r}, which is no preset above it")
    merged = {of: dict(sizes) for of, sizes in found[other].items()}
    for of, sizes in zip(own, _tables(path, preset, own), strict=True):
        for size, table in zip(sizes, _tables(path, preset, sizes), strict=True):
            merged.setdefault(of, {})
            merged[of][size] = merged[of].get(size, {}) | table
    return merged


def _tables(path: Path, preset: str, value: Any, leaves: bool = False) -> list[Any]:
    """The entries of one level; UserError where the file is not nested as it must be."""
    if not isinstance(value, dict) or (
        not leaves and not all(isinstance(v, dict) for v in value.values())
    ):
        raise UserError(f'{path}: preset {preset!r} must be tables [{preset}."DATA SET"."IPC"]')
    return list(value.values())
