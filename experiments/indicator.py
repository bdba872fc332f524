"""Is this set worth distilling? Trains on random real images alone, and forecasts what distillation would gain.

python -m experiments.indicator --dataset=my.npz
"""

import dataclasses
from pathlib import Path

from configs.selection import PRESETS
from experiments.cells import Cell, state
from experiments.flags import RunConfig, launch, resolve
from experiments.sweep import check_data, sweep
from medjax.config import option
from medjax.errors import UserError
from medjax.report import indicator
from medjax.report.indicator_figure import indicator_figure
from medjax.report.pages import slug
from medjax.report.runs import cells, collect
from medjax.result import Result


@dataclasses.dataclass(frozen=True)
class IndicatorConfig:
    """Which set, and where finished runs lie that the forecast may learn from."""

    dataset: str = option(RunConfig.dataset, "a name or the path of an .npz")
    preset: str = option(
        "indicator", "values of the random subsets: indicator, quick, cpu or paper"
    )
    out: str = option(
        RunConfig.out, "folder that runs go to, and where known results are looked for"
    )


GROUPS = (IndicatorConfig,)


def main() -> None:
    config = resolve(GROUPS, PRESETS | {RunConfig.preset: {}}).groups[IndicatorConfig]
    out = Path(config.out)
    wanted = [
        Cell(config.dataset, i, "random", "convnet", 0, config.preset) for i in indicator.IPCS
    ]
    check_data(out, wanted)
    # A class with fewer images than are asked of it is used again from its start.
    sweep(out, wanted, (0, 1), lambda cell: [*cell.command(out), "--allow_repeat"])
    measured = {}
    for cell in wanted:
        known = state(out, cell) or {}
        if known.get("status") != "done":
            raise UserError(f"{cell.name}: {known.get('reason')} (what it said: {out}/cells/)")
        measured[cell.ipc] = Result.read(out / known["result"])
    name, fingerprint = measured[50].dataset, measured[50].fingerprint
    random = {ipc: r.test.accuracy.mean for ipc, r in measured.items()}
    if not all(value is not None for value in random.values()):
        raise UserError(f"networks on random images of {name} did not end in numbers: no forecast")
    finished = cells(collect(out)[0])
    known_sets = indicator.study_sets() + indicator.own_sets(finished, fingerprint)
    made = [indicator.forecast(random, known_sets, ipc) for ipc in indicator.IPCS]
    stem = out / slug("indicator", name, fingerprint[:8])
    indicator_figure(stem, name, random, made, known_sets)
    for sentence in indicator.sentences(name, made[-1], known_sets, random):
        print(sentence)
    print(indicator.rule(finished, fingerprint, random))
    print(f"figure  {stem}.png, .svg")


if __name__ == "__main__":
    launch("Is this set worth distilling?", GROUPS, main)
