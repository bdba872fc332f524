"""The command line itself: help, the console command, and folders of a user that have the names of ours."""

import dataclasses
import re
import subprocess
import sys

import launching
import pytest

from medjax.cli import flags
from medjax.cli.flags import OutConfig
from medjax.cli.launch import SHOWN, TOOLS, find
from medjax.errors import UserError
from medjax.pipeline.settings import IpcConfig, RunConfig
from medjax.recipes import RECIPES

COMMANDS = (*RECIPES, *TOOLS)


def shell(*words, **more):
    """A command in a process of its own."""
    settings = {"env": launching.environment(), "capture_output": True, "text": True} | more
    return subprocess.run([sys.executable, *words], **settings)


def listed(text):
    """The flags that a help text lists, in its order."""
    return [line.split()[0].split("=")[0] for line in text.splitlines() if line.startswith("  --")]


def helped(command, flag):
    """A help text; nothing is wrong with it, and nothing of absl's in it."""
    ended = launching.SERVER.run(f"experiments.{command}", flag)
    assert (ended.status, ended.stderr) == (0, "")
    for foreign in ("flagfile", "undefok", "verbosity", "logtostderr"):
        assert foreign not in ended.stdout
    lines = ended.stdout.splitlines()
    assert lines[0] == find(command).summary
    names = listed(ended.stdout)
    assert len(set(names)) == len(names)
    fields = {f"--{f.name}": f for group in find(command).groups for f in dataclasses.fields(group)}
    for name in names:
        (line,) = (text for text in lines if text.startswith(f"  {name}="))
        # What it means, and its default; a text that is empty by default says in words what that means.
        assert fields[name].metadata["help"] in line
        default = fields[name].default
        assert line.endswith(f" [{default}]") or default == "", line
    return ended.stdout, names, set(fields)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_what_people_use(command):
    """At most a screen, and about a dozen flags of a method."""
    text, names, known = helped(command, "--help")
    assert len(text.splitlines()) <= 24
    if command in RECIPES:
        expected = (SHOWN | set(RECIPES[command].shown)) & {name[2:] for name in known}
        assert {name[2:] for name in names} == expected
        assert 8 <= len(names) <= 15
    assert ("--helpfull" in text) == (set(names) < known)


@pytest.mark.parametrize("command", COMMANDS)
def test_helpfull_shows_every_flag(command):
    """One line each."""
    text, names, known = helped(command, "--helpfull")
    assert set(names) == known
    if command == "evaluate":
        dead = {"--eval_every", "--select"}
        assert not dead & set(names), "an evaluation alone has nothing to select"
        assert "--eval_models" in names


def test_the_console_command_lists_every_command():
    """`medjax` and `python -m medjax` call the same; each line is a command and what it does."""
    ended = shell("-m", "medjax")
    assert (ended.returncode, ended.stderr) == (0, "")
    for command in COMMANDS:
        summary = re.escape(find(command).summary)
        assert re.search(rf"^  {command} +{summary}$", ended.stdout, re.M), command
    code = "import sys; sys.argv = ['medjax', '--help']; from medjax.__main__ import main; main()"
    assert shell("-c", code).stdout == ended.stdout


def test_an_unknown_command_is_one_line():
    """With all that are known."""
    ended = shell("-m", "medjax", "mmt", "--help")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(
        "error: 'mmt' is no command of medjax: choose one of random, kmeans, margin, dc"
    )
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("--ipc=1", "--ipc=2"),
        ("--ipc=1", "--seed", "1", "-ipc", "2"),
        ("--fresh", "--nofresh"),
        ("--fresh=false", "--preset", "quick", "--fresh"),
    ],
)
def test_a_flag_is_given_two_values(words):
    """The usual mistake in an edited line: the first would be passed over."""
    with pytest.raises(UserError, match=r"--(ipc|fresh) is given twice, as \w+ and as \w+"):
        parsed(*words)


def test_a_flag_may_be_given_again(tmp_path):
    """With the same value, and over that of a flagfile."""
    (tmp_path / "flags").write_text("--ipc=5\n--seed=1\n")
    words = (f"--flagfile={tmp_path / 'flags'}", "--ipc=2", "--ipc", "2", "--", "--ipc=3")
    assert parsed(*words) == 2


def parsed(*words):
    """--ipc of a command line that is accepted."""
    with launching.own_flags():
        launching.parse((IpcConfig, OutConfig, RunConfig), *words)
        flags.refuse_twice(words)
        return flags.FLAGS.ipc


def test_a_real_command_line_behaves_the_same():
    """One process of its own: status and channels are those of the shell."""
    ended = shell("-m", "experiments.mtt", "--prest=quick")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1
    assert "preset" in ended.stderr


def test_folders_of_the_user_are_not_taken_for_ours(tmp_path):
    """A folder with experiments.py, experiments/ and configs/ of its own: nothing there is imported or read, and the
    presets are medjax's."""
    trap = "raise SystemExit('a file of the user was imported')\n"
    (tmp_path / "experiments.py").write_text(trap)
    for name in ("experiments", "configs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(trap)
        (tmp_path / name / "mtt.py").write_text(trap)
    (tmp_path / "configs" / "mtt.toml").write_text("no toml")
    ended = shell("-m", "medjax", "mtt", "--help", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(RECIPES["mtt"].summary)
    code = "import medjax, sys; print(medjax.settings('mtt', 'quick').origin['experts']); "
    code += "print({'experiments', 'configs'} & set(sys.modules))"
    ended = shell("-c", code, cwd=tmp_path)
    assert (ended.stdout, ended.stderr) == ("preset quick\nset()\n", "")


def test_a_launcher_runs_by_its_path():
    """Its folder holds a random.py, which must not replace Python's own `random`."""
    ended = shell(str(launching.ROOT / "experiments" / "mtt.py"), "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Matching training trajectories")
