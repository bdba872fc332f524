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
    train_and_score,
)
from experiments.flags import IpcConfig, RunConfig, launch
from experiments.forecast import Costs, forecast, search_epochs
from experiments.method import run_command
from experiments.session import Session, random_start
from medjax import cost, evaluate, metrics, store, train
from medjax.augment import augment
from medjax.data.preprocess import PreprocessConfig
from medjax.distill.random import random_images
from medjax.evaluate import EvalConfig, InterimConfig
from medjax.models import ConvNetConfig, ResNetConfig
from medjax.types import Dataset

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
    trainer = evaluate.trainer(config, session.model, session.classes, augment)
    pool = jax.tree.map(
        lambda *a: jnp.concatenate(a), *(draw(session, n) for n in range(config.networks))
    )
    people = evaluate.population(
        config, session.key("final"), config.networks, config.eval_epochs, jnp.asarray([rate])
    )._replace(rows=jnp.arange(len(pool.labels)).reshape(config.networks, -1))
    scores = train_and_score(
        session, folder, "subsets", pool, test, trainer, people, {"step_sizes": [rate]}
    )
    result = final_stage.describe(session, "random", session.ipc) | {
        "select": "last",
        "step_size": rate,
        "subsets": config.networks,
        "test": metrics.summary(scores),
        "test_one_subset": final_scores(session, folder, "one-subset", first, test, rate),
        "confusion": confused(folder, "subsets"),
    }
    rows = store.read_log(folder / "log.jsonl")
    spent = final_stage.phase_seconds(rows, "evaluate")
    result["seconds"] = {"data": session.seconds, "evaluate": spent}
    store.write_json(folder / "result.json", result)


def draw(session: Session, number: int) -> Dataset:
    """Subset ``number``; the first is what a distillation of this seed starts from."""
    if number == 0:
        first = random_start(session)
        return Dataset(first.images, first.labels)
    key = jax.random.fold_in(session.key("subsets"), number)
    return Dataset(*random_images(key, session.train, session.ipc, session.classes))


if __name__ == "__main__":
    launch(
        "Random selection of real images.",
        GROUPS,
        lambda: run_command("random", GROUPS, PRESETS, evaluate_subsets),
    )
