"""Random selection: a fresh subset and a fresh network each time, and both spreads are told."""

import io

import launching
import numpy as np
import pytest
from rich.console import Console

from medjax import evaluate, store
from medjax.data import sources
from medjax.pipeline import real
from medjax.pipeline.progress import Silent
from medjax.pipeline.resolve import settings
from medjax.pipeline.score import train_and_score
from medjax.pipeline.session import open_session, random_start
from medjax.recipes.random import RECIPE
from medjax.report.run_tables import print_result

SMALL = {"size": 4, "whiten": "normalise", "width": 4, "depth": 1, "ipc": 2, "networks": 3}
SHORT = {"eval_epochs": 2, "interim_networks": 1, "interim_epochs": 2, "preset": "quick"}


@pytest.fixture
def session(tmp_path):
    """On the tiny colour set."""
    chosen = settings("random", **SMALL, **SHORT)
    return open_session(
        chosen, sources.load(str(launching.tiny("rgb"))), tmp_path / "run", Silent()
    )


def test_every_subset_has_images_and_a_network_of_its_own(session, tmp_path, monkeypatch):
    """What is trained for the row over subsets: no two networks share images or weights, or the spread would be that
    of subsets alone; the first subset is the one that all networks see in the other row."""
    trained = []

    def watched(session, name, data, test, trainer, people, about):
        trained.append((name, data, trainer, people))
        return train_and_score(session, name, data, test, trainer, people, about)

    monkeypatch.setattr(real, "train_and_score", watched)
    monkeypatch.setattr(real, "choose_step_size", lambda *_: 0.01)
    returned = real.score_subsets(session, RECIPE, session.setup(), {})
    ((name, pool, trainer, people),) = trained
    assert name == "subsets" and people.rows.shape == (3, 6)
    images = np.asarray(pool.images)[people.rows]
    assert images.shape == (3, 6, 4, 4, 3)
    assert np.asarray(pool.labels)[people.rows].tolist() == [[0, 0, 1, 1, 2, 2]] * 3
    weights = np.asarray(evaluate.start_networks(trainer, people).params["linear_kernel"])
    for i in range(3):
        for j in range(i):
            assert not np.allclose(weights[i], weights[j], atol=1e-3)
            assert not np.array_equal(images[i], images[j])
    np.testing.assert_array_equal(images[0], random_start(session).images)

    result = store.read_json(session.folder / "result.json")
    assert returned.folder == session.folder and returned.to_json() == result
    tables = {p.stem: store.read_json(p) for p in session.folder.glob("evaluations/*.json")}
    accuracies = [row[0] for row in tables["subsets"]["scores"]]
    mean, std, n = (result["test"]["accuracy"][k] for k in ("mean", "std", "n"))
    assert (mean, n, result["subsets"]) == (pytest.approx(np.mean(accuracies)), 3, 3)
    assert std == pytest.approx(np.std(accuracies))
    assert len(tables["one-subset"]["scores"]) == result["test_one_subset"]["accuracy"]["n"] == 3
    said = io.StringIO()
    print_result(returned, {}, Console(file=said, width=100))
    for label in ("random, one subset per network", "random, the same subset for all networks"):
        (line,) = (text for text in said.getvalue().splitlines() if label in text)
        assert line.count("±") == 3
