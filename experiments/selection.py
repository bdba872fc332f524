"""Random selection: networks trained on random real images, a fresh subset for each network.

python -m experiments.selection --dataset=phantom --ipc=10 --preset=quick
"""

from pathlib import Path

import jax
import jax.numpy as jnp

from configs.selection import PRESETS
from experiments import final_stage
from experiments.eval_stage import (
    choose_step_size,
    confused,
    final_scores,
    gathered,
    train_and_score,
)
from experiments.flags import IpcConfig, RunConfig, launch
from experiments.forecast import Costs, forecast, search_epochs
from experiments.method import run_command
from experiments.session import Session, random_start
from medjax import cost, evaluate, runs, train
from medjax.augment import augment
from medjax.data.preprocess import PreprocessConfig
from medjax.distill.selection import select_real
from medjax.evaluate import EvalConfig, InterimConfig
from medjax.models import ConvNetConfig, ResNetConfig
from medjax.types import Dataset, Synthetic

GROUPS = (
    RunConfig,
    IpcConfig,
    PreprocessConfig,
    ConvNetConfig,
    ResNetConfig,
    EvalConfig,
    InterimConfig,
)


def costs(session: Session) -> Costs:
    """What it will cost: a network on each of several subsets, as many on one, and the search for a step size."""
    config, interim = (session.settings.groups[g] for g in (EvalConfig, InterimConfig))
    images = session.ipc * session.classes
    passes = images * (2 * config.networks * config.eval_epochs + search_epochs(interim))
    alive = train.alive(min(config.eval_batch, images), config.networks)
    return Costs({"evaluation": cost.GRADIENT * session.model.flops * passes}, None, 0, alive)


def evaluate_subsets(session: Session, folder: Path) -> None:
    """A network on each of ``networks`` subsets, and as many networks on the first of them; result.json."""
    forecast(session, costs(session))
    first = random_start(session)
    rate = choose_step_size(session, folder, "start-on-val", first)
    test = session.test()
    config = session.settings.groups[EvalConfig]
    trainer, networks = (
        evaluate.trainer(config, session.model, session.classes, augment),
        config.networks,
    )
    names = [f"subset-{number}" for number in range(networks)]
    for number, name in enumerate(names):
        # A network of its own as well: population() numbers its networks from 0.
        key = jax.random.fold_in(session.key("final"), number)
        people = evaluate.population(config, key, 1, config.eval_epochs, jnp.asarray([rate]))
        subset = draw(session, number)
        made = Dataset(subset.images, subset.labels)
        train_and_score(session, folder, name, made, test, trainer, people, {"step_sizes": [rate]})
    result = final_stage.describe(session, "random", session.ipc) | {
        "select": "last",
        "step_size": rate,
        "subsets": networks,
        "test": gathered(folder, names),
        "test_one_subset": final_scores(session, folder, "one-subset", first, test, rate),
        "confusion": confused(folder, names),
    }
    rows = runs.read_log(folder / "log.jsonl")
    spent = final_stage.phase_seconds(rows, "evaluate")
    result["seconds"] = {"data": session.seconds, "evaluate": spent}
    runs.write_json(folder / "result.json", result)


def draw(session: Session, number: int) -> Synthetic:
    """Subset ``number``; the first is what a distillation of this seed starts from."""
    if number == 0:
        return random_start(session)
    key = jax.random.fold_in(session.key("subsets"), number)
    images, labels = select_real(key, session.train, session.ipc, session.classes)
    return Synthetic(images, labels, jnp.float32(jnp.nan))


if __name__ == "__main__":
    launch(
        "Random selection of real images.",
        GROUPS,
        lambda: run_command("random", GROUPS, PRESETS, evaluate_subsets),
    )
