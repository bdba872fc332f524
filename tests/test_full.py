"""Training on all images: the epoch that is scored, and a run that is killed between epochs."""

import launching
import numpy as np
import pytest

from medjax import store
from medjax.data import sources
from medjax.pipeline import real, score
from medjax.pipeline.progress import Silent
from medjax.pipeline.session import open_session
from medjax.pipeline.settings import settings
from medjax.recipes.full import RECIPE

SMALL = {"size": 4, "whiten": "half", "width": 4, "depth": 1, "preset": "quick"}
SMALL |= {"full_epochs": 6, "full_networks": 2, "full_batch": 20, "full_lr": 0.5}


def open_run(folder, **values):
    """A session on the tiny colour set."""
    raw = sources.load(str(launching.tiny("rgb")))
    return open_session(settings("full", **SMALL, **values), raw, folder / "run", Silent())


def test_the_best_epoch_on_val_is_scored(tmp_path, monkeypatch):
    """The networks that are scored are those with the best AUC on val, which a run that is killed remembers; the plain
    run scores the last epoch, and the result says which it was."""
    val, judged = [], []
    best_of, predict = score.evaluate.best_of, score.evaluate.predict

    def watched(model, best, state, data):
        val.append([one.auc for one in score.evaluate.score(model, state, *data)])
        return best_of(model, best, state, data)

    def seen(model, state, images):
        if isinstance(state, score.evaluate.Best):
            judged.append(state.auc)
        return predict(model, state, images)

    monkeypatch.setattr(score.evaluate, "best_of", watched)
    monkeypatch.setattr(score.evaluate, "predict", seen)
    last = real.score_all(open_run(tmp_path / "last"), RECIPE)
    assert last.select == "last" and val == []
    whole = real.score_all(open_run(tmp_path / "whole", full_select="val"), RECIPE)
    assert whole.select == "val" and len(val) == 6
    np.testing.assert_allclose(judged[-1], np.max(val, axis=0))
    assert "chosen on val (AUC)" in repr(whole)

    save_step = store.save_step

    def save_and_die(folder, step, tree):
        save_step(folder, step, tree)
        if step == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(store, "save_step", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        real.score_all(open_run(tmp_path / "killed", full_select="val"), RECIPE)
    monkeypatch.setattr(store, "save_step", save_step)
    again = real.score_all(open_run(tmp_path / "killed", full_select="val"), RECIPE)
    np.testing.assert_array_equal(judged[-1], judged[-2])
    assert again.test == whole.test and again.confusion == whole.confusion
