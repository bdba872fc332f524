"""Static HTML pages. A page needs its figures and nothing else: no script, no font, no network."""

import hashlib
import re
from pathlib import Path
from typing import Any, NamedTuple

from medjax import store
from medjax.table import templates


class Chart(NamedTuple):
    """A figure that lies beside the page as figures/STEM.svg and .png. words: what it shows, also for the blind."""

    stem: str
    words: str


class CopiedPicture(NamedTuple):
    """A picture of a run, copied to lie beside the page as figures/FILE, at most ``width`` CSS pixels wide."""

    file: str
    words: str
    width: int


def write_page(path: Path, template: str, **values: Any) -> Path:
    """Fill in medjax/templates/TEMPLATE and write the page; gives back its path."""
    text = templates().get_template(template).render(values)
    store.write_bytes(path, text.encode())
    return path


def slug(*words: object) -> str:
    """A file name for words that may hold anything: readable, unique, and safe on every file system."""
    text = "-".join(str(word) for word in words)
    readable = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48]
    return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
