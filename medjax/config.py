"""Fields of the frozen dataclasses that hold hyper-parameters: default, one line of help, and what is allowed."""

import dataclasses
import math
from typing import Any

from medjax.errors import UserError


def option(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] = (),
    low: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field. help: one line, also shown by ``--help``. low: the smallest value allowed. below: what values
    must stay below."""
    about = {"help": help, "choices": choices, "low": low, "below": below}
    return dataclasses.field(default=default, metadata=about)


def validate(config: Any) -> None:
    """UserError, naming the flag, if a value of a dataclass made of `option` fields is not allowed."""
    for field in dataclasses.fields(config):
        value, choices, low = (
            getattr(config, field.name),
            field.metadata["choices"],
            field.metadata["low"],
        )
        if choices and value not in choices:
            raise UserError(
                f"--{field.name}={value} is not known: choose one of {', '.join(choices)}"
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"--{field.name}={value} is not a finite number")
        if isinstance(value, int) and value >= 2**32:
            raise UserError(f"--{field.name}={value} is too large: the most is {2**32 - 1}")
        if low is not None and value < low:
            raise UserError(f"--{field.name}={value} is too small: the least is {low}")
        if (below := field.metadata["below"]) is not None and value >= below:
            raise UserError(f"--{field.name}={value} is too large: it must be below {below}")
