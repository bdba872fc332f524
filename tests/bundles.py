"""Finished runs that were never run, and bundles of them, for tests."""

import csv
import io
import json

import jax.numpy as jnp
import numpy as np

from medjax import share, store
from medjax.bundle.making import ShareConfig, make_bundle
from medjax.data import preprocess, sources
from medjax.data.preprocess import PreprocessConfig
from medjax.models import ConvNetConfig
from medjax.result import Result
from medjax.types import Synthetic

SIZE, IPC = 8, 2
NETWORK = ConvNetConfig(width=8, depth=1)
TRAINING = {"eval_epochs": "4", "eval_batch": "4", "eval_augment": "True", "decay_parity": "True"}
VALUES = {"seed": 0, "data_dir": "", "init_images": "real", "init_set": "", "iterations": 7}
VALUES |= {"interim_networks": 1, "interim_epochs": 2, "interim_steps": 0}


def fake_scores(mean):
    return {
        name: {"mean": mean, "std": 0.01, "n": 2}
        for name in ("accuracy", "balanced_accuracy", "auc")
    }


def finished(folder, dataset, pack=1, whiten="zca", soft=False, **changed):
    """A folder as a finished run leaves it, with a set of changed real images. dataset: a path, or a name."""
    raw, rng = sources.load(str(dataset)), np.random.default_rng(0)
    pre = preprocess.fit(PreprocessConfig(SIZE, whiten), raw.train.images)
    k = len(raw.class_names)
    chosen = np.concatenate([np.flatnonzero(raw.train.labels == c)[:IPC] for c in range(k)])
    images = preprocess.apply(pre, raw.train.images[chosen])
    images += rng.normal(0, 0.3, images.shape).astype(np.float32)
    labels, shares = raw.train.labels[chosen], rng.dirichlet(np.ones(k), len(chosen))
    made = Synthetic(*map(jnp.asarray, (images, labels, np.float32(0.02))))
    made = made._replace(soft=jnp.asarray(shares, jnp.float32)) if soft else made
    about = {"method": "mtt", "dataset": raw.name, "fingerprint": raw.fingerprint}
    network = {"network": ("convnet", NETWORK), "pack": pack}
    share.save_set(
        folder / "synthetic.npz", made, pre, raw.class_names, **network, **about, **TRAINING
    )
    value = about | {
        **{"model": "convnet", "ipc": IPC, "seed": 0, "preset": "quick", "select": "val"},
        **{"selected_iteration": 3, "step_size": 0.02, "majority_share": 0.5, "chance": 1 / k},
        **{"test": fake_scores(0.8), "test_uint8": fake_scores(0.7), "start": fake_scores(0.5)},
        "evaluation": {"networks": 2, "epochs": 4, "batch": 4},
        "confusion": (np.eye(k, dtype=int) * 3 + 1).tolist(),
        "eval_models": {"mlp": {"test": fake_scores(0.6), "step_size": 0.01}},
        "seconds": {"distill": 60.0},
    }
    value |= {"pack": pack, "stored": k * IPC, "decoded": k * IPC * pack**2} if pack > 1 else {}
    Result.from_json(value | changed).write(folder / "result.json")
    values = VALUES | {"dataset": str(dataset)}
    store.write_json(
        folder / "config.json",
        {
            "command": ["experiments.mtt", f"--dataset={dataset}"],
            "values": {name: {"value": v, "origin": "flag"} for name, v in values.items()},
            "data": {"name": raw.name, "train": len(raw.train.labels), "notes": ["no val split."]},
            **{"versions": {"jax": "0.10.2"}, "git": "abc"},
        },
    )
    store.append_log(folder / "log.jsonl", phase="distill", iteration=1)
    store.write_arrays(
        folder / "snapshots" / "00000000.npz", images=np.zeros((k, 1, 1, 1), np.uint8)
    )
    return folder


def bundle(run, out, **more):
    return make_bundle(ShareConfig(run=str(run), out=str(out), **more))


def table(folder):
    return list(csv.DictReader(io.StringIO((folder / "data/train/metadata.csv").read_text())))


def recipe(folder):
    return json.loads((folder / "recipe.json").read_text())
