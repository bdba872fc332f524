"""A run as it will be, from the size of its data alone: nothing is fitted, trained or written."""

from medjax import memory
from medjax.data.preprocess import PreprocessConfig
from medjax.errors import UserError
from medjax.models import Model
from medjax.packing import PackConfig
from medjax.pipeline.forecast import check_room, forecast, peak_memory
from medjax.pipeline.progress import Progress
from medjax.pipeline.resolve import sized
from medjax.pipeline.session import build_models
from medjax.pipeline.settings import Settings
from medjax.recipes import Recipe, Setup
from medjax.types import Size

#: Factors that a packing is chosen among (``--pack=0``).
TRIED = (1, 2)


def planned(settings: Settings, size: Size) -> tuple[Settings, Setup, dict[str, Model]]:
    """The settings as a run on data of this size has them, what its method is built from, and the further networks.
    Raises UserError as `sized` does, and for images that the machine cannot hold."""
    made = sized(settings, size.channels)
    check_memory(made.config(PreprocessConfig).size, size)
    if not made.config(PackConfig).pack:  # the most that val may choose
        made = Settings(made.groups | {PackConfig: PackConfig(max(TRIED))}, made.origin)
    made = made.counted(made.decoded * size.classes)
    side = made.config(PreprocessConfig).size
    model, others = build_models(made, size.classes, size.channels)
    train, val, test = size.images
    shape = train, side, side, size.channels
    setup = made.setup(model, size.classes, shape, val=val, test=test, raw=size.raw)
    return made, setup, others


def announce(
    recipe: Recipe, settings: Settings, size: Size, progress: Progress, seeds: int
) -> None:
    """Say the forecast of a run, or of ``seeds`` of them, on data of this size. Raises UserError as `planned` and
    `forecast` do."""
    made, setup, others = planned(settings, size)
    forecast(made, setup, others, recipe.costs(setup), progress, seeds)


def check_fits(recipe: Recipe, settings: Settings, size: Size) -> None:
    """Raises UserError for a run that the memory cannot hold: where its packing is open, with the most that is
    tried."""
    made, setup, others = planned(settings, size)
    check_room(peak_memory(made, setup, others, recipe.costs(setup)))


def check_memory(side: int, size: Size) -> None:
    """UserError, with the numbers, if the images alone cannot fit once they are floats of so many pixels a side."""
    count = sum(size.images[:2])
    # On the device, and once more while they are made.
    needed = 2 * 4 * count * side**2 * size.channels
    if needed > memory.total():
        raise UserError(
            f"{count} images of {side} px and {size.channels} channels need {memory.words(needed)} as floats, and this"
            f" machine has {memory.words(memory.total())}: lower --size, or use fewer images"
        )
