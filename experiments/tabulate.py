"""Finished runs as one Markdown table.

python -m experiments.tabulate runs/*/*/result.json
"""

import sys
from pathlib import Path

from medjax.report.markdown import markdown
from medjax.report.results import Entry, read


def main(paths: list[str]) -> int:
    if {"-h", "--help"} & set(paths):
        print("Finished runs as one Markdown table.\n  the paths of result.json files, one or more")
        return 0
    entries = [read(Path(path)) for path in paths]
    broken = [f"{p}: {e}" for p, e in zip(paths, entries, strict=True) if isinstance(e, str)]
    if broken or not paths:
        what = " ".join(broken[0].split()) if broken else "which results?"
        print(f"error: {what}: give the paths of result.json files", file=sys.stderr)
        return 2
    print(markdown([entry.result for entry in entries if isinstance(entry, Entry)]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
