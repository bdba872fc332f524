"""One Table in five forms: each has every text, and in none is a name more than a text."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medjax.table import Table

TABLE = Table(
    head=["data set", "method", "test accuracy"],
    rows=[["blood", "MTT", "75.1 ± 1.3"], ["blood", "DC", "–"], ["skin"]],
    title="Scores of 2 sets",
    notes=["5 networks"],
    words=2,
    best={(0, 2)},
    sections={2},
)
FORMS = ("text", "markdown", "html", "csv", "latex")


@pytest.mark.parametrize("form", FORMS)
def test_each_form_has_every_text(form):
    made = str(getattr(TABLE, form)())
    score = r"75.1 $\pm$ 1.3" if form == "latex" else "75.1 ± 1.3"
    for text in ("blood", "skin", "MTT", "DC", score):
        assert text in made
    for text in (TABLE.title, *TABLE.notes):
        assert (text in made) == (form != "csv"), "a CSV file has data alone"


def test_forms_are_exact():
    """Bold, alignment and sections, where a form has them."""
    assert TABLE.markdown() == (
        "## Scores of 2 sets\n\n| data set | method | test accuracy |\n| --- | --- | ---: |\n"
        "| blood | MTT | **75.1 ± 1.3** |\n| blood | DC | – |\n| skin |  |  |\n\n- 5 networks\n"
    )
    assert (
        TABLE.csv() == "data set,method,test accuracy\nblood,MTT,75.1 ± 1.3\nblood,DC,–\nskin,,\n"
    )
    html = str(TABLE.html())
    assert "<caption>Scores of 2 sets</caption>" in html and '<th class="word">method</th>' in html
    assert (
        "<td><strong>75.1 ± 1.3</strong></td>" in html and html.count('<tr class="section">') == 1
    )
    latex = TABLE.latex()
    assert r"\begin{tabular}{llr}\toprule" in latex and r"\caption{Scores of 2 sets.}" in latex
    assert (
        r"{}blood & MTT & \textbf{75.1 $\pm$ 1.3} \\" in latex
        and r"\midrule{}skin &  &  \\" in latex
    )
    lines = [line.split() for line in TABLE.text(60).splitlines()]
    assert ["blood", "MTT", "75.1", "±", "1.3"] in lines and ["test"] in lines


def one(text: str) -> Table:
    return Table(["name"], [[text]], title=text, notes=[text])


def test_markup_is_text():
    """Of HTML, of Markdown, of rich and of LaTeX."""
    name = "<b>x</b> a|b `c` *d* [e](f) \\"
    html = str(one(name).html())
    assert "<b>" not in html and html.count("&lt;b&gt;x&lt;/b&gt; a|b") == 3
    row = one(name).markdown().splitlines()[4]
    assert row == r"| &lt;b>x&lt;/b> a\|b \`c\` \*d\* \[e](f) \\ |"
    assert "[red]x" in one("[red]x").text() and "\x1b" not in one("[red]x").text()
    row = one(r"a_b & 5 % {x} $y$ #1 ~ ^ \input").latex().splitlines()[5]
    assert row == (
        r"{}a\_b \& 5 \% \{x\} \$y\$ \#1 \textasciitilde{} \^{} \textbackslash{}input \\"
    )
    assert one("[3] a").latex().splitlines()[5].startswith("{}[3]"), "no argument of a line break"


@pytest.mark.parametrize("text", ["=1+1", "+cmd|x", "-2+3", "@SUM(A1)", " =1", "\t=1", "＝1"])
def test_csv_holds_no_formula(text):
    """What a spreadsheet would compute gets an apostrophe; numbers stay numbers."""
    ((_,), (cell,)) = csv.reader(io.StringIO(one(text).csv()))
    assert cell == "'" + text
    for number in ("-0.50", "+17.00", "0"):
        assert one(number).csv() == f"name\n{number}\n"


@given(st.text())
def test_any_name_is_one_cell_in_every_form(text):
    """Two columns stay two, whatever a name holds."""
    table = Table(["name", "score"], [[text, "1.0"]])
    rows = list(csv.reader(io.StringIO(table.csv(), newline="")))
    assert len(rows) == 2 and rows[1][1] == "1.0"
    assert rows[1][0].removeprefix("'") == re.sub(r"[\r\n]", " ", text).removeprefix("'")
    line = table.markdown().split("\n")[2]
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3 and line.endswith("| 1.0 |")
    html = str(table.html())
    assert html.count("<td") == 2 and html.count("<") == 20
    body = table.latex().split("\n")[4]
    assert len(re.findall(r"(?<!\\)&", body)) == 1 and body.endswith(r" & 1.0 \\")
