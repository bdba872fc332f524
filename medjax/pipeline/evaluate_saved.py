"""Scores of a saved distilled set: fresh networks trained on it and scored on a data set's test split."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from medjax import devices, share, store
from medjax.config import option
from medjax.data import preprocess
from medjax.data.labels import unnamed
from medjax.data.preprocess import PreprocessConfig
from medjax.data.raw import check_in_memory, in_order
from medjax.errors import UserError
from medjax.eval_config import TRAINING, EvalConfig, InterimConfig
from medjax.guarantee import WITHHELD, same_data
from medjax.models import MODELS
from medjax.paths import path_text, results_path, user_path
from medjax.pipeline import folders, presets
from medjax.pipeline.cross_architecture import score_networks, step_size_for
from medjax.pipeline.finish import write_result
from medjax.pipeline.progress import Progress, Silent
from medjax.pipeline.resolve import check_networks, fit_size, resolve
from medjax.pipeline.run import read_finished
from medjax.pipeline.score import final_row
from medjax.pipeline.session import Session, build_models, check_data, load_data
from medjax.pipeline.settings import (
    EvalModelsConfig,
    RunConfig,
    Settings,
    networks,
)
from medjax.recipes import real
from medjax.result import Result
from medjax.share import SharedSet
from medjax.types import Dataset, RawDataset


@dataclasses.dataclass(frozen=True)
class SetConfig:
    """The set."""

    synthetic: str = option("", "path of a synthetic.npz")
    step_size: float = option(
        0.0,
        "SGD step size of the networks; 0: the set's own, or (another network) chosen on val",
        low=0,
    )


def evaluation_groups() -> tuple[type, ...]:
    """The groups of options of an evaluation."""
    return (SetConfig, RunConfig, *networks(), EvalConfig, InterimConfig, EvalModelsConfig)


def evaluation_settings(synthetic: str | os.PathLike, **values: Any) -> Settings:
    """The options of an evaluation from Python. synthetic: path of a synthetic.npz; values: any option by the name of
    its flag, e.g. ``dataset="bloodmnist"``."""
    given = {"synthetic": path_text(synthetic)} | values
    return resolve(evaluation_groups(), presets.read_file("evaluate"), given)


@devices.own_settings()
def evaluate_saved(
    settings: Settings,
    folder: str | os.PathLike,
    data: RawDataset | None = None,
    progress: Progress | None = None,
    fresh: bool = False,
) -> Result:
    """Score the float images and the 8-bit ones of a saved set; result.json in FOLDER/evaluate-<hash>/. Arguments as in
    `medjax.run`. Raises UserError where data and set do not fit."""
    progress, asked = progress or Silent(), settings.config(SetConfig)
    out = results_path(folder)
    if not asked.synthetic:
        raise UserError("which set? give --synthetic=PATH, the synthetic.npz of a run")
    shared = share.load_set(user_path(asked.synthetic))
    made_of = shared.origin.get("dataset", "other images")
    unsaid = settings.origin["dataset"] == "default" and made_of != settings.run.dataset
    if data is None and unsaid:
        raise UserError(f"on what data? give --dataset=..., the set was distilled from {made_of}")
    if data is not None:
        check_in_memory(data)
    raw = load_data(settings, progress) if data is None else data
    raw = in_order(raw, shared.class_names)
    check_data(settings, raw, progress)
    seen = shared.pack**2 * len(shared.synthetic.labels)
    settings = as_distilled(settings, shared).counted(seen)
    # A set that was moved is the same set.
    values = {k: v for k, v in settings.identity().items() if k != "synthetic"}
    values |= {"set": store.digest(shared.synthetic), "data": raw.fingerprint}
    values |= {"pack": shared.pack} if shared.pack > 1 else {}
    place = out / f"evaluate-{store.config_hash(values)}"
    if shared.origin.get("fingerprint") == WITHHELD:  # result.json must not say it either
        raw = raw._replace(fingerprint=WITHHELD)
    if fresh:
        folders.clear(place)
    if (finished := read_finished(place, progress)) is not None:
        return finished
    with folders.hold(place, progress):
        return _evaluate(open_shared(settings, raw, shared, place, progress), shared)


def as_distilled(settings: Settings, shared: SharedSet) -> Settings:
    """The network that the set was distilled with, and networks trained as in its run; where no flag says otherwise.
    A preset that was asked for says all of how they are trained. Raises UserError for an option of another network."""
    groups, origin = dict(settings.groups), dict(settings.origin)
    asked = origin["preset"] == "flag"
    given = {"flag", f"preset {settings.run.preset}"} if asked else {"flag"}
    # The model space of the set.
    groups[PreprocessConfig] = PreprocessConfig(
        shared.synthetic.images.shape[1], shared.preprocessor.kind
    )
    origin |= {"size": "set", "whiten": "set"}
    name, config = shared.network or ("", None)
    if origin["model"] not in given and name in MODELS:
        groups[RunConfig] = dataclasses.replace(settings.run, model=name)
        origin["model"] = "set"
    read = {bool: "True".__eq__, int: int, str: str}
    types = {f.name: read[type(f.default)] for f in dataclasses.fields(EvalConfig)}
    said = () if asked else TRAINING
    training = {n: types[n](shared.origin[n]) for n in said if n in shared.origin}
    kept: dict[type, dict[str, Any]] = {EvalConfig: training}
    if config is not None and groups[RunConfig].model == name:
        kept[type(config)] = dataclasses.asdict(config)
    for group, values in kept.items():
        values = {n: v for n, v in values.items() if origin[n] not in given}
        groups[group] = dataclasses.replace(groups[group], **values)
        origin |= dict.fromkeys(values, "set")
    check_networks(found := Settings(groups, origin))
    return fit_size(found)


def open_shared(
    settings: Settings, raw: RawDataset, shared: SharedSet, folder: Path, progress: Progress
) -> Session:
    """A session in the model space that a distilled set brings along."""
    size, channels = shared.synthetic.images.shape[2:]
    k, have = len(raw.class_names), raw.train.images.shape[-1]
    if (k, have) != (len(shared.class_names), channels):
        raise UserError(
            f"the set has {len(shared.class_names)} classes and {channels} channels, {raw.name} has {k} and {have}: "
            "give the --dataset it was distilled from"
        )
    for line in differences(raw, shared):
        progress.say(f"note: {line}")
    (model, others), pre = build_models(settings, k, channels), shared.preprocessor
    empty = Dataset(jnp.zeros((0, size, size, channels)), jnp.zeros(0, jnp.int32))
    val = preprocess.to_device(pre, raw.val)
    return Session(
        settings, progress, folder, folder.parent, raw, pre, model, others, empty, val, 0.0
    )


def differences(raw: RawDataset, shared: SharedSet) -> list[str]:
    """What a reader of the scores must know where a set is evaluated on other data than it was made of."""
    lines = []
    if not same_data(shared.origin.get("fingerprint", raw.fingerprint), raw.fingerprint):
        made_of = shared.origin.get("dataset", "other images")
        lines.append(f"the set was distilled from {made_of}, not from these images")
    both = tuple(shared.class_names), tuple(raw.class_names)
    if both[0] != both[1] and unnamed(both[0]) == unnamed(both[1]):
        lines.append(
            f"the set calls its classes {', '.join(shared.class_names)}; {raw.name} calls them "
            f"{', '.join(raw.class_names)}, and they are compared in this order"
        )
    return lines


def _evaluate(session: Session, shared: SharedSet) -> Result:
    """Train, score, write result.json."""
    settings, own = session.settings, session.settings.run.model
    made = share.decoded(shared)
    sets = {"test": made, "test_uint8": made if share.is_8bit(shared) else share.as_shared(shared)}
    collapsed, warnings = shared.origin.get("collapsed") == "True", differences(session.raw, shared)
    rate, origin = settings.config(SetConfig).step_size, "flag"
    if not rate:
        rate, origin = step_size_for(session, own, made, shared.network, collapsed)
    if collapsed and origin == "val":
        warnings.append(
            f"the set's own step size, {float(shared.synthetic.step_size):.2g}, had collapsed in its run: networks are "
            "trained at one chosen on val"
        )
    test = session.test()
    found: dict[str, Any] = {"step_size": rate, "step_size_from": origin}
    for row in sets:
        found[row] = final_row(session, sets, row, found, test, rate)
    if session.others:
        mine = {own: dict(found)}
        table, guesses = score_networks(session, sets, test, shared.network, mine, collapsed)
        found["eval_models"], warnings = table, warnings + guesses
    if settings.origin["preset"] != "flag" and "eval_epochs" in shared.origin:
        found["preset"] = "of the set"
    seconds = {"evaluate": store.phase_seconds(store.read_log(session.log), "evaluate")}
    method = shared.origin.get("method", "unknown")
    found |= {"chosen_images": True} if real(method) else {}
    return write_result(session, method, found | {"warnings": warnings, "seconds": seconds}, shared)
