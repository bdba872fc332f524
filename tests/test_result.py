"""The Result: read and written without loss, refused where it is not whole, shown in a notebook."""

import json
import math

import launching
import made
import pytest

from medjax.errors import UserError
from medjax.metrics import Metrics, summary
from medjax.report.run_tables import runs_table
from medjax.report.runs import read_run
from medjax.result import NetworkScores, Result
from medjax.score import Score, Scores, gain, shown
from medjax.table import DASH

GOOD = made.result("mtt", "a", 1, 0.5)
FILES = sorted((launching.ROOT / "results").rglob("result.json"))


def test_every_result_of_the_repository_is_read_and_written_back(tmp_path):
    """The same JSON values, and the same result read again; the tables take all of them."""
    assert len(FILES) > 30
    for file in FILES:
        found = Result.read(file)
        written = found.write(tmp_path / "result.json")
        assert json.loads((tmp_path / "result.json").read_text()) == json.loads(file.read_text())
        assert Result.read(tmp_path) == found == written
        assert (found.folder, written.folder) == (file.parent, tmp_path)
    assert read_run(FILES[-1].parent).config == read_run(FILES[-1]).config != {}
    lines = runs_table([read_run(file) for file in FILES]).markdown().splitlines()
    assert len(lines) == 2 + len(FILES) and not any("None" in line for line in lines)
    commits = {line.split(" | ")[-1].removesuffix(" |") for line in lines[2:]}
    assert {DASH, "2bc9a8f"} < commits and all(len(c) == 7 for c in commits - {DASH})


def test_a_commit_as_tables_name_it(tmp_path):
    """Short, with a mark where files were changed; nothing where it is not known."""
    for git, said in {"0123456789+dirty": "0123456+dirty", "unknown": "", None: ""}.items():
        (tmp_path / "config.json").write_text(json.dumps({"git": git} if git else {}))
        Result.from_json(GOOD).write(tmp_path / "result.json")
        assert read_run(tmp_path).commit == said


def test_all_that_a_file_can_hold_comes_back():
    """Further networks, a collapsed step size, an evaluation without select, and a key of a later version."""
    other = {
        "test": made.row(0.6),
        "start": made.row(0.3),
        "step_size": 0.1,
        "step_size_from": "val",
    }
    more = {"eval_models": {"mlp": other}, "step_size": 1e-9, "chosen_step_size": 0.1, "later": [1]}
    value = GOOD | more | {"test_chosen_step": made.row(0.7), "other": {"x": None}}
    found = Result.from_json(value)
    assert found.to_json() == value
    assert found.eval_models["mlp"].test == found.rows("mlp")["test"] != found.test
    assert found.rows("resnet18") == {}
    evaluated = {k: v for k, v in value.items() if k not in ("select", "confusion")}
    assert Result.from_json(evaluated).to_json() == evaluated
    assert Result.from_json(evaluated).select is None
    whole = made.result("full", "a", None, 0.9)
    assert Result.from_json(whole).to_json() == whole and whole["ipc"] is None


def test_a_pipeline_makes_one_by_keywords(tmp_path):
    """NaN of the metrics is null in the file; what does not apply is no key."""
    found = summary([Metrics(0.5, 0.25, math.nan), Metrics(0.7, 0.75, math.nan)])
    scores = Scores(*(Score(**part) for part in found.values()))
    assert scores.accuracy == pytest.approx((0.6, 0.1, 2))
    about = {
        "method": "mtt",
        "model": "convnet",
        "dataset": "a",
        "fingerprint": "f",
        "ipc": 1,
        "seed": 0,
    }
    about |= {"preset": "cpu", "majority_share": 0.2, "chance": 0.125, "seconds": {"distill": 1.0}}
    about |= {"evaluation": {"networks": 2, "epochs": 3}, "step_size": math.nan}
    found = Result(**about, test=scores, eval_models={"mlp": NetworkScores(test=scores)})
    found.write(tmp_path / "result.json")
    value = json.loads((tmp_path / "result.json").read_text())
    assert value["test"]["auc"] == {"mean": None, "std": None, "n": 2} and value["warnings"] == []
    assert value["step_size"] is None and value["eval_models"] == {"mlp": {"test": value["test"]}}
    assert not {"start", "select", "folder", "other", "confusion"} & set(value)
    wrong = Result(**about | {"chance": 12.5}, test=scores)
    with pytest.raises(ValueError, match="'chance'"):
        wrong.write(tmp_path / "other.json")
    assert not (tmp_path / "other.json").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"ipc": "1"},
        {"seed": True},
        {"test": {}},
        {"test": made.row(0.5) | {"accuracy": {"mean": 75.1, "std": 1, "n": 5}}},
        {"start": made.row(0.5) | {"auc": {"mean": None, "std": None, "n": 0}}},
        {"majority_share": float("nan")},
        {"confusion": [[1, 2], [3]]},
        {"eval_models": {"resnet18": {"test": {}}}},
        {"seconds": {"distill": "long"}},
        {"warnings": [None]},
        {"subsets": "five"},
        {"eval_models": {"mlp": {"step_size": "0.1"}}},
    ],
)
def test_unfit_values_are_found(change):
    """A result is taken whole, or not at all."""
    assert Result.from_json(GOOD).method == "mtt"
    with pytest.raises(UserError):
        Result.from_json(GOOD | change)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b"[" * 100_000, b"[1]", None])
def test_a_file_that_is_no_result_is_one_line(tmp_path, content):
    """And the line names the file."""
    path = tmp_path / "a\nname.json"
    if content is not None:
        path.write_bytes(content)
    for read in (Result.read, read_run):
        with pytest.raises(UserError) as error:
            read(path)
        assert "a?name.json: " in str(error.value) and "\n" not in str(error.value)


def test_a_score_is_written_by_one_rule():
    """Percent, mean ± deviation; one network has no deviation, and what is not defined is a dash."""
    assert str(Score(0.7512, 0.0134, 5)) == f"{Score(0.7512, 0.0134, 5)}" == "75.1 ± 1.3"
    assert str(Score(0.7512, 0.0, 1)) == str(Score(0.7512, None, 5)) == "75.1"
    assert shown(None) == str(Score(None, None, 5)) == "–"
    assert gain(Score(0.75, None, 1), Score(0.5, None, 1)) == "+25.0"
    assert gain(Score(None, None, 1), Score(0.5, None, 1)) == gain(None, None) == "–"


def test_a_notebook_shows_the_table():
    """As text and as HTML; a name is no markup."""
    found = Result.from_json(
        GOOD | {"dataset": "<script>x", "eval_models": {"mlp": {"test": made.row(0.6)}}}
    )
    assert "distilled (float)" in repr(found) and "50.0 ± 1.0" in repr(found)
    assert "by mlp, step size not known" in repr(found) and "60.0 ± 1.0" in repr(found)
    html = found._repr_html_()
    assert (
        "<strong>49.0 ± 1.0</strong>" in html
        and "&lt;script&gt;x" in html
        and "<script" not in html
    )
    random = Result.from_json(made.result("random", "a", 1, 0.5, test_one_subset=made.row(0.4)))
    assert "random, one subset per network" in repr(random) and "40.0 ± 1.0" in repr(random)
    assert "all images" in repr(Result.from_json(made.result("full", "a", None, 0.9)))
