"""The rows that `benchmarks.card` and `benchmarks.torch_card` measured -> one JSON file, and Markdown made from it.

    python -m benchmarks.card_table rows.jsonl about.json results/gpu/NAME.json
    python -m benchmarks.card_table results/gpu/NAME.json     # only the Markdown again

about.json says what was measured where: an object, or a list with one for each call. Milliseconds are those of one unit
by itself, from call to result, the mean of two medians. A ratio is PyTorch's time over medjax's, on the same card.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.table import cell
from medjax import store

Row = dict[str, Any]
#: A program that takes longer than this many times the device's own work waits for its launches.
WAITS = 1.2


def milliseconds(row: Row) -> float:
    """Of one unit by itself."""
    return statistics.mean(row["alone_ms"])


def program(row: Row) -> str:
    return row["name"].partition(": ")[0]


def policy(row: Row) -> str:
    return row["name"].partition(": ")[2]


def how(row: Row) -> str:
    """Which PyTorch a row is of."""
    return ", ".join(filter(None, (row["torch"], policy(row))))


def bound(row: Row, rows: list[Row]) -> str | None:
    """Whether a program waits for its launches or for the device: against the device's own time where the row has it,
    else against the same program as a CUDA graph. None where neither was measured."""
    graph = "graph" if "torch" in row else "graphs"
    name = f"{row['name']}, {graph}" if policy(row) else f"{row['name']}: {graph}"
    same = (r for r in rows if r["name"] == name and r.get("torch") == row.get("torch"))
    device = row.get("device_ms") or next((milliseconds(r) for r in same), None)
    if not device:
        return None
    return "launches" if milliseconds(row) > WAITS * device else "device"


def compared(rows: list[Row]) -> list[Row]:
    """For every program and unit: the fastest policy, in bf16 too, and the time and ratio of each PyTorch."""
    measured = [row for row in rows if row.get("alone_ms")]
    ours: dict[tuple[str, str, str | None], list[Row]] = {}
    for row in measured:
        if "torch" not in row:
            ours.setdefault((program(row), row["unit"], row.get("device")), []).append(row)
    found = []
    for (name, unit, device), candidates in ours.items():
        single, half = (
            min((r for r in candidates if r["bf16"] == bf16), key=milliseconds, default=None)
            for bf16 in (False, True)
        )
        best = single or half
        assert best
        torch = {
            how(row): milliseconds(row)
            for row in measured
            if "torch" in row and program(row) == name and row.get("device") == device
        }
        found.append(
            {
                "program": name,
                "unit": unit,
                "policy": policy(best),
                "ms": milliseconds(best),
                "bf16_policy": policy(half) if half else None,
                "bf16_ms": milliseconds(half) if half else None,
                "torch_ms": torch,
                "ratios": {kind: t / milliseconds(best) for kind, t in torch.items()},
            }
        )
    return found


def table(head: list[str], lines: list[list[Any]]) -> str:
    """Markdown."""
    rows = ["| " + " | ".join(map(cell, line)) + " |" for line in [head, *lines]]
    return "\n".join([rows[0], "|---" * len(head) + "|", *rows[1:]]) + "\n"


def markdown(measured: dict[str, Any]) -> str:
    """What was measured where; each program's fastest policy beside PyTorch; all rows."""
    rows = measured["rows"]
    kinds = sorted({how(row) for row in rows if "torch" in row})
    head = ["program, unit", "fastest policy", "medjax, ms", "bf16, ms"]
    lines = []
    for found in compared(rows):
        one = [f"{found['program']}, {found['unit']}", found["policy"] or "-"]
        lines.append([*one, found["ms"], found["bf16_ms"]])
        for kind in kinds:
            pair = found["torch_ms"].get(kind), found["ratios"].get(kind)
            lines[-1].append(f"{cell(pair[0])} ({pair[1]:.1f})" if pair[0] else None)
    text = ""
    for call in measured["calls"]:
        for name, value in call.items():
            if isinstance(value, dict):
                value = ", ".join(f"{k} {v}" for k, v in value.items())
            text += f"- {name}: {value}\n"
    text += "\nIn parentheses: that PyTorch's time over medjax's fastest policy without bf16.\n\n"
    text += table([*head, *(f"PyTorch {kind}, ms" for kind in kinds)], lines)
    text += "\nAll rows. Together: one run among many that are dispatched at once.\n\n"
    head = ["row", "ms", "together, ms", "bound by", "temporary or peak, MB", "compilation, s"]
    lines = []
    for row in rows:
        name = f"PyTorch {row['torch']}: {row['name']}" if "torch" in row else row["name"]
        if row.get("error"):
            lines.append([name, row["error"].splitlines()[0][:100], *[None] * 4])
            continue
        together = statistics.mean(row["together_ms"]) if row.get("together_ms") else None
        memory = row.get("temporary_mb") or row.get("peak_mb")
        one = [name, milliseconds(row), together, bound(row, rows), memory, row.get("compile_s")]
        lines.append(one)
    return text + table(head, lines)


def read_rows(path: Path) -> list[Row]:
    """The rows of a file of JSON lines. Of a row measured again, the last; a last line cut short is left out."""
    found: dict[tuple[Any, ...], Row] = {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        found[row["name"], row.get("torch"), row.get("device")] = row
    return list(found.values())


def write(rows: list[Row], calls: list[dict[str, Any]], path: Path) -> None:
    """The JSON file, and the Markdown beside it."""
    store.write_json(path, {"calls": calls, "compared": compared(rows), "rows": rows})
    path.with_suffix(".md").write_text(markdown(store.read_json(path)), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.card_table")
    parser.add_argument("files", nargs="+", type=Path, help="ROWS ABOUT OUT, or OUT alone")
    files = parser.parse_args().files
    if len(files) == 1:
        measured = store.read_json(files[0])
        write(measured["rows"], measured["calls"], files[0])
    elif len(files) == 3:
        about = store.read_json(files[1])
        write(read_rows(files[0]), about if isinstance(about, list) else [about], files[2])
    else:
        parser.error("three files, or one")


if __name__ == "__main__":
    main()
