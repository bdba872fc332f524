"""The finished run that a bundle is made from: what its folder says, checked."""

import datetime
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medjax import share, store
from medjax.bundle.apart import check_moved
from medjax.bundle.licence import parts_of
from medjax.data.archive import read_arrays
from medjax.data.catalog import find
from medjax.data.labels import unnamed
from medjax.data.raw import SPLITS
from medjax.distill.images import start_of
from medjax.errors import UserError
from medjax.paths import user_path
from medjax.pipeline.settings import SETS
from medjax.pipeline.starts import origin_of
from medjax.recipes import real
from medjax.result import Result
from medjax.share import SharedSet
from medjax.table import one_line

#: Options that may hold paths, or names of files: they stay at home.
LOCAL = ("dataset", "data_dir", "integrate", "ranking", *SETS)


class FinishedRun(NamedTuple):
    """folder: the run's. result: result.json. shared: synthetic.npz. values: {option: value} of config.json. data: its
    facts of the data set. made_with: its versions, revision and device. date: the day that the run began. renamed: the
    class names of shared are not those of its file, see `with_class_names`."""

    folder: Path
    result: Result
    shared: SharedSet
    values: dict[str, Any]
    data: dict[str, Any]
    made_with: dict[str, Any]
    date: str
    renamed: bool = False

    @property
    def public(self) -> str:
        """The name under which the data are public; empty for those of the user, whatever their file is called: a file
        with the name of a MedMNIST set is that set where its splits are as large."""
        name, asked = self.result.dataset, str(self.values.get("dataset"))
        if name in ("phantom", "integrated"):
            return name if asked == name else ""
        if asked.startswith("tfds:med_mnist/"):
            return parts_of(asked, "")[0]
        (spelled,) = parts_of(name, "")
        named = find(spelled)
        same = named and all(
            self.data.get(split, count) == count
            for split, count in zip(SPLITS, named[0].images, strict=True)
        )
        return spelled if asked == name or same else ""

    @property
    def begun(self) -> str:
        """The data sets that the images of ``init_set`` come from, with commas; empty where there is none. Raises
        UserError where the set does not say it, and that file is gone: its licence holds here too."""
        path = str(self.values.get("init_set") or "")
        if not path or "begun" in self.shared.origin:
            return self.shared.origin.get("begun", "")
        try:
            return share.made_of(origin_of(path))
        except UserError as error:
            raise UserError(
                f"the images began as those of --init_set={path}, whose licence holds for this set too, and it cannot"
                f" be read ({error}): put it back"
            ) from error

    @property
    def began_as(self) -> str:
        """What the images began as (`medjax.distill.images.start_of`)."""
        return start_of(self.values, bool(self.result.guarantee))

    @property
    def set_file(self) -> Path:
        return self.folder / "synthetic.npz"

    def set_bytes(self) -> bytes:
        """The file of the set, with the class names of ``shared``."""
        if not self.renamed:
            return self.set_file.read_bytes()
        arrays = read_arrays(self.set_file)
        return store.npz_bytes(**arrays | {"class_names": np.array(self.shared.class_names)})

    @property
    def recorded(self) -> dict[str, Any]:
        """The values that others may see."""
        return {k: v for k, v in self.values.items() if k not in LOCAL}


def read_finished_run(path: str | os.PathLike) -> FinishedRun:
    """The run in a folder. Raises UserError where it is not finished or damaged, and where its set is of real
    images."""
    folder = user_path(path)
    if not (folder / "result.json").is_file():
        what = "has no result.json" if folder.is_dir() else "is no folder"
        raise UserError(
            f"{folder} {what}: give the folder of a run that distilled a set, and finish that run first"
        )
    result = Result.read(folder)
    if real(result.kind) or result.chosen_images:
        raise UserError(
            f"{folder} is a run of {result.method}: its images are real ones; give a run that distilled a set"
        )
    if not (folder / "synthetic.npz").is_file():
        raise UserError(f"{folder} has no synthetic.npz: give the folder as the run left it")
    shared = share.load_set(folder / "synthetic.npz")
    if shared.origin.get("fingerprint", result.fingerprint) != result.fingerprint:
        raise UserError(
            f"{folder}: synthetic.npz is of other data than result.json: give the folder as the run left it"
        )
    config = store.read_json(folder / "config.json")
    try:
        values = {name: entry["value"] for name, entry in config["values"].items()}
        data = dict(config["data"])
        made_with = {name: config[name] for name in ("versions", "git")}
    except (TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{folder / 'config.json'} is gone or damaged: give the folder as the run left it, or run it again"
        ) from error
    day = _day(folder / "log.jsonl")
    run = FinishedRun(folder, result, shared, values, data, made_with, day)
    if result.selected_iteration == 0 and run.began_as == "real":
        raise UserError(
            f"{folder} kept its start, iteration 0: its images are real ones; distil longer, or with --select=last"
        )
    if run.began_as != "noise":
        check_moved(folder, shared)
    return run


def with_class_names(run: FinishedRun, words: str) -> FinishedRun:
    """The run with names for its classes, which had none. words: the names in the order of the labels, with commas.
    Raises UserError for another number of names, for one given twice, and for classes that have names."""
    old, names = run.shared.class_names, tuple(one_line(name) for name in words.split(","))
    if not unnamed(old):
        raise UserError(f"--class_names: the classes have names, {', '.join(old)}: leave it out")
    if len(names) != len(old) or len(set(names)) != len(names) or not all(names):
        raise UserError(
            f"--class_names={words}: give {len(old)} different names with commas, in the order of the labels"
        )
    return run._replace(shared=run.shared._replace(class_names=names), renamed=True)


def _day(log: Path) -> str:
    """The day of the first row of a log; empty where it says none."""
    times = [row.get("time") for row in store.read_log(log)]
    times = [time for time in times if isinstance(time, int | float) and 0 < time < 1e11]
    return (
        datetime.datetime.fromtimestamp(times[0], datetime.UTC).date().isoformat() if times else ""
    )
