"""The scores on a dataset card: those of the run, of the set as received, and the recall of each class."""

import dataclasses
from typing import Any

import numpy as np

from medjax.bundle.finished import FinishedRun
from medjax.bundle.images import Images
from medjax.bundle.received import Received
from medjax.result import DISTILLED
from medjax.score import percent
from medjax.table import DASH, Table

#: What rows of the run's own set are called where it is left out: nobody can repeat them with the bundle.
AT_HOME = {
    DISTILLED["test"]: "at home: as distilled (float)",
    DISTILLED["test_uint8"]: "at home: its 8-bit images, with its preprocessing",
}


def scores(run: FinishedRun, got: Received) -> Table:
    """The row of the set as received, where it was measured, and the rows of the run's result."""
    table = run.result.table()
    rows = list(table.rows)
    if not got.exact:
        rows = [[AT_HOME.get(row[0].strip(), row[0]), *row[1:]] for row in rows]
    first = []
    if got.result is not None:
        first = [["as received (8-bit, mean and std)", *map(str, got.result.test)]]
    sections = {i + len(first) for i in table.sections}
    return dataclasses.replace(
        table, rows=first + rows, sections=sections, title="", best=frozenset()
    )


def scores_words(got: Received) -> str:
    """What the rows are."""
    if got.result is None:
        return (
            "Scores as received, of networks trained on the 8-bit images without the whitening of the run, were not"
            " measured: the source was not at hand."
        )
    left_out = " The other rows are of the run's own set, which is not in this bundle." * (
        not got.exact
    )
    return (
        f"As received: {got.config.networks} networks trained on the 8-bit images, normalised by mean and standard"
        f" deviation, at a step size that was chosen on val ({got.result.step_size:.4g}).{left_out}"
    )


def recall(run: FinishedRun, images: Images, got: Received) -> Table:
    """The recall of each class, on the exact set and as received."""
    columns = [_recalls(run.result.confusion), _recalls(got.result and got.result.confusion)]
    rows = [
        [name, str(count), *(percent(c[i]) if i < len(c) else DASH for c in columns)]
        for i, (name, count) in enumerate(
            zip(
                images.class_names,
                np.bincount(images.labels, minlength=len(images.class_names)),
                strict=True,
            )
        )
    ]
    whole = "exact" if got.exact else "as distilled, at home"
    return Table(("class", "images here", whole, "as received"), rows)


def _recalls(confusion: Any) -> list[float | None]:
    counts = np.array(confusion or np.zeros((0, 0)))
    return [row[i] / row.sum() if row.sum() else None for i, row in enumerate(counts)]
