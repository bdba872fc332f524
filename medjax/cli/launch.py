"""How a command is started: flags are parsed, mistakes become one line and exit status 2, signals stop it cleanly."""

import contextlib
import gc
import importlib
import os
import re
import select
import signal
import sys
from collections.abc import Iterator

from absl import flags

try:
    import jax as jax
except ValueError as error:
    print(f"error: {error}: it is set by a variable of that name; leave that out", file=sys.stderr)
    sys.exit(2)

from medjax import devices, memory
from medjax.cli.command import Command
from medjax.cli.compilation_cache import keep_programs
from medjax.cli.flags import FLAGS, ILLEGAL, SHOWN, WANTED, define, help_text, refuse_twice
from medjax.cli.signals import leave, listening, stopped
from medjax.cli.streams import prepare_streams
from medjax.errors import UserError
from medjax.recipes import RECIPES, register_installed

#: The commands that are no methods: modules of medjax.cli with a function `command`.
TOOLS = (
    "best",
    "experts",
    "evaluate",
    "prepare",
    "share",
    "audit",
    "table1",
    "report",
    "tabulate",
    "indicator",
)
#: What XLA, orbax and NumPy say of a full disk or memory, where they raise no OSError or MemoryError.
EXHAUSTED = re.compile("RESOURCE_EXHAUSTED|No space left on device|Out of memory", re.IGNORECASE)


def find(name: str) -> Command:
    """A command by its name. Raises UserError for an unknown one."""
    if name in RECIPES:
        return importlib.import_module("medjax.cli.methods").command(RECIPES[name])
    if name in TOOLS:
        return importlib.import_module(f"medjax.cli.{name}").command()
    known = ", ".join((*RECIPES, *TOOLS))
    raise UserError(f"{name!r} is no command of medjax: choose one of {known}")


def main() -> None:
    """The console command: medjax COMMAND --flags."""
    prepare_streams()
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help", "--helpfull"):
        with while_read():
            with contextlib.suppress(UserError):  # a command will say it
                register_installed()
            print("medjax COMMAND --flags; medjax COMMAND --help shows its flags.")
            for name in (*RECIPES, *TOOLS):
                print(f"  {name:<12}{find(name).summary}")
        return
    name = sys.argv.pop(1)
    launch(name)


def launch(name: str) -> None:
    """Parse the command line and run a command. A user's mistake is one line and exit status 2. Compiled programs are
    kept in the user's cache folder, so that a second start skips compilation."""
    prepare_streams()
    # Tracing makes many objects that live on: a collector that looks at them less often makes it faster.
    gc.set_threshold(50_000, 20, 20)
    try:
        with while_read():
            register_installed()
            status = _run(find(name))
    except (Exception, KeyboardInterrupt) as error:
        if number := stopped(error):
            what = " (SIGTERM)" if number == signal.SIGTERM else ""
            print(f"\nstopped{what}; the same command goes on from here", file=sys.stderr)
            leave(number)
        if (line := mistake(error)) is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        sys.exit(2)
    if status:
        sys.exit(status)


def _run(command: Command) -> int | None:
    """Parse the command line and do the work; the status to end with."""
    define(*command.groups)
    words = _parse(command)
    if words is None:
        return None
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise UserError("the current folder has been deleted: go to another one") from error
    devices.use_cores()
    memory.give_back_after_compiling()
    keep_programs()
    with devices.own_settings(), listening():
        return command.main(words)


@contextlib.contextmanager
def while_read() -> Iterator[None]:
    """End with status 0 and no message where standard output has been closed (``medjax mtt --help | head``)."""
    try:
        yield
        if sys.stdout:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _unread():
            raise
        # The interpreter flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _unread() -> bool:
    """Whether standard output is a pipe without a reader: a pipe may also break elsewhere, as in a download."""
    poll = select.poll()
    with contextlib.suppress(OSError, AttributeError):  # not a file of the system, as in tests
        poll.register(sys.stdout.fileno(), select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _parse(command: Command) -> list[str] | None:
    """The words of the command line that are no flags; None where help was asked for, and given."""
    asked = {"-h", "--help", "--helpshort", "--helpfull"} & set(sys.argv)
    given = [w for w in sys.argv if w not in asked]
    try:
        words = FLAGS(given)[1:]
    except UnicodeDecodeError as error:
        raise UserError("a --flagfile is not a text file") from error
    refuse_twice(given[1:])
    if asked:
        everything = command.shown is None or "--helpfull" in asked
        shown = None if everything else SHOWN | set(command.shown or ())
        print(help_text(command.summary, command.groups, shown))
        if command.words:
            print(f"  {command.words}")
        return None
    if words and not command.words:
        raise UserError(f"{words[0]!r} is not a flag: flags look like --ipc=10 (see --help)")
    return words


def _any_device() -> bool:
    """Whether JAX finds a device of the kind that it is told to use; what it raises if not differs by kind."""
    try:
        return bool(jax.devices())
    except Exception:
        return False


def mistake(error: BaseException) -> str | None:
    """What is wrong and what to do, in one line; None for a fault of medjax."""
    if isinstance(error, flags.IllegalFlagValueError) and (found := ILLEGAL.match(str(error))):
        return f"{' '.join(found[1].split())} is not {WANTED[found[2]]}"
    if isinstance(error, (UserError, flags.Error)):
        return " ".join(str(error).split())
    if isinstance(error, (OSError, MemoryError)):  # a folder that cannot be written, a full disk
        return f"{error}: put that right, and the same command goes on"
    if not _any_device():
        names = [n for n in ("JAX_PLATFORMS", "JAX_NUM_CPU_DEVICES") if n in os.environ]
        wanted = ", ".join(f"{name}={os.environ[name]}" for name in names) or "its own choice"
        return f"JAX finds no device here under {wanted}: leave that out, or set another"
    if EXHAUSTED.search(str(error)):
        what = f"{' '.join(str(error).split())[:200]}: memory or disk is full"
        return f"{what}; free some, and the same command goes on"
    return None
