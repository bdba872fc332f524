"""How networks train on a set, exact or as received: what recipe.json says, evaluate.py does, and the card words."""

from collections.abc import Mapping
from typing import Any

from medjax.bundle.finished import FinishedRun
from medjax.bundle.received import Received


def forms(run: FinishedRun, got: Received) -> dict[str, dict[str, Any]]:
    """How networks train on either form of the set, as recipe.json says it and evaluate.py does it: on exact.npz and on
    the 8-bit images."""
    result, origin = run.result, run.shared.origin
    name, config = run.shared.network or ("unknown", None)
    same = name == "convnet" and config is not None
    rate = result.chosen_step_size or result.step_size
    epochs = int(origin.get("eval_epochs") or result.evaluation["epochs"])
    exact = {
        "network": {"width": config.width, "depth": config.depth} if same else None,  # type: ignore[union-attr]
        "step_size": rate,
        "epochs": epochs,
        "batch": int(origin.get("eval_batch", got.config.eval_batch)),
        "full_batches": int(origin.get("eval_steps", 0)) > 0,
        "augment": origin.get("eval_augment", "True") == "True",
        "late_decay": origin.get("decay_parity") == "True",
    }
    if not same:
        exact["why_not"] = (
            f"the exact set and its step size belong to the network {name}: give --received"
        )
    received = {
        "network": got.network,
        "step_size": got.result and got.result.step_size,
        "epochs": got.config.eval_epochs,
        "batch": got.config.eval_batch,
        "full_batches": got.config.eval_steps > 0,
        "augment": True,
        "late_decay": False,
    }
    if not got.exact:
        return {"exact": received, "received": received}
    if got.result is None:
        received["why_not"] = (
            "no step size was chosen, for the source was not at hand: give --step_size"
        )
    return {"exact": exact, "received": received}


def words(form: Mapping[str, Any]) -> str:
    """How to train a network, in a line."""
    net = form["network"]
    if net is None or form["step_size"] is None:
        return f"{form['why_not']}."
    steps = "full batches of" if form["full_batches"] else "batches of"
    dsa = ", DSA augmentation" if form["augment"] else ", no augmentation"
    late = " (an epoch late, the momentum begun anew)" if form["late_decay"] else ""
    return (
        f"ConvNet of {net['depth']} blocks and {net['width']} channels with instance norm; SGD, step size"
        f" {form['step_size']:.6g}, momentum 0.9, weight decay 5e-4; {form['epochs']} epochs in {steps} at most"
        f" {form['batch']}{dsa}; the step size falls to a tenth after half of the epochs{late}."
    )
