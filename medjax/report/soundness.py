"""Whether the contents of a result.json are a result: results come from other people's folders."""

from typing import Any

METRICS = ("accuracy", "balanced_accuracy", "auc")
#: Rows of scores that a result may hold.
ROWS = ("test", "test_uint8", "start", "test_chosen_step", "test_one_subset")
#: No number of a result is as large.
LARGEST = 2**53
#: What each key of a result must be.
KINDS: dict[str, type | tuple[type, ...]] = {
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
#: What a key must be where a result has it.
ALSO: dict[str, type | tuple[type, ...]] = {
    "select": str,
    "selected_iteration": int,
    "step_size": (int, float, type(None)),
    "start_step_size": (int, float, type(None)),
    "step_size_from": str,
}
SELECT = ("val", "last", "test")


def check(result: Any) -> str | None:
    """What makes a value unfit as a result: a missing key, a wrong type, a score that is no fraction. None if fit."""
    if not isinstance(result, dict):
        return "not a result: no JSON object"
    for key, kind in KINDS.items():
        if key not in result:
            return f"not a whole result: no {key!r}"
        if not isinstance(result[key], kind) or isinstance(result[key], bool):
            return f"{key!r} is {type(result[key]).__name__}"
    if not _whole(result["seed"]) or not (result["ipc"] is None or _whole(result["ipc"], 1)):
        return "'seed' or 'ipc' is out of range"
    if not all(_fraction(result[key]) for key in ("majority_share", "chance")):
        return "'majority_share' or 'chance' is no fraction in [0, 1]"
    counts = [result["evaluation"].get(key) for key in ("networks", "epochs")]
    if not all(_whole(n) for n in counts):
        return "'evaluation' does not say how many networks and epochs"
    if result.get("select", SELECT[0]) not in SELECT:
        return f"'select' is none of {', '.join(SELECT)}"
    others = result.get("eval_models") or {}
    if not isinstance(others, dict) or not all(isinstance(t, dict) for t in others.values()):
        return "'eval_models' is no table"
    for table in (result, *others.values()):
        for key, kind in ALSO.items():
            if key in table and not isinstance(table[key], kind):
                return f"{key!r} is {type(table[key]).__name__}"
        for row in ROWS:
            if complaint := _check_row(row, table.get(row)):
                return complaint
    if not _square(result.get("confusion") or []):
        return "'confusion' is no square of counts"
    if not all(isinstance(line, str) for line in result["warnings"]):
        return "'warnings' holds something that is no line"
    seconds = result["seconds"].values()
    if not all(isinstance(s, int | float) and abs(s) < LARGEST for s in seconds):
        return "'seconds' holds something that is no number"
    return None


def _check_row(name: str, row: Any) -> str | None:
    """A row of scores: {metric: {mean, std, n}}, each a fraction or null; or absent."""
    if row is None:
        return None
    if not isinstance(row, dict):
        return f"{name!r} is {type(row).__name__}"
    for metric in METRICS:
        score = row.get(metric)
        if not isinstance(score, dict):
            return f"{name!r} has no {metric!r}"
        if not all(
            k in score and (score[k] is None or _fraction(score[k])) for k in ("mean", "std")
        ):
            return f"{metric!r} of {name!r} is no fraction in [0, 1]"
        if not _whole(score.get("n"), 1):
            return f"{metric!r} of {name!r} does not say of how many networks"
    return None


def _square(counts: Any) -> bool:
    """Whether these are k rows of k counts."""
    rows = isinstance(counts, list) and all(isinstance(r, list) for r in counts)
    return rows and all(len(r) == len(counts) and all(_whole(v) for v in r) for r in counts)


def _whole(value: Any, least: int = 0) -> bool:
    """Whether this is a whole number that can be counted with."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < LARGEST


def _fraction(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
