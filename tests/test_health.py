"""Whether a distillation is called sound or collapsed: skipped iterations decide nothing."""

import numpy as np
import pytest

from medjax import metrics
from medjax.eval_config import GRID
from medjax.pipeline import score
from medjax.pipeline.health import blind, coarse, guessing, health, no_gain, typical_way
from medjax.pipeline.session import Session
from medjax.types import Synthetic


def course(ways, steps=(0.01, 0.01), skipped=()):
    """The log of a distillation: how far the student went in each iteration, first and last step size, and which
    iterations (from 1) were skipped."""
    rows, count = [], 0
    for number, way in enumerate(ways, 1):
        count += number in skipped
        step = steps[0] if number == 1 else steps[1]
        about = {"displacement": way, "step_size": step, "loss": 1.0, "skipped": count}
        rows.append({"phase": "distill", "iteration": number, "seconds": 1.0, **about})
    return rows


@pytest.mark.parametrize("wild", [None, 1e9], ids=["not finite", "exploded"])
@pytest.mark.parametrize("way,collapsed", [(0.5, False), (0.01, True)])
def test_one_skipped_iteration_changes_nothing(wild, way, collapsed):
    """Neither a false alarm nor a collapse that goes unseen."""
    ways = [way] * 200
    assert health(course(ways), 200, 0.01)[1] == collapsed
    ways[149] = wild
    warnings, found = health(course(ways, skipped={150}), 200, 0.01)
    assert found == collapsed and all("nan" not in line for line in warnings)


def test_students_without_a_step_size_of_their_own():
    """A method may log how far they go and learn no step size: only that they stand still is a collapse."""
    for way, stands in ((0.5, False), (0.01, True)):
        rows = [{k: v for k, v in r.items() if k != "step_size"} for r in course([way] * 200)]
        warnings, collapsed = health(rows, 200, 0.01)
        assert collapsed == stands and len(warnings) == stands


def test_the_start_may_be_what_is_kept():
    """With --select=test: it says so, and not that the log was lost, which it is where no iteration was logged."""
    (line,), collapsed = health(course([0.5] * 20), 0, 0.01)
    assert "start scored best" in line and not collapsed
    (line,), _ = health([], 20, 0.01)
    assert "lost" in line


def test_most_iterations_skipped_decide_no_more_than_one():
    """The student stands still in those that were made, however far it went in the others."""
    ways, skipped = (
        [1e9 if n % 3 else 0.01 for n in range(200)],
        {n + 1 for n in range(200) if n % 3},
    )
    assert health(course(ways, skipped=skipped), 200, 0.01)[1]


@pytest.mark.parametrize(
    "end,words,collapsed",
    [
        (0.009, "", False),
        (1e-4, "untrained", True),
        (-1e-3, "untrained", True),
        (float("nan"), "untrained", True),
        (5.0, "diverge", False),
    ],
)
def test_step_sizes(end, words, collapsed):
    """One that fell by far or is none is a collapse; one that rose by far is worth a word."""
    warnings, found = health(course([0.5] * 20, (0.01, end)), 20, end)
    assert found == collapsed
    assert any(words in line for line in warnings) if words else not warnings


def test_when_all_were_skipped():
    """That is said; what the student did is not known, and no collapse."""
    warnings, collapsed = health(course([None] * 20, skipped=set(range(1, 21))), 20, 0.01)
    assert (
        not collapsed and len(warnings) == 1 and "20 of 20 iterations were skipped" in warnings[0]
    )
    assert typical_way([]) == float("inf")


def test_rounds_of_margin_that_were_skipped():
    """They have no images to move: no word of a step size."""
    about = {"phase": "distill", "seconds": 1.0, "loss": 1.0, "wrong": 0.5, "distinct": 1.0}
    (line,), collapsed = health([about | {"iteration": 1, "skipped": 1}], 1, 0.01)
    assert "1 of 1 iterations were skipped (networks went astray)" in line and not collapsed
    assert "--lr" not in line
    rows = [about | {"iteration": i, "skipped": 0, "distinct": 0.4 + 0.2 * i} for i in (1, 2, 3)]
    (line,), _ = health(rows, 1, 0.01)
    assert "only 60 % of the images are there once" in line
    assert not health(rows, 3, 0.01)[0]


def test_iterations_after_the_chosen_one_do_not_count():
    rows = course([0.5] * 10 + [0.0] * 200)
    assert health(rows, 10, 0.01) == ([], False)
    assert health(rows, 210, 0.01)[1]


@pytest.mark.parametrize(("made", "said"), [(0.5, False), (0.4, True), (0.3, True), (None, True)])
def test_a_set_that_is_no_better_than_its_start_is_said(made, said):
    lines = no_gain(made, 0.4)
    assert bool(lines) == said and all("40.0 %" in line for line in lines)


def test_where_the_starts_score_is_not_defined_a_gain_is_not_known():
    (line,) = no_gain(0.5, None)
    assert "undefined" in line and "50.0 %" in line


def test_networks_that_only_guess_are_said():
    """Within half a point of chance; with batch norm there is something to try."""
    scores = {"mlp": 0.7, "resnet18": 0.504, "vit": None, "alexnet": 0.506}
    lines = guessing(scores, 0.5, {name: name != "resnet18" for name in scores})
    assert ["instance" in line for line in lines] == [True, False]
    assert lines[0].startswith("resnet18") and lines[1].startswith("vit")


def test_the_largest_class_alone_is_a_warning():
    """As often right as one that always names it, or not at all: the number looks like a success on such a set."""
    (line,) = blind(0.435, 0.435)
    assert "43.5 % of the test images" in line and "look at the balanced accuracy" in line
    assert not blind(0.436, 0.435) and not blind(None, 0.5)


def test_a_val_that_cannot_choose_is_a_warning():
    """Fewer than ten images of a class on average; it says what to do."""
    (line,) = coarse(29, 3)
    assert "val has 29 images for 3 classes" in line and "give val 10 images of each class" in line
    assert not coarse(30, 3)


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ((0.5, 0.6, 0.8, 0.7, 0.1), 0.01),
        ((0.9, 0.6, 0.8, 0.7, 0.1), 0.001),
        ((0.5, 0.5, 0.5, 0.5, 0.5), 0.01),
        ((0.5, 0.5, 0.5, 0.3, 0.2), 0.003),
        ((0.5, 0.5, 0.4, 0.3, 0.2), 0.003),
        ((0.2, 0.3, np.nan, 0.5, 0.5), 0.1),
        ((np.nan,) * 5, 0.01),
    ],
)
def test_of_step_sizes_that_score_the_same_the_middle_one_is_chosen(scores, chosen, monkeypatch):
    """A val of few images gives many equal scores; at the smallest step size networks may stay untrained."""
    table = [[metrics.Metrics(*[s] * len(metrics.Metrics._fields))] for s in scores]
    monkeypatch.setattr(score, "interim_scores", lambda *_: table)
    session, made = (kind._make([None] * len(kind._fields)) for kind in (Session, Synthetic))
    assert score.choose_step_size(session, "x", made) == chosen and len(table) == len(GRID)
