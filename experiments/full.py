"""The upper bound: networks trained on all real images (Adam, x 0.1 at half and at three quarters of the epochs).

python -m experiments.full --dataset=phantom --preset=quick
"""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

from configs.full import PRESETS
from experiments import final_stage
from experiments.eval_stage import confused, train_and_score
from experiments.flags import RunConfig, launch
from experiments.forecast import Costs, forecast
from experiments.method import run_command
from experiments.session import Session
from medjax import cost, evaluate, metrics, store, train
from medjax.config import option
from medjax.data.preprocess import PreprocessConfig
from medjax.models import ConvNetConfig, ResNetConfig


@dataclasses.dataclass(frozen=True)
class FullConfig:
    """Training on all images (MedMNIST's recipe)."""

    full_epochs: int = option(100, "epochs", low=1)
    full_batch: int = option(128, "batch size", low=1)
    full_lr: float = option(1e-3, "Adam's step size", low=0)
    full_networks: int = option(3, "networks", low=1)


GROUPS = (RunConfig, PreprocessConfig, ConvNetConfig, ResNetConfig, FullConfig)


def costs(session: Session) -> Costs:
    """What it will cost."""
    config, images = session.settings.groups[FullConfig], len(session.train.labels)
    passes = config.full_networks * config.full_epochs * images
    alive = train.alive(min(config.full_batch, images), config.full_networks)
    return Costs({"training": cost.GRADIENT * session.model.flops * passes}, None, 0, alive)


def train_all(session: Session, folder: Path) -> None:
    """Train the networks, score them on the test split; result.json."""
    config = session.settings.groups[FullConfig]
    forecast(session, costs(session))
    trainer = train.Trainer(
        session.model, optax.scale_by_adam(), None, config.full_batch, session.classes
    )
    epoch = jnp.arange(config.full_epochs)
    drops = (2 * epoch >= len(epoch)).astype(int) + (4 * epoch >= 3 * len(epoch))
    rates = (config.full_lr * 0.1**drops).reshape(1, -1)
    keys = jax.vmap(lambda i: jax.random.fold_in(session.key("full"), i))(
        jnp.arange(config.full_networks)
    )
    people = evaluate.Population(keys, jnp.tile(rates, (len(keys), 1)), jnp.zeros(len(epoch), bool))
    test = session.test()
    scores = train_and_score(session, folder, "networks", session.train, test, trainer, people, {})
    result = final_stage.describe(session, "full", None) | {
        "select": "last",
        "test": metrics.summary(scores),
        "confusion": confused(folder, "networks"),
    }
    result["evaluation"] = {"networks": config.full_networks, "epochs": config.full_epochs}
    rows = store.read_log(folder / "log.jsonl")
    spent = final_stage.phase_seconds(rows, "evaluate")
    result["seconds"] = {"data": session.seconds, "evaluate": spent}
    store.write_json(folder / "result.json", result)


if __name__ == "__main__":
    launch(
        "Training on all images.", GROUPS, lambda: run_command("full", GROUPS, PRESETS, train_all)
    )
