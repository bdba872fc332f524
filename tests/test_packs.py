"""``--pack=0``: val chooses between random images as they are and packed, the same for all seeds, once."""

import launching
import numpy as np
import pytest

import medjax
from medjax import cost, recipes
from medjax.data import sources
from medjax.metrics import Metrics
from medjax.pipeline import packs
from medjax.pipeline.progress import Silent
from medjax.pipeline.run import Asked, only_distilled
from medjax.pipeline.session import build_models

RANDOM = recipes.find("random")
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


@pytest.mark.parametrize(("packed", "best"), [(0.5, 2), (0.3, 1), (0.4, 1)])
def test_the_better_one_is_taken(scored, tmp_path, packed, best):
    """The first of equals wins; what is scored is random images of each."""
    seen, values = scored
    values["pack-2"] = packed
    raw = sources.load(str(launching.tiny("rgb")))
    chosen, _ = packs.settled(RANDOM, asked(seed=3), raw, tmp_path, Silent())
    assert chosen.values()["pack"] == best and chosen.origin["pack"] == "val"
    assert chosen.run.seed == 3
    (one, few, _, _, scored_on), (two, many, labels, own, _) = seen
    assert (one, two, scored_on) == ("pack-1", "pack-2", len(raw.val.labels))
    assert few.shape == (6, 4, 4, 3) and many.shape == (24, 4, 4, 3)
    assert np.bincount(labels).tolist() == [8, 8, 8]
    assert own.run.seed == 0  # all seeds share the choice


def test_a_factor_that_is_given_is_kept(scored, tmp_path):
    given, raw = asked(pack=2), sources.load(str(launching.tiny("rgb")))
    assert packs.settled(RANDOM, given, raw, tmp_path, Silent()) == (given, 0.0) and not scored[0]


@pytest.mark.parametrize("ipc", [6, 30])
def test_a_class_with_too_few_images_is_not_packed(scored, tmp_path, ipc):
    """It has 20, and packed they would have to be 4 x 6."""
    raw = sources.load(str(launching.tiny("rgb")))
    chosen, seconds = packs.settled(RANDOM, asked(ipc=ipc), raw, tmp_path, Silent())
    assert (chosen.values()["pack"], seconds, scored[0]) == (1, 0.0, [])


def test_repeated_images_can_be_packed(scored, tmp_path):
    raw = sources.load(str(launching.tiny("rgb")))
    chosen, _ = packs.settled(RANDOM, asked(ipc=6, allow_repeat=True), raw, tmp_path, Silent())
    assert chosen.values()["pack"] == 2 and len(scored[0]) == 2


def test_a_guarantee_allows_no_look_at_val(tmp_path):
    chosen = medjax.settings("dp", preset="quick", dataset=launching.tiny("rgb"), pack=0, ipc=1)
    raw = sources.load(str(launching.tiny("rgb")))
    with pytest.raises(medjax.UserError, match=r"--pack=0 looks at val"):
        packs.settled(recipes.find("dp"), chosen, raw, tmp_path, Silent())


def test_what_the_recipe_refuses_is_not_tried(scored, tmp_path):
    """Unpacked, 2 + 2 of 3 images fill the set; packed, 5 + 6 of 12 do not. Where neither does, the run ends before
    any network is trained."""
    raw = sources.load(str(launching.tiny("rgb")))
    values = {"ipc": 3, "iterations": 2, "begin": 0.4, "replaced": 0.2}
    method = recipes.find("margin")
    chosen, _ = packs.settled(method, asked("margin", **values), raw, tmp_path, Silent())
    assert chosen.values()["pack"] == 1
    few = asked("margin", **values | {"ipc": 10})
    with pytest.raises(medjax.UserError, match="would be there twice"):
        medjax.run("margin", few, tmp_path)
    assert not scored[0]


def test_a_set_to_begin_with_brings_its_factor(scored, tmp_path):
    first = medjax.run("mtt", asked("mtt", pack=2, iterations=1), tmp_path)
    begun = asked("mtt", iterations=1, init_set=str(first.folder / "synthetic.npz"))
    assert medjax.run("mtt", begun, tmp_path).pack == 2 and not scored[0]
    raw = sources.load(str(launching.tiny("rgb")))
    first_class = np.flatnonzero(raw.train.labels == 0)[1:]  # one image of it is left
    images, labels = (np.delete(a, first_class, 0) for a in raw.train[:2])
    few = raw._replace(train=raw.train._replace(images=images, labels=labels))
    with pytest.raises(medjax.UserError, match="--pack=2 takes"):
        packs.settled(recipes.find("mtt"), begun, few, tmp_path, Silent())


def test_a_run_is_the_one_of_the_factor(scored, tmp_path):
    """Its folder is that of ``--pack=2``; seeds have one choice between them, and so have images given in memory."""
    left = medjax.run("random", asked(), tmp_path)
    assert left.pack == 2
    assert left.folder == medjax.run("random", asked(pack=2), tmp_path).folder
    assert medjax.run("random", asked(seed=1), tmp_path).pack == 2
    raw = sources.load(str(launching.tiny("rgb")))
    assert medjax.run("random", asked(seed=2), tmp_path, data=raw).pack == 2
    assert len(list(left.folder.parent.glob("packing-*"))) == 1


def test_a_distillation_without_a_result_is_packed_too(scored, tmp_path):
    raw = sources.load(str(launching.tiny("rgb")))
    each = [Asked(asked("margin", seed=seed, experts=1), raw, tmp_path) for seed in (0, 1)]
    sessions = only_distilled(recipes.find("margin"), each, Silent())
    assert [session.train.packing.factor for session in sessions] == [2, 2]


def test_a_choice_is_made_once(tmp_path, monkeypatch):
    """It is read back, for another seed and another method too, without a look at the images; its time counts for every
    run that it served. Networks that train otherwise make their own."""
    first = medjax.run("random", asked(), tmp_path)
    (folder,) = first.folder.parent.glob("packing-*")
    names = sorted(p.name for p in (folder / "evaluations").iterdir())
    assert names == ["pack-1.json", "pack-2.json"]

    class OpenedError(Exception):
        pass

    def never(*_):
        raise OpenedError

    raw = sources.load(str(launching.tiny("rgb")))
    monkeypatch.setattr(packs, "open_session", never)
    chosen, seconds = packs.settled(RANDOM, asked(seed=5), raw, tmp_path, Silent())
    margin = recipes.find("margin")
    other, same = packs.settled(margin, asked("margin"), raw, tmp_path, Silent())
    assert chosen.values()["pack"] == other.values()["pack"] == (first.pack or 1)
    assert seconds == same > 0
    for otherwise in ({"interim_epochs": 3}, {"width": 8}, {"eval_batch": 8}, {"ipc": 1}):
        with pytest.raises(OpenedError):
            packs.settled(RANDOM, asked(**otherwise), raw, tmp_path, Silent())


def test_what_a_choice_takes_is_said_first(scored, tmp_path, monkeypatch):
    """Counted image by image: 2 networks x 3 epochs, of 6 images and of 4 times as many, and their scores on 24 of val.
    Of a choice that is there, nothing."""
    said = []
    monkeypatch.setattr(Silent, "say", lambda _, text: said.append((text, len(scored[0]))))
    raw = sources.load(str(launching.tiny("rgb")))
    each = asked(interim_networks=2, interim_epochs=3)
    model, _ = build_models(each, 3, 3)
    work = model.flops * 2 * (cost.GRADIENT * 3 * (6 + 24) + 2 * 24)
    monkeypatch.setattr(cost, "matrix_rate", lambda: work / cost.EFFICIENCY / 50)
    packs.settled(RANDOM, each, raw, tmp_path, Silent())
    assert said[0] == ("forecast of the choice of a packing: 50 s of computing", 0)
    # Unpacked images were scored by another process, while this one waited.
    answers = iter([None, None, 0.5, None])
    monkeypatch.setattr(packs, "_known", lambda folder, factor: next(answers))
    packs.settled(RANDOM, each, raw, tmp_path, Silent())
    monkeypatch.setattr(packs, "_known", lambda folder, factor: 0.5)
    packs.settled(RANDOM, each, raw, tmp_path, Silent())
    later = [text for text, _ in said[1:] if "forecast" in text]
    assert later == ["forecast of the choice of a packing: 38 s of computing"]


def test_steps_and_epochs_of_one_preset_are_two_choices(tmp_path):
    """A flag of epochs wins over the steps of a preset, although its value is the default."""
    raw = sources.load(str(launching.tiny("rgb")))
    values = {"dataset": launching.tiny("rgb"), "preset": "best", "ipc": 50}
    names = {
        packs._name(medjax.settings("margin", **values, **more), raw)
        for more in ({}, {"interim_epochs": 300})
    }
    assert len(names) == 2
