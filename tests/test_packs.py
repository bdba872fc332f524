"""``--pack=0``: val chooses between random images as they are and packed, the same for all seeds, once."""

import launching
import numpy as np
import pytest

import medjax
from medjax.data import sources
from medjax.metrics import Metrics
from medjax.pipeline import packs
from medjax.pipeline.progress import Silent

SMALL = {"preset": "quick", "size": 4, "whiten": "normalise", "width": 4, "depth": 1}
SHORT = {"networks": 1, "eval_epochs": 2, "interim_networks": 1, "interim_epochs": 2}


def asked(method="random", **values):
    """Settings of a small run that leaves its packing to val."""
    values = {"dataset": launching.tiny("rgb"), "pack": 0, "ipc": 2} | SMALL | SHORT | values
    return medjax.settings(method, **values)


def metrics(value):
    """Scores of one network."""
    return Metrics(*[value] * len(Metrics._fields))


@pytest.fixture
def scored(monkeypatch):
    """What each packing scores by its name; the sets that were asked for."""
    seen, values = [], {"pack-1": 0.4, "pack-2": 0.5}

    def score(session, name, made, real, step_sizes, fresh=None):
        seen.append((name, made.images, made.labels, session.settings, len(real.labels)))
        return [[metrics(values[name])]]

    monkeypatch.setattr(packs, "interim_scores", score)
    return seen, values


@pytest.mark.parametrize(("packed", "best"), [(0.5, 2), (0.3, 1), (0.4, 1), (np.nan, 1)])
def test_the_better_one_is_taken(scored, tmp_path, packed, best):
    """The first of equals wins, and networks that went astray lose; what is scored is random images of each."""
    seen, values = scored
    values["pack-2"] = packed
    raw = sources.load(str(launching.tiny("rgb")))
    chosen, _ = packs.settled(asked(seed=3), raw, tmp_path, Silent())
    assert chosen.values()["pack"] == best and chosen.origin["pack"] == "val"
    assert chosen.run.seed == 3
    (one, few, _, _, scored_on), (two, many, labels, own, _) = seen
    assert (one, two, scored_on) == ("pack-1", "pack-2", len(raw.val.labels))
    assert few.shape == (6, 4, 4, 3) and many.shape == (24, 4, 4, 3)
    assert np.bincount(labels).tolist() == [8, 8, 8]
    assert own.run.seed == 0  # all seeds share the choice


def test_a_factor_that_is_given_is_kept(scored, tmp_path):
    given, raw = asked(pack=2), sources.load(str(launching.tiny("rgb")))
    assert packs.settled(given, raw, tmp_path, Silent()) == (given, 0.0) and not scored[0]


@pytest.mark.parametrize("ipc", [6, 30])
def test_a_class_with_too_few_images_is_not_packed(scored, tmp_path, ipc):
    """It has 20, and packed they would have to be 4 x 6."""
    raw = sources.load(str(launching.tiny("rgb")))
    chosen, seconds = packs.settled(asked(ipc=ipc), raw, tmp_path, Silent())
    assert (chosen.values()["pack"], seconds, scored[0]) == (1, 0.0, [])


def test_repeated_images_can_be_packed(scored, tmp_path):
    raw = sources.load(str(launching.tiny("rgb")))
    chosen, _ = packs.settled(asked(ipc=6, allow_repeat=True), raw, tmp_path, Silent())
    assert chosen.values()["pack"] == 2 and len(scored[0]) == 2


def test_a_guarantee_allows_no_look_at_val(tmp_path):
    chosen = medjax.settings("dp", preset="quick", dataset=launching.tiny("rgb"), pack=0, ipc=1)
    with pytest.raises(medjax.UserError, match=r"--pack=0 looks at val"):
        medjax.run("dp", chosen, tmp_path)


def test_a_run_is_the_one_of_the_factor(scored, tmp_path):
    """Its folder and its result are those of ``--pack=2``; seeds have one choice between them."""
    left = medjax.run("random", asked(), tmp_path)
    given = medjax.run("random", asked(pack=2), tmp_path)
    assert left.pack == 2 and left.folder == given.folder and left.to_json() == given.to_json()
    count = len(scored[0])
    assert count == 2
    assert medjax.run("random", asked(seed=1), tmp_path).pack == 2
    names = {path.name for path in left.folder.parent.glob("packing-*")}
    assert len(names) == 1


def test_a_choice_is_made_once(tmp_path, monkeypatch):
    """It is read back, for another seed and another method too; its time counts for every run that it served."""
    first = medjax.run("random", asked(), tmp_path)
    (folder,) = first.folder.parent.glob("packing-*")
    assert sorted(p.name for p in (folder / "evaluations").iterdir()) == [
        "pack-1.json",
        "pack-2.json",
    ]

    def never(*_):
        raise AssertionError("trained again")

    raw = sources.load(str(launching.tiny("rgb")))
    monkeypatch.setattr("medjax.evaluate.train_networks", never)
    chosen, seconds = packs.settled(asked(seed=5), raw, tmp_path, Silent())
    other, same = packs.settled(asked("margin", ipc=2), raw, tmp_path, Silent())
    assert chosen.values()["pack"] == other.values()["pack"] == (first.pack or 1)
    assert seconds == same > 0
