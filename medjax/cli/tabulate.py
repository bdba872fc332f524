"""Finished runs as one Markdown table."""

from medjax.cli.command import Command
from medjax.errors import UserError
from medjax.paths import user_path
from medjax.report.run_tables import runs_table
from medjax.report.runs import read_run


def main(words: list[str]) -> None:
    """Print the table."""
    if not words:
        raise UserError("which results? give the paths of result.json files")
    print(runs_table([read_run(user_path(word)) for word in words]).markdown(), end="")


def command() -> Command:
    """The command."""
    words = "and the paths of result.json files, one or more"
    return Command("Finished runs as one Markdown table.", (), main, words=words)
