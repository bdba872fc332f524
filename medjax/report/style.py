"""The one style of all figures: fonts, colours, sizes, legends, and files whose bytes repeat.

Figures are narrow enough for a phone. Colours are those of Okabe and Ito, which the colour-blind can tell apart, and a
line has a marker of its own besides.
"""

import contextlib
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

#: Dots per inch of every PNG, and the width of a chart in inches.
DPI, WIDTH = 160, 4.8
#: Points: titles, text, and small text.
TITLE, TEXT, SMALL = 10, 9, 7.5
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
#: Grey of secondary text and of reference lines.
FAINT = "0.4"
REFERENCE: dict[str, Any] = {"color": "0.55", "linewidth": 1, "linestyle": ":"}
#: The longest name that a figure shows, in characters.
LONGEST = 44
#: A salt of its own, else an SVG's identifiers differ from one drawing to the next.
RC: Any = {"svg.hashsalt": "medjax", "svg.fonttype": "none"}
RC |= {"font.size": TEXT, "lines.linewidth": 1.3}
RC |= {"axes.titlelocation": "left", "axes.titlesize": TITLE, "axes.titleweight": "bold"}
RC |= {"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True}
RC |= {"grid.color": "0.92", "grid.linewidth": 0.8, "errorbar.capsize": 2.5}


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """The style, for what is drawn and saved inside; also a decorator."""
    with rc_context(RC), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box; a warning for each letter would not help.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
        yield


def canvas(width: float = 1.0, height: float = 1.0) -> Figure:
    """An empty figure of this size in inches, drawn without a window."""
    return FigureCanvasAgg(Figure(figsize=(width, height), dpi=DPI)).figure


def save(figure: Figure, file: str | os.PathLike) -> None:
    """Write an SVG where the name ends so, else a PNG. The same drawing gives the same bytes: no date, no version."""
    svg = str(file).endswith(".svg")
    metadata = {"Date": None} if svg else {"Software": None}
    figure.savefig(file, format="svg" if svg else "png", metadata=metadata)


def both(stem: Path) -> list[Path]:
    """STEM.png and STEM.svg."""
    return [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]


@contextlib.contextmanager
def panels(
    files: Sequence[str | os.PathLike],
    height: float,
    rows: int = 1,
    title: str = "",
    foot: float = 0.0,
    left: float = 0.78,
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of ``rows`` panels, one below the other, written to the files at the end.

    height, foot: inches of the panels, and below them for a legend. left: inches beside them for labels.
    """
    height += foot
    with styled():
        figure = canvas(WIDTH, height)
        # Margins in inches: a layout engine would draw everything twice.
        edges = {"left": left / WIDTH, "right": 1 - 0.2 / WIDTH, "top": 1 - 0.36 / height}
        axes = list(figure.subplots(rows, 1, squeeze=False, gridspec_kw=edges)[:, 0])
        figure.subplots_adjust(bottom=(0.5 + foot) / height, hspace=0.2)
        for panel in axes:
            panel.grid(True)
        axes[0].set_title(short(title))
        yield figure, axes
        for file in files:
            save(figure, file)


def short(text: str, most: int = LONGEST) -> str:
    """A name for a figure: no formula, and cut where it is too long."""
    text = text if len(text) <= most else text[: most - 1] + "…"
    return text.replace("$", r"\$")


def legend(axes: Axes, **place: Any) -> None:
    """A legend of what has a label, if anything has; each label once."""
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    if once:
        look = {"fontsize": SMALL, "framealpha": 0.85, "edgecolor": "none"}
        axes.legend(list(once.values()), list(once), **look, **place)


def legend_below(figure: Figure, axes: Axes) -> None:
    """A legend of one panel under all of them."""
    handles, labels = axes.get_legend_handles_labels()
    place = {"loc": "lower center", "ncols": _columns(labels), "fontsize": SMALL, "frameon": False}
    figure.legend(handles, labels, borderaxespad=0.2, **place)


def foot_of(labels: list[str]) -> float:
    """Inches that `legend_below` takes for these labels."""
    return 0.1 + 0.19 * -(-len(labels) // _columns(labels))


def _columns(labels: list[str]) -> int:
    """Two columns, or one where a name is too long for that."""
    return 2 if max(map(len, labels), default=0) <= 36 else 1


def say(axes: Axes, text: str) -> None:
    """A text in place of a curve that is not there."""
    axes.set_yticks([])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=FAINT)


def log_axis(axes: Axes, low: float, high: float) -> None:
    """A logarithmic axis for values in [low, high]; within one decade it has plain ticks, for it would have none."""
    axes.set_yscale("log")
    axes.yaxis.set_minor_locator(NullLocator())
    if high < 10 * low:
        margin = max((high / low) ** 0.08, 1.02)
        axes.set_ylim(low / margin, high * margin)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
