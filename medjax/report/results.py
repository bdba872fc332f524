"""Finished runs, read back: every result below a folder, checked; runs that differ in their seed alone as one cell."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from medjax.report.soundness import ROWS, check

#: Methods that distil nothing.
REAL = ("random", "full")
#: What tables and figures call a method; others go by their own name.
TITLES = {
    "random": "random real",
    "dc": "DC",
    "dsa": "DSA",
    "dm": "DM",
    "mtt": "MTT",
    "full": "all images",
}
#: The order of methods in tables and legends; others come between, by name.
ORDER = {"random": 0, "dc": 1, "dsa": 2, "dm": 3, "mtt": 4, "full": 9}
#: Flags that say which run it was, not how it was done.
NAMES = {"dataset", "out", "seed", "preset", "ipc", "method", "model", "select"}
NAMES |= {"eval_models", "data_dir", "fresh"}


def titled(method: str) -> str:
    """What to call a method."""
    return TITLES.get(method, method)


class Entry(NamedTuple):
    """One finished run.

    path: of its result file. result, config: what result.json and config.json hold; config is {} where there is none.
    """

    path: Path
    result: dict[str, Any]
    config: dict[str, Any]

    @property
    def folder(self) -> Path:
        """Where its other files lie, if it came with them."""
        return self.path.parent

    @property
    def changed(self) -> str:
        """Flags that were given beside those that name the run: "lr_img=50 width=32", or nothing."""
        values = self.config.get("values")
        if not isinstance(values, dict):
            return ""
        given = {
            name: entry.get("value")
            for name, entry in values.items()
            if isinstance(entry, dict) and entry.get("origin") == "flag" and name not in NAMES
        }
        return " ".join(f"{name}={value}" for name, value in sorted(given.items()))

    @property
    def minutes(self) -> float:
        """What it took, over all its phases."""
        return sum(self.result["seconds"].values()) / 60

    @property
    def device(self) -> str:
        """What it was made on: "cpu (2 cores, AMD EPYC AVX-512)", or nothing where no config.json says so."""
        device = self.config.get("device")
        if not isinstance(device, dict):
            return ""
        processor = f", {device['processor']}" if device.get("processor") else ""
        return f"{device.get('kind')} ({device.get('cpus')} cores{processor})"

    @property
    def settings(self) -> tuple[str, ...]:
        """What a repetition with another seed shares."""
        r = self.result
        trained = json.dumps(r["evaluation"], sort_keys=True)
        return (r["preset"], str(r.get("select", "")), trained, self.changed)


class Cell(NamedTuple):
    """Runs of one method on one data set that differ in their seed alone; at least one."""

    dataset: str
    fingerprint: str
    ipc: int | None
    method: str
    model: str
    settings: tuple[str, ...]
    entries: tuple[Entry, ...]

    @property
    def how(self) -> str:
        """Preset and flags, and whether the test split chose the iteration: "cpu lr_img=50", "paper select=test"."""
        preset, select, _, changed = self.settings
        return " ".join(filter(None, (preset, "select=test" * (select == "test"), changed)))

    @property
    def networks(self) -> tuple[str, ...]:
        """Networks its sets were scored with: the one it was made with, and those of ``eval_models``."""
        others = {name for e in self.entries for name in e.result.get("eval_models") or {}}
        return (self.model, *sorted(others - {self.model}))

    def finite(self, network: str | None = None) -> int:
        """How many of its runs have an accuracy, under one network."""
        rows = [tables(e.result, network or self.model).get("test") for e in self.entries]
        return sum(bool(r) and r["accuracy"]["mean"] is not None for r in rows)

    def score(self, metric: str, row: str = "test", network: str | None = None) -> dict | None:
        """{mean, std, n} over all networks of all its runs, as fractions; None where no run has it."""
        rows = [tables(e.result, network or self.model).get(row) for e in self.entries]
        return pool([r[metric] for r in rows if r])


def tables(result: dict[str, Any], network: str) -> dict[str, Any]:
    """The part of a result that was scored with a network: {"test": ..., "test_uint8": ...}, or {}."""
    if network == result["model"]:
        return {name: result[name] for name in ROWS if result.get(name)}
    return (result.get("eval_models") or {}).get(network) or {}


def collect(root: Path) -> tuple[list[Entry], list[str]]:
    """Every result.json below a folder and every other .json directly in it, as (runs, complaints).

    complaints: "PATH: what is wrong", one for each file that is left out.
    """
    paths = set(root.rglob("result.json")) | set(root.glob("*.json"))
    entries, complaints = [], []
    for path in sorted(paths):
        entry = read(path)
        if isinstance(entry, str):
            complaints.append(f"{plain(str(path))}: {entry}")
        else:
            entries.append(entry)
    return entries, complaints


def read(path: Path) -> Entry | str:
    """One result file with the config.json beside it; or what is wrong with it."""
    try:
        result = _json(path)
    except (OSError, ValueError, RecursionError) as error:
        return f"cannot be read ({' '.join(str(error).split())[:80]})"
    if complaint := check(result):
        return complaint
    config: Any = {}
    if path.name == "result.json":
        try:
            config = _json(path.with_name("config.json"))
        except (OSError, ValueError, RecursionError):
            config = {}  # a result is worth showing without it
    return Entry(path, result, config if isinstance(config, dict) else {})


def _json(path: Path) -> Any:
    return _clean(json.loads(path.read_bytes()))


def _clean(value: Any) -> Any:
    """The same with every string one that can be written: names come from other people's files."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dict):
        return {plain(k): _clean(v) for k, v in value.items()}
    return [_clean(v) for v in value] if isinstance(value, list) else value


def plain(text: str) -> str:
    """Without control characters and halves of surrogate pairs."""
    return "".join(c if c.isprintable() else "?" for c in text)


def pool(scores: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Mean and (population) standard deviation over all networks of several runs, from each run's own; n networks."""
    known = [s for s in scores if s["mean"] is not None]
    if not known:
        return None
    n = sum(s["n"] for s in known)
    mean = sum(s["n"] * s["mean"] for s in known) / n
    square = sum(s["n"] * ((s["std"] or 0.0) ** 2 + s["mean"] ** 2) for s in known) / n
    return {"mean": mean, "std": math.sqrt(max(square - mean**2, 0.0)), "n": n}


def cells(entries: Iterable[Entry]) -> list[Cell]:
    """Runs by data set, IPC, method, network and settings, sorted.

    An evaluation of a saved set (`experiments.evaluate`) is no run of a method, so it is in no cell.
    """
    groups: dict[tuple, list[Entry]] = {}
    for entry in entries:
        r = entry.result
        if "select" in r:
            names = (r["dataset"], r["fingerprint"], r["ipc"], r["method"], r["model"])
            groups.setdefault((*names, entry.settings), []).append(entry)
    ordered = sorted(groups, key=lambda g: (*g[:2], g[2] or math.inf, ORDER.get(g[3], 5), *g[3:]))
    return [Cell(*g, entries=tuple(_once(groups[g]))) for g in ordered]


def _once(entries: list[Entry]) -> list[Entry]:
    """One run a seed: a copy of a result, kept beside its run, counts once."""
    by_seed = {e.result["seed"]: e for e in entries}
    return [by_seed[seed] for seed in sorted(by_seed)]


def baseline(
    cell: Cell, among: list[Cell], metric: str = "accuracy", network: str | None = None
) -> tuple[dict | None, str]:
    """The score of random real images to hold a distilled cell against, and which it is. network: under which both are
    scored, the cell's own by default; a gain across networks would be none.

    Runs of random selection of the same preset on the same set, IPC and network come first (other presets train
    networks otherwise); else the random images that the distillation began with (one subset a seed).
    """
    wanted = (cell.fingerprint, cell.ipc, network or cell.model, cell.settings[0])
    same = [
        c
        for c in among
        if c.method == "random" and (c.fingerprint, c.ipc, c.model, c.settings[0]) == wanted
    ]
    if same:
        return same[0].score(metric), "random selection"
    return cell.score(metric, "start", network), "the random images it began with"
