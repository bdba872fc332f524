"""What a result.json may hold, as types that pydantic checks; such files come from other people's folders."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, Strict, ValidationError

from medjax.guarantee import UNITS

#: Every number of a result is smaller than this.
LARGEST = 2**53
Number = Annotated[float, Strict()]
Fraction = Annotated[Number, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[Number, Field(gt=-LARGEST, lt=LARGEST, allow_inf_nan=False)]
Count = Annotated[int, Strict(), Field(ge=0, lt=LARGEST)]
Positive = Annotated[int, Strict(), Field(ge=1, lt=LARGEST)]


def _with_counts(evaluation: Mapping[str, Any]) -> Mapping[str, Any]:
    counts = [evaluation.get(key) for key in ("networks", "epochs")]
    if not all(type(n) is int and 0 <= n < LARGEST for n in counts):
        raise ValueError("it does not say how many networks and epochs")
    return evaluation


def _stated(guarantee: Mapping[str, Any]) -> Mapping[str, Any]:
    if guarantee.get("epsilon") is None:
        return guarantee
    numbers = ("epsilon", "delta", "noise_multiplier", "sensitivity", "values")
    texts = ("neighbouring", "mechanism", "sampling", "accountant", "covers")
    if not (
        all(type(guarantee.get(key)) in (int, float) for key in numbers)
        and all(isinstance(guarantee.get(key), str) for key in texts)
        and guarantee.get("unit") in UNITS
        and isinstance(guarantee.get("versions"), Mapping)
    ):
        raise ValueError("it does not say all that a guarantee is of")
    return guarantee


def _square(counts: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
    if any(len(row) != len(counts) for row in counts):
        raise ValueError("it is not a square of counts")
    return counts


def known(*names: str) -> BeforeValidator:
    """Keys of a table that this version does not know are left out."""
    return BeforeValidator(
        lambda table: (
            {k: table[k] for k in names if k in table} if isinstance(table, Mapping) else table
        )
    )


Evaluation = Annotated[Mapping[str, Any], AfterValidator(_with_counts)]
Guarantee = Annotated[Mapping[str, Any], AfterValidator(_stated)]
Confusion = Annotated[Sequence[Sequence[Count]], AfterValidator(_square)]


def complaint(error: ValidationError) -> str:
    """The first thing that is wrong, in one line: a missing key, a wrong type, a score outside [0, 1]."""
    first = error.errors(include_url=False)[0]
    where = printable(".".join(map(str, first["loc"])))[:120]
    if first["type"] == "missing":
        return f"not a whole result: no {where!r}"
    return f"{where!r}: {first['msg']}"


def read_json(path: Path) -> Any:
    """The value in a JSON file, its texts made printable. Raises OSError, ValueError or RecursionError."""
    return _printable(json.loads(path.read_bytes()))


def printable(text: str) -> str:
    """The text with "?" for control characters and lone surrogates, which cannot be written to a page."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(k): _printable(v) for k, v in value.items()}
    return [_printable(v) for v in value] if isinstance(value, list) else value
