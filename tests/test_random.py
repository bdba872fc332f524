"""Random selection: a fresh subset and a fresh network each time, and both spreads are told."""

import io

import launching
import numpy as np
import pytest
from absl import flags as absl_flags
from configs.selection import PRESETS
from experiments.display import make_progress
from experiments.eval_stage import train_and_score
from experiments.flags import define, resolve
from experiments.session import load, open_session, random_start
from rich.console import Console

from experiments import selection
from medjax import evaluate, store
from medjax.report.run_tables import print_result
from medjax.result import Result

SMALL = ("--size=4", "--whiten=normalise", "--width=4", "--depth=1", "--ipc=2", "--networks=3")
SHORT = ("--eval_epochs=2", "--interim_networks=1", "--interim_epochs=2", "--preset=quick")


@pytest.fixture
def session(tmp_path):
    """On the tiny colour set."""
    known = set(absl_flags.FLAGS)
    define(*selection.GROUPS)
    try:
        place = (f"--dataset={launching.tiny('rgb')}", f"--out={tmp_path}")
        absl_flags.FLAGS(["command", *place, *SMALL, *SHORT])
        settings = resolve(selection.GROUPS, PRESETS)
    finally:
        for name in set(absl_flags.FLAGS) - known:
            delattr(absl_flags.FLAGS, name)
        absl_flags.FLAGS.unparse_flags()
    console = Console(quiet=True)
    return open_session(settings, load(settings, console), console, make_progress(console))


def test_every_subset_has_images_and_a_network_of_its_own(session, tmp_path, monkeypatch):
    """What is trained for the row over subsets: no two networks share images or weights, or the spread would be that
    of subsets alone; the first subset is the one that all networks see in the other row."""
    trained = []

    def watched(session, folder, name, data, real, trainer, people, about):
        trained.append((name, data, trainer, people))
        return train_and_score(session, folder, name, data, real, trainer, people, about)

    monkeypatch.setattr(selection, "train_and_score", watched)
    monkeypatch.setattr(selection, "choose_step_size", lambda *_: 0.01)
    selection.evaluate_subsets(session, tmp_path)
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

    result = store.read_json(tmp_path / "result.json")
    tables = {p.stem: store.read_json(p) for p in (tmp_path / "evaluations").glob("*.json")}
    accuracies = [row[0] for row in tables["subsets"]["scores"]]
    mean, std, n = (result["test"]["accuracy"][k] for k in ("mean", "std", "n"))
    assert (mean, n, result["subsets"]) == (pytest.approx(np.mean(accuracies)), 3, 3)
    assert std == pytest.approx(np.std(accuracies))
    assert len(tables["one-subset"]["scores"]) == result["test_one_subset"]["accuracy"]["n"] == 3
    said = io.StringIO()
    print_result(Result.from_json(result), {}, Console(file=said, width=100))
    for label in ("random, one subset per network", "the same subset for all networks"):
        (line,) = (text for text in said.getvalue().splitlines() if label in text)
        assert line.count("±") == 3
