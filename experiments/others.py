"""Of what use a set is to networks that it was not made with (--eval_models)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.eval_stage import choose_step_size, final_scores
from experiments.session import Session
from medjax.types import Dataset, Synthetic

#: Balanced accuracy above chance that is none.
NEAR = 0.005


def score_others(
    session: Session,
    folder: Path,
    sets: Mapping[str, Synthetic],
    test: Dataset,
    made_with: str,
    known: Mapping[str, dict],
) -> dict[str, dict]:
    """``eval_models`` of result.json: every network of --eval_models, trained on every set, scored on the test split.

    sets: key of result.json -> images; ``test`` is among them. made_with: the network they were distilled on. known:
    entries that are there already, by network (the run's own). Each network has the step size of `step_size_for`, and
    random real images (``start``) have one of their own here too.
    """
    table = {}
    for name, model in session.others.items():
        if name in known:
            table[name] = known[name]
            continue
        own = session._replace(model=model)
        rate, origin = step_size_for(own, folder, name, sets["test"], made_with)
        table[name] = {"step_size": rate, "step_size_from": origin}
        for key, images in sets.items():
            at = rate
            if key == "start":
                at = choose_step_size(own, folder, f"{name}-start-on-val", images)
                table[name]["start_step_size"] = at
            file = f"{name}-{key.replace('_', '-')}"
            table[name][key] = final_scores(own, folder, file, images, test, at)
    return table


def guesses(session: Session, table: Mapping[str, dict]) -> list[str]:
    """A warning for every further network of ``eval_models`` to which the set is of no use."""
    lines, chance = [], 1 / session.classes
    for name, model in session.others.items():
        score = table[name]["test"]["balanced_accuracy"]["mean"]
        if score is None or score < chance + NEAR:
            few = ": batch norm learns little from so few images, try --resnet_norm=instance"
            hint = "" if model.separable else few
            lines.append(f"{name} trained on the set does no better than guessing{hint}")
    return lines


def step_size_for(
    session: Session,
    folder: Path,
    name: str,
    synthetic: Synthetic,
    made_with: str,
    collapsed: bool = False,
) -> tuple[float, str]:
    """The step size at which network ``name`` (the session's) trains on a set, and where it is from.

    A set's own belongs to the network that it was made with ("set"); any other gets one chosen on val ("val"), and so
    does a set whose own is no step size, or has ``collapsed`` in its run: networks would stay as they were drawn.
    """
    own = float(synthetic.step_size)
    if name == made_with and np.isfinite(own) and own > 0 and not collapsed:
        return own, "set"
    return choose_step_size(session, folder, f"{name}-chosen-on-val", synthetic), "val"
