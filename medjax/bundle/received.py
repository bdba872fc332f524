"""Scores as received: what networks reach that are trained as somebody else would train them, on the 8-bit images,
normalised by mean and standard deviation, without the whitening of the run."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from medjax import share, store
from medjax.bundle.apart import Compared, compare
from medjax.bundle.finished import FinishedRun
from medjax.bundle.images import Images
from medjax.data import preprocess
from medjax.data.raw import in_order
from medjax.errors import UserError
from medjax.eval_config import TRAINING, EvalConfig
from medjax.models import ConvNetConfig, network_config
from medjax.pipeline import folders
from medjax.pipeline.evaluate_saved import (
    as_distilled,
    evaluation_settings,
    open_shared,
)
from medjax.pipeline.progress import Progress
from medjax.pipeline.resolve import fit_size
from medjax.pipeline.score import choose_step_size, confused, final_scores
from medjax.pipeline.session import load_data
from medjax.pipeline.settings import RunConfig, Settings
from medjax.result import Result
from medjax.types import RawDataset

#: Options of a run that its evaluations keep.
KEPT = ("seed", "interim_networks", "data_dir")
#: And of one on the integrated set.
INTEGRATED = ("integrate", "integrate_share", "integrate_seed")


class Received(NamedTuple):
    """How networks train on the images of a bundle, and what they reached.

    network: width and depth of the ConvNet: the run's, or the usual one where the run had another network. config: how
    long and on what batches. result: None where the data set was not at hand. exact: whether the run's own set is in
    the bundle; else its exact.npz is the set as received. compared: how like the images are to training images, none of
    which is among them; None where that is not known.
    """

    network: dict[str, int]
    config: EvalConfig
    result: Result | None = None
    exact: bool = True
    compared: Compared | None = None


def received(
    run: FinishedRun,
    images: Images,
    dataset: str,
    progress: Progress,
    data: RawDataset | None,
    networks: int = 0,
) -> Received:
    """Train and score networks, as long as in the run, at a step size of `medjax.eval_config.GRID` that is chosen on
    val. What was measured before is read back from the run's folder.

    dataset: where the images of the run are, if not where it found them. data: the images themselves. networks: how
    many; 0: as many as in the run. Raises UserError for a ``dataset`` or ``data`` that cannot be had or is another, and
    for a set that holds one of its images.
    """
    shared = as_received(run.shared, images)
    settings = _settings(run, shared, dataset, networks or run.result.evaluation["networks"])
    convnet, config = settings.config(ConvNetConfig), settings.config(EvalConfig)
    plan = Received({"width": convnet.width, "depth": convnet.depth}, config)
    values = {k: v for k, v in settings.identity().items() if k != "synthetic"}
    values |= {"set": store.digest(shared.synthetic), "data": run.result.fingerprint}
    place = run.folder / f"received-{store.config_hash(values)}"
    if dataset and data is None:
        data = _data(run, settings, True, progress)
    if data is not None and not folders.made_from(run.folder, run.result.fingerprint, data):
        raise UserError(
            f"{dataset or data.name} holds other images than those of the run: give the --dataset that it was made of"
        )
    file, asked = place / "received.json", place / "compared.json"
    raw = _data(run, settings, False, progress) if data is None else data
    guarded = (run.result.guarantee or {}).get(
        "epsilon"
    ) is not None  # then it reads no training image
    if raw is not None and not guarded:
        store.write_json(asked, compare(run.folder, run.shared, raw)._asdict())
    plan = plan._replace(compared=_compared(asked))
    if plan.compared is None and not guarded:
        progress.say(
            "note: the set was not compared with the training images, which are not at hand"
        )
    if file.exists():
        try:
            return plan._replace(result=Result.read(file))
        except UserError as error:
            progress.say(f"note: {error}; it is measured again")
    if raw is None:
        progress.say("note: so there are no scores as received: give --dataset to have them")
        return plan
    raw = in_order(raw, shared.class_names)
    with folders.hold(place, progress):
        session = open_shared(settings, raw, shared, place, progress)
        rate = choose_step_size(session, "chosen-on-val", shared.synthetic)
        scores = final_scores(session, "test", shared.synthetic, session.test(), rate)
        found = {"step_size": rate, "test": scores, "confusion": confused(place, "test")}
        seconds = store.phase_seconds(store.read_log(session.log), "evaluate")
        result = _result(run, config, found | {"seconds": {"evaluate": seconds}})
        return plan._replace(result=result.write(file))


def _compared(file: Path) -> Compared | None:
    """What an earlier call, or this one, found."""
    found = store.read_json(file)
    try:
        return Compared(**{name: float(value) for name, value in found.items()})
    except (AttributeError, TypeError, ValueError):
        return None


def as_received(shared: share.SharedSet, images: Images) -> share.SharedSet:
    """The set as a receiver of the PNG files has it: images normalised by their own mean and standard deviation, each
    with its class."""
    mean, std = (np.asarray(a, np.float32) for a in (images.mean, images.std))
    size = images.pixels.shape[1]
    pre = preprocess.Preprocessor("normalise", size, mean, 1 / std, std)
    made = preprocess.apply(pre, images.pixels)
    labels = jnp.asarray(images.labels, jnp.int32)
    synthetic = shared.synthetic._replace(images=jnp.asarray(made), labels=labels, soft=None)
    return shared._replace(synthetic=synthetic, preprocessor=pre, pack=1)


def received_set(run: FinishedRun, images: Images, got: Received) -> bytes:
    """`exact.npz` of a bundle without the run's own set: the set as received, its images stored in 8 bits."""
    assert got.result is not None
    shared, result = as_received(run.shared, images), got.result
    synthetic = shared.synthetic._replace(step_size=jnp.float32(result.step_size))
    about = {"method": result.method, "dataset": result.dataset, "collapsed": "False"}
    about |= {"fingerprint": result.fingerprint}
    about |= {name: str(getattr(got.config, name)) for name in TRAINING}
    network = "convnet", network_config("convnet", got.network)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "exact.npz"
        share.save_set(
            path,
            synthetic,
            shared.preprocessor,
            shared.class_names,
            network=network,
            pack=1,
            pixels=True,
            **about,
        )
        return path.read_bytes()


def _settings(run: FinishedRun, shared: share.SharedSet, dataset: str, networks: int) -> Settings:
    """The run's evaluation with DSA and SGD alone: what others would do, and evaluate.py does."""
    where = dataset or str(run.values.get("dataset"))
    counted = "interim_steps" if run.values.get("interim_steps") else "interim_epochs"
    names = (*KEPT, counted, *(INTEGRATED if where == "integrated" else ()))
    kept = {name: run.values[name] for name in names if name in run.values}
    settings = evaluation_settings(run.set_file, dataset=where, networks=networks, **kept)
    settings = as_distilled(settings, shared)
    groups = dict(settings.groups)
    groups[RunConfig] = dataclasses.replace(settings.run, model="convnet")
    usual = {"eval_augment": True, "eval_recipe": EvalConfig.eval_recipe, "decay_parity": False}
    groups[EvalConfig] = dataclasses.replace(settings.config(EvalConfig), **usual)
    settings = fit_size(Settings(groups, settings.origin))
    return settings.counted(len(shared.synthetic.labels))


def _data(
    run: FinishedRun, settings: Settings, asked: bool, progress: Progress
) -> RawDataset | None:
    """The data set of the run; None, and a line that says why, where it is not at hand and was not asked for."""
    try:
        raw = load_data(settings, progress)
    except UserError as error:
        if asked:
            raise
        why = str(error)
    else:
        if asked or folders.made_from(run.folder, run.result.fingerprint, raw):
            return raw
        why = f"{settings.run.dataset} holds other images now"
    progress.say(f"note: the run's data set is not at hand ({why}): give --dataset")
    return None


def _result(run: FinishedRun, config: EvalConfig, found: dict[str, Any]) -> Result:
    """What was measured, as the result of a network on the set as received."""
    about = (
        "method",
        "dataset",
        "fingerprint",
        "ipc",
        "seed",
        "preset",
        "majority_share",
        "chance",
    )
    evaluation = {n: getattr(config, f"eval_{n}") for n in ("epochs", "steps", "batch", "augment")}
    evaluation |= {"networks": config.networks}
    value = {name: run.result.to_json()[name] for name in about}
    value |= {"model": "convnet", "step_size_from": "val", "evaluation": evaluation}
    return Result.from_json(store.strict(value | found))
