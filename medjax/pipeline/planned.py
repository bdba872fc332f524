"""A run as it will be, from the size of its data alone: nothing is fitted, trained or written."""

from medjax.data.preprocess import PreprocessConfig
from medjax.models import Model
from medjax.packing import PackConfig
from medjax.pipeline.resolve import sized
from medjax.pipeline.session import build_models
from medjax.pipeline.settings import Settings
from medjax.recipes import Setup
from medjax.types import Size

#: Factors that a packing is chosen among (``--pack=0``).
TRIED = (1, 2)


def planned(settings: Settings, size: Size) -> tuple[Settings, Setup, dict[str, Model]]:
    """The settings as a run on data of this size has them, what its method is built from, and the further networks."""
    made = sized(settings, size.channels)
    if not made.config(PackConfig).pack:  # the most that val may choose
        made.groups[PackConfig] = PackConfig(max(TRIED))
    made = made.counted(made.decoded * size.classes)
    side = made.config(PreprocessConfig).size
    model, others = build_models(made, size.classes, size.channels)
    train, val, test = size.images
    shape = train, side, side, size.channels
    setup = made.setup(model, size.classes, shape, val=val, test=test, raw=size.raw)
    return made, setup, others
