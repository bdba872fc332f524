"""Training on all images: the epoch that is scored, and a run that is killed between epochs."""

import launching
import numpy as np
import pytest

from medjax import evaluate, store
from medjax.augment import augment
from medjax.data import sources
from medjax.errors import UserError
from medjax.eval_config import EvalConfig
from medjax.pipeline import real, score
from medjax.pipeline.progress import Silent
from medjax.pipeline.resolve import settings
from medjax.pipeline.session import open_session
from medjax.recipes.full import RECIPE

SMALL = {"size": 4, "whiten": "half", "width": 4, "depth": 1, "preset": "quick"}
SMALL |= {"full_epochs": 6, "full_networks": 2, "full_batch": 20, "full_lr": 0.5}


def open_run(folder, **values):
    """A session on the tiny colour set."""
    raw = sources.load(str(launching.tiny("rgb")))
    return open_session(settings("full", **SMALL | values), raw, folder / "run", Silent())


def test_the_best_epoch_on_val_is_scored(tmp_path, monkeypatch):
    """The networks that are scored are those with the best AUC on val, which a run that is killed remembers; the plain
    run scores the last epoch, and the result says which it was."""
    val, judged = [], []
    best_of, predict = score.evaluate.best_of, score.evaluate.predict

    def watched(model, best, state, data):
        val.append(
            [one.auc for one in score.evaluate.score(model, state, data.images, data.labels)]
        )
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


def test_the_recipe_of_the_evaluation(tmp_path, monkeypatch):
    """Networks on all images train as on a distilled set: the very trainer of `evaluate`, DSA too, SGD at 0.01, a tenth
    after half. The recipe is part of the result; without it nothing changes."""
    seen, train = [], real.train_and_score

    def watched(session, name, data, test, trainer, people, *more):
        seen.append((trainer, np.asarray(people.rates), len(data.labels)))
        return train(session, name, data, test, trainer, people, *more)

    monkeypatch.setattr(real, "train_and_score", watched)
    values = SMALL | {"full_recipe": "evaluation", "full_epochs": 4}
    del values["full_lr"]
    raw = sources.load(str(launching.tiny("rgb")))
    session = open_session(settings("full", **values), raw, tmp_path / "run", Silent())
    result = real.score_all(session, RECIPE)
    ((trainer, rates, images),) = seen
    own = EvalConfig(eval_batch=20)
    assert trainer == evaluate.trainer(own, session.model, 3, augment) and trainer.augment
    np.testing.assert_allclose(rates, [[0.01, 0.01, 0.001, 0.001]] * 2, rtol=1e-6)
    assert images == 60 and result.evaluation == {
        "networks": 2,
        "epochs": 4,
        "recipe": "evaluation",
    }
    assert result.test.accuracy.n == 2

    plain = real.score_all(open_run(tmp_path / "plain", full_epochs=4), RECIPE)
    trainer, rates, _ = seen[-1]
    assert trainer.augment is None and plain.evaluation == {"networks": 2, "epochs": 4}
    np.testing.assert_allclose(rates, [[0.5, 0.5, 0.05, 0.005]] * 2, rtol=1e-6)


def test_a_step_size_that_would_change_nothing():
    """One line, with the way out."""
    with pytest.raises(
        UserError, match=r"--full_lr=0.1 is Adam's; .* by SGD at 0.01: leave it out"
    ):
        settings("full", full_recipe="evaluation", full_lr=0.1)
    with pytest.raises(
        UserError, match="--full_recipe=sgd is not known: choose one of medmnist, eval"
    ):
        settings("full", full_recipe="sgd")
