"""What a sweep would do: its cells, how far each is, and a forecast of time and memory; nothing is run."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import configs.dc
import configs.dm
import configs.full
import configs.mtt
import configs.selection
from experiments import dc, dm, full, mtt, selection
from experiments.cells import Cell, state
from experiments.flags import RunConfig, combine
from experiments.forecast import at_best, estimate, in_words
from experiments.session import build_models
from medjax import cost
from medjax.data import sources
from medjax.data.catalog import STUDY, find
from medjax.data.preprocess import PreprocessConfig

#: Flags, presets, and what the launcher counts before it starts.
PLANS: dict[str, tuple[Any, Any, Any]] = {
    "random": (selection.GROUPS, configs.selection.PRESETS, selection.costs),
    "dc": (dc.GROUPS, configs.dc.PRESETS["dc"], dc.costs),
    "dsa": (dc.GROUPS, configs.dc.PRESETS["dsa"], dc.costs),
    "dm": (dm.GROUPS, configs.dm.PRESETS, dm.costs),
    "mtt": (mtt.GROUPS, configs.mtt.PRESETS, mtt.costs),
    "full": (full.GROUPS, configs.full.PRESETS, full.costs),
}


def dry_run(out: Path, cells: list[Cell]) -> str:
    """A line for each cell, and the sum of those that are still to do."""
    rate = cost.matrix_rate() * cost.EFFICIENCY
    sets = dict.fromkeys((c.dataset, c.integrate) for c in cells)
    sizes = {about: data_size(*about) for about in sets}
    lines, total, most = [], 0.0, 0.0
    trained: set[str] = set()
    for cell in cells:
        size = sizes[cell.dataset, cell.integrate]
        seconds, memory = forecast_cell(cell, size, rate, cell.claim in trained)
        trained.add(cell.claim)
        known = (state(out, cell) or {"status": "to do"})["status"]
        if known != "done":
            total, most = total + seconds, max(most, memory)
        lines.append(f"{cell.name}  {in_words(seconds)}, {memory / 1e9:.1f} GB  {known}")
    return "\n".join(
        [
            *lines,
            f"to do: {at_best()}{in_words(total)} on one machine like this, {most / 1e9:.1f} GB at most",
        ]
    )


def data_size(name: str, integrate: str = "") -> tuple[int, int, int]:
    """(classes, channels, training images) of a set; of a named one from the catalog, without a download. integrate:
    what an integrated one is made of."""
    if name == "integrated":
        counts = [data_size(part)[2] for part in (integrate.split(",") if integrate else STUDY)]
        shares = [max(1, round(RunConfig.integrate_share * count)) for count in counts]
        return len(counts), 3, sum(shares)
    if named := find(name):
        entry, _ = named
        return len(entry.class_names), entry.channels, entry.images[0]
    raw = sources.load(name)
    return len(raw.class_names), raw.train.images.shape[-1], len(raw.train.labels)


def forecast_cell(
    cell: Cell, size: tuple[int, int, int], rate: float, trained: bool = False
) -> tuple[float, float]:
    """(seconds, bytes) of a cell from nothing, or with its experts ``trained`` by another cell. rate: operations a
    second. `forecast` counts the same for one run."""
    classes, channels, count = size
    groups, presets, costs = PLANS[cell.method]
    given: dict[str, Any] = {"dataset": cell.dataset, "preset": cell.preset, "model": cell.model}
    if cell.other:
        given["eval_models"] = cell.other
    settings = combine(groups, presets, given | ({} if cell.ipc is None else {"ipc": cell.ipc}))
    side = settings.groups[PreprocessConfig].size
    model, others = build_models(settings, classes, channels)
    shape = (count, side, side, channels)
    images = SimpleNamespace(shape=shape, size=math.prod(shape))
    session: Any = SimpleNamespace(
        settings=settings,
        model=model,
        ipc=cell.ipc,
        classes=classes,
        train=SimpleNamespace(images=images, labels=range(count)),
        run=settings.groups[RunConfig],
        others=others,
    )
    seconds, memory = estimate(session, costs(session), rate)
    return sum(s for phase, s in seconds.items() if not (trained and phase == "experts")), memory
