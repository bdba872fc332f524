"""Static HTML pages from the templates beside this file. A page needs its figures and nothing else: no script, no font,
no network. Jinja2 escapes every text, so that the name of a data set is never markup."""

import functools
import hashlib
import re
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from medjax import store


class Chart(NamedTuple):
    """A figure that lies beside the page as figures/STEM.svg and .png. words: what it shows, also for the blind."""

    stem: str
    words: str


class PagePicture(NamedTuple):
    """A picture that lies beside the page as figures/FILE, at most ``width`` CSS pixels wide."""

    file: str
    words: str
    width: int


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("medjax.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def write_page(path: Path, template: str, **values: Any) -> Path:
    """Fill in templates/TEMPLATE and write the page; gives back its path."""
    text = _environment().get_template(template).render(values)
    store.write_bytes(path, text.encode())
    return path


def slug(*words: object) -> str:
    """A file name for words that may hold anything: readable, unique, and safe on every file system."""
    text = "-".join(str(word) for word in words)
    readable = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48]
    return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
