"""What a run will take, from the size of its data alone: nothing is fitted, trained or written."""

import functools

from medjax.data import sources
from medjax.data.catalog import find, parts
from medjax.data.preprocess import PreprocessConfig
from medjax.models import Model
from medjax.packing import PackConfig
from medjax.pipeline.forecast import forecast
from medjax.pipeline.packs import TRIED
from medjax.pipeline.progress import Progress
from medjax.pipeline.release import check as check_privacy
from medjax.pipeline.resolve import sized
from medjax.pipeline.session import build_models, check_data, load_data
from medjax.pipeline.settings import RunConfig, Settings
from medjax.recipes import Recipe, Setup
from medjax.types import RawDataset

#: Classes, channels, training images.
Size = tuple[int, int, int]


@functools.cache
def data_size(
    name: str, integrate: str = "", share: float = RunConfig.integrate_share, data_dir: str = ""
) -> Size:
    """(classes, channels, training images) of a data set. The catalog knows those of a named set, without a download;
    others are loaded. integrate: the sets that an integrated set is made of (a,b), of each ``share``; "" for the
    study's."""
    if name == "integrated":
        counts = [data_size(part, data_dir=data_dir)[2] for part in parts(integrate)]
        shares = [max(1, round(share * count)) for count in counts]
        return len(counts), 3, sum(shares)
    if named := find(name):
        entry, _ = named
        return len(entry.class_names), entry.channels, entry.images[0]
    return size_of(sources.load(name, data_dir or None))


def size_of(raw: RawDataset) -> Size:
    """The same of images that are loaded."""
    return len(raw.class_names), raw.train.images.shape[-1], len(raw.train.labels)


def planned(settings: Settings, size: Size) -> tuple[Settings, Setup, dict[str, Model]]:
    """The settings as a run on data of this size has them, what its method is built from, and the further networks."""
    classes, channels, count = size
    made = sized(settings, channels)
    if not made.config(PackConfig).pack:  # the most that val may choose
        made.groups[PackConfig] = PackConfig(max(TRIED))
    made = made.counted(made.decoded * classes)
    side = made.config(PreprocessConfig).size
    model, others = build_models(made, classes, channels)
    return made, made.setup(model, classes, (count, side, side, channels)), others


def dry_run(recipe: Recipe, settings: Settings, seeds: int, progress: Progress) -> None:
    """Say the forecast of a run, or of ``seeds`` of them. Raises UserError where the memory is too small, and for data
    that the run would refuse, unless they are a named set, which is not loaded."""
    run = settings.run
    if run.dataset == "integrated" or find(run.dataset):
        size = data_size(run.dataset, run.integrate, run.integrate_share, run.data_dir)
    else:
        raw = load_data(settings, progress)
        check_data(settings, raw, progress, count=not recipe.release)
        if recipe.release:
            check_privacy(settings, raw)
        size = size_of(raw)
    made, setup, others = planned(settings, size)
    forecast(made, setup, others, recipe.costs(setup), progress, seeds)
