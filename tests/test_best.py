"""`experiments.best`: which method it runs, and that the method's preset ``best`` stands for every size."""

import launching
import pytest

from medjax import recipes
from medjax.cli import best
from medjax.errors import UserError
from medjax.pipeline import presets


@pytest.mark.parametrize("ipc", [1, 2, 10, 50])
@pytest.mark.parametrize("dataset", ["phantom", "bloodmnist", "my_set"])
def test_every_size_has_a_method_with_the_preset(dataset, ipc):
    """A recipe that is there, whose values of ``best`` are allowed together."""
    recipe = recipes.find(best.method_of(dataset, ipc))
    settings = launching.settings(
        recipe.name, "--preset=best", f"--dataset={dataset}", f"--ipc={ipc}"
    )
    assert "preset best" in settings.origin.values()


@pytest.mark.parametrize("ipc", [10, 50])
def test_the_command_is_the_methods(monkeypatch, capsys, ipc):
    """It says the method, and where the images are real ones, and hands over what was asked for; options of its own
    methods are not its flags."""
    seen = []

    def run_seeds(recipe, settings, out, seeds, **how):
        seen.append((recipe.name, settings.values(), out, seeds, how["fresh"]))
        return []

    monkeypatch.setattr(best, "run_seeds", run_seeds)
    with launching.own_flags():
        launching.parse(
            best.GROUPS, "--dataset=phantom", f"--ipc={ipc}", "--seed=3", "--out=here", "--fresh"
        )
        best.main([])
    name, values, *place = seen[0]
    expected = launching.settings(name, "--preset=best", f"--ipc={ipc}", "--seed=3").values()
    expected = {name: value for name, value in expected.items() if name in values}
    assert (values, place) == (expected, ["here", 1, True])
    said = capsys.readouterr().out
    assert f"`python -m experiments.{name} --preset=best`" in said
    assert ("its images are real ones" in said) == (ipc == 50)


def test_a_dry_run_says_how_long_it_takes(tmp_path, monkeypatch, capsys):
    """Of the method, and nothing is written. Data that the run would refuse are refused."""
    monkeypatch.setattr(best, "run_seeds", lambda *_: pytest.fail("it ran"))
    monkeypatch.chdir(tmp_path)
    with launching.own_flags():
        launching.parse(best.GROUPS, "--dataset=bloodmnist", "--ipc=10", "--dry_run")
        best.main([])
    assert "forecast of the whole run: " in capsys.readouterr().out
    with launching.own_flags(), pytest.raises(UserError, match="--ipc=50 is more than the"):
        launching.parse(best.GROUPS, f"--dataset={launching.tiny('rgb')}", "--ipc=50", "--dry_run")
        best.main([])
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_a_named_set_knows_its_classes_and_its_size(monkeypatch, capsys):
    """Without its images: what the run would say of them, and what it would refuse."""
    monkeypatch.setattr(best, "run_seeds", lambda *_: pytest.fail("it ran"))
    with launching.own_flags():
        launching.parse(best.GROUPS, "--dataset=retinamnist_64", "--dry_run")
        best.main([])
    said = capsys.readouterr().out
    assert "note: retinamnist has ordered grades" in said
    assert "note: images of 64 px are resized to 32 px; for larger ones: " in said
    with launching.own_flags(), pytest.raises(UserError, match="chestmnist has 14 labels"):
        launching.parse(best.GROUPS, "--dataset=chestmnist", "--dry_run")
        best.main([])


def test_other_presets_are_refused():
    """One line that says what there is."""
    with (
        launching.own_flags(),
        pytest.raises(UserError, match="--preset=cpu is not known: choose one of best"),
    ):
        launching.parse(best.GROUPS, "--preset=cpu")
        best.main([])


def test_the_table_names_methods_alone():
    """Every entry of configs/best.toml is one recipe."""
    for sizes in presets.read_file("best")["method"].values():
        for entry in sizes.values():
            assert list(entry) == ["recipe"] and entry["recipe"] in recipes.RECIPES
