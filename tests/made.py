"""Made-up finished runs, for tests of what reads results: folders as the launchers leave them, drawn from a seed."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = 8


def row(mean: float, n: int = 5) -> dict[str, Any]:
    """A row of scores around an accuracy."""
    spread = (("accuracy", 0.0), ("balanced_accuracy", -0.02), ("auc", 0.1))
    return {name: {"mean": min(max(mean + d, 0), 1), "std": 0.01, "n": n} for name, d in spread}


def result(method: str, dataset: str, ipc: int | None, mean: float, **other: Any) -> dict[str, Any]:
    """The contents of a result.json."""
    counts = np.random.default_rng(0).integers(0, 9, (CLASSES, CLASSES)) + 90 * np.eye(CLASSES)
    made = {
        "method": method,
        "model": "convnet",
        "dataset": dataset,
        "fingerprint": hashlib.sha256(dataset.encode("utf-8", "replace")).hexdigest()[:16],
        "ipc": ipc,
        "seed": 0,
        "preset": "cpu",
        "majority_share": 0.2,
        "chance": 1 / CLASSES,
        "evaluation": {"networks": 5, "epochs": 1000},
        "select": "val",
        "test": row(mean),
        "confusion": counts.astype(int).tolist(),
        "warnings": [],
        "seconds": {"data": 1.0, "distill": 60.0, "evaluate": 120.0},
    }
    if method not in ("random", "kmeans", "full"):
        made |= {"test_uint8": row(mean - 0.01), "start": row(mean - 0.2), "selected_iteration": 60}
    return made | other


def write(root: Path, made: dict[str, Any], iterations: int = 0, pictures: bool = False) -> Path:
    """A run's folder with a result, a config, and if asked for a log and pictures; gives back the folder."""
    folder = root / f"set-{made['fingerprint'][:8]}"
    folder /= f"{made['method']}-ipc{made['ipc']}-{made['model']}-seed{made['seed']}"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(made))
    names = [f"kind {i}" for i in range(CLASSES)]
    values = {
        "lr_img": {"value": 50, "origin": "default"},
        "width": {"value": 32, "origin": "flag"},
    }
    device = {"kind": "cpu", "cpus": 2, "backend": "cpu", "processor": "a chip"}
    config = {
        "values": values,
        "data": {"classes": names},
        "versions": {"jax": "0"},
        "device": device,
    }
    (folder / "config.json").write_text(json.dumps(config | {"git": "0" * 40}))
    rows: list[dict[str, Any]] = []
    for i in range(1, iterations + 1):
        rows.append({"phase": "distill", "iteration": i, "loss": 1 / i, "step_size": 0.01})
        if i % 20 == 0:
            score = {"accuracy": 0.5 + i / 1000, "balanced_accuracy": 0.4 + i / 1000}
            rows.append({"phase": "interim", "iteration": i, "split": "val", **score})
    (folder / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    if pictures:
        for name in ("gallery.png", "strip.png", "curves.png"):
            Image.new("RGB", (900, 600), (200, 220, 240)).save(folder / name)
    return folder


def hundred(root: Path) -> int:
    """A hundred runs and more: 8 sets x 3 ipc x 4 methods and all images; gives back how many."""
    count = 0
    rng = np.random.default_rng(0)
    for s in range(8):
        name = "bloodmnist" if s == 0 else f"set {s}"
        write(root, result("full", name, None, 0.9))
        for ipc in (1, 10, 50):
            for m, method in enumerate(("random", "dc", "dm", "mtt")):
                mean = 0.2 + 0.03 * s + 0.1 * np.log10(ipc) + 0.05 * m + rng.uniform(0, 0.05)
                write(root, result(method, name, ipc, float(mean)), 60 * (m > 0), m > 0)
        count += 13
    return count
