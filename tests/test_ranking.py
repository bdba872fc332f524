"""DD-Ranking's scores: by hand, beside a finished run, after a kill, and what is no upper bound."""

import json
import math
import shutil

import launching
import made
import pytest
from jitter import Jitter

import medjax
from medjax import cost, recipes
from medjax.pipeline import forecast, rank, real, score
from medjax.pipeline.progress import Silent
from medjax.pipeline.run import read_finished
from medjax.ranking import ranking
from medjax.report.overview import write_report
from medjax.result import Result

TINY = {"preset": "quick", "width": 4, "depth": 1, "size": 8}
VALUES = TINY | {"networks": 2, "eval_epochs": 3, "interim_networks": 1, "interim_epochs": 2}
VALUES |= {"iterations": 2, "eval_every": 2, "batch_real": 4, "ipc": 1, "augment": "none"}


def test_scores_by_hand():
    """HLR 0.1 and IOR 0.3: a = 0.1 and (1.105171 - 0.367879) / 2.350402; the gains 0.3 and 0.1: a = 0.2."""
    found = ranking(0.9, "full", (0.8, 0.7), (0.5, 0.6), augmented=True)
    assert (found.lrs, found.ars) == (
        pytest.approx(31.3688, abs=1e-3),
        pytest.approx(36.3140, abs=1e-3),
    )
    assert (found.hlr, found.ior) == (pytest.approx(0.1), pytest.approx(0.3))
    assert (found.ior_augmented, found.ior_plain) == (pytest.approx(0.3), pytest.approx(0.1))
    assert (found.real, found.full) == (0.9, "full")
    plain = ranking(0.9, "full", (0.8, 0.7), (0.5, 0.6), augmented=False)
    assert (plain.lrs, plain.ars, plain.ior) == (found.lrs, found.ars, found.ior)
    assert (plain.ior_augmented, plain.ior_plain) == (found.ior_plain, found.ior_augmented)
    # Nothing gained, nothing lost: a = 0. The ends: nothing recognised where random images say all, and the reverse.
    middle = 100 * (1 - math.exp(-1)) / (math.e - math.exp(-1))
    assert ranking(0.5, "", (0.5, 0.5), (0.5, 0.5), True).lrs == pytest.approx(middle)
    lowest = ranking(1.0, "", (0.0, 0.0), (1.0, 1.0), True)
    assert (lowest.lrs, lowest.ars) == (pytest.approx(0), pytest.approx(0))
    assert ranking(0.0, "", (1.0, 1.0), (0.0, 0.0), True).lrs == pytest.approx(100)


def test_networks_without_numbers():
    """What they have part in is not defined, the rest is; the line has a dash."""
    found = ranking(0.9, "full", (0.8, None), (0.5, 0.6), augmented=True)
    assert found.lrs and (found.ars, found.ior_plain) == (None, None)
    assert "ARS –" in str(found) and "– without" in str(found)
    assert ranking(0.9, "full", (None, 0.7), (0.5, 0.6), augmented=True)[:4] == (None,) * 4


def test_a_result_keeps_them(tmp_path):
    """Written, read, shown in the table's notes and on the page; values that cannot be are refused."""
    own = ranking(0.9, "full-cpu", (0.5, 0.5), (0.3, 0.35), augmented=True)
    value = made.result("mtt", "a", 1, 0.5, ranking=dict(own._asdict()))
    found = Result.from_json(value)
    assert found.ranking == own and found.to_json() == value
    assert found.to_json() | {"ranking": own._asdict() | {"later": 1}} != value
    assert Result.from_json(value | {"ranking": own._asdict() | {"later": 1}}) == found
    line = f"DD-Ranking: LRS {own.lrs:.1f}, ARS {own.ars:.1f} (all images 90.0; over random images +20.0 points"
    assert line in repr(found).replace("\n", " ")
    made.write(tmp_path / "runs", value)
    page, _, _ = write_report(tmp_path / "runs", tmp_path / "page")
    assert line in page.read_text()
    for change in (
        {"lrs": 101},
        {"hlr": -2},
        {"real": None},
        {"full": 3},
        {"ars": "12"},
        {"lrs": -1},
    ):
        with pytest.raises(medjax.UserError, match="ranking"):
            Result.from_json(value | {"ranking": own._asdict() | change})


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a run of `full`, and with one of DM that was not ranked: (folder, run of full, run of DM).
    Evaluated networks are augmented by something quick."""
    folder = tmp_path_factory.mktemp("ranked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "matrix_rate", lambda: 1e10)
        for module in (real, score):
            patch.setattr(module, "augment", Jitter())
        settings = medjax.settings("full", dataset=launching.tiny("rgb"), **TINY)
        full = medjax.run("full", settings, folder)
        yield folder, full, run(folder)


def run(folder, **more):
    """DM on the same images."""
    return medjax.run(
        "dm", medjax.settings("dm", dataset=launching.tiny("rgb"), **VALUES | more), folder
    )


def test_scores_are_added_to_a_finished_run(home, tmp_path):
    """Nothing is distilled or evaluated again but the two rows without augmentation; the run keeps its name. The same
    numbers come out where the scores are asked for from the start, after a kill in the middle too."""
    folder, full, plain = home
    assert plain.ranking is None and "ranking" not in plain.to_json()
    before = launching.contents(plain.folder)
    found = run(folder, ranking=str(full.folder))
    assert found.folder == plain.folder
    after = launching.contents(plain.folder)
    names = {str(plain.folder / name) for name in ("result.json", "log.jsonl", "lock")}
    assert all(after[name] == before[name] for name in before if name not in names)
    added = {name.rsplit("/", 1)[-1] for name in set(after) - set(before)}
    assert added - {"lock"} == {"test-plain.json", "start-plain.json"}

    known = found.ranking
    assert (known.real, known.full) == (full.test.accuracy.mean, full.folder.name)
    ior = plain.test.accuracy.mean - plain.start.accuracy.mean
    means = [_accuracy(plain.folder, f"{row}-plain") for row in ("test", "start")]
    assert (known.ior, known.ior_augmented) == (pytest.approx(ior), pytest.approx(ior))
    assert known.ior_plain == pytest.approx(means[0] - means[1])
    assert known.hlr == pytest.approx(known.real - plain.test.accuracy.mean)
    rest = {k: v for k, v in found.to_json().items() if k not in ("ranking", "seconds")}
    assert rest == {k: v for k, v in plain.to_json().items() if k != "seconds"}

    mtime = (plain.folder / "result.json").stat().st_mtime_ns
    assert run(folder, ranking=str(full.folder / "result.json")) == found
    assert run(folder) == found, "what is there stays where it is not asked for"
    assert (plain.folder / "result.json").stat().st_mtime_ns == mtime


def _accuracy(folder, name):
    rows = json.loads((folder / "evaluations" / f"{name}.json").read_text())["scores"]
    return sum(row[0] for row in rows) / len(rows)


def test_a_kill_before_the_last_evaluation(home, tmp_path, monkeypatch):
    """The result without the scores is there already; the same command adds them."""
    folder, full, _ = home
    ended = run(folder, ranking=str(full.folder)).to_json()
    score, bound = rank.final_scores, str(full.folder)

    def dying(session, name, *more):
        if name == "start-plain":
            raise KeyboardInterrupt
        return score(session, name, *more)

    with monkeypatch.context() as patch:
        patch.setattr(rank, "final_scores", dying)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, ranking=bound)
    (path,) = tmp_path.glob("*/dm-*")
    assert read_finished(path, Silent()).ranking is None
    again = run(tmp_path, ranking=bound).to_json()
    assert {k: v for k, v in again.items() if k != "seconds"} == {
        k: v for k, v in ended.items() if k != "seconds"
    }


def test_another_upper_bound_takes_the_place_of_the_first(home, tmp_path):
    """The scores are of the run that is named; its evaluations are not made again."""
    folder, full, _ = home
    first = run(folder, ranking=str(full.folder))
    other = tmp_path / "full-longer"
    shutil.copytree(full.folder, other)
    value = json.loads((other / "result.json").read_text())
    value["test"]["accuracy"]["mean"] = 0.99
    (other / "result.json").write_text(json.dumps(value))
    second = run(folder, ranking=str(other))
    assert (second.ranking.real, second.ranking.full) == (0.99, "full-longer")
    assert second.ranking.lrs != first.ranking.lrs and second.ranking.ars == first.ranking.ars
    assert run(folder, ranking=str(full.folder)).ranking == first.ranking


def test_what_is_no_upper_bound(home, tmp_path):
    """One line that names the flag and what is wrong, before anything is computed."""
    folder, full, dm = home

    def changed(name, config=None, **values):
        path = tmp_path / name
        shutil.copytree(full.folder, path)
        value = json.loads((path / "result.json").read_text()) | values
        (path / "result.json").write_text(json.dumps(value))
        if config:
            kept = json.loads((path / "config.json").read_text())
            kept["values"] |= {k: {"value": v, "origin": "flag"} for k, v in config.items()}
            (path / "config.json").write_text(json.dumps(kept))
        return path

    nothing = {
        k: {"mean": None, "std": None, "n": 1} for k in ("accuracy", "balanced_accuracy", "auc")
    }
    for path, words in (
        (tmp_path / "none", r"result\.json|none"),
        (tmp_path, "cannot be read"),
        (tmp_path / ("x" * 300), "name too long"),
        (dm.folder, "it is a run of dm"),
        (changed("space", {"whiten": "half"}), "its images have --whiten=half, here they have"),
        (
            changed("data", fingerprint="0" * 16),
            "with fingerprint 0000000000000000, here they are cells",
        ),
        (changed("network", model="resnet18"), "its network is resnet18, here it is convnet"),
        (changed("large", {"size": 9}), "its images have --size=9, here they have --size=8"),
        (changed("wide", {"width": 9}), r"another convnet \(--width=9 there, 4 here\)"),
        (changed("odd", {"width": "w"}), "--width='w' is not a whole number"),
        (changed("diverged", test=nothing), "did not end in numbers"),
        (changed("half", test={}), "not a whole result"),
    ):
        with pytest.raises(medjax.UserError, match=words) as caught:
            run(tmp_path / "out", ranking=str(path))
        line = str(caught.value)
        assert line.startswith(f"--ranking={path}: ") and "\n" not in line
        assert "give the folder of a finished run of `full`" in line
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("*/dm-*"))
    how = changed("how", {"conv": "lax"})
    assert rank.upper_bound(settings(ranking=str(how)), medjax.load(str(launching.tiny("rgb"))))


def settings(**more):
    """Of `run`."""
    return medjax.settings("dm", dataset=launching.tiny("rgb"), **VALUES | more)


def test_methods_that_choose_images_have_no_such_option():
    """They have no start to compare with."""
    for method in ("random", "kmeans", "full"):
        with pytest.raises(medjax.UserError, match="'ranking' is no option here"):
            medjax.settings(method, ranking="x")


def test_the_forecast_counts_two_evaluations_more(linear):
    """Of five in place of three."""
    model = linear(64, 3)
    counts = []
    for more in ({}, {"ranking": "x"}):
        chosen = settings(**more)
        made_for = chosen.setup(model, 3, (60, 8, 8, 1))
        assert recipes.find("dm").costs(made_for)
        counts.append(forecast.evaluation_flops(chosen, made_for, {}, 2))
    final = 2 * VALUES["networks"] * VALUES["eval_epochs"]
    assert counts[1] - counts[0] == pytest.approx(3 * model.flops * 3 * final)
