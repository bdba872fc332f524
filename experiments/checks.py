"""What is refused before a command does any work: values that do not fit the data, the machine or an earlier run."""

import shutil
from pathlib import Path

import numpy as np

from experiments.flags import PLACES, IpcConfig, RunConfig, Settings
from medjax import memory, store
from medjax.errors import UserError
from medjax.types import RawDataset


def check_ipc(settings: Settings, raw: RawDataset) -> None:
    """UserError where a class has fewer training images than are asked of it, unless they may repeat."""
    asked = settings.groups.get(IpcConfig)
    counts = np.bincount(raw.train.labels, minlength=len(raw.class_names))
    if asked and not asked.allow_repeat and asked.ipc > counts.min():
        name, more = raw.class_names[counts.argmin()], int((counts < asked.ipc).sum()) - 1
        others = f" (and too many for {more} more)" if more else ""
        raise UserError(
            f"--ipc={asked.ipc} is more than the {counts.min()} training images of class {name!r}{others}: lower it, or"
            " give --allow_repeat to fill such a class by repetition"
        )


def begin_anew(settings: Settings, folder: Path) -> None:
    """With --fresh: empty a folder, its result first: one emptied half way must not pass for a finished run."""
    if not (settings.groups[RunConfig].fresh and folder.exists()):
        return
    with store.locked(folder):
        for path in sorted(folder.iterdir(), key=lambda path: path.name != "result.json"):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink()


def check_folder(settings: Settings, raw: RawDataset, folder: Path) -> None:
    """Before a run goes on in its folder: with --fresh it is emptied, else it must be of the same configuration."""
    begin_anew(settings, folder)
    if not (folder / "config.json").exists():
        return
    kept = store.read_json(folder / "config.json")
    try:
        there = {name: entry["value"] for name, entry in kept["values"].items()}
        there["data"] = kept["data"]["fingerprint"]
    except (TypeError, KeyError, AttributeError):  # cut short, or by another hand: written again
        return
    here = settings.values() | {"data": raw.fingerprint}
    # A flag left empty asks for nothing: the run may be older than the flag.
    here, there = ({n: v for n, v in values.items() if v != ""} for values in (here, there))
    names = sorted((set(here) | set(there)) - set(PLACES))
    shown = [
        f"{n} {there.get(n)} there, {here.get(n)} here"
        for n in names
        if there.get(n) != here.get(n)
    ]
    if shown:
        raise UserError(
            f"{folder} is of another configuration ({'; '.join(shown)}): choose another --out, or --fresh to begin anew"
        )


def check_memory(size: int, raw: RawDataset) -> None:
    """UserError, with the numbers, if the images alone cannot fit once they are floats of the model's size."""
    count, channels = len(raw.train.labels) + len(raw.val.labels), raw.train.images.shape[-1]
    needed = (
        2 * 4 * count * size * size * channels
    )  # on the device, and once more while they are made
    if needed > memory.total():
        raise UserError(
            f"{count} images of {size} px and {channels} channels need {memory.words(needed)} as floats, and this"
            f" machine has {memory.words(memory.total())}: lower --size, or use fewer images"
        )
