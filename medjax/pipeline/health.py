"""Whether a distillation was sound: warnings that a user must see, from the rows of its log."""

from collections.abc import Mapping

import numpy as np

#: A learned step size that fell by more than this factor has collapsed: networks trained with it stay untrained. So
#: has a student that moves less than this share of its expert's way.
FALL, STILL = 30.0, 0.05
#: A learned step size that rose by more than this factor is a warning. (The search of the `cpu` preset starts low, so
#: factors of 10 to 30 are normal there.)
RISE = 100.0
#: Iterations at the end over which the student's way is looked at.
TAIL = 100
#: Below this ratio of the signal of a noisy release to its noise (`medjax.distill.release.signal_to_noise`) little is
#: learned.
FAINT = 0.1
#: Balanced accuracy within this distance of chance counts as guessing.
NEAR_CHANCE = 0.005
#: Images of val for each class below which what val chooses is close to a draw.
FEW = 10


def health(rows: list[dict], iteration: int, step_size: float) -> tuple[list[str], bool]:
    """Warnings, and whether a learned step size has collapsed. rows: of log.jsonl; iteration: the one that is kept."""
    if iteration == 0:
        return ["the start scored best: the set is what distillation began with"], False
    steps = {
        r["iteration"]: r for r in rows if r["phase"] == "distill" and r["iteration"] <= iteration
    }
    if not steps:
        return ["log.jsonl was lost: whether the distillation was sound is not known"], False
    learned = "displacement" in steps[min(steps)]  # by matching students with experts
    warnings, collapsed = matching_health(steps, step_size) if learned else ([], False)
    skipped, judged = steps[max(steps)].get("skipped") or 0, "wrong" in steps[min(steps)]
    if skipped > len(steps) / 10:
        why, what = (
            "not finite, or a loss far above the median",
            "try a smaller --lr_img or --lr_lr",
        )
        if judged:  # margin selection, which moves no images
            why, what = "networks went astray", "in these nothing was replaced"
        warnings.append(f"{skipped} of {len(steps)} iterations were skipped ({why}): {what}")
    if (distinct := steps[max(steps)].get("distinct", 1)) < 1:
        warnings.append(
            f"only {100 * distinct:.0f} % of the images are there once, the others are repetitions: an --eval_every as"
            " large as --iterations keeps the last round"
        )
    return warnings, collapsed


def matching_health(steps: dict[int, dict], step_size: float) -> tuple[list[str], bool]:
    """Whether students still move, and with a step size that trains a network."""
    rows = [steps[i] for i in sorted(steps)]
    begin = _number(rows[0].get("step_size"))
    way = typical_way(rows)
    warnings = []
    # A method that says how far students go, but no step size of theirs, learns none.
    fell = "step_size" in rows[0] and not (np.isfinite(step_size) and step_size > begin / FALL)
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
    """How far the student went, as a share of its expert's way: the median of the last iterations that were not
    skipped (a skipped student may have gone anywhere). Infinite where all were skipped, which is a warning of its
    own."""
    counts = [row.get("skipped") or 0 for row in rows]
    made = [r for r, now, old in zip(rows, counts, [0, *counts], strict=False) if now <= old]
    ways = np.array([_number(row.get("displacement")) for row in made[-TAIL:]])
    ways = ways[np.isfinite(ways)]
    return float(np.median(ways)) if len(ways) else np.inf


def no_gain(made: float | None, began: float | None, start: str = "random images") -> list[str]:
    """A warning where networks score no better on the distilled set than on its start (balanced accuracy, test)."""
    if made is not None and began is not None and made > began:
        return []
    words = ["undefined" if v is None else f"{100 * v:.1f} %" for v in (made, began)]
    return [
        f"networks do no better on the distilled set ({words[0]} balanced accuracy) than on {start} ({words[1]})"
    ]


def blind(accuracy: float | None, majority: float) -> list[str]:
    """A warning where networks are right no more often than one that always names the largest class. Sets have as many
    images of every class, and networks trained on them guess so."""
    if accuracy is None or accuracy > majority:
        return []
    return [
        f"networks are right on {100 * accuracy:.1f} % of the test images, and who always names the largest class is on"
        f" {100 * majority:.1f} %: the set has as many images of every class; look at the balanced accuracy"
    ]


def coarse(images: int, classes: int) -> list[str]:
    """A warning where val has too few images to choose by. images: of val."""
    if images >= FEW * classes:
        return []
    return [
        f"val has {images} images for {classes} classes: its scores are coarse, and what they choose (iteration, step"
        f" size) is close to a draw: give val {FEW} images of each class or more (val/ in the folder of prepare,"
        " val_images in an .npz)"
    ]


def faint(signal_to_noise: float) -> list[str]:
    """A warning where a noisy release says next to nothing of the classes."""
    if signal_to_noise >= FAINT:
        return []
    return [
        f"the noise of the release is {1 / max(signal_to_noise, 1e-3):.0f} times as large as what tells the classes"
        " apart, or more: the set has learned little of the data; take a larger --epsilon, fewer"
        " --statistic_networks, or more patients"
    ]


def guessing(
    scores: Mapping[str, float | None], chance: float, separable: Mapping[str, bool]
) -> list[str]:
    """A warning for every network that guesses. scores: its balanced accuracy; separable: it has no batch norm."""
    lines = []
    for name, score in scores.items():
        if score is None or score < chance + NEAR_CHANCE:
            few = ": batch norm learns little from so few images, try --resnet_norm=instance"
            hint = "" if separable[name] else few
            lines.append(f"{name} trained on the set does no better than guessing{hint}")
    return lines


def _number(value: float | None) -> float:
    """null in the log is a number that was not finite."""
    return np.nan if value is None else float(value)
