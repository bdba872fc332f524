"""One table of texts in five forms: text, Markdown, HTML, CSV and LaTeX. Each form escapes what a name may hold."""

import csv
import dataclasses
import functools
import io
import re
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup

#: Stands for a value that is not there.
DASH = "–"
#: A spreadsheet takes a cell that begins with one of these for a formula.
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t")
_TEX = {"\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\textasciitilde{}"}
_TEX |= {c: f"\\{c}" for c in "{}$&#_%"} | {"±": r"$\pm$", "–": "--"}


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of texts under a head; a row may be shorter than the head.

    words: how many columns from the left hold words; the others hold numbers and are aligned to the right.
    best: (row, column) of the cells in bold. sections: rows with a rule above them. notes: lines below the table; CSV
    has neither title nor notes.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    notes: Sequence[str] = ()
    words: int = 1
    best: Collection[tuple[int, int]] = frozenset()
    sections: Collection[int] = frozenset()

    def __rich__(self) -> Any:
        """For a rich console. The words of a number's heading stand one below the other."""
        from rich import box, table
        from rich.console import Group
        from rich.text import Text

        drawn = table.Table(
            title=Text(self.title) if self.title else None,
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
        )
        for j, text in enumerate(self.head):
            word = j < self.words
            heading = Text(text if word else text.replace(" ", "\n"))
            drawn.add_column(heading, justify="left" if word else "right", no_wrap=True)
        for i, row in enumerate(self.rows):
            if i in self.sections:
                drawn.add_section()
            style = ["bold" if (i, j) in self.best else "" for j in range(len(row))]
            drawn.add_row(*[Text(text, style=s) for text, s in zip(row, style, strict=True)])
        return Group(drawn, *map(Text, self.notes))

    def text(self, width: int = 100) -> str:
        """Plain text, at most ``width`` characters wide."""
        from rich.console import Console

        out = io.StringIO()
        Console(file=out, width=width, color_system=None).print(self)
        return out.getvalue()

    def markdown(self) -> str:
        """GitHub's Markdown: the title as a heading, the grid, and the notes as a list."""
        blocks = [f"## {inline(self.title)}"] if self.title else []
        rule = ["---" if j < self.words else "---:" for j in range(len(self.head))]
        lines = [[inline(text) for text in self.head], rule, *self._cells(inline, "**{}**")]
        blocks.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
        if self.notes:
            blocks.append("\n".join(f"- {inline(note)}" for note in self.notes))
        return "\n\n".join(blocks) + "\n"

    def html(self) -> "Markup":
        """A table that scrolls sideways where the page is too narrow for it."""
        from markupsafe import Markup

        return Markup(
            templates().get_template("table.html").render(vars(self) | {"rows": self._cells()})
        )

    _repr_html_ = html  # what a notebook shows

    def csv(self) -> str:
        """Comma-separated values. A text that a spreadsheet would run as a formula gets an apostrophe before it."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerows([[_csv_cell(text) for text in self.head], *self._cells(_csv_cell)])
        return out.getvalue()

    def latex(self) -> str:
        """A floating table no wider than the page. Needs the packages booktabs and graphicx."""
        columns = "l" * self.words + "r" * (len(self.head) - self.words)
        text = [r"\begin{table}\centering"]
        text += [f"\\caption{{{_tex(self.title)}.}}"] if self.title else []
        text += [r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%"]
        text += [f"\\begin{{tabular}}{{{columns}}}\\toprule"]
        text += [" & ".join(map(_tex, self.head)) + r" \\\midrule"]
        for i, cells in enumerate(self._cells(_tex, r"\textbf{{{}}}")):
            # The braces: without them a name in brackets is an argument of the line break before it.
            rule = r"\midrule" if i in self.sections else ""
            text.append(rule + "{}" + " & ".join(cells) + r" \\")
        text.append(r"\bottomrule\end{tabular}}")
        text += [f"\\par\\footnotesize {_tex(note)}" for note in self.notes]
        return "\n".join([*text, r"\end{table}"]) + "\n"

    def _cells(self, escape: Callable[[str], str] = str, bold: str = "{}") -> list[list[str]]:
        """The rows, each as long as the head; every text is escaped, and the best are in bold."""
        rows = []
        for i, row in enumerate(self.rows):
            full = [escape(text) for text in row] + [""] * (len(self.head) - len(row))
            rows.append([bold.format(t) if (i, j) in self.best else t for j, t in enumerate(full)])
        return rows


@functools.cache
def templates() -> Any:
    """The templates, as a Jinja2 environment. In HTML it escapes every text, so that the name of a data set is never
    markup."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("medjax"),
        autoescape=jinja2.select_autoescape(disabled_extensions=("txt",), default=True),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def one_line(text: str) -> str:
    return " ".join(text.split())


def inline(text: str) -> str:
    """A text on one line in which no character is Markdown or HTML."""
    return re.sub(r"[\\|`*\[]", r"\\\g<0>", one_line(text)).replace("<", "&lt;")


def _csv_cell(text: str) -> str:
    try:
        float(text)
    except ValueError:
        text = re.sub(r"[\r\n]", " ", text)  # a cell is one line for every reader
        return "'" + text if text.lstrip(" ").startswith(FORMULA) else text
    return text


def _tex(text: str) -> str:
    return re.sub(r"[\\{}$&#^_%~±–]", lambda m: _TEX[m[0]], one_line(text))
