"""Cross-architecture scores: how well networks train on a set that they were not distilled with (``eval_models``)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from medjax.models import MODELS, same_network
from medjax.pipeline.health import guessing
from medjax.pipeline.score import choose_step_size, final_row
from medjax.pipeline.session import Session
from medjax.types import Dataset, Synthetic


def network_of(session: Session, name: str) -> tuple[str, Any]:
    """A network as this run has it: its name, and the values of its options."""
    return name, session.settings.config(MODELS[name].config)


def score_networks(
    session: Session,
    sets: Mapping[str, Synthetic],
    test: Dataset,
    made_with: tuple[str, Any] | None,
    known: Mapping[str, dict],
    collapsed: bool = False,
) -> tuple[dict[str, dict], list[str]]:
    """``eval_models`` of a result, every network of --eval_models trained on every set and scored on the test split,
    with warnings for networks that only guess.

    sets: row of the result -> images; "test" is among them. made_with: the network they were distilled with. known:
    rows that are there already, by network. Each network has the step size of `step_size_for`; random real images
    ("start") have one of their own. collapsed: whether the set's own has collapsed in its run.
    """
    table = {}
    for name, model in session.others.items():
        if name in known:
            table[name] = known[name]
            continue
        own = session._replace(model=model)
        rate, origin = step_size_for(own, name, sets["test"], made_with, collapsed)
        table[name] = {"step_size": rate, "step_size_from": origin}
        for row, images in sets.items():
            at = rate
            if row == "start":
                at = choose_step_size(own, f"{name}-start-on-val", images)
                table[name]["start_step_size"] = at
            table[name][row] = final_row(own, sets, row, table[name], test, at, f"{name}-")
    scores = {name: rows["test"]["balanced_accuracy"]["mean"] for name, rows in table.items()}
    separable = {name: model.separable for name, model in session.others.items()}
    return table, guessing(scores, 1 / session.classes, separable)


def step_size_for(
    session: Session,
    name: str,
    synthetic: Synthetic,
    made_with: tuple[str, Any] | None,
    collapsed: bool = False,
) -> tuple[float, str]:
    """The step size at which network ``name`` (the session's) trains on a set, and where it comes from.

    A set's own step size belongs to the network that the set was distilled with ("set"). Any other network gets one
    that is chosen on val ("val"), and so does a set whose own step size is not a positive number, or has ``collapsed``
    in its run, because networks would stay untrained.
    """
    own = float(synthetic.step_size)
    same = same_network(network_of(session, name), made_with)
    if same and np.isfinite(own) and own > 0 and not collapsed:
        return own, "set"
    return choose_step_size(session, f"{name}-chosen-on-val", synthetic), "val"
