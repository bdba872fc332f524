"""How the score of a saved set grows with the optimiser steps of the networks that are trained on it: on the val split,
so that the number of steps is chosen without the test split.

    python -m benchmarks.steps SET.npz DATA.npz --out=results/steps/NAME.json [--steps=100,200,400,800] [--batch=64]

Every length is a training of its own, for the step size falls after half of it. Prints a table, and writes it beside
the JSON.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import medjax
from medjax import evaluate, metrics, models, provenance, share, store
from medjax.augment import augment
from medjax.data import preprocess, sources
from medjax.eval_config import EvalConfig, epochs_of
from medjax.table import Table

HEAD = ("steps", "images seen", "accuracy", "balanced accuracy", "seconds")


def curve(shared: share.SharedSet, raw: Any, steps: list[int], config: EvalConfig) -> list[dict]:
    """For each number of steps the scores on val, and how long the networks took."""
    assert shared.network is not None, "the set names its network"
    (name, options), made = shared.network, share.decoded(shared)
    size, channels, classes = *made.images.shape[2:], len(shared.class_names)
    model = models.build(name, options, classes=classes, size=size, channels=channels)
    val, found = preprocess.to_device(shared.preprocessor, raw.val), []
    trainer = evaluate.trainer(config, model, classes, augment, 1)
    for count in steps:
        epochs = epochs_of(count, len(made.labels), config.eval_batch)
        rates, key = jnp.asarray([float(made.step_size)]), jax.random.key(0)
        people = evaluate.population(config, key, config.networks, epochs, rates)
        begin = time.monotonic()
        scores = metrics.summary(evaluate.evaluate(trainer, people, made, val))
        seconds, taken = time.monotonic() - begin, epochs * (len(made.labels) // config.eval_batch)
        found.append(
            {"steps": taken, "images": taken * config.eval_batch, "seconds": seconds} | scores
        )
        print(
            f"{taken} steps: {100 * scores['accuracy']['mean']:.1f} % in {seconds:.0f} s",
            flush=True,
        )
    return found


def table(rows: list[dict]) -> Table:
    def shown(score: dict[str, float]) -> str:
        return f"{100 * score['mean']:.1f} ± {100 * score['std']:.1f}"

    def line(row: dict) -> list[str]:
        scores = shown(row["accuracy"]), shown(row["balanced_accuracy"])
        return [str(row["steps"]), str(row["images"]), *scores, f"{row['seconds']:.0f}"]

    return Table(HEAD, [line(row) for row in rows], words=0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps")
    parser.add_argument("set", type=Path, help="synthetic.npz of a run")
    parser.add_argument("data", help="the data set it was distilled from")
    parser.add_argument("--out", type=Path, required=True, help="a .json file")
    parser.add_argument("--steps", default="100,200,400,800")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--networks", type=int, default=3)
    asked = parser.parse_args()
    medjax.use_cores()
    shared, raw = share.load_set(asked.set), sources.load(asked.data)
    config = EvalConfig(networks=asked.networks, eval_batch=asked.batch)
    rows = curve(shared, raw, [int(n) for n in asked.steps.split(",")], config)
    about = {n: shared.origin.get(n) for n in ("method", "dataset", "fingerprint")}
    about |= {"stored": len(shared.synthetic.labels), "pack": shared.pack}
    about |= {"networks": asked.networks, "batch": asked.batch, "split": "val"}
    store.write_json(asked.out, about | {"rows": rows} | provenance.environment())
    asked.out.with_suffix(".md").write_text(table(rows).markdown(), encoding="utf-8")
    print(table(rows).markdown())


if __name__ == "__main__":
    main()
