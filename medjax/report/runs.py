"""Finished runs below a folder."""

import contextlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from medjax.data.labels import UNNAMED
from medjax.errors import UserError
from medjax.recipes import describe
from medjax.result import Result
from medjax.result_file import read_json

#: Flags that say which run it was, not how it was done. (`method` is one of runs made before `dsa` was a recipe.)
NAMES = {"dataset", "out", "seed", "preset", "ipc", "method", "model", "select"}
NAMES |= {"eval_models", "data_dir", "fresh", "pack", "labels", "ranking", "integrate"}

#: In a run's folder, where the shadows of its audit are made (`medjax.audit`).
SHADOWS = "audit"


class Run(NamedTuple):
    """One finished run: its result file, and what config.json beside it holds ({} where there is none)."""

    path: Path
    result: Result
    config: dict[str, Any]

    @property
    def folder(self) -> Path | None:
        """Where its other files lie; None for a result that was copied away from them."""
        return self.path.parent if self.path.name == "result.json" else None

    def fact(self, name: str) -> dict[str, Any]:
        """A table of config.json, {} where it has none of that name."""
        found = self.config.get(name)
        return found if isinstance(found, dict) else {}

    @property
    def values(self) -> dict[str, Any]:
        """{flag: value} of the whole configuration."""
        return {k: v.get("value") for k, v in self.fact("values").items() if isinstance(v, dict)}

    @property
    def changed(self) -> str:
        """Flags that were given beside those that name the run, "lr_img=50 width=32", or nothing."""
        return self._given(NAMES)

    def _given(self, hidden: set[str]) -> str:
        given = {
            k: self.values[k] for k in (self.origin("flag") | self.origin("channels")) - hidden
        }
        return " ".join(f"{k}={v}" for k, v in sorted(given.items()))

    def origin(self, name: str) -> set[str]:
        """The flags whose values come from there (`medjax.pipeline.settings.Settings`)."""
        values = self.fact("values")
        return {k for k in self.values if values[k].get("origin") == name}

    @property
    def sized(self) -> bool:
        """Whether its images have another size than the usual one because of their channels. Tables say it as they say
        a flag."""
        return "size" in self.origin("channels")

    @property
    def how(self) -> str:
        """Preset, flags, the network among them, and whether the test split chose the iteration: "cpu lr_img=50",
        "paper select=test model=resnet18"."""
        return how_of(self.result.preset, self.result.select, self._given(NAMES - {"model"}))

    @property
    def minutes(self) -> float:
        """The time of all its phases."""
        return sum(self.result.seconds.values()) / 60

    @property
    def device(self) -> str:
        """ "cpu (2 cores, AMD EPYC AVX-512)", or nothing where no config.json says so."""
        device = self.fact("device")
        processor = f", {device['processor']}" if device.get("processor") else ""
        return f"{device.get('kind')} ({device.get('cpus')} cores{processor})" if device else ""

    @property
    def versions(self) -> str:
        """ "jax 0.10.2, commit 0123456", or nothing where no config.json says so."""
        versions = self.fact("versions")
        return f"jax {versions.get('jax')}, commit {self.commit or 'unknown'}" if versions else ""

    @property
    def commit(self) -> str:
        """ "0123456", or "0123456+dirty" where files were changed; nothing where no config.json says so."""
        name, dirty, _ = str(self.config.get("git", "")).partition("+dirty")
        return "" if name == "unknown" else name[:7] + dirty

    def class_names(self, k: int) -> list[str]:
        """The k class names as config.json has them; else "class 0" and so on."""
        names = self.fact("data").get("classes")
        if isinstance(names, list) and len(names) == k:
            return [str(n) for n in names]
        return [UNNAMED.format(i) for i in range(k)]

    @property
    def data_notes(self) -> list[str]:
        """What a reader should know of the data, as config.json has it."""
        notes = self.fact("data").get("notes")
        return [str(note) for note in notes] if isinstance(notes, list) else []

    @property
    def title(self) -> str:
        """'MTT on bloodmnist, 1 per class, seed 0'."""
        r = self.result
        size = "all images" if r.ipc is None else f"{r.size} per class"
        return f"{describe(r.kind).title} on {r.dataset}, {size}, seed {r.seed}"

    @property
    def provenance(self) -> str:
        """Settings, device, versions and revision, as far as config.json says, and the path."""
        r = self.result
        words = [f"{r.model}, preset {r.preset}"]
        words += [f"{r.evaluation['networks']} networks x {r.evaluation['epochs']} epochs"]
        if r.selected_iteration is not None:
            words += [f"iteration {r.selected_iteration} (select={r.select})"]
        words += [f"flags {self.changed}" if self.changed else "", self.device, self.versions]
        return "; ".join(filter(None, words)) + f". {self.path}"

    @property
    def settings(self) -> tuple[str, ...]:
        """What a repetition with another seed shares."""
        r = self.result
        trained = json.dumps(r.evaluation, sort_keys=True)
        return (r.preset, r.select or "", trained, self.changed)


def how_of(preset: str, select: str | None, flags: str) -> str:
    return " ".join(filter(None, (preset, "select=test" * (select == "test"), flags)))


def read_run(path: Path) -> Run:
    """One result file with the config.json beside it. Raises UserError, one line that names the file, where it is not
    a whole result."""
    path = path / "result.json" if path.is_dir() else path
    result, config = Result.read(path), None
    if path.name == "result.json":
        # A result is worth showing without it.
        with contextlib.suppress(OSError, ValueError, RecursionError):
            config = read_json(path.with_name("config.json"))
    return Run(path, result, config if isinstance(config, dict) else {})


def collect(root: Path) -> tuple[list[Run], list[str]]:
    """Every result.json below a folder and every other .json directly in it, as (runs, complaints). The shadows of an
    audit, in the folder audit/ of a run, are no runs of their own.

    complaints: "PATH: what is wrong", one for each file that is left out.
    """
    runs, complaints = [], []
    for path in sorted(set(root.rglob("result.json")) | set(root.glob("*.json"))):
        if SHADOWS in path.relative_to(root).parts:
            continue
        try:
            runs.append(read_run(path))
        except UserError as error:
            complaints.append(str(error))
    return runs, complaints
