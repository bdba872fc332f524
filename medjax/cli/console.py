"""Progress for people: bars on a terminal, a plain line every few seconds elsewhere (a log file)."""

import time
from types import TracebackType

from rich import console, progress
from rich.text import Text

from medjax.pipeline.progress import Update

#: Seconds between lines where there is no terminal.
QUIET = 15.0


class Terminal(console.Console):
    """rich's console; it leaves a broken pipe to `medjax.cli.launch`."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError("standard output is not read")


class Rate(progress.ProgressColumn):
    """Steps a second, or seconds a step."""

    def render(self, task: progress.Task) -> Text:
        if not task.speed:
            return Text("")
        fast = task.speed >= 1
        return Text(f"{task.speed:.1f}/s" if fast else f"{1 / task.speed:.1f} s each")


class Console:
    """The `medjax.pipeline.progress.Progress` of the commands; use it as a context."""

    def __init__(self) -> None:
        # 100 columns wide where there is no terminal.
        width = None if Terminal().is_terminal else 100
        self.terminal = Terminal(width=width, highlight=False, markup=False)
        name, bar = progress.TextColumn("{task.description}"), progress.BarColumn(bar_width=20)
        hidden = {"console": self.terminal, "disable": not self.terminal.is_terminal}
        self.steps = progress.Progress(
            name,
            bar,
            progress.MofNCompleteColumn(),
            Rate(),
            progress.TimeRemainingColumn(compact=True),
            progress.TextColumn("{task.fields[text]}"),
            speed_estimate_period=120,
            **hidden,
        )
        self.files = progress.Progress(
            name, bar, progress.DownloadColumn(), progress.TransferSpeedColumn(), **hidden
        )
        self.tasks: dict[str, progress.TaskID] = {}
        self.last = time.monotonic()

    def __enter__(self) -> "Console":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.steps.stop()
        self.files.stop()

    def say(self, text: str) -> None:
        """One line, however long it is."""
        self.terminal.print(text, soft_wrap=True)

    def bar(self, name: str, total: int, done: int = 0) -> Update:
        """A bar; where there is no terminal a line every ``QUIET`` seconds and one at the end."""
        self.files.stop()
        self.steps.start()
        task, last = self.steps.add_task(name, total=total, completed=done, text=""), [self._now()]

        def update(done: int, text: str) -> None:
            self.steps.update(task, completed=done, text=text)
            if not self.terminal.is_terminal and (done >= total or self._now() - last[0] > QUIET):
                last[0] = self._now()
                self.say(f"{name} {done}/{total} {text}")
            if done >= total:
                self.steps.update(task, visible=False)

        return update

    def download(self, name: str, have: int, total: int | None) -> None:
        """A bar for each file from the network."""
        if name not in self.tasks:
            self.steps.stop()
            self.files.start()
            self.tasks[name] = self.files.add_task(f"download {name}", total=total)
        self.files.update(self.tasks[name], completed=have, total=total)
        if not self.terminal.is_terminal and self._now() - self.last > QUIET:
            self.last = self._now()
            whole = f"/{total / 1e6:.0f}" if total else ""
            self.say(f"download {name} {have / 1e6:.0f}{whole} MB")

    @staticmethod
    def _now() -> float:
        return time.monotonic()
