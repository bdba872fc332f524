"""What every command is to the code that starts it."""

from collections.abc import Callable
from typing import NamedTuple


class Command(NamedTuple):
    """A command. summary: one line; groups: dataclasses of its options; main: does the work after flags are parsed;
    shown: flags for `--help` beside `SHOWN`, None for all; words: its arguments that are no flags, or ""."""

    summary: str
    groups: tuple[type, ...]
    main: Callable[[list[str]], int | None]
    shown: tuple[str, ...] | None = None
    words: str = ""
