"""The registry of methods and the table of networks: presets that fit, and one of each that is added from outside."""

import dataclasses
import os
import re
import subprocess
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import launching
import pytest

import medjax
from medjax import cost, recipes, share
from medjax.cli import launch, table1
from medjax.cli.sweep.dry_run import dry_run
from medjax.config import option
from medjax.data import sources
from medjax.eval_config import EvalConfig
from medjax.models import MODELS, Network
from medjax.pipeline import folders, presets
from medjax.pipeline.settings import groups_of
from medjax.recipes import RECIPES, Costs, Recipe
from medjax.report.overview import write_report

# --- presets of the methods that are there


def options(recipe):
    """{name: field} of a method's options."""
    return {f.name: f for group in groups_of(recipe) for f in dataclasses.fields(group)}


@pytest.mark.parametrize("name", RECIPES)
def test_presets_fit_their_method(name):
    """Every name in a table is an option of the method, with a value of its type that is allowed. Each method has the
    presets that `--preset` promises."""
    recipe = RECIPES[name]
    tables, known = presets.read(recipe), options(recipe)
    assert {"paper", "public", "cpu", "quick"} <= set(tables)
    for preset, sets in tables.items():
        for dataset, sizes in sets.items():
            for size, table in sizes.items():
                for option_name, value in table.items():
                    assert option_name in known, (preset, option_name)
                    assert type(value) is known[option_name].type, (preset, option_name)
                ipc = 2 if size == "*" else int(size.removesuffix("+"))
                found = medjax.settings(name, preset, "x" if dataset == "*" else dataset, ipc)
                assert found.values().items() >= table.items()
                assert {found.origin[n] for n in table} <= {f"preset {preset}"}


@pytest.mark.parametrize("ipc", [1, 10, 50])
def test_a_table_compares_one_evaluation(ipc):
    """The preset ``cpu`` of all methods trains evaluated networks in one way at each size; rows of another would say
    nothing beside the others. dc keeps its public code's way, without augmentation; full trains on all images."""
    names = [name for name in RECIPES if name not in ("dc", "full")]
    found = {name: medjax.settings(name, "cpu", "x", ipc).config(EvalConfig) for name in names}
    assert found == dict.fromkeys(names, found["random"])


@pytest.mark.parametrize("name", RECIPES)
def test_a_preset_file_says_where_its_values_come_from(name):
    """A comment on top: a line for each preset, a source, and a score to expect or where measured ones are."""
    text = (launching.ROOT / "configs" / f"{name}.toml").read_text()
    comment = re.match(r"(#.*\n)+", text)[0]
    for preset in presets.read(RECIPES[name]):
        assert re.search(rf"^# {preset} ", comment, re.M), preset
    assert "Source:" in comment and re.search("Expected|Measured", comment)
    assert f"experiments.{name}`" in comment


def test_recipes_say_how_they_look():
    """Each has a title, colour, marker and place of its own, and its options are its own: no two groups of one method
    share a name."""
    for field in ("name", "title", "summary", "place"):
        assert len({getattr(recipe, field) for recipe in RECIPES.values()}) == len(RECIPES)
    assert len({(r.colour, r.marker) for r in RECIPES.values()}) == len(RECIPES)
    for recipe in RECIPES.values():
        names = [f.name for group in groups_of(recipe) for f in dataclasses.fields(group)]
        assert len(set(names)) == len(names)
        assert set(recipe.shown) <= set(names)
    assert list(RECIPES) == sorted(RECIPES, key=lambda name: RECIPES[name].place)
    unknown = recipes.describe("theirs")
    assert unknown.title == "theirs" and unknown.colour not in {r.colour for r in RECIPES.values()}


@pytest.mark.parametrize(
    "text",
    [
        "paper = 3",
        "[paper]\nlr = 1",
        "[paper.blood]\nlr = 1",
        "not toml",
        "[paper]\n[paper]",
        '[public]\nlike = "paper"',
        '[a."*".some]\nlr = 1',
        "[a]\nlike = 3",
        '[paper]\n[mine]\nlike = "paper"\niterations = 3',
        '[paper]\n[mine]\nlike = "paper"\n[mine."*"]\niterations = 3',
        '[paper."*"."*"]\niteration = 3',
        '[paper."*"."*"]\niterations = 3\n[mine]\nlike = "paper"\n[mine."*"."10+"]\nbatch_reel = 3',
    ],
)
def test_a_preset_file_that_is_none(tmp_path, text):
    """One line that names the file."""
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(medjax.UserError, match=r"mine\.toml") as caught:
        presets.read(RECIPES["dm"]._replace(presets=str(path)))
    assert "\n" not in str(caught.value)


# --- a method and a network from outside


@dataclasses.dataclass(frozen=True)
class PullConfig:
    """Pulling images to their class's mean."""

    iterations: int = option(100, "updates of the synthetic set", low=1)
    pull: float = option(0.1, "share of the way to the mean an iteration, 0 to 1", low=0, high=1)


@dataclasses.dataclass(frozen=True)
class LaterPullConfig(PullConfig):
    """The same, in a later version that has one option more."""

    shake: float = option(0.0, "noise", low=0)


class PullState(NamedTuple):
    """The set."""

    images: jax.Array
    labels: jax.Array


class PullInfo(NamedTuple):
    """What the log keeps of an iteration."""

    loss: jax.Array
    skipped: jax.Array


def build(setup):
    """The method."""
    config, labels = setup.config(PullConfig), jnp.repeat(jnp.arange(setup.classes), setup.ipc)

    def init(key, data):
        return PullState(jax.random.normal(key, setup.synthetic_shape), labels)

    def step(key, state, data, item):
        member = jax.nn.one_hot(data.labels, setup.classes)
        means = jnp.tensordot(member, data.images, (0, 0)) / member.sum(0).reshape(-1, 1, 1, 1)
        way = means[labels] - state.images
        images = state.images + config.pull * way
        return PullState(images, labels), PullInfo((way**2).mean(), jnp.bool_(False))

    def extract(state):
        return medjax.Synthetic(state.images, state.labels, jnp.float32(0.01))

    return medjax.Distiller(init, None, step, extract)


MINE = Recipe(
    name="pull",
    title="Pulled means",
    summary="Pulls images to the mean of their class.",
    place=35,
    colour="#884400",
    marker="P",
    configs=(PullConfig,),
    costs=lambda setup: Costs({}, setup.config(PullConfig).iterations, 1e6),
    build=build,
    shown=("pull",),
)
PRESETS = """
# pull: values of this test
[paper."*"."*"]
iterations = 50
[quick."*"."*"]
iterations = 4
eval_every = 2
networks = 2
eval_epochs = 3
interim_networks = 1
interim_epochs = 3
eval_augment = false
[quick.cells."2"]
pull = 0.5
"""


@dataclasses.dataclass(frozen=True)
class SlopeConfig:
    """Softmax regression."""

    slope_scale: float = option(1.0, "Slope: factor on the logits", low=0)


def slope(config, *, classes, size, channels):
    """The network."""
    features = size * size * channels

    def init(key):
        return {"w": 0.01 * jax.random.normal(key, (features, classes))}, {}

    def apply(params, model_state, images, train):
        logits = images.reshape(images.shape[0], -1) @ params["w"]
        return config.slope_scale * logits, model_state

    return medjax.Model(init, apply, flops=2.0 * features * classes, separable=True)


@pytest.fixture
def added(tmp_path, monkeypatch):
    """The method and the network are there while a test runs, and gone after it."""
    monkeypatch.setitem(MODELS, "slope", Network(SlopeConfig, slope))
    monkeypatch.setattr(cost, "matrix_rate", lambda: 1e10)
    monkeypatch.setattr(launch, "keep_programs", lambda: None)
    path = tmp_path / "anywhere.toml"
    path.write_text(PRESETS)
    recipe = MINE._replace(presets=str(path))
    medjax.register(recipe)
    yield recipe
    del RECIPES["pull"]
    with pytest.raises(medjax.UserError, match="'pull' is not known"):
        medjax.settings("pull")


def typed(monkeypatch, capfd, *words):
    """What the command says on standard output; nothing on the other channel."""
    monkeypatch.setattr(sys, "argv", ["pull", *words])
    with launching.own_flags():
        launch.launch("pull")
    said = capfd.readouterr()
    assert said.err == ""
    return said.out


def test_a_method_and_a_network_from_outside(added, tmp_path, monkeypatch, capfd):
    """They run from Python and as a command, with options, presets and help; sweep and report know them too."""
    data, out = launching.tiny("grey"), tmp_path / "runs"
    values = {"size": 8, "whiten": "normalise", "model": "slope", "slope_scale": 2.0}
    chosen = medjax.settings("pull", preset="quick", dataset=data, ipc=2, **values)
    assert (chosen.values()["pull"], chosen.values()["iterations"]) == (0.5, 4)
    result = medjax.run("pull", chosen, out)
    assert (result.method, result.model, result.test.accuracy.n) == ("pull", "slope", 2)
    kept = share.load_set(result.folder / "synthetic.npz")
    assert kept.network == ("slope", SlopeConfig(2.0)) and kept.origin["method"] == "pull"
    rows = [row["loss"] for row in launching.read_log(result.folder) if row["phase"] == "distill"]
    assert len(rows) == 4 and rows[-1] < rows[0]
    assert capfd.readouterr() == ("", "")

    words = [f"--{name}={value}" for name, value in values.items()]
    words += [f"--dataset={data}", f"--out={out}", "--ipc=2", "--preset=quick"]
    before = launching.contents(out)
    said = typed(monkeypatch, capfd, *words)
    assert launching.contents(out) == before, "the command names the same run"
    assert "pull on cells" in said and str(result.folder / "result.json") in said

    short, whole = (typed(monkeypatch, capfd, flag) for flag in ("--help", "--helpfull"))
    assert short.startswith(MINE.summary) and "  --pull=float" in short
    assert "--slope_scale" not in short and "  --slope_scale=float" in whole
    monkeypatch.setattr(sys, "argv", ["medjax"])
    launch.main()
    assert re.search(rf"^  pull +{MINE.summary}$", capfd.readouterr().out, re.M)

    page, count, complaints = write_report(out, tmp_path / "page")
    assert (count, complaints) == (1, []) and "Pulled means" in page.read_text()


def test_two_options_of_one_name_are_refused():
    """One flag would set both."""

    @dataclasses.dataclass(frozen=True)
    class MineConfig:
        networks: int = option(3, "as the evaluation has it")

    mine = RECIPES["dm"]._replace(name="mine", configs=(MineConfig,))
    with pytest.raises(ValueError, match="mine has two options called networks"):
        groups_of(mine)


def test_a_sweep_forecasts_it(added, tmp_path):
    """The dry run counts its work from the recipe; a job of it is a command of its own."""
    config = table1.Table1Config(
        datasets=str(launching.tiny("grey")),
        ipcs="1,2",
        methods="pull",
        models="convnet",
        preset="quick",
    )
    jobs = table1.make_jobs(config)
    assert [(job.method, job.ipc) for job in jobs] == [("pull", 1), ("pull", 2)]
    lines = dry_run(tmp_path, jobs).splitlines()
    assert len(lines) == 3 and all("-pull-ipc" in line and "to do" in line for line in lines[:2])
    words = jobs[0].command(tmp_path)
    assert words[words.index("-m") :][:3] == ["-m", "medjax", "pull"]


def install(folder, value):
    """A package in this folder whose method "mine" is ``value``."""
    (folder / "mine-1.0.dist-info").mkdir()
    (folder / "mine-1.0.dist-info" / "METADATA").write_text("Name: mine\nVersion: 1.0\n")
    named = f"[{recipes.GROUP}]\nmine = {value}\n"
    (folder / "mine-1.0.dist-info" / "entry_points.txt").write_text(named)
    small = "size = 8\nwidth = 8\ndepth = 1\nnetworks = 1\neval_epochs = 2\ninterim_epochs = 2\n"
    (folder / "mine.toml").write_text(f"[quick.'*'.'*']\niterations = 3\n{small}")
    (folder / "mine_method.py").write_text(
        "from pathlib import Path\nfrom medjax.recipes import dm\n"
        "TOML = str(Path(__file__).with_name('mine.toml'))\n"
        "RECIPE = dm.RECIPE._replace(name='mine', title='Mine', presets=TOML)\n"
    )


def test_a_method_of_an_installed_package(tmp_path, monkeypatch):
    """Nobody imports the package; from Python and as a command its method is there."""
    install(tmp_path, "mine_method:RECIPE")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert medjax.settings("mine", "quick").values()["iterations"] == 3
        assert recipes.describe("mine").title == "Mine"
        changed = RECIPES["mine"]._replace(title="Changed")
        medjax.register(changed)
        recipes.register_installed()
        assert RECIPES["mine"] is changed, "what is there is left as it is"
    finally:
        RECIPES.pop("mine", None)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    words = [sys.executable, "-m", "medjax", "mine", "--help"]
    said = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert RECIPES["dm"].summary in said.stdout


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("nowhere:RECIPE", "cannot be loaded (ModuleNotFoundError: No module named 'nowhere')"),
        ("mine_method:TOML", "is no medjax.Recipe of this name"),
    ],
)
def test_a_package_whose_method_cannot_be_had_is_one_line(value, reason, tmp_path, monkeypatch):
    """It names the package and what to do."""
    install(tmp_path, value)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(medjax.UserError) as error:
        recipes.register_installed()
    wanted = f"the method 'mine' of mine ({value}) {reason}: mend or uninstall that package"
    assert str(error.value) == wanted and "mine" not in RECIPES


@pytest.mark.slow
def test_a_sweep_runs_the_method_of_an_installed_package(tmp_path):
    """Its jobs are processes of their own."""
    (package := tmp_path / "package").mkdir()
    install(package, "mine_method:RECIPE")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(package), *sys.path])}
    words = [sys.executable, "-m", "medjax", "table1", "--methods=mine", "--ipcs=1"]
    words += [f"--datasets={launching.tiny('grey')}", "--models=convnet", "--preset=quick"]
    words += [f"--out={tmp_path / 'out'}"]
    ended = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended
    assert "Mine" in (tmp_path / "out" / "table1.md").read_text()


def test_an_option_that_is_added_later_orphans_no_run(added):
    """A run's folder is named by the values that are not at their defaults."""
    raw = sources.load(str(launching.tiny("grey")))

    def name(recipe, **values):
        medjax.register(recipe)
        chosen = medjax.settings("pull", **values)
        return folders.run_folder(launching.workplace(), raw, "pull", chosen).name

    later = added._replace(configs=(LaterPullConfig,))
    assert name(added, pull=0.3) == name(later, pull=0.3) == name(later, pull=0.3, shake=0.0)
    assert name(later, pull=0.3, shake=0.1) != name(added, pull=0.3) != name(added)
    assert name(added, pull=0.1) == name(added)
