"""The end of a distillation: the test split is read, once, and everything that is shared or looked at is written."""

import contextlib
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from medjax import share, store
from medjax.data import preprocess
from medjax.data.archive import read_arrays
from medjax.distill.images import ImagesConfig
from medjax.distill.release import Release, signal_to_noise
from medjax.errors import UserError
from medjax.eval_config import TRAINING, EvalConfig, SelectConfig
from medjax.experts import ExpertsConfig
from medjax.form import form
from medjax.pipeline.cross_architecture import network_of, score_networks
from medjax.pipeline.health import blind, coarse, faint, health, no_gain
from medjax.pipeline.interim import selected, selected_scores, selected_step_size
from medjax.pipeline.score import choose_step_size, confused, final_row, final_scores
from medjax.pipeline.session import Session
from medjax.pipeline.settings import RunConfig
from medjax.pipeline.starts import origin_of
from medjax.recipes import Recipe
from medjax.report.curves import curves
from medjax.report.gallery import MOST, contact_sheet, gallery, strip
from medjax.result import Result
from medjax.types import Synthetic


class Distilled(NamedTuple):
    """What a distillation ends with: the iteration that was chosen, its set as it was distilled, the same read back
    from synthetic.npz, warnings, and whether the step size has collapsed."""

    iteration: int
    stored: Synthetic
    written: share.SharedSet
    warnings: list[str]
    collapsed: bool


def choose(session: Session, recipe: Recipe) -> Distilled:
    """Choose the iteration by its interim evaluation, and write its set. Real images bring no step size: val chooses
    one. Images that were kept as pixels are rounded to 8 bits, so that what is scored is what is shared."""
    config = session.settings.config(SelectConfig)
    iteration, stored = selected(session.folder, config.select)
    step_size = float(stored.step_size)
    warnings, collapsed = health(store.read_log(session.log), iteration, step_size)
    if recipe.chooses:
        best = choose_step_size(session, "set-on-val", session.decoded(stored))
        stored = stored._replace(step_size=jnp.float32(best))
    elif len(config.shares) > 1:
        best = selected_step_size(session.folder, iteration, config.select)
        stored = stored._replace(step_size=jnp.float32(best))
    if session.train.packing.pixels:
        rounded = preprocess.to_uint8(session.pre, stored.images)
        stored = stored._replace(images=jnp.asarray(preprocess.apply(session.pre, rounded)))
    written = write_set(session, recipe.name, stored, collapsed)
    return Distilled(iteration, stored, written, warnings, collapsed)


def finish(
    session: Session,
    recipe: Recipe,
    start: Synthetic,
    spent: dict[str, float],
    release: Release | None = None,
) -> Result:
    """Choose the iteration, evaluate on the test split, write synthetic.npz, the pictures and result.json.

    start: the images that the set is compared with, decoded (`medjax.pipeline.run.compared_with`). spent:
    {phase: seconds} of what came before it. release: what the set was made of, under differential privacy.
    """
    folder, raw, method = session.folder, session.raw, recipe.name
    config = session.settings.config(SelectConfig)
    select = config.select
    iteration, stored, written, warnings, collapsed = choose(session, recipe)
    synthetic, rate = session.decoded(stored), float(stored.step_size)
    start_rate = float(start.step_size)  # real images bring none
    if np.isnan(start_rate):
        start_rate = choose_step_size(session, "start-on-val", start)
    chosen_rate = choose_step_size(session, "chosen-on-val", synthetic) if collapsed else None
    test = session.test()
    shared = synthetic if share.is_8bit(written) else share.as_shared(written)
    sets = {"test": synthetic, "test_uint8": shared, "start": start}
    if recipe.chooses:  # real images are not shared
        del sets["test_uint8"]
    own: dict[str, Any] = {"step_size": rate, "start_step_size": start_rate}
    if recipe.chooses:
        own["step_size_from"] = "val"
    elif len(config.shares) > 1:
        own["step_size_from"] = "test" if select == "test" else "val"
    for row in sets:
        at = start_rate if row == "start" else rate
        own[row] = final_row(session, sets, row, own, test, at)
    found = own | {"select": select, "selected_iteration": iteration}
    found |= {"chosen_images": True} if recipe.chooses else {}
    if select == "test":
        found["test_selected"] = selected_scores(folder, iteration, select)
    if chosen_rate is not None:
        found["chosen_step_size"] = chosen_rate
        scores = final_scores(session, "test-chosen-step", synthetic, test, chosen_rate)
        found["test_chosen_step"] = scores
    found["confusion"] = confused(folder, "test")
    if session.others:
        name = session.settings.run.model
        mine = {name: {"step_size_from": "set"} | own}
        made_with = network_of(session, name)
        table, guesses = score_networks(session, sets, test, made_with, mine)
        found["eval_models"], warnings = table, warnings + guesses
    gained = (own[row]["balanced_accuracy"]["mean"] for row in ("test", "start"))
    begun = ("the images that it began with",) if release else ()
    majority = float(np.bincount(raw.test.labels).max() / len(raw.test.labels))
    plain = blind(own["test"]["accuracy"]["mean"], majority)
    found["warnings"] = [*warnings, *no_gain(*gained, *begun), *plain]
    if release is not None:
        ratio = signal_to_noise(release)
        found["guarantee"] = release.guarantee | {"signal_to_noise": ratio}
        if session.settings.config(ImagesConfig).init_set:
            found["guarantee"]["only_if"] = "the set that the images began as is of public images"
        found["warnings"] += faint(ratio)
    else:  # under a guarantee val chooses nothing
        found["warnings"] += coarse(len(raw.val.labels), session.classes)
    rows = store.read_log(session.log)
    found["seconds"] = spent | {p: store.phase_seconds(rows, p) for p in ("distill", "evaluate")}
    made = written.pack, written.synthetic.soft is not None
    training = {"recipe": session.settings.config(EvalConfig).eval_recipe}
    kind = method + form(*made, training, found.get("guarantee"))
    about = f"{kind}, {raw.name}, ipc {session.settings.ipc}"
    draw(session, written, rows, about, "chosen images" if recipe.chooses else "synthetic images")
    found |= {"soft_labels": True} if written.synthetic.soft is not None else {}
    return write_result(session, method, found)


def write_set(
    session: Session, method: str, synthetic: Synthetic, collapsed: bool
) -> share.SharedSet:
    """synthetic.npz, read back as its users will."""
    path, raw, run = session.folder / "synthetic.npz", session.raw, session.settings.run
    training, begun = session.settings.config(EvalConfig), {}
    if start := session.settings.config(ImagesConfig).init_set:
        begun = {"begun": share.made_of(origin_of(start))}
    share.save_set(
        path,
        synthetic,
        session.pre,
        raw.class_names,
        network=network_of(session, run.model),
        pack=session.train.packing.factor,
        pixels=False,
        dataset=raw.name,
        fingerprint=raw.fingerprint,
        method=method,
        collapsed=str(collapsed),
        **begun,
        **{name: str(getattr(training, name)) for name in TRAINING},
    )
    return share.load_set(path)


def write_result(
    session: Session, method: str, found: dict[str, Any], shared: share.SharedSet | None = None
) -> Result:
    """result.json: what was evaluated and how, and what was ``found``. shared: a saved set whose size it is, if not the
    settings'."""
    run, labels = session.settings.run, session.raw.test.labels
    config = session.settings.config(EvalConfig)
    ipc, pack = session.settings.ipc, session.train.packing.factor
    stored, soft = ipc * session.classes, False
    if shared is not None:
        soft = shared.synthetic.soft is not None
        counts = np.bincount(shared.synthetic.labels)
        ipc, pack, stored = int(counts.max()), shared.pack, int(counts.sum())
    packed = {"pack": pack, "stored": stored, "decoded": pack**2 * stored} if pack > 1 else {}
    packed |= {"soft_labels": True} if soft else {}
    steps = {"steps": config.eval_steps} if config.eval_steps else {}
    usual = config.eval_recipe == EvalConfig.eval_recipe
    own = {} if usual else {"recipe": config.eval_recipe}
    given = session.settings.config(ExpertsConfig).expert_seed
    experts = {"expert_seed": given} if given >= 0 else {}
    precision = {} if run.precision == RunConfig.precision else {"precision": run.precision}
    about = {
        "method": method,
        "model": run.model,
        "dataset": session.raw.name,
        "fingerprint": session.raw.fingerprint,
        "ipc": ipc or None,
        **packed,
        "seed": run.seed,
        **experts,
        "preset": run.preset,
        "majority_share": float(np.bincount(labels).max() / len(labels)),
        "chance": 1 / session.classes,
        "evaluation": {
            "networks": config.networks,
            "epochs": config.eval_epochs,
            **steps,
            "batch": config.eval_batch,
            "augment": config.eval_augment,
            "decay_parity": config.decay_parity,
            **own,
            **precision,
        },
        "warnings": [],
    }
    return Result.from_json(store.strict(about | found)).write(session.folder / "result.json")


def draw(
    session: Session, made: share.SharedSet, rows: list[dict], title: str, heading: str
) -> None:
    """gallery.png, strip.png and curves.png. heading: what the images of the set are called."""
    raw, k, folder = session.raw, session.classes, session.folder
    shown = min(5, *(int((raw.train.labels == c).sum()) for c in range(k)))
    first = [np.flatnonzero(raw.train.labels == c)[:shown] for c in range(k)]
    real = raw.train.images[np.stack(first)]
    labels = np.asarray(made.synthetic.labels)
    mine = np.stack([made.images_uint8[labels == c] for c in range(k)])
    if shown:
        gallery(folder / "gallery.png", real, mine, raw.class_names, title, heading)
    else:
        contact_sheet(folder / "gallery.png", list(mine[:, :MOST]), raw.class_names, title)
    snapshots = []
    for path in sorted((folder / "snapshots").glob("*.npz")):
        with contextlib.suppress(UserError, KeyError):  # the strip does without a damaged one
            snapshots.append((int(path.stem), read_arrays(path)["images"]))
    if snapshots:
        strip(folder / "strip.png", snapshots, raw.class_names)
    curves(folder / "curves.png", rows)
