"""What a run will take, from the size of its data alone: nothing is fitted, trained or written."""

import functools

from medjax.data import sources
from medjax.data.catalog import find, parts
from medjax.data.named import refuse_multi_label
from medjax.pipeline.planned import announce
from medjax.pipeline.progress import Progress
from medjax.pipeline.release import check as check_privacy
from medjax.pipeline.session import check_data, load_data, lost
from medjax.pipeline.settings import RunConfig, Settings
from medjax.recipes import Recipe
from medjax.types import Size


@functools.cache
def data_size(
    name: str, integrate: str = "", share: float = RunConfig.integrate_share, data_dir: str = ""
) -> Size:
    """The size of a data set. The catalog knows that of a named set, without a download; others are loaded. integrate:
    the sets that an integrated set is made of (a,b), of each ``share``; "" for the study's. Raises UserError for data
    that cannot be had and for a multi-label set."""
    if name == "integrated":
        sizes = [data_size(part, data_dir=data_dir) for part in parts(integrate)]
        shares = [[max(1, round(share * count)) for count in size.images] for size in sizes]
        train, val, test = map(sum, zip(*shares, strict=True))
        return Size(len(sizes), 3, (train, val, test), min(size.pixels for size in sizes))
    if named := find(name):
        entry, side = named
        refuse_multi_label(entry)
        return Size(len(entry.class_names), entry.channels, entry.images, side**2)
    return sources.load(name, data_dir or None).size


def dry_run(recipe: Recipe, settings: Settings, seeds: int, progress: Progress) -> None:
    """Say the forecast of a run, or of ``seeds`` of them. Raises UserError where the memory is too small, and for data
    that the run would refuse; of a named set, which is not loaded, only its classes and its size are known."""
    run = settings.run
    if (named := find(run.dataset)) or run.dataset == "integrated":
        size = data_size(run.dataset, run.integrate, run.integrate_share, run.data_dir)
        if named:
            entry, side = named
            for line in entry.notes + lost(settings, side, entry.channels):
                progress.say(f"note: {line}")
    else:
        raw = load_data(settings, progress)
        check_data(settings, raw, progress, count=not recipe.release)
        if recipe.release:
            check_privacy(settings, raw)
        size = raw.size
    announce(recipe, settings, size, progress, seeds)
