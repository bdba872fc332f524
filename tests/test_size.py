"""``--size=0``: the channels of the images decide how large they are, for every command that reads them."""

import launching
import pytest

import medjax
from medjax import recipes, store
from medjax.cli import experts
from medjax.cli.flags import OutConfig
from medjax.data import sources
from medjax.pipeline.progress import Silent
from medjax.pipeline.run import Asked, only_distilled
from medjax.report.runs import collect

SMALL = {"preset": "quick", "width": 2, "depth": 1, "whiten": "normalise", "networks": 1}
SMALL |= {"eval_epochs": 1, "interim_epochs": 1}


@pytest.mark.parametrize(("data", "size"), [("grey", 28), ("rgb", 32)])
def test_a_run_has_the_size_that_its_images_ask_for(tmp_path, data, size):
    """28 px where the ConvNet adds 4, which tables say, else 32 as usual; the run is the one that has this size as a
    flag."""
    path = str(launching.tiny(data))
    found = medjax.run("random", medjax.settings("random", dataset=path, size=0, **SMALL), tmp_path)
    values = store.read_json(found.folder / "config.json")["values"]
    origin = "channels" if size == 28 else "default"
    assert values["size"] == {"value": size, "origin": origin}
    (seen,) = collect(tmp_path)[0]
    assert ("size=28" in seen.how, "size=" in seen.how) == (size == 28, size == 28)
    again = medjax.settings("random", dataset=path, size=size, **SMALL)
    assert medjax.run("random", again, tmp_path).folder == found.folder


def test_rows_that_are_only_distilled(tmp_path):
    """They see the same images."""
    path = str(launching.tiny("grey"))
    asked = medjax.settings("dm", dataset=path, size=0, iterations=1, **SMALL)
    raw = sources.load(path)
    each = [Asked(asked, raw, tmp_path)]
    (session,) = only_distilled(recipes.find("dm"), each, Silent())
    assert session.pre.size == 28 and session.train.images.shape == (60, 28, 28, 1)


def test_experts_that_are_trained_alone(tmp_path, capsys):
    """Their folder is that of the experts of 28 px."""
    words = [f"--dataset={launching.tiny('grey')}", f"--out={tmp_path}", "--preset=quick"]
    words += ["--width=2", "--depth=1", "--whiten=normalise", "--experts=1", "--expert_epochs=2"]
    words += ["--max_start_epoch=1", "--expert_span=1"]
    said = []
    for size in (0, 28):
        with launching.own_flags():
            launching.parse((*experts.GROUPS, OutConfig), *words, f"--size={size}")
            experts.main([])
        said.append(capsys.readouterr().out.splitlines()[-1])
    assert said[0] == said[1] and len(list(tmp_path.glob("*/experts*"))) == 1
