"""The folders of runs: what they are called, who may work in them, and what config.json says."""

import contextlib
import dataclasses
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medjax import locks, provenance, store
from medjax.errors import UserError
from medjax.guarantee import WITHHELD
from medjax.paths import PATTERN
from medjax.pipeline.progress import Progress
from medjax.pipeline.settings import SETS, UNNAMED, Settings, fields
from medjax.types import RawDataset


def home(out: Path, raw: RawDataset) -> Path:
    """Below ``out``, the folder of everything that is made from one data set."""
    name = re.sub(rf"[{re.escape(PATTERN)}/]", "_", raw.name)
    return out / f"{name}-{raw.fingerprint[:8]}"


def run_folder(out: Path, raw: RawDataset, method: str, settings: Settings) -> Path:
    """The folder of one run: equal settings, equal folder."""
    run = settings.run
    size = [f"ipc{settings.ipc}"] if settings.ipc else []
    name = [method, *size, run.preset, f"seed{run.seed}", store.config_hash(settings.identity())]
    return home(out, raw) / "-".join(name)


def made_from(folder: Path, fingerprint: str, raw: RawDataset) -> bool:
    """Whether the run in a folder was made from these images. fingerprint: of its result. Where that is withheld, the
    folder of its data, which stays at home, says it."""
    if fingerprint == WITHHELD:
        return folder.resolve().parent.name == home(folder, raw).name
    return fingerprint == raw.fingerprint


def changed(config: Any) -> dict[str, Any]:
    """The values of a dataclass of options that differ from their defaults."""
    defaults = {field.name: field.default for field in fields(type(config))}
    return {k: v for k, v in dataclasses.asdict(config).items() if v != defaults[k]}


@contextlib.contextmanager
def hold(folder: Path, progress: Progress, wait: bool = False) -> Iterator[None]:
    """Work in ``folder`` alone, and remove what a killed process left half written there. wait: as in `locks.locked`,
    which tells ``progress``."""
    with locks.locked(folder, wait, lambda line: progress.say(f"note: {line}")):
        store.remove_unfinished(folder)
        yield


def clear(folder: Path) -> None:
    """Empty a folder, its result first: a folder that is emptied half way must not pass for a finished run."""
    if not folder.exists():
        return
    with locks.locked(folder):
        for path in sorted(folder.iterdir(), key=lambda path: path.name != "result.json"):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink()


def write_config(folder: Path, raw: RawDataset, settings: Settings) -> None:
    """config.json: every value and where it came from, versions, device, data."""
    origin = settings.origin
    values = {k: {"value": v, "origin": origin[k]} for k, v in settings.values().items()}
    sizes = {n: len(getattr(raw, n).labels) for n in ("train", "val", "test")}
    sizes = {
        n: size for n, size in sizes.items() if size
    }  # none of a training split that is withheld
    data = {"name": raw.name, "fingerprint": raw.fingerprint, "classes": raw.class_names, **sizes}
    data["notes"] = raw.notes
    config = {"command": sys.argv, "values": values, "data": data, **provenance.environment()}
    store.write_json(folder / "config.json", config)


def check(folder: Path, raw: RawDataset, settings: Settings) -> None:
    """UserError if a folder holds a run of other settings or data (a version with other defaults made it)."""
    kept = store.read_json(folder / "config.json")
    try:
        there = _meaning(kept["values"], settings)
        there["data"] = kept["data"]["fingerprint"]
    except (TypeError, KeyError, AttributeError):  # no config, or damaged: it is written again
        return
    here = settings.values() | {"data": raw.fingerprint}
    names = sorted((set(here) | set(there)) - {*UNNAMED, *SETS})
    shown = [
        f"{n} {there.get(n)} there, {here.get(n)} here"
        for n in names
        if there.get(n) != here.get(n)
    ]
    if shown:
        raise UserError(
            f"{folder} is of another configuration ({'; '.join(shown)}): choose another --out, or --fresh to begin anew"
        )


def _meaning(kept: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The values of a config.json; options that the file does not know are at their defaults there, and options that
    no longer exist count only where they were not at theirs."""
    known = {field.name: field.default for field in fields(*settings.groups)}
    values = {n: e["value"] for n, e in kept.items() if n in known or e["origin"] != "default"}
    return known | values
