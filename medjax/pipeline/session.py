"""What every run starts from: data on the device, networks, folders, keys."""

import contextlib
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from medjax import locks, models, store
from medjax.data import preprocess, sources
from medjax.data.archive import read_arrays
from medjax.data.catalog import parts
from medjax.data.preprocess import PreprocessConfig
from medjax.data.raw import shrunk
from medjax.distill.images import ImagesConfig
from medjax.distill.random import packed_images, random_images
from medjax.distill.release import PrivacyConfig
from medjax.errors import UserError
from medjax.models import MODELS, Model
from medjax.models.base import in_bf16
from medjax.packing import PackConfig
from medjax.pipeline.health import coarse
from medjax.pipeline.progress import Progress
from medjax.pipeline.settings import EvalModelsConfig, IpcConfig, Settings
from medjax.pipeline.starts import begin_with
from medjax.recipes import Setup
from medjax.recipes.base import Select
from medjax.types import Dataset, RawDataset, Synthetic

#: Every use of randomness, by name; its place in the list makes its key. Append, never reorder.
KEYS = ("experts", "init", "distil", "search", "interim", "final", "subsets", "full")
KEYS += ("moments", "release")


class Session(NamedTuple):
    """The surroundings of one run.

    folder: the run's. home: what runs on the same data share. others: the networks of ``eval_models``, by name.
    seconds: time that it took to get here. `test` reads the test split when it is called, not before.
    """

    settings: Settings
    progress: Progress
    folder: Path
    home: Path
    raw: RawDataset
    pre: preprocess.Preprocessor
    model: Model
    others: dict[str, Model]
    train: Dataset
    val: Dataset
    seconds: float

    @property
    def classes(self) -> int:
        return len(self.raw.class_names)

    @property
    def log(self) -> Path:
        return self.folder / "log.jsonl"

    def note(self, text: str) -> None:
        """Say what a user should know."""
        self.progress.say(f"note: {text}")

    def resumed(self, what: str, done: int, total: int, logged: int) -> None:
        """Say where something goes on. logged: how far the log says that it had come before."""
        text = f"{what} goes on after {done} of {total}"
        if logged > done:  # killed before it could save, or the save is missing or damaged
            text += f"; the log reaches {logged}, and what lies between is done again"
        self.note(text)

    def test(self) -> Dataset:
        """The test split in model space."""
        return preprocess.to_device(self.pre, self.raw.test)

    def key(self, name: str) -> Array:
        """The key of one use of randomness."""
        shared = name in ("experts", "moments")
        seed = self.settings.expert_seed if shared else self.settings.run.seed
        return jax.random.fold_in(jax.random.key(seed), KEYS.index(name))

    def setup(self, **more) -> Setup:
        """What a recipe builds from."""
        shape, more = self.train.images.shape, more | {"packing": self.train.packing}
        (_, val, test), raw = self.raw.size.images, self.raw.size.raw
        more |= {"val": val, "test": test, "raw": raw}
        if path := self.settings.config(ImagesConfig).init_set:
            ipc, private = self.settings.ipc, PrivacyConfig in self.settings.groups
            mine = self.raw, self.pre, self.train, self.key("init")
            more["begun"] = begin_with(path, ipc, *mine, private)
        return self.settings.setup(self.model, self.classes, shape, **more)

    def stored(self, kept: Synthetic) -> Synthetic:
        """The stored set in model space, of one as a method keeps it."""
        return kept._replace(images=self.train.packing.stored(kept.images))

    def decoded(self, stored: Synthetic) -> Synthetic:
        """The set that networks see of one that is stored."""
        return preprocess.decoded(self.pre, stored, self.train.packing.factor)


def load_data(settings: Settings, progress: Progress) -> RawDataset:
    """The data set that the settings name. Raises UserError where it cannot be had."""
    run = settings.run
    if run.dataset == "integrated":
        names = parts(run.integrate)
        share, seed = run.integrate_share, run.integrate_seed
        return sources.load_integrated(names, share, seed, run.data_dir, progress.download)
    given = [n for n, o in settings.origin.items() if n.startswith("integrate") and o == "flag"]
    if given:
        raise UserError(f"--{given[0]} is for --dataset=integrated, not for {run.dataset}")
    return sources.load(run.dataset, run.data_dir, progress.download)


def check_data(settings: Settings, raw: RawDataset, progress: Progress, count: bool = True) -> None:
    """Say what a user should know of the data, and `check_counts`. count: False where the counts are private."""
    for note in raw.notes:
        progress.say(f"note: {note}")
    if count:
        lines = [f"WARNING: {line}" for line in coarse(len(raw.val.labels), len(raw.class_names))]
        for line in lines + lost(settings, *raw.train.images.shape[2:]):
            progress.say(f"note: {line}")
        check_counts(settings, raw)


def lost(settings: Settings, side: int, channels: int) -> list[str]:
    """A line on images of so many pixels a side that are made smaller, where nobody asked for it."""
    if settings.origin.get("size", "set") in ("flag", "set"):  # a saved set brings its own
        return []
    return shrunk(side, settings.config(PreprocessConfig).size or preprocess.side_of(channels))


def check_counts(settings: Settings, raw: RawDataset) -> None:
    """UserError where a class has fewer training images than are asked of it, unless they may repeat."""
    asked, pack = settings.config(IpcConfig), settings.config(PackConfig).pack
    counts = np.bincount(raw.train.labels, minlength=len(raw.class_names))
    needed = settings.decoded
    if needed and not counts.min():
        raise UserError(
            f"{raw.name} has no training image of class {raw.class_names[counts.argmin()]!r}: leave that class out"
        )
    if needed > counts.min() and not asked.allow_repeat:
        name, more = raw.class_names[counts.argmin()], int((counts < needed).sum()) - 1
        others = f" (and too many for {more} more)" if more else ""
        packed, lower = "", "it"
        if pack > 1:
            packed = f" with --pack={pack} takes {needed} images of each class, which"
            lower = "one of them (`best` sets --pack; `mtt --preset=best --pack=1` does not pack)"
        raise UserError(
            f"--ipc={asked.ipc}{packed} is more than the {counts.min()} training images of class"
            f" {name!r}{others}: lower {lower}, or give --allow_repeat to fill such a class by repetition"
        )


def open_session(settings: Settings, raw: RawDataset, folder: Path, progress: Progress) -> Session:
    """Preprocess (fitted once, kept in the data set's folder) and build the networks. folder: the run's."""
    begin = time.monotonic()
    config, home = settings.config(PreprocessConfig), folder.parent
    path = home / f"preprocess-{config.whiten}-{config.size}.npz"
    if config.whiten == "zca" and not path.exists():
        progress.say(f"fitting ZCA to {len(raw.train.labels):,} images of {config.size} px")
    pre = fitted(config, raw, path)
    train, val = preprocess.to_device(pre, raw.train), preprocess.to_device(pre, raw.val)
    pack, pixels = settings.config(PackConfig).pack, settings.config(ImagesConfig).pixels
    train = train._replace(packing=preprocess.packing_of(pre, pack, pixels))
    model, others = build_models(settings, len(raw.class_names), raw.train.images.shape[-1])
    spent = time.monotonic() - begin
    return Session(settings, progress, folder, home, raw, pre, model, others, train, val, spent)


def build_models(settings: Settings, classes: int, channels: int) -> tuple[Model, dict[str, Model]]:
    """The network that ``model`` names, and those of ``eval_models``."""
    size = settings.config(PreprocessConfig).size

    def build(name: str) -> Model:
        config = settings.config(MODELS[name].config)
        model = models.build(name, config, classes=classes, size=size, channels=channels)
        return in_bf16(model) if settings.run.precision == "bf16" else model

    others = {name: build(name) for name in settings.config(EvalModelsConfig).names}
    return build(settings.run.model), others


def fitted(config: PreprocessConfig, raw: RawDataset, path: Path) -> preprocess.Preprocessor:
    """The fitted preprocessing, from its file if an earlier run left one (ZCA takes some seconds to fit)."""
    names = ("mean", "forward", "inverse")
    with locks.locked(path.parent, wait=True):  # several runs on one set may begin at once
        if path.is_file():
            with contextlib.suppress(UserError, KeyError):  # a damaged file is fitted again
                kept = [read_arrays(path, names)[n] for n in names]
                return preprocess.Preprocessor(config.whiten, config.size, *kept)
        pre = preprocess.fit(config, raw.train.images)
        store.write_arrays(path, **{n: getattr(pre, n) for n in names})
        return pre


def random_start(session: Session) -> Synthetic:
    """The random real images of this seed: what a distillation starts from, and the baseline beside it."""
    return chosen(session, random_images, session.key("init"))


def chosen(session: Session, select: Select, key: Array) -> Synthetic:
    """Real images that ``select`` chooses, as many as a distilled set holds and packed as they are in it."""
    ipc, classes = session.settings.ipc, session.classes
    images, labels = packed_images(select, key, session.train, ipc, classes)
    return session.decoded(session.stored(Synthetic(images, labels, jnp.float32(np.nan))))
