"""Every finished run below a folder as one static page with its figures; never trains.

python -m experiments.report --runs=runs --out=report
"""

import dataclasses
import sys
from pathlib import Path

from experiments.flags import RunConfig, launch, resolve
from medjax.config import option
from medjax.errors import UserError
from medjax.report.comparison import write_comparison
from medjax.report.overview import write_report


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """What to show, and where to write it."""

    runs: str = option("runs", "folder of finished runs")
    out: str = option("report", "folder of the page: index.html and figures/")
    compare: str = option("", "two run folders, A,B: only these, side by side")


GROUPS = (ReportConfig,)


def main() -> None:
    # A report has no presets; the default's name stands for none.
    config = resolve(GROUPS, {RunConfig.preset: {}}).groups[ReportConfig]
    out = Path(config.out)
    if config.compare:
        named = config.compare.split(",")
        if len(named) != 2:
            raise UserError(f"--compare={config.compare}: give two run folders, A,B")
        print(write_comparison(Path(named[0]), Path(named[1]), out))
        return
    page, shown, complaints = write_report(Path(config.runs), out)
    for line in complaints:
        print(f"left out: {line}", file=sys.stderr)
    print(f"{shown} runs: {page}")


if __name__ == "__main__":
    launch("A page of all finished runs.", GROUPS, main)
