"""What every launcher starts from: data on the device, network, folders, keys."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from rich.console import Console
from rich.progress import Progress

from experiments.checks import check_ipc, check_memory
from experiments.display import download_bar
from experiments.flags import (
    PLACES,
    IpcConfig,
    OthersConfig,
    RunConfig,
    Settings,
    follow_size,
)
from medjax import models, store
from medjax.data import preprocess, sources
from medjax.data.catalog import STUDY
from medjax.data.npz import read_arrays
from medjax.data.preprocess import PreprocessConfig
from medjax.distill.random import random_images
from medjax.errors import UserError
from medjax.models import MODELS, Model
from medjax.share import SharedSet
from medjax.types import Dataset, RawDataset, Synthetic

#: Every use of randomness, by name; its place in the list makes its key. Append, never reorder.
KEYS = ("experts", "init", "distil", "search", "interim", "final", "subsets", "full")


class Session(NamedTuple):
    """One command's surroundings. ``test`` reads the test split when called, not before. others: the networks of
    --eval_models, by name."""

    settings: Settings
    run: RunConfig
    console: Console
    progress: Progress
    raw: RawDataset
    pre: preprocess.Preprocessor
    model: Model
    others: dict[str, Model]
    train: Dataset
    val: Dataset
    home: Path
    seconds: float

    @property
    def classes(self) -> int:
        return len(self.raw.class_names)

    @property
    def ipc(self) -> int:
        return self.settings.groups[IpcConfig].ipc

    def note(self, text: str) -> None:
        """Say what a user should know, on one line however long it is."""
        self.console.print(f"note: {text}", soft_wrap=True)

    def resumed(self, what: str, done: int, total: int, logged: int) -> None:
        """Say where something goes on. logged: how far the log says that it had come before."""
        text = f"{what} goes on after {done} of {total}"
        if logged > done:  # killed before it could save, or the save is missing or damaged
            text += f"; the log reaches {logged}, and what lies between is done again"
        self.note(text)

    def test(self) -> Dataset:
        return preprocess.to_device(self.pre, self.raw.test)

    def key(self, name: str) -> Array:
        return jax.random.fold_in(jax.random.key(self.run.seed), KEYS.index(name))


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Work in ``folder`` alone, and without what a killed process left half written there."""
    with store.locked(folder):
        store.remove_unfinished(folder)
        yield


def load(settings: Settings, console: Console) -> RawDataset:
    """The data set a command names; says aloud what its user should know."""
    run = settings.groups[RunConfig]
    given = [
        n for n in settings.origin if n.startswith("integrate") and settings.origin[n] == "flag"
    ]
    with download_bar(console) as tell:
        if run.dataset == "integrated":
            names = tuple(filter(None, map(str.strip, run.integrate.split(",")))) or STUDY
            share, seed = run.integrate_share, run.integrate_seed
            raw = sources.load_integrated(names, share, seed, run.data_dir, tell)
        elif given:
            raise UserError(f"--{given[0]} is for --dataset=integrated, not for {run.dataset}")
        else:
            raw = sources.load(run.dataset, run.data_dir, tell)
    for note in raw.notes:
        console.print(f"note: {note}")
    check_ipc(settings, raw)
    return raw


def home_folder(settings: Settings, raw: RawDataset) -> Path:
    """Where everything made from this data set goes."""
    return Path(settings.groups[RunConfig].out) / f"{raw.name}-{raw.fingerprint[:8]}"


def run_folder(settings: Settings, raw: RawDataset, method: str) -> Path:
    """The folder of one command: equal values, equal folder."""
    run = settings.groups[RunConfig]
    # A flag left empty asks for nothing: runs from before there was such a flag are found again.
    values = {k: v for k, v in settings.values().items() if k not in PLACES and v != ""}
    size = settings.groups.get(IpcConfig)
    words = [method, *([f"ipc{size.ipc}"] if size else []), run.preset, f"seed{run.seed}"]
    name = "-".join([*words, store.config_hash(values)])
    return home_folder(settings, raw) / name


def open_session(
    settings: Settings, raw: RawDataset, console: Console, progress: Progress
) -> Session:
    """Preprocess (fitted once, kept in the data set's folder) and build the network."""
    begin = time.monotonic()
    run, config = settings.groups[RunConfig], settings.groups[PreprocessConfig]
    home = home_folder(settings, raw)
    check_memory(config.size, raw)
    pre = fitted(config, raw, home / f"preprocess-{config.whiten}-{config.size}.npz")
    model, others = build_models(settings, len(raw.class_names), raw.train.images.shape[-1])
    return Session(
        settings,
        run,
        console,
        progress,
        raw,
        pre,
        model,
        others,
        preprocess.to_device(pre, raw.train),
        preprocess.to_device(pre, raw.val),
        home,
        time.monotonic() - begin,
    )


def open_shared(
    settings: Settings,
    raw: RawDataset,
    shared: SharedSet,
    console: Console,
    progress: Progress,
) -> Session:
    """A session in the model space that a distilled set brings along. Raises UserError if data and set do not fit."""
    size, channels = shared.synthetic.images.shape[2:]
    k, have = len(raw.class_names), raw.train.images.shape[-1]
    if (k, have) != (len(shared.class_names), channels):
        raise UserError(
            f"the set has {len(shared.class_names)} classes and {channels} channels, {raw.name} has {k} and {have}: "
            "give the --dataset it was distilled from"
        )
    for line in differences(raw, shared):
        console.print(f"note: {line}", soft_wrap=True)
    groups = settings.groups | {PreprocessConfig: PreprocessConfig(size, shared.preprocessor.kind)}
    settings = follow_size(settings._replace(groups=groups))
    (model, others), pre = build_models(settings, k, channels), shared.preprocessor
    run, val = groups[RunConfig], preprocess.to_device(pre, raw.val)
    empty = Dataset(jnp.zeros((0, size, size, channels)), jnp.zeros(0, jnp.int32))
    parts = (settings, run, console, progress, raw, pre, model, others)
    return Session(*parts, empty, val, Path(run.out), 0.0)


def in_order(raw: RawDataset, names: tuple[str, ...]) -> RawDataset:
    """The data with its classes in the order of ``names``, where they are the same names in another order."""
    if raw.class_names == names or sorted(raw.class_names) != sorted(names):
        return raw
    place = np.array([names.index(name) for name in raw.class_names], np.int32)
    splits = {
        n: getattr(raw, n)._replace(labels=place[getattr(raw, n).labels])
        for n in ("train", "val", "test")
    }
    return raw._replace(class_names=names, **splits)


def differences(raw: RawDataset, shared: SharedSet) -> list[str]:
    """What a reader of the scores must know where a set is evaluated on other data than it was made of."""
    lines = []
    if shared.origin.get("fingerprint", raw.fingerprint) != raw.fingerprint:
        made_of = shared.origin.get("dataset", "other images")
        lines.append(f"the set was distilled from {made_of}, not from these images")
    if tuple(shared.class_names) != tuple(raw.class_names):
        lines.append(
            f"the set calls its classes {', '.join(shared.class_names)}; {raw.name} calls them "
            f"{', '.join(raw.class_names)}, and they are compared in this order"
        )
    return lines


def build_models(settings: Settings, classes: int, channels: int) -> tuple[Model, dict[str, Model]]:
    """The network that --model names, and those of --eval_models; what a launcher has no flags for is as its defaults
    say."""
    size = settings.groups[PreprocessConfig].size

    def build(name: str) -> Model:
        group = MODELS[name].config
        config = settings.groups.get(group) or group()
        return models.build(name, config, classes=classes, size=size, channels=channels)

    asked = settings.groups.get(OthersConfig) or OthersConfig()
    others = {name: build(name) for name in asked.names}
    return build(settings.groups[RunConfig].model), others


def fitted(
    config: preprocess.PreprocessConfig, raw: RawDataset, path: Path
) -> preprocess.Preprocessor:
    """The fitted preprocessing, from its file if an earlier command left one (ZCA takes some seconds to fit)."""
    names = ("mean", "forward", "inverse")
    with store.locked(path.parent, wait=True):  # several runs on one set may begin at once
        if path.is_file():
            with contextlib.suppress(UserError, KeyError):  # a damaged file is fitted again
                kept = [read_arrays(path, names)[n] for n in names]
                return preprocess.Preprocessor(config.whiten, config.size, *kept)
        pre = preprocess.fit(config, raw.train.images)
        store.write_arrays(path, **{n: getattr(pre, n) for n in names})
        return pre


def random_start(session: Session) -> Synthetic:
    """The random real images of this seed: what a distillation starts from, and the baseline beside it."""
    ipc, classes = session.ipc, session.classes
    images, labels = random_images(session.key("init"), session.train, ipc, classes)
    return Synthetic(images, labels, jnp.float32(np.nan))
