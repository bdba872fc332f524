"""Finished runs as one Markdown table.

python -m experiments.tabulate runs/*/*/result.json
"""

import sys
from pathlib import Path

from medjax import runs
from medjax.report.markdown import markdown


def main(paths: list[str]) -> int:
    results = [(path, runs.read_json(Path(path))) for path in paths]
    broken = [path for path, result in results if not isinstance(result, dict)]
    if broken or not paths:
        what = f"{broken[0]} is not a result.json" if broken else "which results?"
        print(f"error: {what}: give the paths of result.json files", file=sys.stderr)
        return 2
    print(markdown([result for _, result in results]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
