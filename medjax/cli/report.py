"""Every finished run below a folder as one static page with its figures; never trains."""

import dataclasses
import sys

from medjax.cli import flags
from medjax.cli.command import Command
from medjax.config import option
from medjax.errors import UserError
from medjax.paths import user_path
from medjax.report.comparison import write_comparison
from medjax.report.overview import write_report


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """What to show, and where to write it."""

    runs: str = option("runs", "folder of finished runs")
    out: str = option("report", "folder of the page: index.html and figures/")
    compare: str = option("", "two run folders, A,B: only these, side by side")


def main(words: list[str]) -> None:
    """Write the page; print its path."""
    config = flags.read(ReportConfig).config(ReportConfig)
    out = user_path(config.out)
    if config.compare:
        named = config.compare.split(",")
        if len(named) != 2:
            raise UserError(f"--compare={config.compare}: give two run folders, A,B")
        print(write_comparison(user_path(named[0]), user_path(named[1]), out))
        return
    page, shown, complaints = write_report(user_path(config.runs), out)
    for line in complaints:
        print(f"left out: {line}", file=sys.stderr)
    print(f"{shown} runs: {page}")


def command() -> Command:
    """The command."""
    return Command("A page of all finished runs.", (ReportConfig,), main)
