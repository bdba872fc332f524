"""Finished runs as one Markdown table."""

from pathlib import Path

from medjax.cli.launch import Command
from medjax.errors import UserError
from medjax.report.markdown import markdown
from medjax.report.results import Entry, read


def main(words: list[str]) -> None:
    """Print the table."""
    if not words:
        raise UserError("which results? give the paths of result.json files")
    entries = [read(Path(path)) for path in words]
    broken = [f"{p}: {e}" for p, e in zip(words, entries, strict=True) if isinstance(e, str)]
    if broken:
        raise UserError(f"{broken[0]}: give the paths of result.json files")
    print(markdown([entry.result for entry in entries if isinstance(entry, Entry)]))


def command() -> Command:
    """The command."""
    words = "and the paths of result.json files, one or more"
    return Command("Finished runs as one Markdown table.", (), main, words=words)
