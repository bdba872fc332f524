"""The validator of result.json: whether a JSON value is a whole result. Such files come from other people's folders."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

METRICS = ("accuracy", "balanced_accuracy", "auc")
#: Rows of scores that a result may hold.
ROWS = ("test", "test_uint8", "start", "test_chosen_step", "test_one_subset")
#: Every number of a result is smaller than this.
LARGEST = 2**53
Kind = type | tuple[type, ...]
NUMBER = (int, float, type(None))
#: The type of each key that every result has.
REQUIRED: dict[str, Kind] = {
    "method": str,
    "model": str,
    "dataset": str,
    "fingerprint": str,
    "preset": str,
    "seed": int,
    "ipc": (int, type(None)),
    "majority_share": (int, float),
    "chance": (int, float),
    "evaluation": dict,
    "warnings": list,
    "seconds": dict,
    "test": dict,
}
#: The type of each further key, where a result has it.
OPTIONAL: dict[str, Kind] = {
    "select": str,
    "selected_iteration": int,
    "subsets": int,
    "step_size": NUMBER,
    "start_step_size": NUMBER,
    "chosen_step_size": NUMBER,
    "step_size_from": str,
}
SELECT = ("val", "last", "test")


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


def complaint(value: Any) -> str | None:
    """What is wrong with the JSON value of a result, in one line: a missing key, a wrong type, a score outside [0, 1].
    None where it is a whole result."""
    if not isinstance(value, dict):
        return "not a result: no JSON object"
    for key, kind in REQUIRED.items():
        if key not in value:
            return f"not a whole result: no {key!r}"
        if not isinstance(value[key], kind) or isinstance(value[key], bool):
            return f"{key!r} is {type(value[key]).__name__}"
    return _facts(value) or _tables(value)


def _facts(value: dict[str, Any]) -> str | None:
    """What is wrong beside the scores."""
    seconds, ipc = value["seconds"].values(), value["ipc"]
    counts = [value["evaluation"].get(key) for key in ("networks", "epochs")]
    checks = {
        "'seed' is out of range": _whole(value["seed"]),
        "'ipc' is out of range": ipc is None or _whole(ipc, 1),
        "'majority_share' is no fraction in [0, 1]": _fraction(value["majority_share"]),
        "'chance' is no fraction in [0, 1]": _fraction(value["chance"]),
        "'evaluation' does not say how many networks and epochs": all(map(_whole, counts)),
        f"'select' is none of {', '.join(SELECT)}": value.get("select", SELECT[0]) in SELECT,
        "'confusion' is no square of counts": _square(value.get("confusion") or []),
        "'warnings' holds something that is no text": _all(value["warnings"], str),
        "'seconds' holds something that is no number": _all(seconds, (int, float))
        and all(abs(s) < LARGEST for s in seconds),
    }
    return next((wrong for wrong, right in checks.items() if not right), None)


def _tables(value: dict[str, Any]) -> str | None:
    """What is wrong with the scores, of the result itself and of each network of eval_models."""
    others = value.get("eval_models") or {}
    if not isinstance(others, dict) or not _all(others.values(), dict):
        return "'eval_models' is no table"
    for table in (value, *others.values()):
        for key, kind in OPTIONAL.items():
            if key in table and not isinstance(table[key], kind):
                return f"{key!r} is {type(table[key]).__name__}"
        for row in ROWS:
            if found := _row(row, table.get(row)):
                return found
    return None


def _row(name: str, row: Any) -> str | None:
    """What is wrong with a row of scores, {metric: {mean, std, n}}; an absent row is right."""
    if row is None:
        return None
    if not isinstance(row, dict):
        return f"{name!r} is {type(row).__name__}"
    for metric in METRICS:
        score = row.get(metric)
        if not isinstance(score, dict):
            return f"{name!r} has no {metric!r}"
        parts = [score.get(part, "") for part in ("mean", "std")]
        if not all(part is None or _fraction(part) for part in parts):
            return f"{metric!r} of {name!r} is no fraction in [0, 1]"
        if not _whole(score.get("n"), 1):
            return f"{metric!r} of {name!r} does not say of how many networks"
    return None


def _square(counts: Any) -> bool:
    """Whether these are k rows of k counts."""
    rows = isinstance(counts, list) and _all(counts, list)
    return rows and all(len(r) == len(counts) and all(map(_whole, r)) for r in counts)


def _all(values: Iterable[Any], kind: Kind) -> bool:
    return all(isinstance(value, kind) for value in values)


def _whole(value: Any, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < LARGEST


def _fraction(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
