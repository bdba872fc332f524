"""Networks trained on real images: on subsets that a recipe selects, or on all images."""

import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from medjax import evaluate, metrics, store, train
from medjax.augment import augment
from medjax.eval_config import EvalConfig
from medjax.pipeline.finish import write_result
from medjax.pipeline.score import choose_step_size, confused, final_scores, train_and_score
from medjax.pipeline.session import Session, chosen
from medjax.recipes import Recipe, Setup
from medjax.recipes.base import Select
from medjax.recipes.full import EVALUATION_LR, FullConfig
from medjax.result import Result
from medjax.types import Dataset, Synthetic


def score_subsets(
    session: Session, recipe: Recipe, setup: Setup, spent: Mapping[str, float]
) -> Result:
    """A network on each of ``networks`` subsets, and as many networks on the first of them. spent: {phase: seconds} of
    what came before."""
    config, begin = session.settings.config(EvalConfig), time.monotonic()
    assert recipe.select is not None
    select = recipe.select(setup, session.train)
    subsets = [subset(session, select, number) for number in range(config.networks)]
    spent = {**spent, "select": time.monotonic() - begin}
    first = subsets[0]
    rate = choose_step_size(session, "start-on-val", first)
    test = session.test()
    parts = session.model, session.classes, augment, config.eval_steps
    trainer = evaluate.trainer(config, *parts)
    images, labels = ([getattr(one, n) for one in subsets] for n in ("images", "labels"))
    pool = Dataset(jnp.concatenate(images), jnp.concatenate(labels))
    people = evaluate.population(
        config, session.key("final"), config.networks, config.eval_epochs, jnp.asarray([rate])
    )._replace(rows=jnp.arange(len(pool.labels)).reshape(config.networks, -1))
    about = {"step_sizes": [rate]}
    scores = train_and_score(session, "subsets", pool, test, trainer, people, about)
    found = {
        "select": "last",
        "step_size": rate,
        "subsets": config.networks,
        "test": metrics.summary(scores),
        "test_one_subset": final_scores(session, "one-subset", first, test, rate),
        "confusion": confused(session.folder, "subsets"),
    }
    return write_result(session, recipe.name, found | {"seconds": _seconds(session, spent)})


def subset(session: Session, select: Select, number: int) -> Synthetic:
    """Subset ``number``; of random images the first is what a distillation of this seed starts from."""
    key = jax.random.fold_in(session.key("subsets"), number) if number else session.key("init")
    return chosen(session, select, key)


def score_all(session: Session, recipe: Recipe) -> Result:
    """Networks on all images, by the recipe that ``full_recipe`` names."""
    config = session.settings.config(FullConfig)
    trainer, people = _all_images(session, config)
    val = session.val if config.full_select == "val" else None
    scores = train_and_score(
        session, "networks", session.train, session.test(), trainer, people, {}, val
    )
    about: dict[str, Any] = {"networks": config.full_networks, "epochs": config.full_epochs}
    if config.full_recipe != FullConfig.full_recipe:
        about["recipe"] = config.full_recipe
    found = {
        "select": config.full_select,
        "test": metrics.summary(scores),
        "confusion": confused(session.folder, "networks"),
        "evaluation": about,
    }
    return write_result(
        session, recipe.name, found | {"seconds": _seconds(session, {"data": session.seconds})}
    )


def _all_images(session: Session, config: FullConfig) -> tuple[train.Trainer, evaluate.Population]:
    """How networks train on all images, and which."""
    key, networks, epochs = session.key("full"), config.full_networks, config.full_epochs
    if config.full_recipe == "evaluation":
        how = EvalConfig(eval_batch=config.full_batch)
        people = evaluate.population(how, key, networks, epochs, jnp.asarray([EVALUATION_LR]))
        return evaluate.trainer(how, session.model, session.classes, augment), people
    epoch = jnp.arange(epochs)
    drops = (2 * epoch >= epochs).astype(int) + (4 * epoch >= 3 * epochs)
    rates = (config.full_lr * 0.1**drops).reshape(1, -1)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(networks))
    people = evaluate.Population(keys, jnp.tile(rates, (networks, 1)), jnp.zeros(epochs, bool))
    adam = optax.scale_by_adam()
    return train.Trainer(session.model, adam, None, config.full_batch, session.classes), people


def _seconds(session: Session, spent: Mapping[str, float]) -> dict[str, float]:
    return {**spent, "evaluate": store.phase_seconds(store.read_log(session.log), "evaluate")}
