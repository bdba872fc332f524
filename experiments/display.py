"""Progress for people: bars on a terminal, a plain line every few seconds elsewhere (a log file)."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

#: Seconds between lines where there is no terminal.
QUIET = 15.0


class Rate(ProgressColumn):
    """Steps a second, or seconds a step."""

    def render(self, task: Task) -> Text:
        if not task.speed:
            return Text("")
        fast = task.speed >= 1
        return Text(f"{task.speed:.1f}/s" if fast else f"{1 / task.speed:.1f} s each")


def make_console() -> Console:
    """Where a command speaks; 100 columns wide where there is no terminal."""
    return Console(width=None if Console().is_terminal else 100, highlight=False, markup=False)


def make_progress(console: Console) -> Progress:
    """The bars of one command; use it as a context."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[text]}"),
        console=console,
        disable=not console.is_terminal,
        speed_estimate_period=120,
    )


def track(progress: Progress, name: str, total: int, done: int = 0) -> Callable[[int, str], None]:
    """A bar for ``total`` steps of which ``done`` are; gives back update(done, text)."""
    task = progress.add_task(name, total=total, completed=done, text="")
    last = [time.monotonic()]

    def update(done: int, text: str = "") -> None:
        progress.update(task, completed=done, text=text)
        quiet = not progress.console.is_terminal
        if quiet and (done >= total or time.monotonic() - last[0] > QUIET):
            last[0] = time.monotonic()
            progress.console.print(f"{name} {done}/{total} {text}", highlight=False)
        if done >= total:
            progress.update(task, visible=False)

    return update


@contextlib.contextmanager
def download_bar(console: Console) -> Iterator[Callable[[str, int, int | None], None]]:
    """Bars for files from the network; gives update(name, bytes here, bytes in all or None)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(20),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    tasks, last = {}, time.monotonic()

    def update(name: str, have: int, total: int | None) -> None:
        nonlocal last
        if name not in tasks:
            tasks[name] = progress.add_task(f"download {name}", total=total)
        progress.update(tasks[name], completed=have, total=total)
        if not console.is_terminal and time.monotonic() - last > QUIET:
            last = time.monotonic()
            whole = f"/{total / 1e6:.0f}" if total else ""
            console.print(f"download {name} {have / 1e6:.0f}{whole} MB")

    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield update
