"""The audit of a finished run, from beginning to end: forecast, shadows, attack, copies, RUN/privacy.json."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from medjax import cost, devices, store
from medjax.audit.attack import guess, roc, summary
from medjax.audit.canaries import LEAST, Canaries, draw
from medjax.audit.copies import find_copies
from medjax.audit.opening import Audited, check_data_of, data_of, open_run, open_session_of
from medjax.audit.shadows import (
    Release,
    ShadowScores,
    attack_shadows,
    of_method,
    real_images,
    side_by_side,
    started_from,
)
from medjax.audit.words import about, map_words, sentences
from medjax.config import checked, option
from medjax.distill.images import start_of
from medjax.distill.release import PrivacyConfig
from medjax.errors import UserError
from medjax.eval_config import EvalConfig, seen
from medjax.guarantee import delta_of_replacement
from medjax.pipeline import folders
from medjax.pipeline.forecast import duration, estimate, interim_passes, lower_bound
from medjax.pipeline.progress import Progress, Silent
from medjax.pipeline.session import Session
from medjax.pipeline.settings import IpcConfig, Settings
from medjax.pipeline.starts import origin_of, says_it_is_of
from medjax.report.gallery import pairs
from medjax.report.privacy import draw_roc
from medjax.report.runs import SHADOWS
from medjax.types import RawDataset


@dataclasses.dataclass(frozen=True)
class AuditConfig:
    """What is audited, and how thoroughly."""

    run: str = option("", "folder of a finished run that distilled a set")
    shadows: int = option(16, "times that the whole run is done again", low=LEAST)
    canaries: int = option(
        0, "images (patients) that are attacked; 0: a tenth of them, at most 200", low=0
    )
    beside: bool = option(
        False,
        "attack random real images too, and a start from noise, which costs as much again",
    )
    init_set: str = option(
        "", "with --beside: attack a start from this set too: a synthetic.npz, or a data set"
    )
    dataset: str = option("", "the run's data set, where it has moved")
    data_dir: str = option("", "folder where named sets are looked for, where it has moved")
    dry_run: bool = option(False, "say how long it takes, and do nothing")

    def __post_init__(self) -> None:
        """Raises UserError for too few canaries."""
        if 0 < self.canaries < LEAST:
            raise UserError(
                f"--canaries={self.canaries} is too small: the smallest value is {LEAST}"
            )
        if self.init_set and not self.beside:
            raise UserError(f"--init_set={self.init_set} is of no use without --beside")


@devices.own_settings()
def audit_run(
    config: AuditConfig, *, data: RawDataset | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Write RUN/privacy.json and two pictures beside it, and return its content; of a dry run nothing. data: the images
    of the run, if they are not to be loaded. An audit that is stopped goes on where it was. Raises UserError for
    whatever a user can put right."""
    config, progress = checked(config), progress or Silent()
    if not config.run:
        raise UserError("which run? give --run=FOLDER of a finished run")
    run = open_run(config.run)
    if data is None:
        raw = data_of(run, config.dataset, config.data_dir, progress)
    else:
        check_data_of(run, raw := data)
    settings, place = run.settings, run.folder / SHADOWS
    repeat = settings.config(IpcConfig).allow_repeat
    canaries = draw(raw, config.canaries, settings.run.seed, 1 if repeat else settings.decoded)
    releases = procedures(config, run)
    session = open_session_of(run, raw, progress)
    for own, _ in releases.values():  # what cannot work is said before the hours that come
        check_start(own, raw)
        session._replace(settings=own).setup()
    say_replaced(run, config, releases, progress)
    long = sum(release is not real_images for _, release in releases.values())
    at_once = plan(run, session, canaries, config.shadows, long, progress)
    if config.dry_run:
        return {}
    with folders.hold(place, progress):
        found: dict[str, Any] = {}
        beside: dict[str, Any] = {}
        for name, (own, release) in releases.items():
            there = place / f"canaries-{len(canaries.rows)}"
            parts = raw, canaries, config.shadows, there, progress, at_once
            scores = attack_shadows(name, own, release, *parts)
            # A shadow without one canary holds another in its place.
            delta = delta_of_replacement(run.result.guarantee or {})
            attacked = membership(scores, canaries, settings.run.seed, delta)
            if name == "own":
                networks = settings.config(EvalConfig).networks
                found = about(run, canaries, scores, networks) | {"membership": attacked}
                rates = roc(guess(scores.scores, scores.inside, canaries.mislabelled))
                if scores.by_map is not None:
                    by_map = scores._replace(scores=scores.by_map)
                    found["whitening"] = membership(by_map, canaries, settings.run.seed)["all"]
                draw_roc(run.folder / "roc.png", *rates, attacked["all"]["auc"])
                found["roc"] = {"false_positives": rates[0], "true_positives": rates[1]}
            balanced = float(scores.balanced.mean())
            beside[name] = {"balanced_accuracy": balanced, "membership": attacked["all"]}
        found["beside"] = beside
        found["copies"], closest = find_copies(session, run.shared, from_real(settings))
        pairs(run.folder / "closest.png", *closest, "Closest pairs: real images, keep them at home")
        found["card"], found["card_exact"] = sentences(found), map_words(found)
        store.write_json(run.folder / "privacy.json", found)
    return store.strict(found)


def procedures(config: AuditConfig, run: Audited) -> dict[str, tuple[Settings, Release]]:
    """What is attacked, by the names of `medjax.report.privacy.PROCEDURES`: the run's own procedure, and those beside
    it."""
    release = of_method(run.recipe)
    made: dict[str, tuple[Settings, Release]] = {"own": (run.settings, release)}
    if not config.beside:
        return made
    noise = started_from(run.settings, init_images="noise")
    if noise and noise.values() != run.settings.values():
        made["noise"] = noise, release
    if config.init_set:
        other = started_from(run.settings, init_set=config.init_set)
        if other is None:
            raise UserError(
                f"--init_set={config.init_set}: {run.recipe.name} cannot begin with another set; leave it out"
            )
        made["set"] = other, release
    return made | {"real": (run.settings, real_images)}


def check_start(settings: Settings, raw: RawDataset) -> None:
    """UserError for a start that was distilled from the same images: it has seen all canaries, and every shadow would
    begin with it."""
    path = str(settings.values().get("init_set") or "")
    if path and says_it_is_of(origin_of(path), raw):
        raise UserError(
            f"--init_set={path} was made from {raw.name}, or by dp, so that it does not say: every shadow would begin"
            " with a set that has seen all canaries, and the audit would miss what it gives away; audit a run that"
            " begins otherwise"
        )


def say_replaced(
    run: Audited, config: AuditConfig, releases: Mapping[str, Any], progress: Progress
) -> None:
    """A note where privacy.json of an earlier audit says more than this one will. Its shadows are kept, so that it can
    be had again in seconds."""
    before = store.read_json(run.folder / "privacy.json")
    try:
        shadows, beside = int(before["shadows"]["count"]), set(before["beside"])
    except (TypeError, KeyError, ValueError):
        return
    more = [f"--shadows={shadows}"] * (shadows > config.shadows)
    more += ["--beside"] * bool(beside - set(releases))
    if more:
        progress.say(
            f"note: privacy.json is of an audit with {' '.join(more)}, and this one replaces it: ask for that again to"
            " keep it"
        )


def from_real(settings: Settings) -> bool:
    """Whether the images of a run began as random real ones."""
    return start_of(settings.values(), PrivacyConfig in settings.groups) == "real"


def membership(
    scores: ShadowScores, canaries: Canaries, seed: int, delta: float = 0.0
) -> dict[str, Any]:
    """The attack on all canaries, and on each half of them (unless chance had all of that in, or out). delta: that of a
    set with a guarantee."""
    wrong = canaries.mislabelled
    guesses = guess(scores.scores, scores.inside, wrong)
    kinds = {"all": np.ones(len(wrong), bool), "mislabelled": wrong, "labelled_right": ~wrong}
    own = {name: guesses.of(mask) for name, mask in kinds.items()}
    return {name: summary(g, seed, delta) for name, g in own.items() if 0 < g.inside.mean() < 1}


def plan(
    run: Audited,
    session: Session,
    canaries: Canaries,
    shadows: int,
    procedures: int,
    progress: Progress,
) -> int:
    """Say what will be attacked, and the forecast. procedures: how many distil. Returns how many shadows are distilled
    side by side."""
    count, unit = len(canaries.rows), canaries.unit
    progress.say(
        f"audit of {run.folder}: {shadows} shadows, {count} canaries ({unit}s), {count // 2} of them in each"
    )
    if unit == "image":
        progress.say(
            "note: the data do not say which images are of one patient, so that the unit is the image: a patient with"
            " several images may give away more"
        )
    settings, setup = run.settings, session.setup()
    costs, rate = run.recipe.costs(setup), cost.matrix_rate() * cost.EFFICIENCY
    whole = estimate(settings, setup, {}, costs, rate)
    # A shadow ends with its last interim evaluation, and its set is evaluated once.
    how, iterations = settings.config(EvalConfig), costs.iterations or 0
    images = setup.held * setup.ipc * setup.classes
    each = seen(how.eval_steps, images, how.eval_batch)
    passes = cost.passes(how.networks, how.eval_epochs, each, count + setup.test)
    passes += interim_passes(settings, setup, iterations)
    one = whole.total - whole.seconds["evaluation"] + setup.model.flops * passes / rate
    times = shadows * procedures
    paced = times * sum(run.result.seconds.values()) * one / whole.total
    at_once = min(side_by_side(whole.memory), shadows)
    beside = f", of which {at_once} are distilled side by side" if at_once > 1 else ""
    progress.say(
        f"forecast of the whole audit: {lower_bound()}{duration(one * times)} of computing; {duration(paced)} at the"
        f" pace of the run itself, compiling and saving included; {whole.memory / 1e9:.1f} GB of memory for a shadow"
        + beside
    )
    return at_once
