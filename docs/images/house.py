"""docs/images/house.svg: the layers of medjax and one way through them. python docs/images/house.py"""

from html import escape
from pathlib import Path

#: Layers from top to bottom: a title, and what is in it. A layer imports from layers below it alone.
LAYERS = (
    ("experiments/", "one launcher for each command, ten lines each"),
    ("medjax/cli/", "flags, console, signals, the sweep and its engines"),
    ("medjax/audit/   medjax/bundle/", "what a set gives away; a set as a folder for others"),
    ("medjax/pipeline/", "settings, experts, distil, score, finish, run: what a command does"),
    ("medjax/report/   medjax/share.py", "tables, figures, pages; a distilled set as one file"),
    ("medjax/recipes/", "one file for each method: name, options, costs, how it is built"),
    ("medjax/result.py   score.py   table.py", "Result: what result.json holds, read and written"),
    ("medjax/distill/", "the algorithms: init, feed, step, extract (MTT's gradient: mtt.py)"),
    ("medjax/experts.py   evaluate.py   train.py", "training on real and on synthetic images"),
    ("medjax/data/   medjax/models/   cost.py", "images; networks; counted work"),
    ("medjax/store.py   devices.py   augment.py   metrics.py", "disk; devices; DSA; scores"),
    ("medjax/config.py   types.py   errors.py", "options, shapes, messages for the user"),
)
#: The files of a run, in order.
FILES = ("images (.npz)", "preprocess", "experts", "synthetic.npz", "result.json", "report")
WIDTH, ROW, TOP, LEFT = 860, 42, 40, 20


def text(x: float, y: float, words: str, size: int, style: str = "") -> str:
    """One line of text."""
    return f'<text x="{x}" y="{y}" font-size="{size}" {style}>{escape(words)}</text>'


def drawing() -> str:
    """The whole picture."""
    parts = [text(LEFT, 26, "Imports go downwards only", 15, 'font-weight="bold"')]
    for place, (title, about) in enumerate(LAYERS):
        y = TOP + place * ROW
        shade = 248 - 5 * place
        parts.append(
            f'<rect x="{LEFT}" y="{y}" width="{WIDTH - 2 * LEFT}" height="{ROW - 6}" rx="4" '
            f'fill="rgb({shade - 14},{shade - 6},{shade})" stroke="#7a8aa0"/>'
        )
        parts.append(text(LEFT + 12, y + 23, title, 13, 'font-weight="bold" xml:space="preserve"'))
        parts.append(text(LEFT + 385, y + 23, about, 12))
    y = TOP + len(LAYERS) * ROW + 34
    parts.append(text(LEFT, y, "One way through: each arrow is a file", 15, 'font-weight="bold"'))
    step = (WIDTH - 2 * LEFT) / len(FILES)
    for place, name in enumerate(FILES):
        x = LEFT + place * step
        parts.append(
            f'<rect x="{x:.0f}" y="{y + 14}" width="{step - 26:.0f}" height="34" rx="4" '
            'fill="#fff4e0" stroke="#b08a4a"/>'
        )
        middle = x + (step - 26) / 2
        parts.append(text(round(middle), y + 36, name, 12, 'text-anchor="middle"'))
        if place:
            parts.append(text(round(x - 20), y + 36, "→", 16))
    height = y + 64
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" fill="#1c2430">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(drawing(), encoding="utf-8")
