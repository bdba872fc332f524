"""What commands print: bars on a terminal, lines elsewhere, and the quiet end where nobody reads."""

import io
import os
import subprocess
import sys
import threading

import launching
import pytest
from test_folder import flat

from medjax.cli import console as console_module
from medjax.cli import launch
from medjax.cli.console import QUIET, Console


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [0.0]
    monkeypatch.setattr(Console, "_now", staticmethod(lambda: now[0]))
    return now


def lines(capsys):
    return capsys.readouterr().out.splitlines()


@pytest.fixture
def terminal(monkeypatch):
    """What a terminal of 80 columns would show."""
    shown = io.StringIO()

    class Terminal(console_module.Terminal):
        def __init__(self, **given):
            super().__init__(**given | {"file": shown, "force_terminal": True, "width": 80})

    monkeypatch.setattr(console_module, "Terminal", Terminal)
    return shown


def test_a_bar_without_a_terminal_is_a_line_now_and_then_and_one_at_the_end(capsys, clock):
    with Console() as console:
        update = console.bar("distil", 10, 2)
        for done, time in ((3, 1), (4, QUIET), (5, QUIET + 1), (6, QUIET + 2), (10, QUIET + 3)):
            clock[0] = time
            update(done, "loss 0.5")
    assert lines(capsys) == ["distil 5/10 loss 0.5", "distil 10/10 loss 0.5"]


def test_each_bar_counts_its_own_seconds(capsys, clock):
    with Console() as console:
        console.bar("experts", 4)(4, "")
        clock[0] = QUIET + 1
        update = console.bar("distil", 4)
        update(1, "")
    assert [line.split()[0] for line in lines(capsys)] == ["experts"]


def test_a_download_without_a_terminal_is_a_line_now_and_then(capsys, clock):
    with Console() as console:
        console.last = 0.0
        console.download("a.npz", 0, 30_000_000)
        clock[0] = QUIET + 1
        console.download("a.npz", 10_000_000, 30_000_000)
        clock[0] = 2 * QUIET
        console.download("a.npz", 20_000_000, 30_000_000)
        clock[0] = 3 * QUIET
        console.download("b.npz", 5_000_000, None)
    assert lines(capsys) == ["download a.npz 10/30 MB", "download b.npz 5 MB"]


def test_no_line_is_broken_or_read_as_markup(capsys, clock):
    text = "[red] " + "a long word " * 40 + "/a/path" * 50
    with Console() as console:
        console.say(text)
        console.bar("distil", 1)(1, text)
    assert lines(capsys) == [text, f"distil 1/1 {text}"]


def test_no_line_is_broken_on_a_terminal(terminal):
    with Console() as console:
        console.say("word " * 60)
    assert terminal.getvalue() == "word " * 60 + "\n"


def test_a_terminal_shows_bars(terminal):
    with Console() as console:
        console.download("a.npz", 10, 20)
        update = console.bar("distil", 10)
        update(5, "loss 0.5")
        console.steps.refresh()
        console.say("a note")
    shown = terminal.getvalue()
    assert "download a.npz" in shown and "distil" in shown and "5/10" in shown
    assert "loss 0.5" in shown and "a note\n" in shown
    assert "distil 5/10" not in shown, "lines are for where there is no terminal"


@pytest.mark.parametrize("begin", ["bar", "download"])
@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_running(terminal, begin, error):
    """No thread that draws, the cursor shown, standard output as it was."""
    before, out = set(threading.enumerate()), sys.stdout
    try:
        with Console() as console:
            if begin == "bar":
                console.bar("distil", 10)(1, "")
            else:
                console.download("a.npz", 1, 2)
            assert set(threading.enumerate()) - before and sys.stdout is not out
            if error:
                raise error
    except (RuntimeError, KeyboardInterrupt) as caught:
        assert type(caught) is error
    for thread in set(threading.enumerate()) - before:  # told to stop, it ends within moments
        thread.join(10)
    assert set(threading.enumerate()) <= before and sys.stdout is out
    assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("\x1b[?25l")


def unread(*words):
    """(status, standard error) of ``python -m WORDS`` whose standard output is a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    command, environment = [sys.executable, "-m", *words], launching.environment()
    try:
        ended = subprocess.run(
            command, stdout=write, stderr=subprocess.PIPE, text=True, env=environment, timeout=300
        )
    finally:
        os.close(write)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("words", [("medjax",), ("medjax", "mtt", "--helpfull")])
def test_help_that_nobody_reads_is_no_fault(words):
    assert unread(*words) == (0, "")


def test_a_command_that_nobody_reads_ends_quietly(tmp_path):
    """Its console writes, not the interpreter's end."""
    flat(tmp_path / "cells", {"a": 30, "b": 30})
    words = (f"--folder={tmp_path / 'cells'}", f"--out={tmp_path / 'my.npz'}", "--size=8")
    assert unread("experiments.prepare", *words) == (0, "")
    assert not list(tmp_path.glob("my.*"))


def test_a_pipe_that_breaks_elsewhere_is_a_fault():
    """A server that hangs up is no reader of standard output."""
    with pytest.raises(BrokenPipeError, match="server"), launch.while_read():
        raise BrokenPipeError("the server hung up")
