"""privacy.json: numbers, intervals and counts, and the sentences that a card copies ("card")."""

from typing import Any

import numpy as np

import medjax
from medjax import provenance, store
from medjax.audit.attack import CONFIDENCE
from medjax.audit.canaries import Canaries
from medjax.audit.opening import Audited
from medjax.audit.shadows import ShadowScores
from medjax.guarantee import contradicted
from medjax.report.privacy import with_percent
from medjax.result import Result

LIMITS = (
    "What is audited is the procedure that made the set, run again on data without some of the canaries. Another attack"
    " may find more. A low number shows that this attack fails, not that nothing can be found.",
    "Canaries are drawn at random: a few images that leak much, such as those that a distillation began with, hardly"
    " move an AUC.",
    "The interval of the AUC draws shadows and canaries anew. All others take the guesses for independent, which those"
    " of one canary or of one shadow are only in part. Those of true positives allow for the threshold, which the same"
    " guesses gave.",
    "Attacked were networks that were trained on the 8-bit images as those of the run are, with its preprocessing.",
)

#: How sentences begin that hold of a set as it was distilled, and not of its 8-bit images alone.
BEYOND = (
    "Of what the set as it was distilled (synthetic.npz, exact.npz) says beyond its 8-bit images"
)


def within(interval: tuple[float, float], percents: bool = True) -> str:
    """'95 % interval 1.0 % to 2.0 %'."""
    low, high = (with_percent(v) if percents else f"{v:.3f}" for v in interval)
    return f"{100 * CONFIDENCE:.0f} % interval {low} to {high}"


def about(run: Audited, canaries: Canaries, made: ShadowScores, networks: int) -> dict[str, Any]:
    """What was audited, and how. Nothing of it names a file or an image."""
    result, seeds = run.result, made.seeds
    wrong = int(canaries.mislabelled.sum())
    stated = {"stated": dict(result.guarantee)} if result.guarantee else {}
    return stated | {
        "attack": "LiRA over shadow runs (Carlini et al. 2022), on the 8-bit images",
        "run": {
            n: getattr(result, n)
            for n in ("method", "dataset", "fingerprint", "ipc", "seed", "preset")
        },
        "set": store.digest(run.shared.synthetic),
        "unit": canaries.unit,
        "canaries": {"count": len(canaries.rows), "mislabelled": wrong, "seed": result.seed},
        "shadows": {
            "count": len(seeds),
            "canaries_in_each": len(canaries.rows) // 2,
            "seeds": seeds,
            "balanced_accuracy": made.balanced.tolist(),
        },
        "balanced_accuracy": balanced_of(result),
        "chance": result.chance,
        "networks": networks,
        "confidence": CONFIDENCE,
        "versions": {"medjax": medjax.__version__} | provenance.environment()["versions"],
    }


def balanced_of(result: Result) -> float | None:
    """The mean balanced accuracy on test of the run's networks on the 8-bit images."""
    shared = (result.test_uint8 or result.test).balanced_accuracy
    return shared and shared.mean


def shadows_words(found: dict[str, Any]) -> str:
    """How good the sets of the shadows are, beside that of the run; and how many of them failed."""
    each, own = np.array(found["shadows"]["balanced_accuracy"]), found["balanced_accuracy"]
    words = (
        f"Networks trained on the sets of the shadows reach {with_percent(each.mean())} balanced accuracy on test"
        f" ({with_percent(each.min())} to {with_percent(each.max())})"
    )
    if own is None:
        return f"{words}."
    failed = int((each < (own + found["chance"]) / 2).sum())
    lost = (
        f" {failed} of the shadows failed: they say nothing of who was in, and the attack finds less than it could."
        if failed
        else ""
    )
    return f"{words}, those trained on the run's {with_percent(own)}.{lost}"


def sentences(found: dict[str, Any]) -> list[str]:
    """What the card says: attacks, intervals, limits."""
    unit, canaries, shadows = found["unit"], found["canaries"], found["shadows"]
    attacked = found["membership"]["all"]
    grouped = (
        "each a patient, whose images come and go together"
        if unit == "patient"
        else ("each an image, because the data do not say which images are of one patient")
    )
    lines = [
        f"Membership: LiRA over {shadows['count']} shadow runs, of which each holds a random half of"
        f" {canaries['count']} canaries ({grouped}; {canaries['mislabelled']} of them mislabelled,"
        " which networks can only know by heart)."
        f" AUC {attacked['auc']:.3f} ({within(attacked['auc_interval'], False)}); guessing has 0.5."
    ]
    lines.append(shadows_words(found))
    for name, words in (
        ("mislabelled", "mislabelled canaries"),
        ("labelled_right", "canaries with their own label"),
    ):
        if name in found["membership"]:
            one = found["membership"][name]
            rates = " ".join(rate_words(one, row) for row in one["true_positives"][:1])
            lines.append(
                f"Of {words} alone: AUC {one['auc']:.3f} ({within(one['auc_interval'], False)}). {rates}"
            )
    lines += [rate_words(attacked, row) for row in attacked["true_positives"]]
    lines.append(
        f"Lower bound of epsilon at delta {attacked['delta']:.2g} (threshold from one half of the canaries, bound"
        f" from the other): {attacked['epsilon_at_least']:.2f} at {100 * CONFIDENCE:.0f} % confidence. An attack that"
        f" is never wrong would have shown {attacked['epsilon_of_perfect_guesses']:.2f} with as many guesses, and none"
        " can show more."
    )
    if stated := found.get("stated"):
        lines.append(against(stated, attacked["epsilon_at_least"]))
    return [*lines, *copies_words(found["copies"]), *LIMITS]


def map_words(found: dict[str, Any]) -> list[str]:
    """What holds of the set as it was distilled, beside the rest."""
    if "whitening" not in found:
        return [f"{BEYOND}, nothing was attacked."]
    attacked = found["whitening"]
    rates = " ".join(rate_words(attacked, row) for row in attacked["true_positives"][:1])
    return [
        "The whitening map of the set as it was distilled, attacked over the same shadows by how well each canary fits"
        f" the covariance in it: AUC {attacked['auc']:.3f} ({within(attacked['auc_interval'], False)}). {rates}",
        f"{BEYOND}, the whitening map alone was attacked.",
    ]


def against(stated: dict[str, Any], shown: float) -> str:
    """The lower bound beside a stated guarantee."""
    if stated["epsilon"] is None:
        return "The run was made without noise: it states no epsilon."
    words = "below it, as it must be"
    if contradicted(stated, shown):
        words = f"ABOVE TWICE IT: at {100 * CONFIDENCE:.0f} % confidence the guarantee is broken"
    elif shown > stated["epsilon"]:
        words = (
            "above it and below twice it, which the replacement of one canary by another may show"
        )
    return (
        f"Stated: epsilon {stated['epsilon']:g} at delta {stated['delta']:g}; the lower bound is {words}. These numbers"
        " come from private images without noise: they are no part of the guarantee and stay at home."
    )


def rate_words(attacked: dict[str, Any], row: dict[str, Any]) -> str:
    """True positives at one rate of false positives, or why there are none."""
    at = f"{100 * row['false_positive_rate']:g} % false positives"
    if "interval" not in row:
        return (
            f"At {at} nothing is said: that takes {row['non_members_needed']:,} guesses of canaries that were out, and"
            f" there are {attacked['non_members']}."
        )
    found = with_percent(row["true_positive_rate"])
    return f"At {at} the attack finds {found} of the members ({within(row['interval'])})."


def copies_words(copies: dict[str, Any]) -> list[str]:
    """What is said of nearest neighbours."""
    lines = []
    for name, words in (
        ("pixels", "in pixels"),
        ("features", "in the features of an untrained network"),
    ):
        if name in copies:
            one = copies[name]
            lines.append(
                f"Copies, {words}: {one['nearer_to_training']} of {one['of']} synthetic images are nearer to training"
                f" than to as many held-out images, {with_percent(one['share'])} ({within(one['interval'])}); by"
                " chance it is half."
            )
    if "features_left_out" in copies:
        lines.append(
            "Copies were not sought in the features of a network: in that of the run the features of an image depend on"
            " the images beside it (batch norm)."
        )
    if start := copies.get("start_is_nearest"):
        lines.append(
            f"For {start['count']} of {start['of']} images the nearest training image is the one that they began with"
            f" ({with_percent(start['share'])}, {within(start['interval'])})."
        )
    return [
        *lines,
        "Distances find crude copies alone; they are no evidence that nothing was copied.",
    ]
