"""The indicator: what it forecasts, how it judges itself, and what it says where it cannot do better than a mean."""

import json

import launching
import made
import numpy as np
import pytest
from PIL import Image

from medjax.cli.sweep.jobs import Job
from medjax.report.indicator import (
    IPCS,
    Known,
    forecast,
    nearest,
    own_sets,
    rule,
    sentences,
    study_sets,
)
from medjax.report.indicator_figure import indicator_figure
from medjax.report.run_cells import cells
from medjax.report.runs import collect

RANDOM = {1: 0.3, 10: 0.55, 50: 0.7}


def known(slope_matters: bool, count: int = 12) -> list[Known]:
    """Sets whose gain at IPC 50 follows the rise of random accuracy, or does not."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(count):
        low, rise = rng.uniform(0.1, 0.4), rng.uniform(0.1, 0.5)
        gain = 0.05 + (rise if slope_matters else 0.1 * rng.normal()) * 0.5
        random = {1: low, 10: low + rise / 2, 50: low + rise}
        found.append(Known(f"set {i}", "made up", random, {50: random[50] + gain}))
    return found


def test_left_one_out_errors_are_those_of_the_study():
    """Re-derived with plain least squares: at IPC 50 the mean gain is not beaten, the mean accuracy is."""
    sets = study_sets()
    found = forecast(RANDOM, sets, 50)
    gains = np.array([k.distilled[50] - k.random[50] for k in sets])
    rise = np.array([k.random[50] - k.random[1] for k in sets])
    by_mean, by_line = [], []
    for i in range(8):
        keep = np.arange(8) != i
        by_mean.append(gains[i] - gains[keep].mean())
        design = np.stack([np.ones(7), rise[keep]], 1)
        w = np.linalg.lstsq(design, gains[keep], rcond=None)[0]
        by_line.append(gains[i] - w[0] - w[1] * rise[i])
    assert found.error_mean == pytest.approx(np.sqrt(np.mean(np.square(by_mean))))
    assert found.error_slope == pytest.approx(np.sqrt(np.mean(np.square(by_line))))
    assert found.how == "mean" and found.gain == pytest.approx(gains.mean())
    assert found.error < found.accuracy_error_mean
    assert found.high - found.gain == pytest.approx(np.abs(by_mean).max()), (
        "8 sets: the largest error"
    )
    first, second = sentences("my set", found, sets, RANDOM)
    assert "does not beat it" in second and "8 sets" in second and "ResNet-18" in second
    assert "nearest known sets are" in first and "70 %" in first
    assert first.count(". ") == second.count(". ") == 0, "a sentence each"


def test_a_rise_that_foretells_the_gain_is_used():
    """And its interval holds what it should: four fifths of new sets."""
    sets = known(slope_matters=True)
    found = forecast(RANDOM, sets, 50)
    assert found.how == "slope"
    assert found.gain == pytest.approx(0.05 + 0.4 * 0.5)
    assert "chosen on the same sets" in sentences("x", found, sets, RANDOM)[1]
    noise = known(slope_matters=False, count=60)
    inside = [
        made.low <= one.gain(50) <= made.high
        for i, one in enumerate(noise)
        if (made := forecast(one.random, noise[:i] + noise[i + 1 :], 50))
    ]
    assert 0.7 <= np.mean(inside) <= 0.95


def test_forecasts_stay_fractions_and_figure_is_drawn(tmp_path):
    """An easy set is not forecast above 100 %; the figure is PNG and SVG; a hostile name is text."""
    easy = {1: 0.9, 10: 0.97, 50: 0.99}
    sets = study_sets()
    made = [forecast(easy, sets, i) for i in IPCS]
    assert all(0 <= value <= 1 for one in made for value in one.accuracy)
    assert all(one.random + one.possible[2] <= 1 + 1e-9 for one in made)
    said = sentences("easy", made[-1], sets, easy)
    assert "+1)" in said[0], "no gain past 100 %"
    assert "gains nothing is off by 8" in said[1] and "do not choose" in said[1]
    indicator_figure(tmp_path / "i", "<script> $x_1$", easy, made, sets)
    assert "<script" not in (tmp_path / "i.svg").read_text()
    with Image.open(tmp_path / "i.png") as image:
        assert min(image.size) > 300


def test_neighbours_and_results_at_hand(tmp_path):
    """The nearest is the set itself; own runs count once they have random images at every IPC, the asked set never."""
    sets = study_sets()
    assert nearest(sets[3].random, sets)[0] == sets[3]
    for name in ("a", "b"):
        for ipc in IPCS if name == "a" else (1,):
            made.write(tmp_path, made.result("random", name, ipc, 0.3))
        made.write(tmp_path, made.result("mtt", name, 50, 0.6))
    finished = cells(collect(tmp_path)[0])
    (own,) = own_sets(finished, "another")
    assert own.name == "a" and own.gain(50) == pytest.approx(0.3)
    fingerprint = made.result("mtt", "a", 1, 0.5)["fingerprint"]
    assert own_sets(finished, fingerprint) == []
    pays = rule(finished, fingerprint, {50: 0.3})
    assert "60.0 %" in pays and "pays" in pays
    assert "may not work well" in rule(finished, fingerprint, {50: 0.7})
    assert "there is none" in rule([], fingerprint, {50: 0.7})


def test_command(tmp_path, monkeypatch):
    """Random images are trained by jobs that are done already: two sentences, the rule and a figure."""
    for ipc in IPCS:
        folder = made.write(tmp_path, made.result("random", "cells", ipc, 0.3 + ipc / 200))
        job = Job("cells.npz", ipc, "random", "convnet", 0, "indicator")
        record = {"status": "done", "result": str((folder / "result.json").relative_to(tmp_path))}
        (tmp_path / "jobs").mkdir(exist_ok=True)
        (tmp_path / "jobs" / f"{job.name}.json").write_text(json.dumps(record))
    words = ("--dataset=cells.npz", f"--out={tmp_path}")
    ended = launching.SERVER.run("experiments.indicator", *words)
    assert ended.status == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert len(lines) == 4 and lines[0].startswith("At 50 images per class, MTT on cells")
    assert len(list(tmp_path.glob("indicator-cells-*.*"))) == 2


def test_a_set_that_cannot_be_read_is_one_line(tmp_path):
    """The launcher's own complaint, and where it said more."""
    words = ("--dataset=/nowhere/x.npz", f"--out={tmp_path}")
    ended = launching.SERVER.run("experiments.indicator", *words)
    assert ended.status == 2 and "no such file" in ended.stderr.splitlines()[-1]
