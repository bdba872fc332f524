"""Pieces of a static HTML page. Every text is escaped here, so that the name of a data set is never markup."""

import hashlib
import re
from html import escape
from importlib import resources
from urllib.parse import quote


def page(title: str, body: list[str]) -> str:
    """A whole page that needs nothing but its figures: no script, no font, no network."""
    css = resources.files("medjax.report").joinpath("style.css").read_text(encoding="utf-8")
    head = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>\n{css}</style></head>\n<body>\n"
    )
    return head + "\n".join(body) + "\n</body></html>\n"


def heading(level: int, text: str, anchor: str = "") -> str:
    """A heading; anchor: what a link to it names."""
    name = f' id="{escape(anchor)}"' if anchor else ""
    return f"<h{level}{name}>{escape(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; kind: "note" (small) or "warning"."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(head: list[str], rows: list[list[str]], words: int, best: set[tuple[int, int]]) -> str:
    """A table that scrolls sideways where it is too wide.

    words: how many columns from the left hold words rather than numbers. best: (row, column) of cells in bold.
    """
    top = "".join(_cell("th", text, i < words) for i, text in enumerate(head))
    lines = [
        "".join(_cell("td", text, j < words, (i, j) in best) for j, text in enumerate(row))
        for i, row in enumerate(rows)
    ]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(kind: str, text: str, word: bool, best: bool = False) -> str:
    classes = " ".join(name for name, on in (("word", word), ("best", best)) if on)
    start = f'<{kind} class="{classes}">' if classes else f"<{kind}>"
    return f"{start}{escape(text)}</{kind}>"


def chart(stem: str, words: str) -> str:
    """A figure that lies beside the page as figures/STEM.svg and .png. words: what it shows, also for the blind."""
    at = f"figures/{quote(stem)}"
    return (
        f'<figure class="chart"><a href="{at}.svg"><img src="{at}.svg" alt="{escape(words)}"></a>'
        f'<figcaption>{escape(words)} (<a href="{at}.svg">SVG</a>, <a href="{at}.png">PNG</a>)'
        "</figcaption></figure>"
    )


def picture(name: str, words: str, width: int) -> str:
    """A picture that lies beside the page as figures/NAME, at most ``width`` CSS pixels wide."""
    at = f"figures/{quote(name)}"
    return (
        f'<figure style="width:{width}px"><a href="{at}"><img src="{at}" alt="{escape(words)}"></a>'
        f"<figcaption>{escape(words)}</figcaption></figure>"
    )


def slug(*words: object) -> str:
    """A file name for words that may hold anything: readable, unique, and safe on every file system."""
    text = "-".join(str(word) for word in words)
    readable = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48]
    return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
