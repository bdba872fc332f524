"""Finished runs as one Markdown table.

python -m experiments.tabulate runs/*/*/result.json
"""

import sys
from pathlib import Path

from medjax.errors import UserError
from medjax.report.run_tables import runs_table
from medjax.result import Result


def main(paths: list[str]) -> int:
    if {"-h", "--help"} & set(paths):
        print("Finished runs as one Markdown table.\n  the paths of result.json files, one or more")
        return 0
    try:
        results = [Result.read(Path(path)) for path in paths]
        if not results:
            raise UserError("which results?")
    except UserError as error:
        print(f"error: {error}: give the paths of result.json files", file=sys.stderr)
        return 2
    print(runs_table(results).markdown(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
