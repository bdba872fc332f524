"""Rows of a benchmark as Markdown."""

from typing import Any

COLUMNS = {
    "suite": "suite",
    "case": "case",
    "medjax_s": "medjax, s",
    "torch_s": "PyTorch eager, s",
    "ratio": "ratio",
    "medjax_mb": "medjax, MB",
    "torch_mb": "PyTorch, MB",
    "fast_s": "PyTorch tuned, s",
    "fast_ratio": "ratio to tuned",
    "gflops": "GFLOP/s",
    "matrix_gflops": "matrix GFLOP/s",
}


def cell(value: Any) -> str:
    if value is None:
        return ""
    return (
        f"{value:.3g}"
        if isinstance(value, float) and value < 100
        else (f"{value:.0f}" if isinstance(value, float) else str(value))
    )


def markdown(rows: list[dict[str, Any]], about: dict[str, Any]) -> str:
    """A table with what it was measured on above it, and notes below: tuned how, errors."""
    lines = [
        f"{about['device']}; "
        + ", ".join(f"{name} {about[name] or 'absent'}" for name in ("python", "jax", "torch")),
        "",
        f"`{about['command']}`",
        "",
    ]
    lines += ["| " + " | ".join(COLUMNS.values()) + " |", "|---" * len(COLUMNS) + "|"]
    lines += ["| " + " | ".join(cell(r.get(c)) for c in COLUMNS) + " |" for r in rows]
    lines.append("")
    for r in rows:
        name = f"{r['suite']}, {r['case']}"
        lines += [f"- {name}: {side} failed: {why}" for side, why in r["errors"].items()]
    tuned = sorted({f"{r['suite']}: {r['fast_how']}" for r in rows if r.get("fast_how")})
    lines += [f"- PyTorch tuned, {how}" for how in tuned]
    return "\n".join(lines) + "\n"
