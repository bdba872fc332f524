"""Flags made from the frozen dataclasses beside the algorithms, and how a launcher is started.

A value's order: the dataclass's default < the preset's table for (dataset, ipc), ``*`` standing for any < its flag.
"""

import dataclasses
import re
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from experiments.programs import keep_programs
from experiments.signals import leave, listening, stopped
from medjax import devices
from medjax.config import option, validate
from medjax.data.preprocess import PreprocessConfig
from medjax.errors import UserError
from medjax.models import MODELS, ConvNetConfig

FLAGS = flags.FLAGS
#: Flags that are no part of the name of a run: where things are, which data (its fingerprint says that), permissions.
PLACES = ("out", "dataset", "preset", "data_dir", "fresh", "allow_repeat")
PLACES += ("integrate", "integrate_share", "integrate_seed")
DEFINE = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    bool: flags.DEFINE_boolean,
}
#: A full disk or memory, in the words of a library that raises no OSError or MemoryError for it.
EXHAUSTED = re.compile("RESOURCE_EXHAUSTED|No space left on device|Out of memory", re.IGNORECASE)
#: absl's words for a value of the wrong type, and what is wanted.
WANTED = {
    "invalid literal": "a whole number",
    "could not convert": "a number",
    "('Non-boolean": "true or false",
}
ILLEGAL = re.compile(rf"flag (--\w+=.*?): ({'|'.join(map(re.escape, WANTED))})", re.DOTALL)
Preset = Mapping[tuple[str, int | str], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What every launcher asks first."""

    dataset: str = option(
        "phantom", "phantom, bloodmnist, ..., integrated, tfds:NAME, or the path of an .npz"
    )
    data_dir: str = option("", "where to look for named sets first, and to keep downloads")
    integrate: str = option("", "integrated: its sets, names or paths a,b,c; else the study's 8")
    integrate_share: float = option(0.1, "integrated: share of each set", low=0)
    integrate_seed: int = option(0, "integrated: seed of the draw of the shares", low=0)
    preset: str = option("paper", "table of values: paper, cpu or quick")
    model: str = option("convnet", "network", choices=tuple(MODELS))
    seed: int = option(0, "seed of every random number", low=0)
    out: str = option("runs", "folder that results go to")
    fresh: bool = option(False, "throw away what an earlier run left in its folder, and begin anew")


@dataclasses.dataclass(frozen=True)
class IpcConfig:
    """How small the set gets."""

    ipc: int = option(1, "synthetic images per class", low=1)
    allow_repeat: bool = option(False, "real images repeat where a class has fewer than ipc")


@dataclasses.dataclass(frozen=True)
class OthersConfig:
    """Whether a set is of use to networks it was not made with."""

    eval_models: str = option("", "evaluate also with these networks, like resnet18,mlp")

    def __post_init__(self) -> None:
        """Raises UserError for a network that is not known, or asked for twice."""
        unknown = [name for name in self.names if name not in MODELS]
        if unknown:
            raise UserError(
                f"--eval_models={self.eval_models}: {unknown[0]!r} is not known: choose among {', '.join(MODELS)}"
            )
        if len(set(self.names)) < len(self.names):
            raise UserError(f"--eval_models={self.eval_models} names a network twice")

    @property
    def names(self) -> tuple[str, ...]:
        """The networks asked for."""
        return tuple(self.eval_models.split(",")) if self.eval_models else ()


class Settings(NamedTuple):
    """Resolved values: one dataclass instance per group, and where each value came from."""

    groups: dict[type, Any]
    origin: dict[str, str]

    def values(self) -> dict[str, Any]:
        """All values, by flag name."""
        return {k: v for g in self.groups.values() for k, v in dataclasses.asdict(g).items()}


def define(*groups: type) -> None:
    """Define a flag for every field of these dataclasses; None means not given."""
    for group in groups:
        for field in dataclasses.fields(group):
            DEFINE[field.type](field.name, None, field.metadata["help"])


def resolve(groups: tuple[type, ...], presets: Mapping[str, Preset]) -> Settings:
    """Values of all groups from defaults, preset and flags. Raises UserError for a value that is not allowed."""
    for field in (f for g in groups for f in dataclasses.fields(g)):
        if FLAGS[field.name].value == "" != field.default:
            raise UserError(
                f"--{field.name} is empty: give a value, or leave it out for {field.default}"
            )
    given = {
        f.name: FLAGS[f.name].value
        for g in groups
        for f in dataclasses.fields(g)
        if FLAGS[f.name].value is not None
    }
    return combine(groups, presets, given)


def combine(
    groups: tuple[type, ...], presets: Mapping[str, Preset], given: Mapping[str, Any]
) -> Settings:
    """The same from ``given``, {flag: value}, in place of the command line."""
    run = RunConfig(**{k: v for k, v in given.items() if k in RunConfig.__dataclass_fields__})
    validate(run)
    if run.preset not in presets:
        raise UserError(f"--preset={run.preset} is not known: choose one of {', '.join(presets)}")
    chosen: dict[str, Any] = {}
    stem = Path(run.dataset).stem
    ipc = given.get("ipc", IpcConfig.ipc)
    for key in (("*", "*"), ("*", ipc), (stem, "*"), (stem, ipc)):
        chosen |= presets[run.preset].get(key, {})
    _check_networks(groups, given, run)
    built, origin = {}, {}
    for group in groups:
        names = [f.name for f in dataclasses.fields(group)]
        merged = {n: given.get(n, chosen.get(n)) for n in names if n in given or n in chosen}
        built[group] = group(**merged)
        validate(built[group])
        for name in names:
            preset = f"preset {run.preset}" if name in chosen else "default"
            origin[name] = "flag" if name in given else preset
    return follow_size(Settings(built, origin))


def _check_networks(groups: tuple[type, ...], given: Mapping[str, Any], run: RunConfig) -> None:
    """UserError for a flag of a network that is not asked for: it would change nothing."""
    others = OthersConfig(given.get("eval_models") or "").names
    for name, (group, *_) in MODELS.items():
        idle = [n for n in sorted(names_of(group)) if n in given]
        if idle and group in groups and name not in (run.model, *others):
            raise UserError(f"--{idle[0]} is for --model={name}, not for {run.model}: leave it out")


def follow_size(settings: Settings) -> Settings:
    """The ConvNet's depth by the images' side, where neither flag nor preset says it: 3 blocks, 4 from 64 px on, one
    more with each doubling, so that the last layer sees some 4 x 4 to 7 x 7 pixels."""
    groups, origin = settings
    if not {ConvNetConfig, PreprocessConfig} <= set(groups) or origin["depth"] != "default":
        return settings
    depth = (groups[PreprocessConfig].size // 4).bit_length() - 1
    if depth <= ConvNetConfig.depth:
        return settings
    changed = dataclasses.replace(groups[ConvNetConfig], depth=depth)
    return Settings(groups | {ConvNetConfig: changed}, origin | {"depth": "size"})


def names_of(*groups: type) -> set[str]:
    """The flags of these groups."""
    return {field.name for group in groups for field in dataclasses.fields(group)}


def help_text(title: str, groups: tuple[type, ...], shown: set[str] | None = None) -> str:
    """Every flag of these groups (or of them those in ``shown``), one line each with its default; a group of more than
    two has a heading."""
    lines = [title]
    for group in groups:
        fields = [f for f in dataclasses.fields(group) if shown is None or f.name in shown]
        lines += [(group.__doc__ or "").splitlines()[0]] if len(fields) > 2 else []
        for field in fields:
            allowed = field.metadata["choices"]
            value = "|".join(allowed) if len(allowed) > 1 else field.type.__name__
            left = f"  --{field.name}={value}"
            gap = " " if len(left) > 33 else " " * (34 - len(left))
            default = f" [{field.default}]" if field.default != "" else ""
            lines.append(left + gap + field.metadata["help"] + default)
    return "\n".join(lines)


def launch(
    title: str,
    groups: tuple[type, ...],
    main: Callable[[], None],
    shown: set[str] | None = None,
) -> None:
    """Parse the command line and run ``main``; a user's mistake is one line and exit status 2.

    shown: the flags that ``--help`` lists; all, if not given. The compiled programs are kept in the user's cache
    folder, so that a second start skips compilation.
    """
    define(*groups)
    asked = {"-h", "--help", "--helpshort", "--helpfull"} & set(sys.argv)
    try:
        try:
            words = FLAGS([w for w in sys.argv if w not in asked])
        except UnicodeDecodeError as error:
            raise UserError("a --flagfile holds what is no text") from error
        if asked:
            print(help_text(title, groups, shown))
            return
        if len(words) > 1:
            raise UserError(f"{words[1]!r} is not a flag: flags look like --ipc=10 (see --help)")
        devices.use_cores()
        keep_programs()
        with listening():
            main()
    except (Exception, KeyboardInterrupt) as error:
        if number := stopped(error):
            name = " (SIGTERM)" if number == signal.SIGTERM else ""
            print(f"\nstopped{name}; the same command goes on from here", file=sys.stderr)
            leave(number)
        if (line := mistake(error)) is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        sys.exit(2)


def mistake(error: BaseException) -> str | None:
    """What is wrong and what to do, in one line; None for a fault of ours."""
    if isinstance(error, flags.IllegalFlagValueError) and (found := ILLEGAL.match(str(error))):
        return f"{' '.join(found[1].split())} is not {WANTED[found[2]]}"
    if isinstance(error, (UserError, flags.Error)):
        return " ".join(str(error).split())
    if isinstance(error, (OSError, MemoryError)):  # a folder that cannot be written, a full disk
        return f"{error}: put that right, and the same command goes on"
    if EXHAUSTED.search(str(error)):  # what XLA and orbax say in kinds of their own
        what = f"{' '.join(str(error).split())[:200]}: memory or disk is full"
        return f"{what}; free some, and the same command goes on"
    return None
