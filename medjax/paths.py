"""Paths as users write them."""

import os
import sys
from pathlib import Path

from medjax.errors import UserError

#: Characters with which orbax looks for other files than it has written: it takes a path for a pattern.
PATTERN = "*?[\\"


def user_path(text: str | os.PathLike) -> Path:
    """The path that a user gave; ``~`` is a home folder. Raises UserError where there is no such home folder, and for
    bytes that are not text: neither JSON nor checkpoints can hold such a name."""
    name = path_text(text)
    check_text(name)
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise UserError(
            f"{name}: there is no home folder for {name.split(os.sep)[0]}: give the whole path"
        ) from error


def path_text(value: object) -> str:
    """A path or name that a user gave in Python, as text. Raises UserError for anything else."""
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise UserError(f"{value!r} is neither a name nor a path: give text")
    return text


def check_text(name: str) -> None:
    """Raises UserError for the name of a file that is not text."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{name!r} is not text in {sys.getfilesystemencoding()}, in which names are read here: rename it, or set"
            " LC_ALL=C.UTF-8 if it is shown well elsewhere"
        ) from error


def results_path(text: str | os.PathLike) -> Path:
    """The path of a folder that results go to. Raises UserError as `user_path` does, where the current folder is gone,
    for a file, and for characters with which checkpoints could not be read back."""
    path = user_path(text)
    whole = str(user_path(path.absolute()))
    if odd := [letter for letter in PATTERN if letter in whole]:
        raise UserError(
            f"--out={whole}: checkpoints below a folder with {' '.join(odd)} in its name cannot be read back: choose"
            " another folder"
        )
    if path.exists() and not path.is_dir():
        raise UserError(f"--out={path} is a file: give the name of a folder")
    return path
