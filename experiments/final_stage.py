"""The end of a run: the test split is read, once, and everything that is shared or looked at is written."""

import contextlib
import sys
from pathlib import Path

import numpy as np
from rich.console import Console

from experiments.distil_stage import selected
from experiments.eval_stage import choose_step_size, confused, final_scores
from experiments.others import guesses, score_others
from experiments.session import Session
from medjax import evaluate, provenance, share, store
from medjax.data.npz import read_arrays
from medjax.errors import UserError
from medjax.models import ConvNetConfig
from medjax.report.curves import column, curves
from medjax.report.gallery import gallery, strip
from medjax.report.run_tables import print_result
from medjax.result import Result
from medjax.types import Synthetic

#: A learned step size that fell by more than this, or a student that moves less than that share of its expert's
#: way, is a collapse: networks trained with it are hardly trained at all.
FALL, STILL = 30.0, 0.05
#: One that rose by more than this is worth a word. (The `cpu` preset's search starts low: 10 to 30 are normal there.)
RISE = 100.0
#: Iterations at the end over which the student's way is looked at.
TAIL = 100


def write_config(session: Session, folder: Path) -> None:
    """config.json: every value and where it came from, versions, device, data."""
    settings, raw = session.settings, session.raw
    origin = settings.origin
    values = {k: {"value": v, "origin": origin[k]} for k, v in settings.values().items()}
    sizes = {n: len(getattr(raw, n).labels) for n in ("train", "val", "test")}
    data = {"name": raw.name, "fingerprint": raw.fingerprint, "classes": raw.class_names, **sizes}
    config = {"command": sys.argv, "values": values, "data": data, **provenance.environment()}
    store.write_json(folder / "config.json", config)


def circumstances(session: Session) -> dict[str, str]:
    """What `experiments.evaluate` repeats: how wide and deep the ConvNet was that a set was distilled with, and how
    networks are trained on it."""
    groups = session.settings.groups
    networks, training = groups[ConvNetConfig], groups[evaluate.EvalConfig]
    names = ("width", "depth") if session.run.model == "convnet" else ()
    found = {name: str(getattr(networks, name)) for name in names}
    return found | {name: str(getattr(training, name)) for name in evaluate.TRAINING}


def finish(session: Session, folder: Path, method: str, start: Synthetic, extra: dict) -> None:
    """Choose, evaluate on the test split, write synthetic.npz, gallery.png, curves.png and result.json.

    start: the images the distillation began with. extra: {phase: seconds} spent elsewhere.
    """
    raw, select = session.raw, session.settings.groups[evaluate.SelectConfig].select
    iteration, synthetic = selected(folder, select)
    rate = float(synthetic.step_size)
    warnings, collapsed = health(store.read_log(folder / "log.jsonl"), iteration, rate)
    share.save(
        folder / "synthetic.npz",
        synthetic,
        session.pre,
        raw.class_names,
        dataset=raw.name,
        fingerprint=raw.fingerprint,
        method=method,
        model=session.run.model,
        collapsed=str(collapsed),
        **circumstances(session),
    )
    start_rate = choose_step_size(session, folder, "start-on-val", start)
    chosen_rate = (
        choose_step_size(session, folder, "chosen-on-val", synthetic) if collapsed else None
    )
    test = session.test()
    written = share.load(folder / "synthetic.npz")
    shared = share.as_shared(written)
    sets = {"test": synthetic, "test_uint8": shared, "start": start}
    result = {
        **describe(session, method, session.ipc),
        "select": select,
        "selected_iteration": iteration,
        "step_size": rate,
        "start_step_size": start_rate,
        "test": final_scores(session, folder, "test", synthetic, test, rate),
        "test_uint8": final_scores(session, folder, "test-uint8", shared, test, rate),
        "start": final_scores(session, folder, "start", start, test, start_rate),
    }
    if chosen_rate is not None:
        name = "test-chosen-step"
        result["chosen_step_size"] = chosen_rate
        result["test_chosen_step"] = final_scores(
            session, folder, name, synthetic, test, chosen_rate
        )
    result["confusion"] = confused(folder, "test")
    if session.others:
        names = ("step_size", "start_step_size", *sets)
        mine = {"step_size_from": "set"} | {name: result[name] for name in names}
        known, own = {session.run.model: mine}, session.run.model
        result["eval_models"] = score_others(session, folder, sets, test, own, known)
        warnings += guesses(session, result["eval_models"])
    result["warnings"] = [*warnings, *no_gain(result)]
    rows = store.read_log(folder / "log.jsonl")
    result["seconds"] = extra | {p: phase_seconds(rows, p) for p in ("distill", "evaluate")}
    draw(session, folder, written, rows, f"{method}, {raw.name}, ipc {session.ipc}")
    store.write_json(folder / "result.json", result)


def describe(session: Session, method: str, ipc: int | None) -> dict:
    """The part of result.json that says what was evaluated and how."""
    groups, labels = session.settings.groups, session.raw.test.labels
    config = groups.get(evaluate.EvalConfig) or evaluate.EvalConfig()
    return {
        "method": method,
        "model": session.run.model,
        "dataset": session.raw.name,
        "fingerprint": session.raw.fingerprint,
        "ipc": ipc,
        "seed": session.run.seed,
        "preset": session.run.preset,
        "majority_share": float(np.bincount(labels).max() / len(labels)),
        "chance": 1 / session.classes,
        "evaluation": {
            "networks": config.networks,
            "epochs": config.eval_epochs,
            "batch": config.eval_batch,
            "augment": config.eval_augment,
            "decay_parity": config.decay_parity,
        },
        "warnings": [],
    }


def health(rows: list[dict], iteration: int, step_size: float) -> tuple[list[str], bool]:
    """Warnings a user must see, and whether a learned step size has collapsed."""
    steps = {
        r["iteration"]: r for r in rows if r["phase"] == "distill" and r["iteration"] <= iteration
    }
    if not steps:
        return [
            "log.jsonl was lost on the way: whether the distillation was sound is not known"
        ], False
    warnings, collapsed = matching_health(steps, step_size) if _learned(steps) else ([], False)
    skipped = steps[max(steps)].get("skipped") or 0
    if skipped > len(steps) / 10:
        warnings.append(
            f"{skipped} of {len(steps)} iterations were skipped (not finite, or a loss far above the median): "
            "try a smaller --lr_img or --lr_lr"
        )
    return warnings, collapsed


def no_gain(result: dict) -> list[str]:
    """A warning where nothing was won, by balanced accuracy on the test split."""
    made, began = (result[name]["balanced_accuracy"]["mean"] for name in ("test", "start"))
    if made is not None and began is not None and made > began:
        return []
    made, began = ("undefined" if v is None else f"{100 * v:.1f} %" for v in (made, began))
    return [
        f"networks do no better on the distilled set ({made} balanced accuracy) than on the random images it began "
        f"with ({began})"
    ]


def _learned(steps: dict[int, dict]) -> bool:
    """Whether the method learns a step size, by matching students with experts."""
    return "displacement" in steps[min(steps)]


def matching_health(steps: dict[int, dict], step_size: float) -> tuple[list[str], bool]:
    """Whether students still move, and with a step size that is still one."""
    rows = [steps[i] for i in sorted(steps)]
    begin = float(column(rows, "step_size")[0])
    way = typical_way(rows)
    warnings = []
    fell = not (np.isfinite(step_size) and step_size > begin / FALL)
    if fell:
        warnings.append(
            f"the learned step size went from {begin:.2g} to {step_size:.2g}: networks trained with it are "
            "untrained; the row at a step size chosen on val says what the images are worth"
        )
    if step_size > begin * RISE:
        warnings.append(
            f"the learned step size went from {begin:.2g} to {step_size:.2g}: networks may diverge with it; "
            "try a smaller --lr_lr"
        )
    still = way <= STILL
    if still:
        warnings.append(
            f"the student moves only {100 * way:.1f} % of its expert's way: nothing is being matched; "
            "try --lr_init=0 (search), --expert_sampling=balanced or a smaller --lr_lr"
        )
    return warnings, fell or still


def typical_way(rows: list[dict]) -> float:
    """How far the student went of its expert's way in the last iterations: the median of those that were not skipped,
    for one that was may have gone anywhere. Infinite where there are none; that so many were skipped is said apart."""
    counts = [row.get("skipped") or 0 for row in rows]
    made = [r for r, now, old in zip(rows, counts, [0, *counts], strict=False) if now <= old]
    ways = column(made[-TAIL:], "displacement") if made else np.zeros(0)
    ways = ways[np.isfinite(ways)]
    return float(np.median(ways)) if len(ways) else np.inf


def draw(
    session: Session, folder: Path, made: share.SharedSet, rows: list[dict], title: str
) -> None:
    """gallery.png, strip.png and curves.png."""
    raw, k = session.raw, session.classes
    shown = min(5, *(int((raw.train.labels == c).sum()) for c in range(k)))
    real = np.stack([raw.train.images[raw.train.labels == c][:shown] for c in range(k)])
    labels = np.asarray(made.synthetic.labels)
    mine = np.stack([made.images_uint8[labels == c] for c in range(k)])
    gallery(folder / "gallery.png", real, mine, raw.class_names, title)
    snapshots = []
    for path in sorted((folder / "snapshots").glob("*.npz")):
        with contextlib.suppress(UserError, KeyError):  # one picture of many is no loss
            snapshots.append((int(path.stem), read_arrays(path)["images"]))
    if snapshots:  # a run that began before there were any may end now
        strip(folder / "strip.png", snapshots, raw.class_names)
    curves(folder / "curves.png", rows)


def is_finished(folder: Path, console: Console) -> bool:
    """Whether a folder holds a sound result. One that is damaged is said aloud, and written again by the caller."""
    path = folder / "result.json"
    if not path.exists():
        return False
    try:
        Result.read(path)
    except UserError as error:
        console.print(f"note: {error}; it is written again", soft_wrap=True)
        return False
    return True


def show(folder: Path, console: Console) -> None:
    """Print a finished run's table and where its files lie."""
    names = {
        "result": "result.json",
        "distilled set": "synthetic.npz",
        "pictures": "gallery.png",
        "over training": "strip.png",
        "curves": "curves.png",
        "log": "log.jsonl",
    }
    result = Result.read(folder)
    paths = {k: str(folder / v) for k, v in names.items() if (folder / v).exists()}
    print_result(result, paths, console)


def phase_seconds(rows: list[dict], phase: str) -> float:
    """Time spent in a phase, over all sessions of a run."""
    return round(sum(r.get("seconds") or 0.0 for r in rows if r["phase"] == phase), 1)
