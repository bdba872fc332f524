"""Flags made from the dataclasses of options."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from medjax.config import option
from medjax.errors import UserError
from medjax.pipeline.resolve import resolve
from medjax.pipeline.settings import RunConfig, Settings, fields

FLAGS = flags.FLAGS
DEFINE = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    bool: flags.DEFINE_boolean,
}
#: absl's words for a value of the wrong type, and what is wanted.
WANTED = {
    "invalid literal": "a whole number",
    "could not convert": "a number",
    "('Non-boolean": "true or false",
}
ILLEGAL = re.compile(rf"flag (--\w+=.*?): ({'|'.join(map(re.escape, WANTED))})", re.DOTALL)
#: The flags that `--help` shows of every command that has them; `--helpfull` shows all.
SHOWN = {
    "dataset",
    "ipc",
    "preset",
    "model",
    "seed",
    "seeds",
    "dry_run",
    "size",
    "whiten",
    "eval_models",
}
SHOWN |= {"out", "fresh", "synthetic", "step_size"}


@dataclasses.dataclass(frozen=True)
class OutConfig:
    """Where results go."""

    out: str = option("runs", "folder that results go to")
    fresh: bool = option(False, "delete what an earlier run left in its folder, and start again")


def define(*groups: type) -> None:
    """Define a flag for every field of these dataclasses; None means not given."""
    for field in fields(*groups):
        DEFINE[field.type](field.name, None, field.metadata["help"])  # type: ignore[index]


def refuse_twice(words: Sequence[str]) -> None:
    """UserError for a flag that these words of a command line give two values: one would be passed over. A flag of a
    --flagfile may be given once more."""
    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.lstrip("-").partition("=")
        if word == "--":
            return
        if not word.startswith("-") or not name:
            continue
        if name not in FLAGS and name.startswith("no"):
            name, value = name[2:], "false"
        elif not equals and name in FLAGS:
            value = "true" if FLAGS[name].boolean else next(rest, "")
        if name != "flagfile" and found.setdefault(name, value) != value:
            raise UserError(
                f"--{name} is given twice, as {found[name]} and as {value}: leave one out"
            )


def given(*groups: type) -> dict[str, Any]:
    """{flag: value} of the flags on the command line. Raises UserError for an empty value where it means nothing."""
    values = {f.name: FLAGS[f.name].value for f in fields(*groups)}
    for field in fields(*groups):
        if values[field.name] == "" != field.default:
            raise UserError(
                f"--{field.name} is empty: give a value, or leave it out for {field.default}"
            )
    return {name: value for name, value in values.items() if value is not None}


def read(*groups: type, presets: Mapping[str, Any] | None = None) -> Settings:
    """The options of these groups from the command line. presets: as in `medjax.pipeline.presets`; none: there is no
    ``--preset``, or its value is the command's own affair."""
    asked = given(*groups)
    if presets is None:
        presets = {asked.get("preset", RunConfig.preset): {}}
    return resolve(groups, presets, asked)


def read_settings(
    groups: tuple[type, ...], presets: Mapping[str, Any]
) -> tuple[Settings, OutConfig]:
    """The options of a run from the command line, and apart from them where its results go."""
    found = read(*groups, OutConfig, presets=presets)
    groups_of_run = {group: found.groups[group] for group in groups}
    return found._replace(groups=groups_of_run), found.config(OutConfig)


def help_text(title: str, groups: tuple[type, ...], shown: set[str] | None = None) -> str:
    """The flags of these groups (or of them those in ``shown``), one line each with its default; a group of more than
    two has a heading."""
    lines = [title]
    for group in groups:
        listed = [f for f in dataclasses.fields(group) if shown is None or f.name in shown]
        heading = (group.__doc__ or "").splitlines()[0]
        lines += [heading] if shown is None and len(listed) > 2 else []
        for field in listed:
            allowed = field.metadata["choices"]
            value = "|".join(allowed) if len(allowed) > 1 else field.type.__name__  # type: ignore[union-attr]
            left = f"  --{field.name}={value}"
            gap = " " if len(left) > 33 else " " * (34 - len(left))
            default = f" [{field.default}]" if field.default != "" else ""
            lines.append(left + gap + field.metadata["help"] + default)
    if shown is not None and len(fields(*groups)) > len(lines) - 1:
        lines.append("--helpfull shows all flags.")
    return "\n".join(lines)
