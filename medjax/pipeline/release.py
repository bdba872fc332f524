"""The one noisy release of a run under differential privacy, and what must not happen beside it.

It is made once (`medjax.pipeline.ledger` says where it lies): a second draw of the noise would be a second release.
Runs that differ in what follows (images per class, iterations) read the same one. Sums without noise are never written.
The noise comes from the operating system, not from ``seed``, which is public: who knows the noise can subtract it.
"""

import importlib
import json
import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from medjax import store
from medjax.data.archive import read_arrays
from medjax.data.preprocess import FIXED, PreprocessConfig
from medjax.distill.release import SENSITIVITY, PrivacyConfig, Release, StatisticsConfig
from medjax.errors import UserError
from medjax.eval_config import SelectConfig
from medjax.guarantee import WITHHELD
from medjax.models import MODELS
from medjax.pipeline import ledger
from medjax.pipeline.folders import changed, hold
from medjax.pipeline.session import Session
from medjax.pipeline.settings import Settings, fields
from medjax.ranking import RankingConfig
from medjax.recipes import Recipe
from medjax.types import Dataset, RawDataset

ACCOUNTANT = "dp-accounting"
#: What computes descriptions, sums and noise.
PACKAGES = (ACCOUNTANT, "jax", "jaxlib", "numpy", "scipy")
#: Noise of floating-point numbers promises nothing of rarer events.
LEAST_DELTA = 1e-12
#: What the table of release.npz means: raised where networks, directions or columns of a release change.
FORM = 1


def check(settings: Settings, raw: RawDataset) -> None:
    """UserError for whatever would void the guarantee or read private images beside the release."""
    privacy = settings.config(PrivacyConfig)
    if raw.unguarded:
        raise UserError(f"dp can give no guarantee for {raw.name}: {raw.unguarded[0]}")
    own, groups = units(raw), raw.train.groups
    count, unit = len(np.unique(own)), "image" if groups is None else "patient"
    if privacy.noise and not privacy.epsilon > 0:
        raise UserError("--epsilon=0 takes noise without end: give a value above 0, such as 4")
    if privacy.noise and not 0 < privacy.delta < 1 / count:
        raise UserError(
            f"--delta={privacy.delta:g} must be above 0 and below 1 / {count}, one by the number of units: a mechanism"
            f" that gives one unit away whole would pass otherwise: give for example --delta=1e-{len(str(count))}"
        )
    if privacy.noise and privacy.delta < LEAST_DELTA:
        raise UserError(
            f"--delta={privacy.delta:g} is below {LEAST_DELTA:g}, more than floating-point noise can promise: give more"
        )
    for label, name in enumerate(raw.class_names):
        if len(np.unique(own[raw.train.labels == label])) == 1:
            raise UserError(
                f"class {name!r} of {raw.name} has one {unit} alone, and the list of classes, which is public, would"
                " show that it is there: leave the class out, or join it to another"
            )
    if groups is None and privacy.unit == "patient":
        raise UserError(
            f"--unit=patient: {raw.name} does not say which images are of one patient (train_groups, or groups.csv"
            " with prepare): give that, or --unit=auto to protect each image alone"
        )
    if groups is not None:
        scored = [s.groups for s in (raw.val, raw.test) if s.groups is not None]
        if both := len(np.intersect1d(groups, np.concatenate(scored))) if scored else 0:
            raise UserError(
                f"{both} patients of {raw.name} are in training and in val or test, whose scores have no noise: split"
                " the data by patient"
            )
    whiten, choice = settings.config(PreprocessConfig).whiten, settings.config(SelectConfig)
    if whiten not in FIXED:
        raise UserError(
            f"--whiten={whiten} is fitted on the private images: give --whiten={' or '.join(FIXED)}"
        )
    if choice.select != "last" or choice.eval_step_size != "set":
        raise UserError(
            "a choice by private images would be a second release: leave --select=last and --eval_step_size=set"
        )
    if settings.config(RankingConfig).ranking:
        raise UserError("--ranking scores random training images without noise: leave it out")


def units(raw: RawDataset) -> np.ndarray:
    """The unit of each training image: its patient, or itself."""
    groups = raw.train.groups
    return np.arange(len(raw.train.labels)) if groups is None else groups


def withheld(raw: RawDataset) -> RawDataset:
    """What may be known of private data: names, classes, shape of the images, val and test. No training image, no
    fingerprint, which is a function of every pixel, and no notes, which count."""
    train = raw.train._replace(
        images=raw.train.images[:0], labels=raw.train.labels[:0], groups=None
    )
    return raw._replace(train=train, fingerprint=WITHHELD, notes=())


def sealed(session: Session) -> Session:
    """The session without its training images: what follows the release cannot read them."""
    shape, packing = session.train.images.shape[1:], session.train.packing
    empty = Dataset(jnp.zeros((0, *shape)), jnp.zeros(0, jnp.int32), packing)
    return session._replace(raw=withheld(session.raw), train=empty)


def noise_multiplier(privacy: PrivacyConfig) -> float:
    """The standard deviation of the noise in units of the sensitivity: the analytic Gaussian mechanism (Balle & Wang
    2018, theorem 8). Raises UserError where the extra ``privacy`` is missing."""
    try:
        accounting = importlib.import_module("dp_accounting")
    except ImportError as error:
        raise UserError(
            "dp needs an accountant: pip install 'medjax[privacy]' (or --noise=false, without guarantee)"
        ) from error
    return float(accounting.get_sigma_gaussian(privacy.epsilon, privacy.delta))


def gaussian(
    shape: tuple[int, ...], draw: Callable[[int], bytes] | None = None
) -> Float[np.ndarray, "..."]:
    """Standard normal numbers in float64, by the inverse of the distribution function. draw: bytes at random; the
    operating system's by default."""
    count = int(np.prod(shape))
    bits = np.frombuffer((draw or os.urandom)(16 * count), np.uint64).reshape(2, *shape)
    high, low = bits >> np.uint64(12)
    # In (0, 1/2). One word alone would leave gaps in the tail, where a value says from which of two tables it comes.
    half = (high + (low + 0.5) * 2.0**-52) * 2.0**-53
    return np.where(bits[0] & np.uint64(1), 1, -1) * ndtri(half)


def noisy(
    sums: Float[np.ndarray, "..."], privacy: PrivacyConfig
) -> tuple[Float[np.ndarray, "..."], float]:
    """Sums of a mechanism of sensitivity `SENSITIVITY` with the noise that epsilon and delta ask for, and its standard
    deviation, which is 0 where the noise is switched off."""
    if not privacy.noise:
        return sums, 0.0
    sigma = SENSITIVITY * noise_multiplier(privacy)
    return sums + sigma * gaussian(sums.shape), sigma


def release_of(session: Session, recipe: Recipe) -> Release:
    """The release of this run's data and settings: read back, or made now. Raises UserError for a damaged one."""
    if not session.settings.config(PrivacyConfig).noise:
        return _made(session, recipe)  # of the same bits every time
    about = _about(session.settings)
    path = ledger.place(session.home.parent, session.raw, about)
    old = ledger.earlier(session.home, about)
    with hold(path.parent, session.progress, wait=True):
        if not path.exists() and old:
            store.write_bytes(path, old[0].read_bytes())
        if not path.exists():
            if ledger.begun(session.folder):
                raise ledger.gone(session.folder)
            made = _made(session, recipe)._asdict()
            made |= {"guarantee": np.array(json.dumps(made["guarantee"])), "form": np.array(FORM)}
            store.write_arrays(path, **made)
        read = _read(path)
        for other in ledger.earlier(session.home):
            ledger.enter(path, _read(other))
        drawn = ledger.enter(path, read)
    ledger.bind(session.folder, path, read, bool(old))
    if len(drawn) > 1:
        spent = [sum(row[name] for row in drawn) for name in ("epsilon", "delta")]
        session.note(
            f"{len(drawn) - 1} other releases of these training images were drawn: of sets that are published, the"
            f" epsilons of their releases add up, and so do the deltas (of all {len(drawn)}: {spent[0]:g} and"
            f" {spent[1]:g})"
        )
    return read


def _about(settings: Settings) -> dict[str, Any]:
    """All that a release depends on, beside the data: options that are not at their defaults, as in `identity`, so that
    one which a later version adds draws no second release. How a network is computed is none of it; nor is ``unit``,
    for the data say what the unit is."""
    run = settings.run
    groups = PrivacyConfig, StatisticsConfig, PreprocessConfig, MODELS[run.model].config
    names = {f.name for f in fields(*groups) if not f.metadata["speed"]} - {"unit"}
    values = {k: v for g in groups for k, v in changed(settings.config(g)).items() if k in names}
    return values | {"model": run.model, "precision": run.precision, "seed": run.seed}


def _made(session: Session, recipe: Recipe) -> Release:
    assert recipe.release is not None
    settings, raw, key = session.settings, session.raw, session.key("release")
    privacy, config = settings.config(PrivacyConfig), settings.config(StatisticsConfig)
    if raw.train.groups is None:
        session.note(
            "the data do not say which images are of one patient: the guarantee is for each image alone, and a patient"
            " with m images has m times the epsilon and a delta that grows faster than m"
        )
    if not privacy.noise:
        session.note("the noise is switched off: these images have no guarantee")
    _, place, counts = np.unique(units(raw), return_inverse=True, return_counts=True)
    update = session.progress.bar("release", config.statistic_networks)
    sums, centres = recipe.release(
        config,
        session.model,
        key,
        session.train,
        1 / counts[place],
        session.classes,
        lambda done: update(done, "networks"),
    )
    sums, sigma = noisy(sums, privacy)
    guarantee = _guarantee(privacy, sigma, sums.size, raw.train.groups is not None)
    # float32 cuts off the low bits of the float64 sums, which the noise hides less well than it should.
    parts = sums.astype(np.float32), sigma, centres, np.asarray(jax.random.key_data(key))
    return Release(*parts, guarantee)


def _read(path: Path) -> Release:
    try:
        kept = read_arrays(path, ("form", *Release._fields))
        if int(kept["form"]) != FORM:
            raise ValueError
        guarantee = json.loads(str(kept["guarantee"]))
        parts = kept["sums"], float(kept["sigma"]), kept["centres"], kept["key"]
        made = Release(*parts, guarantee)
        return made._replace(guarantee=guarantee | {"release": ledger.digest(made)})
    except (UserError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} is damaged, or of another version of medjax: get it back, or use that version; if you delete it, a"
            " second release is drawn, and its epsilon adds up"
        ) from error


def _guarantee(privacy: PrivacyConfig, sigma: float, values: int, patients: bool) -> dict[str, Any]:
    """What result.json says. Nothing in it depends on the data but for whether they name patients."""
    if not sigma:
        return {"epsilon": None, "delta": None, "mechanism": "none: the noise was switched off"}
    return {
        "epsilon": privacy.epsilon,
        "delta": privacy.delta,
        "unit": "patient" if patients else "image",
        "neighbouring": f"one {'patient' if patients else 'image'} added or removed",
        "sampling": "none: every training image is read once",
        "mechanism": "Gaussian noise on one table of class sums and counts",
        "noise_multiplier": sigma / SENSITIVITY,
        "sensitivity": SENSITIVITY,
        "values": values,
        "accountant": f"{ACCOUNTANT}: analytic Gaussian mechanism (Balle & Wang 2018)",
        "covers": "the training images of the file as it was given, not how the file was made (who came into which"
        " split, what was left out); scores on val and test, and step sizes that they choose, are not part of it",
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }
