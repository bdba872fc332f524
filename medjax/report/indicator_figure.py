"""The figure of the indicator: measured and forecast accuracy, and the gains of known sets."""

from pathlib import Path

from matplotlib.axes import Axes

from medjax.recipes import describe
from medjax.report import style
from medjax.report.indicator import COVER, IPCS, METHOD, GainForecast, Known, slope


def indicator_figure(
    stem: Path, name: str, random: dict[int, float], made: list[GainForecast], known: list[Known]
) -> None:
    """Measured random accuracy with the forecast above it, and the gains of known sets over their slopes."""
    with style.panels(style.both(stem), 6.6, 2, name) as (_, (upper, lower)):
        _accuracies(upper, random, made)
        _gains(lower, name, random, made[-1], known)


def _accuracies(axes: Axes, random: dict[int, float], made: list[GainForecast]) -> None:
    look, mine = describe("random"), describe(METHOD)
    x = range(len(IPCS))
    measured = [100 * random[i] for i in IPCS]
    axes.plot(x, measured, f"{look.marker}-", color=look.colour, label=f"{look.title}, measured")
    label = f"{mine.title}, forecast with {100 * COVER:.0f} % interval"
    for one in made:
        middle, low, high = (100 * v for v in one.accuracy)
        bar = ([IPCS.index(one.ipc) + 0.06], [middle], [[middle - low], [high - middle]])
        axes.errorbar(*bar, fmt=mine.marker, color=mine.colour, label=label)
    axes.set_xticks(list(x), [str(i) for i in IPCS])
    axes.set(ylim=(0, 104), xlim=(-0.3, len(IPCS) - 0.7), ylabel="test accuracy (%)")
    axes.set_xlabel("images per class")
    style.legend(axes, loc="lower right")


def _gains(
    axes: Axes, name: str, random: dict[int, float], last: GainForecast, known: list[Known]
) -> None:
    mine = describe(METHOD)
    for one in [k for k in known if last.ipc in k.distilled]:
        at = (100 * slope(one.random), 100 * one.gain(last.ipc))
        axes.plot(*at, mine.marker if one.source == "study" else "s", color=mine.colour)
        look = {"fontsize": style.SMALL, "textcoords": "offset points", "ha": "center"}
        axes.annotate(style.short(one.name, 16), at, (0, 5), **look)
    axes.axhline(0, **style.REFERENCE)
    axes.axvline(100 * slope(random), color=style.RED, label=style.short(name, 20))
    low, high = (100 * v for v in last.possible[1:])
    band = {"color": mine.colour, "alpha": 0.1, "linewidth": 0}
    axes.axhspan(low, high, label="forecast interval", **band)
    axes.set_ylabel(f"gain of {mine.title} at {last.ipc} per class (points)")
    axes.set_xlabel("rise of random accuracy from 1 to 50 per class (points)")
    axes.margins(x=0.15)
    style.legend(axes, loc="best")
