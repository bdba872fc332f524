"""Writes the tables of runs in README.md and in the pages anew, from the result files: python docs/tables.py

A table of runs follows, on its page, the command that prints it, and so does one of a benchmark; the others begin with
their first line.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import methods_table
import readme_table
import received_table
import study_table

from medjax.report.run_tables import runs_table
from medjax.report.runs import read_run

DOCS = Path(__file__).parent
ROOT = DOCS.parent
COMMAND = re.compile(r"python -m experiments\.tabulate results/(\w+)/\*/result\.json")
#: (page, what makes the lines of its table).
SCRIPTS = (
    (ROOT / "README.md", readme_table.lines),
    (DOCS / "methods.md", methods_table.lines),
    (DOCS / "study.md", methods_table.integrated),
    (DOCS / "study.md", study_table.lines),
    (DOCS / "sharing.md", received_table.lines),
)
#: Pages whose tables of runs are whole (docs/methods.md names the command, and shows a part).
PAGES = [DOCS / f"{name}.md" for name in ("results", "dp", "sharing")]
#: A page with tables that a benchmark wrote beside its JSON file.
AUDIT = DOCS / "audit.md"
MADE = re.compile(r"--out=(results/zca_members/\w+\.json)")


def tables() -> Iterator[tuple[Path, str, list[str]]]:
    """(page, text after which the table is the next one, lines of the table)."""
    for page in PAGES:
        for found in COMMAND.finditer(page.read_text(encoding="utf-8")):
            paths = sorted((ROOT / "results" / found[1]).glob("*/result.json"))
            yield page, found[0], runs_table([read_run(p) for p in paths]).markdown().splitlines()
    for found in MADE.finditer(AUDIT.read_text(encoding="utf-8")):
        lines = (ROOT / found[1]).with_suffix(".md").read_text(encoding="utf-8").splitlines()
        yield AUDIT, found[0], [line for line in lines if line]
    for page, made in SCRIPTS:
        lines = made()
        yield page, lines[0], lines


def replaced(text: str, after: str, lines: list[str]) -> str:
    """The page with these lines as its first table that begins at or after a text."""
    old = text.splitlines()
    begin = next(i for i, line in enumerate(old) if after in line)
    while not old[begin].startswith("|"):
        begin += 1
    end = begin
    while end < len(old) and old[end].startswith("|"):
        end += 1
    return "\n".join([*old[:begin], *lines, *old[end:]]) + "\n"


if __name__ == "__main__":
    for page, after, lines in list(tables()):
        text = page.read_text(encoding="utf-8")
        page.write_text(replaced(text, after, lines), encoding="utf-8")
