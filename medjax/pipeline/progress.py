"""How a run tells what it does: a small protocol, so that the pipeline needs no console."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

#: update(done, text) of a bar.
Update = Callable[[int, str], None]


@runtime_checkable
class Progress(Protocol):
    """What a run reports to. `Silent` reports nothing; `medjax.cli.console.Console` draws bars on a terminal."""

    def say(self, text: str) -> None:
        """One line that a user should read."""
        ...

    def bar(self, name: str, total: int, done: int = 0) -> Update:
        """Begin a bar of ``total`` steps, of which ``done`` are finished; returns what moves it on."""
        ...

    def download(self, name: str, have: int, total: int | None) -> None:
        """``have`` bytes of a file are here, of ``total`` if that is known."""
        ...


class Silent:
    """A `Progress` that reports nothing: the default outside the launchers."""

    def say(self, text: str) -> None:
        pass

    def bar(self, name: str, total: int, done: int = 0) -> Update:
        return lambda done, text: None

    def download(self, name: str, have: int, total: int | None) -> None:
        pass
