"""A command that is stopped ends soon and with the status that shells expect, whatever it is at."""

# Sleep is in short pieces: a signal that comes just before a sleep is seen only after it.
import signal
import subprocess
import sys
import time

import launching
import pytest

#: The beginning of a script: start(main) launches a command that does what main does.
LAUNCH = """
import sys, time
from medjax.cli import launch
from medjax.pipeline.settings import RunConfig

def start(main):
    sys.argv = ["x"]
    launch.find = lambda name: launch.Command("Title.", (RunConfig,), main)
    launch.launch("x")

"""


def stopped(code, number, after=0.0):
    """(status, standard error, seconds) of a process that gets a signal once it has said that it is ready."""
    # Who runs the tests in the background of a shell ignores Ctrl-C, and so would this process.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    command = [sys.executable, "-c", heard + code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=launching.environment(), **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(after)
        begin = time.monotonic()
        process.send_signal(number)
        try:
            said = process.communicate(timeout=60)[1]
        finally:
            process.kill()
        return process.returncode, said, time.monotonic() - begin


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stop_while_modules_are_imported_is_one_line(number, status):
    code = (
        "import sys, time; sys.argv = ['-m']; import experiments\n"
        "print('ready', flush=True); [time.sleep(0.1) for _ in range(600)]"
    )
    found, said, _ = stopped(code, number)
    assert found == status and said == "\nstopped\n"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_long_call_outside_python_does_not_hold_up_the_end(number, status):
    """As a compilation would: for minutes Python does not come round to the signal."""
    code = (
        "import hashlib; from medjax.cli import signals; signals.GRACE = 0.5\n"
        "with signals.listening():\n"
        "    print('ready', flush=True); hashlib.pbkdf2_hmac('sha256', b'', b'', 2_000_000_000)"
    )
    found, said, seconds = stopped(code, number, after=0.5)
    assert found == status and "goes on from what is on disk" in said
    assert seconds < 10


def test_a_stop_that_a_callback_of_asyncio_swallows_is_none():
    """orbax saves in event loops, and those keep what is raised in a callback, unless it is a KeyboardInterrupt."""
    code = (
        "import asyncio, time; from medjax.cli import signals\n"
        "def callback(): print('ready', flush=True); [time.sleep(0.1) for _ in range(600)]\n"
        "async def main(): asyncio.get_running_loop().call_soon(callback); await asyncio.sleep(60)\n"
        "try:\n"
        "    with signals.listening(): asyncio.run(main())\n"
        "except signals.Terminated: raise SystemExit(143)"
    )
    found, said, seconds = stopped(code, signal.SIGTERM)
    assert found == 143 and seconds < 5, said


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stop_in_a_callback_of_the_garbage_collector_comes_again(number, status):
    """What is raised in there Python only prints; jax has such a callback."""
    code = (
        "import gc, time; from medjax.cli import signals\n"
        "def callback(*_): print('ready', flush=True); time.sleep(1)\n"
        "try:\n"
        "    with signals.listening():\n"
        "        gc.callbacks.append(callback); gc.collect(); gc.callbacks.clear()\n"
        "        [time.sleep(0.1) for _ in range(600)]\n"
        "except signals.Terminated: raise SystemExit(143)\n"
        "except KeyboardInterrupt: raise SystemExit(130)"
    )
    found, said, seconds = stopped(code, number)
    assert (found, said) == (status, "") and seconds < 5


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_what_fails_because_it_was_stopped_is_a_stop(number, status):
    """A clean-up that was interrupted ends in an error of its own kind, later and elsewhere."""
    code = (
        LAUNCH + "def main(words):\n"
        "    try: print('ready', flush=True); [time.sleep(0.1) for _ in range(600)]\n"
        "    except KeyboardInterrupt: pass\n"
        "    raise OSError(9, 'Bad file descriptor')\n"
        "start(main)"
    )
    found, said, seconds = stopped(code, number)
    assert found == status and said.count("\n") == 2 and "goes on from here" in said, said
    assert seconds < 5


def test_what_ends_by_itself_leaves_the_process_as_it_was():
    from medjax.cli import signals

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with signals.listening():
        assert signal.getsignal(signal.SIGTERM) is not before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_end_does_not_wait_for_what_is_still_computed(number, status):
    """As jax's own end does: what the interpreter would wait for is left alone, and what was said has arrived."""
    code = (
        LAUNCH + "import atexit\n"
        "def main(words):\n"
        "    print('ready', flush=True); atexit.register(time.sleep, 60)\n"
        "    print('said before', file=sys.stderr); [time.sleep(0.1) for _ in range(600)]\n"
        "start(main)"
    )
    found, said, seconds = stopped(code, number, after=0.5)
    assert found == status and "said before" in said and "goes on from here" in said
    assert seconds < 10
