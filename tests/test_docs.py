"""README and docs: commands are ones that the launchers take, examples run, links lead somewhere, nothing is stale."""

import contextlib
import dataclasses
import functools
import glob
import importlib
import io
import json
import os
import re
import shlex
import sys
import tomllib
from pathlib import Path

import jax.numpy as jnp
import launching
import numpy as np
import pytest
from jitter import Jitter

import medjax
from benchmarks import steps
from medjax import share
from medjax.data import preprocess
from medjax.result import Result
from medjax.types import Synthetic

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
#: Pages that say how things are; the changelog also says how they were.
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md")))
LAUNCHERS = {p.stem for p in (ROOT / "experiments").glob("*.py") if not p.stem.startswith("_")}
#: Programs that commands of the pages call beside ours.
TOOLS = {"bash", "jupyter", "pip", "pre-commit", "pyright", "pytest", "python3", "ruff", "sphinx"}
#: Commands that name no command: "python -m experiments.NAME".
PLACEHOLDER = re.compile(r"\b(NAME|mine)\b")
#: Names that were there once.
REMOVED = (
    "experiments.selection",
    "experiments/selection",
    "--method=",
    "checkpoints.py",
    "medjax/runs.py",
    "configs/mtt.py",
    "_stage.py",
)
#: A run of seconds: what the example's preset is shrunk to.
TINY = {
    "size": 8,
    "model": "mlp",
    "mlp_width": 8,
    "iterations": 4,
    "eval_every": 2,
    "inner_steps": 2,
    "networks": 2,
    "eval_epochs": 4,
    "interim_epochs": 4,
    "augment": "none",
    "expert_augment": "none",
    "eval_augment": False,
}


@functools.cache
def generated():
    """The module that makes parts of the pages; it needs no Sphinx."""
    spec = importlib.util.spec_from_file_location("generated", DOCS / "generated.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def page(name):
    """A page with its generated parts."""
    return generated().fill((DOCS / f"{name}.md").read_text())


def blocks(path, language):
    """The fenced blocks of a page in one language."""
    found = re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
    return [block for block in found if block.strip()]


def commands():
    """(page, command) for every command in a block or in the running text; its first page, if it is on several."""
    found = []
    for path in PAGES:
        lines = "\n".join(blocks(path, "sh")).splitlines()
        text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
        inline = [re.sub(r"\s+", " ", code) for code in re.findall(r"`([^`]+)`", text)]
        lines += [code for code in inline if re.match(r"(python -m|medjax) \w", code)]
        for line in lines:
            parts = line.split(" && ") if line.strip() else []
            found += [(part, path.name) for part in parts if not PLACEHOLDER.search(part)]
    return [(page, command) for command, page in dict(reversed(found)).items()]


def split(command):
    """(module or program, its words), comments and the environment's interpreter aside."""
    words = [w.removeprefix(".venv/bin/") for w in shlex.split(command, comments=True)]
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words.pop(0)
    if words[0] == "medjax":
        return f"experiments.{words[1]}", words[2:]
    if words[:2] == ["python", "-m"]:
        return words[2], words[3:]
    return words[0], words[1:]


def code(path, begin):
    """The Python block of a page that begins so."""
    (found,) = (block for block in blocks(path, "python") if block.startswith(begin))
    return found


def test_readme_is_short():
    """README is read in three minutes."""
    assert len((ROOT / "README.md").read_text().split()) <= 1000


@pytest.mark.parametrize(("page", "command"), commands())
def test_command(page, command):
    """Every command names something that exists, and its flags are ones that it takes."""
    name, words = split(command)
    if name.startswith("experiments."):
        assert name.removeprefix("experiments.") in LAUNCHERS
        ended = launching.SERVER.run(name, *words, "--help")
        assert ended.status == 0, ended.stderr
    elif name.startswith(("benchmarks.", "tests.")):
        path = ROOT / name.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
    elif name == "python":
        in_bundle = words[0].replace("my_bundle/", "medjax/templates/bundle/")
        assert (ROOT / in_bundle).is_file()
    else:
        assert name in TOOLS
        extras = re.findall(r"\[([\w,]+)\]", command) if name == "pip" else []
        known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        assert {e for extra in extras for e in extra.split(",")} <= set(
            known["optional-dependencies"]
        )


def ours(path, word):
    """The commands of a page's ```sh blocks that start a launcher, with a word in them."""
    lines = "\n".join(blocks(path, "sh")).splitlines()
    found = [split(part) for line in lines if word in line for part in line.split(" && ")]
    return [(name, words) for name, words in found if name.startswith("experiments.")]


def test_the_audit_that_is_shown():
    """The page has the sentences of the file."""
    (path,) = (launching.ROOT / "results" / "audit").glob("*/privacy.json")
    found, text = json.loads(path.read_text()), (launching.ROOT / "docs" / "audit.md").read_text()
    lines = [line for line in found["card"] if line.startswith(("Membership", "At 1 %", "Lower"))]
    assert len(lines) == 3 and all(f"- {line}\n" in text for line in lines + found["card_exact"])


def test_dry_runs():
    """Commands that only forecast are run as they are."""
    found = {(name, *words) for path in PAGES for name, words in ours(path, "--dry_run")}
    assert found
    for command in sorted(found):
        ended = launching.SERVER.run(*command)
        assert ended.status == 0, ended.stderr
        assert "to do:" in ended.stdout


@pytest.mark.slow
def test_phantom_commands():
    """Commands that need no data are run as they are, and a finished run is printed at once."""
    found = [item for path in PAGES for item in ours(path, "--dataset=phantom")]
    assert found
    for name, words in found:
        run = launching.read_run(launching.SERVER.run(name, *words))
        assert run.result["dataset"] == "phantom"


def test_tables(monkeypatch):
    """`python docs/tables.py` changes nothing: the tables of the pages are what their commands print."""
    monkeypatch.syspath_prepend(DOCS)
    tables = importlib.import_module("tables")
    found = list(tables.tables())
    assert len(found) >= 6
    for page, after, lines in found:
        text = page.read_text(encoding="utf-8")
        assert tables.replaced(text, after, lines) == text
    paths = sorted(glob.glob(str(ROOT / "results/rows/*/result.json")))
    ended = launching.SERVER.run("experiments.tabulate", *paths)
    assert ended.status == 0 and ended.stdout.splitlines() in [lines for *_, lines in found]


def test_curves_of_steps():
    """Each table that `benchmarks.steps` wrote stands in docs/results.md, as its JSON has it."""
    page = (DOCS / "results.md").read_text()
    files = sorted((ROOT / "results" / "steps").glob("*.json"))
    for path in files:
        table = steps.table(json.loads(path.read_text())["rows"]).markdown().strip()
        assert table == path.with_suffix(".md").read_text().strip() and table in page
    assert len(files) >= 5


def test_example(tmp_path, monkeypatch):
    """The short example, with a preset of seconds, prints a result and the folder of the run."""
    example = code(ROOT / "README.md", "import medjax")
    assert example == code(DOCS / "python.md", "import medjax")
    assert len(example.splitlines()) < 15
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(medjax, "settings", functools.partial(medjax.settings, **TINY))
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(example, "README.md", "exec"), {})  # the pages are ours
    *_, last = output.getvalue().splitlines()
    folder = tmp_path / last.removeprefix("pictures and files: ")
    assert {"result.json", "synthetic.npz", "gallery.png"} <= {p.name for p in folder.iterdir()}


def test_example_of_images_in_memory(capsys):
    """It makes a data set of arrays."""
    exec(compile(code(DOCS / "python.md", "import numpy"), "python.md", "exec"), {})
    assert re.match("[0-9a-f]{16}\nno val split in mine", capsys.readouterr().out)


def test_every_command_is_in_the_table():
    """Of docs/running.md."""
    page = (DOCS / "running.md").read_text()
    named = set(re.findall(r"^\| `python -m experiments\.(\w+)", page, re.M))
    assert named == LAUNCHERS


@pytest.mark.slow
def test_pure_functions(monkeypatch):
    """The example of pure functions prints falling losses, and an accuracy above that of the random start. With another
    augmentation, which is traced ten seconds sooner than DSA."""
    output = io.StringIO()
    monkeypatch.setattr("medjax.augment.augment", Jitter())
    with contextlib.redirect_stdout(output):
        exec(compile(code(DOCS / "python.md", "import jax"), "python.md", "exec"), {})
    first, second, start, distilled = output.getvalue().splitlines()
    assert float(second.split()[1]) < float(first.split()[1])
    means = [float(re.search(r"'mean': ([0-9.]+)", line).group(1)) for line in (start, distilled)]
    assert means[1] > means[0] + 0.03


@pytest.mark.parametrize(("whiten", "pack"), [("zca", 2), ("normalise", 1), ("none", 3)])
def test_a_set_is_used_with_numpy_alone(tmp_path, monkeypatch, whiten, pack):
    """What the snippets make of pixels is what medjax makes of them, and what they decode is what medjax decodes."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (30, 7, 7, 3)).astype(np.uint8)
    pre = preprocess.fit(preprocess.PreprocessConfig(7, whiten), pixels)
    mine = preprocess.apply(pre, pixels)
    made = Synthetic(jnp.asarray(mine[:2]), jnp.arange(2, dtype=jnp.int32), jnp.float32(0.01))
    about = {"network": None, "eval_epochs": "1000"}
    share.save_set(tmp_path / "synthetic.npz", made, pre, ("a", "b"), pack=pack, **about)
    received = share.as_shared(share.load_set(tmp_path / "synthetic.npz"))
    monkeypatch.chdir(tmp_path)
    names = {}
    for start in ("import numpy", "def decoded"):
        exec(compile(code(DOCS / "elsewhere.md", start), "elsewhere.md", "exec"), names)
    with names["z"]:
        np.testing.assert_allclose(names["images"], received.images, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(names["labels"], received.labels)
        np.testing.assert_allclose(names["model_space"](pixels), mine, rtol=1e-4, atol=1e-5)
        assert int(names["z"]["eval_epochs"]) == 1000


def test_the_notebook_holds_its_output():
    """The site shows what is stored: a picture of the images, a table of scores, and no error."""
    cells = json.loads((DOCS / "quickstart.ipynb").read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    kinds = {kind for output in outputs for kind in output.get("data", ())}
    assert {"image/png", "text/html"} <= kinds
    assert "error" not in {output["output_type"] for output in outputs}


@pytest.mark.slow
def test_notebook(tmp_path, monkeypatch):
    """The notebook runs from top to bottom, and its set beats the images it began with."""
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    # Programs made to be quick, in the kernel's process.
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, sys.path)]))
    notebook = nbformat.read(DOCS / "quickstart.ipynb", as_version=4)
    about = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=about).execute()
    (path,) = tmp_path.rglob("result.json")
    result = json.loads(path.read_text())
    assert result["test"]["accuracy"]["mean"] > result["start"]["accuracy"]["mean"]


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_links(path):
    """Links lead to files, and to headings that are there."""
    text = re.sub(r"`[^`]*`", "", path.read_text())
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("http"):
            continue
        target, _, anchor = link.partition("#")
        found = (path.parent / target) if target else path
        assert found.exists(), link
        if anchor and found.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", generated().fill(found.read_text()), re.MULTILINE)
            assert anchor in map(generated().slug, headings), link


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_nothing_stale(path):
    """No page names what was removed, or a file that is not there."""
    text = path.read_text()
    for name in REMOVED:
        assert name not in text, name
    folders = "medjax|experiments|configs|benchmarks|tests|docs|results"
    for code in re.findall(rf"`((?:{folders})/[\w./*{{}},-]*)`", text):
        if "mine" in code or code.startswith(("docs/_build", "medjax/configs")):
            continue
        choices = re.search(r"\{(.*?)\}", code)
        names = [code.replace(choices[0], c) for c in choices[1].split(",")] if choices else [code]
        for name in names:
            assert glob.glob(str(ROOT / name)), name


@pytest.mark.parametrize("name", sorted(LAUNCHERS))
def test_every_flag_is_in_the_reference(name):
    """All flags that a launcher takes are on the page that is made from the dataclasses."""
    text = page("commands")
    assert re.search(rf"^## {name}$", text, re.MULTILINE)
    ended = launching.SERVER.run(f"experiments.{name}", "--helpfull")
    assert ended.status == 0, ended.stderr
    for flag in re.findall(r"^ +--(\w+)=", ended.stdout, re.MULTILINE):
        assert f"`--{flag}`" in text, flag


def test_result_page():
    """docs/result.md describes every key of result.json, and no other."""
    text = (DOCS / "result.md").read_text()
    table = re.search(r"^\| key \| value \|\n\|---\|---\|\n((?:\|.*\n)+)", text, re.MULTILINE)[1]
    keys = [row.split("|")[1] for row in table.splitlines()]
    described = {key for cell in keys for key in re.findall(r"`(\w+)`", cell)}
    assert described == {f.name for f in dataclasses.fields(Result)} - {"folder", "other"}


def test_api_page():
    """Every public name is on the API page."""
    text = page("api")
    for name in medjax.__all__:
        assert re.search(rf"^## {name}$", text, re.MULTILINE), name


def test_citation():
    """CITATION.cff is of this version, and names the medjax authors alone."""
    lines = (ROOT / "CITATION.cff").read_text().splitlines()
    assert f"version: {medjax.__version__}" in lines
    assert [line for line in lines if "name:" in line] == ["  - name: the medjax authors"]
