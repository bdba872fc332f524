"""Fields of the frozen dataclasses that hold hyper-parameters: default, one line of help, and allowed values."""

import dataclasses
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from medjax.errors import UserError

#: What a value of each type is called in messages.
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def option(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
    below: float | None = None,
    speed: bool = False,
) -> Any:
    """A dataclass field. help: one line, also shown by ``--help``. low, high: the smallest and the largest value
    allowed. below: a limit that values must stay below. speed: whether the value only decides how something is
    computed (results may differ by rounding)."""
    about = {"help": help, "choices": choices, "low": low, "high": high, "below": below}
    return dataclasses.field(default=default, metadata=about | {"speed": speed})


def validate(config: Any) -> None:
    """Raises UserError, naming the flag, if a value of a dataclass made of `option` fields is not allowed."""
    for field in dataclasses.fields(config):
        value, about = getattr(config, field.name), field.metadata
        given = f"--{field.name}={value}"
        if about["choices"] and value not in about["choices"]:
            raise UserError(f"{given} is not known: choose one of {', '.join(about['choices'])}")
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{given} is not a finite number")
        if isinstance(value, int) and value >= 2**32:
            raise UserError(f"{given} is too large: the largest value is {2**32 - 1}")
        if (low := about["low"]) is not None and value < low:
            raise UserError(f"{given} is too small: the smallest value is {low}")
        if (high := about["high"]) is not None and value > high:
            raise UserError(f"{given} is too large: the largest value is {high}")
        if (below := about["below"]) is not None and value >= below:
            raise UserError(f"{given} is too large: it must be below {below}")


def from_values(kind: type, values: Mapping[str, Any]) -> Any:
    """An instance of a dataclass made of `option` fields from plain values, those of a JSON or TOML file; defaults
    where a field is missing. Raises UserError for an unknown name, a value of another type, and where `validate`
    does."""
    fields: dict[str, Any] = {field.name: field for field in dataclasses.fields(kind)}
    given = {}
    for name, value in values.items():
        if name not in fields:
            raise UserError(f"{name!r} is not an option: choose among {', '.join(fields)}")
        wanted, value = fields[name].type, _plain(value)
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            shown = repr(value) if isinstance(value, str) else value
            raise UserError(f"--{name}={shown} is not {KINDS[wanted]}")
        if type(value) is int and abs(value) >= 2**32:  # before it becomes a float
            raise UserError(f"--{name}={value} is too large: the largest value is {2**32 - 1}")
        given[name] = wanted(value)
    config = kind(**given)
    validate(config)
    return config


def _plain(value: Any) -> Any:
    """A value from Python as one of a file: numbers of NumPy as Python's, paths as text."""
    if isinstance(value, np.generic):
        return value.item()
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def checked(config: Any) -> Any:
    """A config that a user may have made in Python, as it is. Raises UserError as `from_values` does."""
    return from_values(type(config), vars(config))
