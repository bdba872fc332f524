"""Results of several runs as a Markdown table, for a README or a paper's supplement."""

HEAD = (
    "data set",
    "method",
    "ipc",
    "preset",
    "seed",
    "random real: acc",
    "bal. acc",
    "test: acc",
    "bal. acc",
    "AUC",
    "as uint8: acc",
    "bal. acc",
    "largest class",
    "minutes",
)


def markdown(results: list[dict]) -> str:
    """One row a run, sorted by data set, method, ipc and seed; scores in percent, mean ± std over networks.

    results: contents of result.json files; what a run has not (random start, 8-bit images, ipc) is a dash.
    """
    rows = [HEAD, tuple("---" for _ in HEAD)]
    names = ("dataset", "method", "ipc", "preset", "seed")
    for r in sorted(results, key=lambda r: [r[name] or 0 for name in names]):
        start, test, shared = (r.get(k) for k in ("start", "test", "test_uint8"))
        rows.append(
            (
                r["dataset"],
                r["method"],
                "–" if r["ipc"] is None else str(r["ipc"]),
                r["preset"],
                str(r["seed"]),
                score(start, "accuracy"),
                score(start, "balanced_accuracy"),
                score(test, "accuracy"),
                score(test, "balanced_accuracy"),
                score(test, "auc"),
                score(shared, "accuracy"),
                score(shared, "balanced_accuracy"),
                f"{100 * r['majority_share']:.1f}",
                f"{sum(r['seconds'].values()) / 60:.1f}",
            )
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def score(table: dict | None, name: str) -> str:
    """'75.1 ± 1.3', or a dash where there is none."""
    if not table or table[name]["mean"] is None:
        return "–"
    return f"{100 * table[name]['mean']:.1f} ± {100 * (table[name]['std'] or 0):.1f}"
