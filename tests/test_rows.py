"""`benchmarks.rows`: the runs of a plan, what is kept of them, and going on."""

import json
import sys
import tomllib
from pathlib import Path

import launching
import pytest

from benchmarks import rows

PLANS = Path(rows.__file__).parent / "plans"
PLAN = """
scored = {scored}

[common]
preset = "quick"
size = 8
model = "mlp"
mlp_width = 8
networks = 1
eval_epochs = 2
interim_networks = 1
interim_epochs = 2
eval_augment = false

[[cells]]
name = "dm-ipc1"
method = "dm"
datasets = ["tiny"]
seeds = [0, 1]
batch_real = 4
augment = "none"
iterations = 4
eval_every = 2

{more}
"""
RANDOM = """
[[cells]]
name = "random-ipc2"
method = "random"
datasets = ["tiny", "nothing"]
ipc = 2
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """(plan, arguments) -> the exit status of a call in a folder with one data set."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "tiny.npz").symlink_to(launching.tiny("rgb"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rows.medjax, "use_cores", lambda: None)

    def call(text):
        plan = tmp_path / "small.toml"
        plan.write_text(text)
        monkeypatch.setattr(sys, "argv", ["rows", str(plan), f"--data={data}", "--out=runs"])
        with pytest.raises(SystemExit) as ended:
            rows.main()
        return ended.value.code

    return call


def test_a_plan(place, tmp_path, monkeypatch, capsys):
    """Whole runs are kept with their scores; a cell that cannot run is one line, and the others go on; what is kept
    is not run again."""
    assert place(PLAN.format(scored="true", more="")) == 0
    kept = tmp_path / "results/small"
    first, second = (kept / f"tiny-dm-ipc1-seed{seed}" for seed in (0, 1))
    files = {"config.json", "course.json", "result.json"}
    assert {p.name for p in first.iterdir()} == files, "no picture: it shows real images"
    course = json.loads((first / "course.json").read_text())
    assert [(p["iteration"], p["split"]) for p in course] == [(2, "val"), (4, "val")]
    assert json.loads((second / "result.json").read_text())["seed"] == 1
    config = (first / "config.json").read_text()
    assert str(tmp_path) not in config and '"DATA/tiny.npz"' in config
    table = (kept / "rows.md").read_text()
    shown = f"2: {100 * course[0]['accuracy']:.1f}, 4: {100 * course[1]['accuracy']:.1f}"
    assert table.count("tiny") == 2 and shown in table
    monkeypatch.setattr(rows, "scored", lambda *_: pytest.fail("a kept row is run again"))
    capsys.readouterr()
    assert place(PLAN.format(scored="true", more="")) == 0
    assert capsys.readouterr().err == ""
    assert (
        place(PLAN.format(scored="true", more="").replace("batch_real = 4", "batch_real = 5")) == 0
    )
    said = capsys.readouterr().err.splitlines()
    assert said[0] == ("tiny-dm-ipc1-seed0: batch_real=5 (kept with 4): delete it to run it again")
    assert len(said) == 2


def test_what_cannot_run_is_a_line(place, tmp_path, capsys):
    """An unknown data set: one line, status 1, and the other rows are there."""
    text = PLAN.format(scored="true", more=RANDOM).replace("seeds = [0, 1]", "seeds = []")
    text = text.replace("interim_networks = 1\n", "").replace("interim_epochs = 2\n", "")
    assert place(text) == 1
    assert "nothing-random-ipc2-seed0: " in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "results/small").iterdir() if p.is_dir()] == [
        "tiny-random-ipc2-seed0"
    ]


@pytest.mark.parametrize(
    "text",
    ["no toml", "[common]\npreset = 3", '[[cells]]\nname = "a"\nmethod = "dm"\ndatasets = "ok"'],
)
def test_a_plan_that_is_none_is_a_line(place, tmp_path, capsys, text):
    """Status 2, and no folder of results."""
    assert place(text) == 2
    assert "is no plan" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "results" / "small").exists()


@pytest.mark.slow
def test_a_course_alone(place, tmp_path):
    """Without scores a run ends with its last interim evaluation; they are those of the whole run."""
    assert place(PLAN.format(scored="false", more="").replace("[0, 1]", "[0]")) == 0
    kept = tmp_path / "results/small/tiny-dm-ipc1-seed0"
    assert not (kept / "result.json").exists()
    alone = (kept / "course.json").read_text()
    for path in kept.iterdir():
        path.unlink()
    assert place(PLAN.format(scored="true", more="").replace("[0, 1]", "[0]")) == 0
    assert (kept / "course.json").read_text() == alone


@pytest.mark.parametrize("plan", sorted(PLANS.glob("*.toml")), ids=lambda path: path.stem)
def test_no_two_cells_of_a_plan_are_the_same_run(plan):
    """And all of them have options that their methods know."""
    seen = {}
    for row in rows.rows(tomllib.loads(plan.read_text()), plan.parent):
        settings = rows.settings_of(row)
        run = row.method, settings.run.dataset, settings.run.seed, str(settings.identity())
        assert seen.setdefault(run, row.name) == row.name
    assert len(seen) > 1
