"""Environments of users: variables, folders and outputs that are not as ours. A command works, or says one line.

python -m tests.faults.environments

Runs a small command in each, in a process of its own; prints a table, status 1 if anything went wrong: a traceback, a
hang, more than one line for a mistake, or a result with other images than in a plain environment.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import launching

#: Seconds that a command may take.
PATIENCE = 600
#: A distillation of seconds; OUT: where it goes.
RUN = ("dm", *launching.NETWORK, *launching.MATCHING, "--augment=none")
RUN += ("--dataset=tiny.npz", "--out=OUT")
#: Starts a command that has no folder to be in.
GONE = "mkdir gone && cd gone && rmdir ../gone && "


class Environment(NamedTuple):
    """variables: set, or None: not set. words: the command. status: that it ends with. before: of the shell's line.
    after: the same, redirections."""

    variables: Mapping[str, str | None]
    words: tuple[str, ...] = RUN
    status: int = 0
    before: str = ""
    after: str = ""


def changed(**variables: str | None) -> Environment:
    return Environment(variables)


def path(*words: str, status: int = 2) -> Environment:
    return Environment({}, words, status)


#: The variables that nothing may depend on, at once: a fault of one shows, and the table says which.
STRANGE = {
    "MPLBACKEND": "nonsense",
    "JAX_ENABLE_X64": "1",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_DEBUG_NANS": "1",
    "JAX_DEBUG_INFS": "1",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "PYTHONIOENCODING": "ascii",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "7",
    "TERM": "dumb",
    "COLUMNS": "10",
    "NO_COLOR": "1",
    "TZ": "Nowhere/Land",
    "HOME": "/nonexistent",
    "XDG_CACHE_HOME": "/proc/nowhere",
}
ENVIRONMENTS = {name: changed(**{name: value}) for name, value in STRANGE.items()} | {
    "all at once": Environment(STRANGE),
    "plain C": changed(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"),
    "JAX_LOG_COMPILES": changed(JAX_LOG_COMPILES="1"),
    "JAX_COMPILATION_CACHE_DIR": changed(JAX_COMPILATION_CACHE_DIR="/proc/nowhere"),
    "a notebook's": changed(MPLBACKEND="module://matplotlib_inline.backend_inline"),
    "no such device": Environment({"JAX_PLATFORMS": "nonsense"}, status=2),
    "no GPU": Environment({"JAX_PLATFORMS": "cuda"}, status=2),
    "no such value": Environment({"JAX_ENABLE_X64": "maybe"}, status=2),
    "no CPU": Environment({"JAX_NUM_CPU_DEVICES": "0"}, status=2),
    "umask": Environment({}, before="umask 077; "),
    "outputs closed": Environment({}, after=" <&- >&- 2>&-"),
    "folder deleted": Environment({}, ("dm", "--dataset=phantom"), 2, GONE),
    "no such home": path("dm", "--out=~0/x", "--dataset=phantom"),
    "no such user": path("tabulate", "~nobodyhere/result.json"),
    "brackets": path("mtt", "--dataset=phantom", "--out=a[b]"),
    "backslash": path("mtt", "--dataset=phantom", "--out=a\\b"),
    "spaces": path(*RUN[:-1], "--out=a b\n{é} -~%", status=0),
    "bytes": path("mtt", "--dataset=phantom", "--out=\udcff"),
    "bytes of a set": path("mtt", "--dataset=\udcff.npz"),
    "bytes of a folder": path("prepare", "--folder=\udcff", "--out=a.npz"),
    "twice": path("mtt", "--ipc=1", "--ipc=2"),
    "no such set": path("mtt", "--dataset=mistyped.npz", "--out=OUT"),
}
if os.getuid() == 0:  # what is nobody's: no name, no home folder
    NOBODY = "umask 077; chmod 777 .; exec setpriv --reuid 54321 --regid 54321 --clear-groups "
    ENVIRONMENTS["another's home"] = Environment({"HOME": "/root"}, before=NOBODY)
    ENVIRONMENTS["nobody"] = Environment({"HOME": None}, before=NOBODY)


def attempt(name: str, folder: Path) -> str:
    """What is wrong with a command in an environment, if anything. folder: holds tiny.npz."""
    case, out = ENVIRONMENTS[name], "-".join(name.split())
    variables = launching.environment() | case.variables
    variables = {k: v for k, v in variables.items() if v is not None}
    words = [word.replace("OUT", out) for word in case.words]
    shell = f'{case.before}"$@"{case.after}'
    command = ["sh", "-c", shell, "sh", sys.executable, "-m", "medjax", *words]
    try:
        ended = subprocess.run(
            command, env=variables, cwd=folder, capture_output=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return "a hang"
    said, complaint = (text.decode(errors="replace") for text in (ended.stdout, ended.stderr))
    if "Traceback" in said + complaint or ended.returncode != case.status:
        return f"status {ended.returncode}: {(said + complaint)[-1500:]}"
    if case.status == 2:
        lines = [line for line in complaint.splitlines() if not line.startswith("note: ")]
        if len(lines) != 1 or not lines[0].startswith("error: "):
            return f"not one line: {complaint[-1500:]}"
        if (folder / out).exists() and "no such set" in name:
            return "the folder of results was made"
    return ""


def images(folder: Path, name: str) -> bytes | None:
    """The distilled set that `attempt` left."""
    found = list(folder.glob(f"{'-'.join(name.split())}/*/*/synthetic.npz"))
    return found[0].read_bytes() if found else None


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="medjax-environments-"))
    (folder / "tiny.npz").write_bytes(launching.tiny("grey").read_bytes())
    ENVIRONMENTS["plain"] = Environment({})
    assert not attempt("plain", folder)
    plain, wrong = images(folder, "plain"), 0
    for name in ENVIRONMENTS:
        problem = attempt(name, folder)
        # Another Python may write another archive of the same arrays.
        if (
            not problem
            and images(folder, name) not in (None, plain)
            and name not in ("nobody", "another's home")
        ):
            problem = "other images than in a plain environment"
        print(f"{name:<28}{problem or 'sound'}", flush=True)
        wrong += bool(problem)
    print(f"{len(ENVIRONMENTS)} environments, {wrong} wrong")
    return min(wrong, 1)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    sys.exit(main())
