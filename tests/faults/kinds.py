"""Sound files of every kind that medjax reads, and what reads them."""

import csv
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import made
import numpy as np
from absl import logging
from rich.console import Console

from medjax import share, store
from medjax.cli.sweep import jobs
from medjax.cli.tabulate import main as tabulate
from medjax.data import preprocess, sources
from medjax.data.folder import read_folder
from medjax.data.raw import fingerprint
from medjax.errors import UserError
from medjax.models import ConvNetConfig
from medjax.pipeline import folders
from medjax.pipeline.experts import _check_preprocessing
from medjax.pipeline.health import health
from medjax.pipeline.progress import Silent
from medjax.pipeline.run import read_finished
from medjax.pipeline.score import confused, read_table
from medjax.pipeline.settings import IpcConfig, RunConfig, Settings
from medjax.report import table1
from medjax.report.curves import column, last_of_each
from medjax.report.run_cells import cells
from medjax.report.run_tables import print_result
from medjax.report.runs import collect
from medjax.types import RawDataset, RawSplit, Synthetic

LIKE = {"a": np.zeros((40, 5), np.float32), "n": np.zeros((), np.int32)}
JOB = jobs.Job("tiny", 1, "mtt", "convnet", 0, "cpu")


def npz(**arrays) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def tiny_raw() -> RawDataset:
    rng = np.random.default_rng(0)
    splits = [
        RawSplit(
            rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8), np.arange(n, dtype=np.int32) % 3
        )
        for n in (12, 6, 6)
    ]
    return RawDataset("tiny", ("a", "b", "c"), *splits, fingerprint(*splits))


def dataset_bytes() -> bytes:
    raw, arrays = tiny_raw(), {"class_names": np.array(["a", "b", "c"])}
    for name in ("train", "val", "test"):
        arrays[f"{name}_images"] = getattr(raw, name).images
        arrays[f"{name}_labels"] = getattr(raw, name).labels
    return npz(**arrays)


def synthetic_bytes() -> bytes:
    import jax.numpy as jnp

    pre = preprocess.fit(preprocess.PreprocessConfig(size=4), tiny_raw().train.images)
    made = Synthetic(jnp.zeros((3, 4, 4, 3)), jnp.arange(3, dtype=jnp.int32), jnp.float32(0.01))
    with tempfile.TemporaryDirectory() as folder:
        network = ("convnet", ConvNetConfig(depth=1))
        share.save_set(
            Path(folder) / "s.npz", made, pre, ("a", "b", "c"), network=network, method="mtt"
        )
        return (Path(folder) / "s.npz").read_bytes()


def config_json() -> Any:
    values = {name: {"value": 1, "origin": "flag"} for name in ("ipc", "seed", "model")}
    return {"values": values, "data": {"fingerprint": "0"}, "preprocess": {"mean": 1.0}}


def load_config(path: Path) -> None:
    """What is done with an earlier config.json: of a run, and of experts."""
    asked = Settings({RunConfig: RunConfig(), IpcConfig: IpcConfig()}, {})
    _check_preprocessing(path.parent, {"whiten": "zca", "mean": 1.0})
    folders.check(path.parent, tiny_raw(), asked)


def result_json() -> Any:
    other = {"test": made.row(0.6), "test_uint8": made.row(0.5), "start": made.row(0.3)}
    other |= {"step_size": 0.01, "start_step_size": 0.03, "step_size_from": "val"}
    more = {"step_size": 0.01, "start_step_size": 0.1, "eval_models": {"mlp": other}}
    return made.result("mtt", "tiny", 1, 0.7, **more)


def load_result(path: Path) -> bool:
    """What is done with a result.json: by its own run, by tables, and by reports."""
    console = Console(file=io.StringIO(), width=100, markup=False)
    if result := read_finished(path.parent, Silent()):
        print_result(result, {"result": str(path)}, console)
        result._repr_html_()
        tabulate([str(path)])
    else:
        try:
            tabulate([str(path)])
        except UserError as error:
            assert "\n" not in str(error)
        else:
            raise AssertionError("a table of what is no result")
    runs, _ = collect(path.parent)
    found = cells(runs)
    table1.files(found, [], [1])
    for cell in found:
        for network in cell.networks:
            cell.score("auc", "test_uint8", network)
    return bool(runs)


def table_json() -> Any:
    scores = [[0.5, 0.4, None], [0.6, 0.5, 0.7]]
    confusion = [[[3, 1], [0, 4]], [[2, 2], [1, 3]]]
    return {"step_sizes": [0.1], "networks": 2, "scores": scores, "confusion": confusion}


def load_table(path: Path) -> bool:
    """A finished evaluation; what cannot be read is evaluated again."""
    if read_table(path):
        confused(path.parent.parent, path.stem)
    return read_table(path) is not None


def log_json() -> Any:
    distil = {"phase": "distill", "loss": 0.5, "step_size": 0.01, "displacement": 0.4, "skipped": 0}
    interim = {"phase": "interim", "split": "val", "accuracy": 0.5, "balanced_accuracy": 0.4}
    seconds = {"iteration": 1, "seconds": 2.0, "time": 1795470301.309}
    return [distil | seconds, distil | seconds | {"iteration": 2}, interim | {"iteration": 2}]


def load_log(path: Path) -> bool:
    """What a run reads of its log; a row that is not as it was written is left out."""
    found = store.read_log(path)
    health(found, 2, 0.01)
    store.phase_seconds(found, "distill")
    for phase in ("distill", "interim"):
        column(last_of_each(found, phase), "loss")
    return len(found) == 3


def lines(rows: Any) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def job_json() -> Any:
    return {"status": "done", "result": f"jobs/{JOB.name}.json", "reason": "", "seconds": 1.0}


def load_job(path: Path) -> bool:
    """What a sweep knows of a job."""
    known = jobs.state(path.parent.parent, JOB) or {"status": "to do"}
    assert known["status"] in ("done", "failed", "to do")
    return known["status"] != "to do"


def groups_csv() -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows([("file", "patient"), *((f"a/{i}.png", i // 2) for i in range(4))])
    return out.getvalue().encode()


def checkpoint(folder: Path) -> None:
    """A sound save, as a folder of files."""
    arrays = {"a": np.arange(200, dtype=np.float32).reshape(40, 5), "n": np.int32(7)}
    store.save_tree(folder / "00000001", arrays)


def load_checkpoint(path: Path) -> bool:
    """A save is what it was, or is passed over."""
    logging.set_verbosity(logging.ERROR)
    said: list[str] = []
    found = store.load_latest(path, LIKE, said.append)
    assert (found is None) == (len(said) == 1), said
    if found:
        assert found[1]["n"] == 7 and (found[1]["a"].ravel() == np.arange(200)).all()
    return found is not None


def load_images(path: Path) -> None:
    read_folder(path, 4)


#: kind -> (what makes the sound content, where it lies, what reads it, how a value becomes bytes).
Made = tuple[Any, str, Any, Any]
FILES: dict[str, Made] = {
    "npz": (dataset_bytes, "x.npz", lambda p: sources.load(str(p)), None),
    "synthetic": (synthetic_bytes, "s.npz", lambda p: share.as_shared(share.load_set(p)), None),
}
VALUES: dict[str, Made] = {
    "config": (config_json, "config.json", load_config, None),
    "result": (result_json, "result.json", load_result, None),
    "evaluation": (table_json, "evaluations/test.json", load_table, None),
    "log": (log_json, "log.jsonl", load_log, lines),
    "job": (job_json, f"jobs/{JOB.name}.json", load_job, None),
}
