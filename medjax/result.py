"""The result of a run: what result.json holds, as one type that writes and reads it.

Keys of the file are the names of the fields. Scores are fractions in [0, 1]; one that is not defined is null.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import TypeAdapter, ValidationError

from medjax import result_file, store
from medjax.errors import UserError
from medjax.form import form
from medjax.guarantee import in_words
from medjax.paths import user_path
from medjax.ranking import Ranking
from medjax.result_file import Count, Fraction, Number
from medjax.score import HEADINGS, Score, Scores, percent
from medjax.table import Table

#: Rows of scores that a result may hold.
ROWS = ("test", "test_uint8", "start", "test_chosen_step", "test_one_subset", "test_selected")

_Row = Annotated[Scores, result_file.known(*Scores._fields)]
#: What tables call the rows of a distilled set, in their order.
DISTILLED = {
    "test": "distilled (float)",
    "test_uint8": "distilled (uint8, as shared)",
    "test_chosen_step": "distilled, step size chosen on val",
    "start": "start (random images)",
    "test_selected": "best evaluation on test (optimistic)",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkScores:
    """The scores under one network of ``eval_models``. step_size_from: "set" (the set's own), "val" or "test" (chosen
    there) or "flag" (given)."""

    test: _Row | None = None
    test_uint8: _Row | None = None
    start: _Row | None = None
    step_size: Number | None = None
    start_step_size: Number | None = None
    step_size_from: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Result:
    """What a run or an evaluation found. None (or empty) stands for what does not apply; such keys are not written.

    method, model, dataset, fingerprint, ipc, seed, preset: what was run; ipc is None for all images.
    expert_seed: of the experts, where it was given.
    pack: where each stored image holds pack x pack smaller ones (`medjax.packing`). stored, decoded: images in all, as
        they are stored (ipc of each class) and as networks see them. soft_labels, chosen_images: whether they have soft
        labels, and whether they are real images that a method chose.
    majority_share: test accuracy of always predicting the largest class. chance: balanced accuracy of guessing.
    evaluation: how networks were trained, {networks, epochs, ...}. seconds: {phase: seconds}.
    select, selected_iteration: how the iteration was chosen ("val", "last" or "test"), and which it is. An evaluation
        of a saved set chose nothing: its ``select`` is None.
    test: scores of the float images on the test split. test_uint8: of the 8-bit images. start: of random real images;
        under a guarantee, of what it began with. test_one_subset: of chosen real images, all networks on one subset.
        test_chosen_step: where the learned step size collapsed, at ``chosen_step_size``. test_selected: where the test
        split chose the iteration, the scores that it was chosen by: what the public code reports. subsets: of chosen
        real images, subsets in ``test``. ranking: DD-Ranking's scores.
    confusion: counts [true][predicted] of the networks of ``test``, summed. guarantee: see `medjax.guarantee`.
    eval_models: the scores under further networks. warnings: lines that a reader must see.
    other: keys of the file that this version does not know; they are written back.
    folder: where the file was read from or written to; not in the file.
    """

    method: str
    model: str
    dataset: str
    fingerprint: str
    ipc: result_file.Positive | None
    seed: Count
    expert_seed: Count | None = None
    preset: str
    pack: result_file.Positive | None = None
    stored: Count | None = None
    decoded: Count | None = None
    soft_labels: bool | None = None
    chosen_images: bool | None = None
    majority_share: Fraction
    chance: Fraction
    evaluation: result_file.Evaluation
    warnings: Sequence[str] = ()
    select: Literal["val", "last", "test"] | None = None
    selected_iteration: Count | None = None
    subsets: Count | None = None
    step_size: Number | None = None
    start_step_size: Number | None = None
    step_size_from: str | None = None
    test: _Row
    test_uint8: _Row | None = None
    start: _Row | None = None
    test_one_subset: _Row | None = None
    chosen_step_size: Number | None = None
    test_chosen_step: _Row | None = None
    test_selected: _Row | None = None
    confusion: result_file.Confusion | None = None
    guarantee: result_file.Guarantee | None = None
    ranking: Annotated[Ranking, result_file.known(*Ranking._fields)] | None = None
    eval_models: Mapping[str, NetworkScores] = dataclasses.field(default_factory=dict)
    seconds: Mapping[str, result_file.Seconds]
    other: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    folder: Path | None = dataclasses.field(default=None, compare=False)

    @classmethod
    def from_json(cls, value: Any, folder: Path | None = None) -> "Result":
        """From the JSON value of a result. Raises UserError, one line, where it is not a whole result."""
        if not isinstance(value, dict):
            raise UserError("not a result: no JSON object")
        names = {f.name for f in dataclasses.fields(cls)} - {"other", "folder"}
        known = {k: v for k, v in value.items() if k in names}
        other = {k: v for k, v in value.items() if k not in names}
        try:
            return _validator().validate_python(known | {"other": other, "folder": folder})
        except ValidationError as error:
            raise UserError(result_file.complaint(error)) from error

    @classmethod
    def read(cls, path: Path | str) -> "Result":
        """Read a result.json, or that of a run's folder. Raises UserError, one line that names the file, where it is
        not a whole result."""
        path = user_path(path)
        file = path / "result.json" if path.is_dir() else path
        try:
            return cls.from_json(result_file.read_json(file), file.parent)
        except (OSError, ValueError, RecursionError) as error:  # a UserError is a ValueError
            short = " ".join(str(error).split())[:80]
            reason = str(error) if isinstance(error, UserError) else f"cannot be read ({short})"
            raise UserError(f"{result_file.printable(str(file))}: {reason}") from error

    def to_json(self) -> dict[str, Any]:
        """The value that result.json holds: strict JSON, NaN as null."""
        made = vars(self) | {"other": None, "folder": None}
        there = {k: v for k, v in made.items() if v not in (None, {}) or k in ("ipc", "seconds")}
        return store.strict(_plain(there | dict(self.other)))

    def write(self, path: Path | str) -> "Result":
        """Replace the file in one step; returns the result with its folder. Raises ValueError where `read` would
        refuse it."""
        value = self.to_json()
        try:
            Result.from_json(value)
        except UserError as error:
            raise ValueError(f"not a result: {error}") from error
        store.write_json(Path(path), value)
        return dataclasses.replace(self, folder=Path(path).parent)

    def rows(self, network: str | None = None) -> dict[str, Scores]:
        """The rows of scores under one network (default: the result's own), {} where it was not scored with it."""
        return _rows(self if network in (None, self.model) else self.eval_models.get(network or ""))

    @property
    def kind(self) -> str:
        """The method as tables tell rows apart: "mtt", or "mtt, packed 2 x 2, CutMix"; see `medjax.form`."""
        return self.method + form(self.pack, self.soft_labels, self.evaluation, self.guarantee)

    @property
    def size(self) -> str:
        """Images per class: "all", "10", or "10 stored, 40 decoded"."""
        if self.ipc is None or self.pack in (None, 1):
            return "all" if self.ipc is None else str(self.ipc)
        return f"{self.ipc} stored, {self.ipc * self.pack**2} decoded"

    @property
    def labels(self) -> dict[str, str]:
        """What a table calls each row of scores that a result of this kind can have."""
        if self.test_uint8 or self.start:
            word = "chosen" if self.chosen_images else "distilled"
            named = {row: label.replace("distilled", word) for row, label in DISTILLED.items()}
            return named | ({"start": "start"} if self.guarantee else {})
        if self.ipc is None:
            return {"test": "all images"}
        each, one = "one subset per network", "the same subset for all networks"
        return {"test": f"{self.kind}, {each}", "test_one_subset": f"{self.kind}, {one}"}

    def table(self) -> Table:
        """A row for each set of images that networks were trained on: scores on the test split, in percent."""
        shared = self.labels["test_uint8" if self.test_uint8 else "test"]
        lines = _lines(self, self.labels)
        best = {(i, j) for i, line in enumerate(lines) if line[0] == shared for j in range(4)}
        sections = []
        for name, scored in self.eval_models.items():
            sections.append(len(lines))
            lines.append([f"by {name}, {_step_size(scored)}"])
            lines += _lines(scored, {row: f"  {label}" for row, label in DISTILLED.items()})
        about, head = f"{self.kind} on {self.dataset}: test scores in %", ["networks trained on"]
        head += HEADINGS.values()
        return Table(head, lines, about, self._notes(), best=best, sections=sections)

    def _notes(self) -> list[str]:
        """What was made, how it was measured, what to compare it with, and how long it took; one line each."""
        images = f"{self.size} image{'s' * (self.size != '1')} per class"
        size = "All images" if self.ipc is None else images
        trained = "{networks} networks x {epochs} epochs (mean ± std)".format_map(self.evaluation)
        if self.selected_iteration is not None:
            how = {"val": "chosen on val", "last": "the last one", "test": "chosen on test"}
            chosen = how.get(self.select or "", "chosen")
            trained += f"; iteration {self.selected_iteration}, {chosen}"
        notes = [f"{size}, {self.model}, preset {self.preset}, seed {self.seed}", trained]
        if self.selected_iteration is not None and self.select == "test":
            notes.append("select=test: the test split chose the iteration, which is optimistic")
        if self.ipc is None and self.select == "val":
            notes.append("The epoch of each network was chosen on val (AUC)")
        if self.step_size is not None:
            start = self.start_step_size
            notes.append(_step_size(self) + (f", of the start {start:.4g}" if start else ""))
        notes.append(
            f"Predicting the largest class: {percent(self.majority_share)} accuracy; "
            f"guessing: {percent(self.chance)} balanced accuracy"
        )
        notes += [in_words(self.guarantee)] if self.guarantee else []
        notes += [str(self.ranking)] if self.ranking else []
        seconds = ", ".join(f"{phase} {value:.0f}" for phase, value in self.seconds.items())
        return [*notes, f"Seconds: {seconds}"]

    def __repr__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html()


def _rows(scored: Result | NetworkScores | None) -> dict[str, Scores]:
    found = {row: getattr(scored, row, None) for row in ROWS}
    return {row: scores for row, scores in found.items() if scores}


def _lines(scored: Result | NetworkScores, labels: Mapping[str, str]) -> list[list[str]]:
    """Label and scores of the labelled rows that are there."""
    rows = _rows(scored)
    return [[label, *map(str, rows[row])] for row, label in labels.items() if row in rows]


@functools.cache
def _validator() -> Any:
    return TypeAdapter(Result)


def _plain(value: Any) -> Any:
    """Scores as mappings; what is None in those of a network is left out."""
    if isinstance(value, NetworkScores):
        return {k: _plain(v) for k, v in vars(value).items() if v is not None}
    if isinstance(value, Score | Scores | Ranking):
        return _plain(value._asdict())
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def _step_size(scored: Result | NetworkScores) -> str:
    """'step size 0.03 (chosen on val)'."""
    words = {"val": " (chosen on val)", "test": " (chosen on test)", "flag": " (given)"}
    where, size = words.get(scored.step_size_from or "", ""), scored.step_size
    return f"step size {'not known' if size is None else format(size, '.4g')}{where}"
