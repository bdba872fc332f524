"""How well sets of real images of different sizes match the experts' segments (the loss of MTT, eq. 5), before any
distillation: where many images match no better than few, matching has nothing to teach.

    python -m benchmarks.matching DATA.npz --out=results/matching/NAME.json [--ipcs=10,50,400] [--set=SET.npz]
        [--epochs=12] [--starts=0,1,2,4,8]

Experts, students and segments are those of MTT's preset ``best`` at fifty images per class, the experts trained for
``epochs``. Each loss is at the best step size of the recipe's grid, the mean over segments of two experts and two draws
of each. --set: a distilled set beside the real ones, under the same preprocessing. Prints a table, and writes it beside
the JSON after each start.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import medjax
from medjax import experts, models, provenance, share, store
from medjax.augment import augment
from medjax.data import preprocess, sources
from medjax.distill.mtt_config import MTTConfig
from medjax.distill.random import random_images
from medjax.distill.segments import Segments
from medjax.distill.step_size_search import search_step_size
from medjax.evaluate import score
from medjax.experts import ExpertsConfig
from medjax.models.base import Model, flattening
from medjax.models.convnet import ConvNetConfig
from medjax.pipeline.resolve import sized
from medjax.recipes.mtt import GRID
from medjax.table import Table
from medjax.train import resume
from medjax.types import Dataset, Trajectories

EXPERTS, DRAWS = 2, 2


def accuracy(model: Model, config: ExpertsConfig, rows: np.ndarray, val: Dataset) -> float:
    """Mean accuracy on val of experts with these parameters."""
    trainer = experts.trainer(config, model, int(val.labels.max()) + 1)
    params = jax.vmap(flattening(model))(jnp.asarray(rows))
    state = jax.vmap(lambda one: resume(trainer, one, {}))(params)
    return float(np.mean([s.accuracy for s in score(model, state, val.images, val.labels)]))


def losses(
    model: Model,
    config: MTTConfig,
    sets: dict[str, Dataset],
    found: Trajectories,
    starts: list[int],
) -> Iterator[dict[str, Any]]:
    """For each start epoch the loss of each set at its best step size."""
    grid = jnp.asarray(GRID)
    search = jax.jit(
        lambda key, images, labels, segments: search_step_size(
            config, key, images, labels, segments, grid, model=model, augment=augment
        )[1]
    )
    for start in starts:
        pairs = [
            found.read(i, np.array([start, start + config.expert_span])) for i in range(EXPERTS)
        ]
        begin, end = (np.repeat([pair[j] for pair in pairs], DRAWS, axis=0) for j in (0, 1))
        segments = Segments(jnp.asarray(begin), jnp.asarray(end))
        all_losses = {
            name: np.asarray(search(jax.random.key(start), *made[:2], segments))
            for name, made in sets.items()
        }
        best = {name: int(np.nanargmin(each)) for name, each in all_losses.items()}
        yield {
            "start": start,
            "loss": {name: float(all_losses[name][i]) for name, i in best.items()},
            "step_size": {name: float(GRID[i]) for name, i in best.items()},
        }


def table(rows: list[dict[str, Any]]) -> Table:
    names = list(rows[0]["loss"])
    lines = [
        [
            str(row["start"]),
            f"{100 * row['accuracy']:.1f}",
            *(f"{row['loss'][n]:.3f}" for n in names),
        ]
        for row in rows
    ]
    return Table(("start epoch", "experts' accuracy there (val, %)", *names), lines, words=0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.matching")
    parser.add_argument("data", help="the data set")
    parser.add_argument("--out", type=Path, required=True, help="a .json file")
    parser.add_argument("--set", type=Path, help="synthetic.npz, or exact.npz of a bundle")
    parser.add_argument("--ipcs", default="10,50,400")
    parser.add_argument("--starts", default="0,1,2,4,8")
    parser.add_argument("--epochs", type=int, default=12)
    asked = parser.parse_args()
    medjax.use_cores()
    raw = sources.load(asked.data)
    settings = medjax.settings("mtt", preset="best", dataset=asked.data, ipc=50)
    settings = sized(settings, raw.train.images.shape[-1])
    pre = preprocess.fit(settings.config(preprocess.PreprocessConfig), raw.train.images)
    train, val = (preprocess.to_device(pre, split) for split in (raw.train, raw.val))
    classes, (size, channels) = len(raw.class_names), train.images.shape[2:]
    model = models.build("convnet", ConvNetConfig(), classes=classes, size=size, channels=channels)
    sets = {
        f"{ipc} real": Dataset(*random_images(jax.random.key(0), train, ipc, classes))
        for ipc in map(int, asked.ipcs.split(","))
    }
    if asked.set:
        made = share.decoded(share.load_set(asked.set))
        sets[f"{len(made.labels) // classes} distilled"] = Dataset(made.images, made.labels)
    config = settings.config(ExpertsConfig)
    found = experts.train_in_memory(
        experts.trainer(config, model, classes),
        jax.random.key(0),
        train,
        config.expert_lr,
        experts=EXPERTS,
        epochs=asked.epochs,
    )
    about = {"dataset": raw.name, "fingerprint": raw.fingerprint, "epochs": asked.epochs}
    rows: list[dict[str, Any]] = []
    starts = [int(start) for start in asked.starts.split(",")]
    for row in losses(model, settings.config(MTTConfig), sets, found, starts):
        there = np.concatenate([found.read(i, np.array([row["start"]])) for i in range(EXPERTS)])
        rows.append(row | {"accuracy": accuracy(model, config, there, val)})
        print(table(rows[-1:]).markdown().splitlines()[-1], flush=True)
        store.write_json(asked.out, about | {"rows": rows} | provenance.environment())
        asked.out.with_suffix(".md").write_text(table(rows).markdown(), encoding="utf-8")


if __name__ == "__main__":
    main()
