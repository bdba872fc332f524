"""Parts of the pages that are made from the code when the site is built, so that they cannot go stale.

A page says where: a line ``{{commands}}`` becomes a table of flags for every command, ``{{presets}}`` the values of the
presets, ``{{api}}`` every public name of medjax.
"""

import dataclasses
import inspect
import re
from typing import Any

import medjax
from medjax.cli.launch import TOOLS, Command, find
from medjax.pipeline import presets
from medjax.recipes import RECIPES

#: A part of a docstring that names an argument or a field: "images: uint8 [n, h, w, c]".
ITEM = re.compile(r"[\w`]+(?:, [\w`]+)*: ")


def cell(value: Any) -> str:
    """A value or a text inside a Markdown table."""
    return str(value).replace("|", "\\|").replace("*", "\\*").replace("<", "\\<")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def flag_rows(group: type) -> list[tuple[str, ...]]:
    """One row for each option of a dataclass: its flag, type, default and help."""
    rows = []
    for field in dataclasses.fields(group):
        choices = field.metadata["choices"]
        kind = ", ".join(f"`{c}`" for c in choices) if choices else field.type.__name__  # type: ignore[union-attr]
        default = f"`{field.default}`" if field.default != "" else ""
        rows.append((f"`--{field.name}`", kind, default, cell(field.metadata["help"])))
    return rows


def first_line(item: Any) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(item) or "").split("\n")[0]


def commands() -> dict[str, Command]:
    """Every command by its name: methods first, in the order of tables."""
    return {name: find(name) for name in (*RECIPES, *TOOLS)}


def title(group: type) -> str:
    """What the reference calls a dataclass of options: the beginning of its docstring."""
    return re.split(r"[.,:(]", first_line(group))[0].strip()


def command_pages(found: dict[str, Command]) -> str:
    """A section for each command. Options that several commands share stand once: under the method that they belong to,
    or at the end."""
    users: dict[type, list[str]] = {}
    for name, command in found.items():
        for group in command.groups:
            users.setdefault(group, []).append(name)
    owner = {group: names[0] for group, names in users.items() if len(names) == 1}
    for name, recipe in RECIPES.items():
        owner = {group: name for group in recipe.configs} | owner
    parts = []
    for name, command in found.items():
        parts += [f"## {name}", command.summary]
        parts += [command.words[:1].upper() + command.words[1:] + "."] if command.words else []
        for group in command.groups:
            if owner.get(group) == name:
                parts += [f"### {title(group)}", first_line(group), flag_table(group)]
        links = [group for group in command.groups if owner.get(group) != name]
        links = [f"[{title(group)}](#{slug(title(group))})" for group in links]
        parts += [f"Further flags: {', '.join(links)}."] if links else []
    parts.append("## Flags that several commands share")
    for group, names in users.items():
        if group not in owner:
            parts += [f"### {title(group)}", first_line(group), flag_table(group)]
            parts.append(f"Commands: {', '.join(f'[{n}](#{n})' for n in names)}.")
    return "\n\n".join(parts)


def slug(heading: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def flag_table(group: type) -> str:
    """The table of one dataclass of options."""
    return table(("flag", "type", "default", "meaning"), flag_rows(group))


def preset_tables() -> str:
    """For every method, what its presets set on the phantom set at one image per class."""
    parts = []
    for method, recipe in RECIPES.items():
        names = [
            n for n in ("paper", "public", "cpu", "best", "quick") if n in presets.read(recipe)
        ]
        columns = {name: medjax.settings(method, preset=name, ipc=1) for name in names}
        values = {name: column.values() for name, column in columns.items()}
        changed = [
            flag
            for flag in values["paper"]
            if any(columns[name].origin[flag] == f"preset {name}" for name in names)
        ]
        rows = [(f"`--{flag}`", *(f"`{values[name][flag]}`" for name in names)) for flag in changed]
        parts += [f"### {recipe.title} (`{method}`)", table(("flag", *names), rows)]
    return "\n\n".join(parts)


def api() -> str:
    """Every public name, with its docstring."""
    parts = []
    for name in sorted(medjax.__all__, key=str.lower):
        item = getattr(medjax, name)
        if inspect.isclass(item):
            # The fields of a NamedTuple have no docstring of their own.
            members = "" if issubclass(item, (tuple, BaseException)) else "\n   :members:"
            directive = f".. autoclass:: medjax.{name}{members}"
        else:
            directive = f".. autofunction:: medjax.{name}"
        parts.append(f"## {name}\n\n```{{eval-rst}}\n{directive}\n```")
    return "\n\n".join(parts)


#: What a page may ask for.
PARTS = {
    "commands": lambda: command_pages(commands()),
    "presets": preset_tables,
    "api": api,
}


def fill(text: str) -> str:
    """A page with its generated parts in place."""
    return re.sub(r"^\{\{(\w+)\}\}$", lambda found: PARTS[found[1]](), text, flags=re.MULTILINE)


def rst(lines: list[str]) -> list[str]:
    """A docstring of medjax as reStructuredText: "name: text" becomes a list, an indented equation stays as it is."""
    text = inspect.cleandoc("\n".join(lines))
    paragraphs = [block.split("\n") for block in re.split(r"\n\s*\n", text) if block.strip()]
    done: list[str] = []
    for paragraph in paragraphs:
        if all(line.startswith(" ") for line in paragraph):
            done += ["::", "", *paragraph, ""]
            continue
        items: list[list[str]] = [[]]
        for line in paragraph:
            if ITEM.match(line) and (not items[0] or len(items) > 1):
                items.append([line])
            else:
                items[-1].append(line.strip())
        for item in items:
            if item:
                joined = plain(" ".join(item))
                done += [f"* {joined}" if len(items) > 1 else joined, ""]
    return done


def plain(text: str) -> str:
    """Without what reStructuredText would take for markup, outside of code."""
    parts = re.split(r"(``.*?``|`.*?`)", text)
    for place, part in enumerate(parts):
        if part.startswith("`"):
            parts[place] = f"``{part.strip('`')}``"
        else:
            parts[place] = re.sub(r"([*|_])", r"\\\1", part)
    return "".join(parts)


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""

    def read(app: Any, name: str, source: list[str]) -> None:
        source[0] = fill(source[0])

    def document(app: Any, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
        lines[:] = rst(lines)

    def sign(app: Any, what: str, name: str, item: Any, options: Any, *parts: Any) -> Any:
        plain = [p and p.replace("<factory>", "...").replace("jaxlib._jax.", "") for p in parts]
        return plain[0], plain[1]

    app.connect("source-read", read)
    app.connect("autodoc-process-signature", sign)
    app.connect("autodoc-process-docstring", document)
    return {"parallel_read_safe": True}
