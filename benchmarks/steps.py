"""How the score of a saved set grows with the optimiser steps of the networks that are trained on it: on the val split,
so that the number of steps is chosen without the test split.

    python -m benchmarks.steps SET.npz DATA.npz --out=results/steps/NAME.json [--steps=100,200,400,800]
        [--batches=16,64] [--step_sizes=0.01] [--random=10] [--pack=2]

Every length is a training of its own, for the step size falls after half of it. Step sizes: that of the set where none
are given. --random: so many random real images of each class in place of the set, under its preprocessing and network,
at 0.01 where no step size is given; --pack packs them. Prints a table, and writes it beside the JSON after each row.
"""

import argparse
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import medjax
from medjax import evaluate, metrics, models, provenance, share, store
from medjax.augment import augment
from medjax.data import preprocess, sources
from medjax.distill.random import packed_images, random_images
from medjax.errors import UserError
from medjax.eval_config import EvalConfig, epochs_of
from medjax.table import Table
from medjax.types import Synthetic

HEAD = ("batch", "step size", "steps", "images seen", "accuracy", "balanced accuracy", "seconds")


def curve(
    shared: share.SharedSet, raw: Any, steps: list[int], rate: float, config: EvalConfig
) -> Iterator[dict]:
    """For each number of steps the scores on val, and how long the networks took. rate: their step size."""
    assert shared.network is not None, "the set names its network"
    (name, options), made = shared.network, share.decoded(shared)
    size, channels, classes = *made.images.shape[2:], len(shared.class_names)
    model = models.build(name, options, classes=classes, size=size, channels=channels)
    val = preprocess.to_device(shared.preprocessor, raw.val)
    trainer = evaluate.trainer(config, model, classes, augment, 1)
    for count in steps:
        epochs = epochs_of(count, len(made.labels), config.eval_batch)
        rates, key = jnp.asarray([rate]), jax.random.key(0)
        people = evaluate.population(config, key, config.networks, epochs, rates)
        begin = time.monotonic()
        scores = metrics.summary(evaluate.evaluate(trainer, people, made, val))
        seconds, taken = time.monotonic() - begin, epochs * (len(made.labels) // config.eval_batch)
        about = {"batch": config.eval_batch, "step_size": rate, "steps": taken}
        yield about | {"images": taken * config.eval_batch, "seconds": seconds} | scores


def random_set(shared: share.SharedSet, raw: Any, ipc: int, pack: int) -> share.SharedSet:
    """Random real images in the place of a set's, of the key 0."""
    train, pre = preprocess.to_device(shared.preprocessor, raw.train), shared.preprocessor
    train = train._replace(packing=preprocess.packing_of(pre, pack))
    drawn = packed_images(random_images, jax.random.key(0), train, ipc, len(shared.class_names))
    made = Synthetic(train.packing.stored(drawn[0]), drawn[1], jnp.float32(0.01))
    return shared._replace(synthetic=made, pack=pack, origin=shared.origin | {"method": "random"})


def table(rows: list[dict]) -> Table:
    def shown(score: dict[str, float]) -> str:
        return f"{100 * score['mean']:.1f} ± {100 * score['std']:.1f}"

    def line(row: dict) -> list[str]:
        scores = shown(row["accuracy"]), shown(row["balanced_accuracy"])
        counts = [
            str(row["batch"]),
            f"{row['step_size']:.2g}",
            str(row["steps"]),
            str(row["images"]),
        ]
        return [*counts, *scores, f"{row['seconds']:.0f}"]

    return Table(HEAD, [line(row) for row in rows], words=0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps")
    parser.add_argument("set", type=Path, help="synthetic.npz of a run")
    parser.add_argument("data", help="the data set it was distilled from")
    parser.add_argument("--out", type=Path, required=True, help="a .json file")
    parser.add_argument("--steps", default="100,200,400,800")
    parser.add_argument("--batches", default="64")
    parser.add_argument("--step_sizes", default="")
    parser.add_argument("--networks", type=int, default=3)
    parser.add_argument("--random", type=int, default=0, metavar="IPC")
    parser.add_argument("--pack", type=int, default=1)
    asked = parser.parse_args()
    medjax.use_cores()
    try:
        shared, raw = share.load_set(asked.set), sources.load(asked.data)
    except UserError as error:
        parser.error(str(error))
    steps = [int(n) for n in asked.steps.split(",")]
    rates = [float(r) for r in asked.step_sizes.split(",") if r]
    if asked.random:
        shared = random_set(shared, raw, asked.random, asked.pack)
    about = {n: shared.origin.get(n) for n in ("method", "dataset", "fingerprint")}
    about |= {"stored": len(shared.synthetic.labels), "pack": shared.pack}
    about |= {"networks": asked.networks, "split": "val"}
    rows: list[dict] = []
    for batch, rate in itertools.product(
        asked.batches.split(","), rates or [float(shared.synthetic.step_size)]
    ):
        config = EvalConfig(networks=asked.networks, eval_batch=int(batch))
        for row in curve(shared, raw, steps, rate, config):
            rows.append(row)
            print(table([row]).markdown().splitlines()[-1], flush=True)
            store.write_json(asked.out, about | {"rows": rows} | provenance.environment())
            asked.out.with_suffix(".md").write_text(table(rows).markdown(), encoding="utf-8")
    print(table(rows).markdown())


if __name__ == "__main__":
    main()
