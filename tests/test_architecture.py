"""The house is built as docs/design.md draws it: imports go down, names are used once, files stay short."""

import ast
import graphlib
import inspect
import sys
from collections import Counter
from pathlib import Path

import launching
import pytest

import medjax
from medjax import cost
from medjax.cli import launch
from medjax.distill import base

ROOT = Path(__file__).resolve().parent.parent
#: From the ground up: a module imports from its own line and from the lines before it. A name stands for a module or
#: for a folder with all its modules.
LAYERS = (
    ("errors", "config", "packing", "types", "eval_config"),
    ("store", "locks", "paths", "provenance", "devices", "graphs", "augment", "metrics", "memory"),
    ("data", "models"),
    ("cost",),
    ("train", "evaluate", "experts"),
    ("distill",),
    ("score", "table", "result_file", "ranking", "guarantee", "form", "result"),
    ("recipes",),
    ("share",),
    ("report",),
    ("pipeline",),
    ("bundle",),
    ("",),  # medjax/__init__.py, the public names
    ("audit",),
    ("cli",),
    ("__main__",),
)
RANK = {f"medjax.{name}".rstrip("."): i for i, names in enumerate(LAYERS) for name in names}
#: Libraries that only some files may import; a folder stands for all its files.
KEPT_APART = {
    "orbax": ("medjax/store.py",),
    "absl.flags": ("medjax/cli",),
    "rich": ("medjax/cli", "medjax/table.py", "medjax/report/run_tables.py"),
    "matplotlib": ("medjax/report",),
    "dp_accounting": ("medjax/pipeline/release.py",),
    "jinja2": ("medjax/report", "medjax/table.py"),
    "flax": ("medjax/models", "medjax/provenance.py"),
    "experiments": ("experiments",),
    "tests": (),
    "benchmarks": (),
}


def files(*folders):
    """Every Python file below folders of the repository, as paths from its root."""
    found = (p.relative_to(ROOT) for folder in folders for p in (ROOT / folder).rglob("*.py"))
    # Programs for a bundle run without medjax, elsewhere.
    return sorted(p for p in found if not {"__pycache__", "templates", "bundles"} & set(p.parts))


def name_of(path):
    """medjax/a/b.py -> medjax.a.b"""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


TREES = {path: ast.parse((ROOT / path).read_text()) for path in files("medjax", "experiments")}
MODULES = {name_of(path): tree for path, tree in TREES.items() if path.parts[0] == "medjax"}


def imported(tree):
    """The modules that a file imports, those inside functions too, those for type checkers alone not."""
    waiting, found = [tree], set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide where a name comes from"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                ours = node.module.split(".")[0] == "medjax"
                found.add(node.module if ours and inner not in MODULES else inner)
        waiting += ast.iter_child_nodes(node)
    return found


def rank(module):
    """The line of a module: that of the longest name in `RANK` that it begins with."""
    parts = module.split(".")
    names = (".".join(parts[:i]) for i in range(min(2, len(parts)), 0, -1))
    return next(RANK[name] for name in names if name in RANK)


def test_every_module_has_its_place():
    """A new file at the top of medjax needs a line in `LAYERS`, and no line there is left over."""
    tops = {".".join(name.split(".")[:2]) for name in MODULES}
    assert tops == set(RANK)


def test_imports_go_down():
    """No file of medjax imports from a line above its own."""
    wrong = [
        f"{name} imports {other}"
        for name, tree in MODULES.items()
        for other in imported(tree)
        if other.split(".")[0] == "medjax" and rank(other) > rank(name)
    ]
    assert not wrong


def test_no_import_goes_in_a_circle():
    """Modules can be sorted so that each imports only from those before it."""
    graph = {name: imported(tree) & set(MODULES) - {name} for name, tree in MODULES.items()}
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("library", KEPT_APART)
def test_libraries_are_imported_where_they_belong(library):
    """What one library does is in one place: only there would it have to be exchanged."""
    allowed = [Path(place) for place in KEPT_APART[library]]
    wrong = [
        str(path)
        for path, tree in TREES.items()
        if any(f"{name}.".startswith(f"{library}.") for name in imported(tree))
        and not any(path.is_relative_to(place) for place in allowed)
    ]
    assert not wrong


def test_rich_is_imported_late_by_tables():
    """A table is made, and shown in a notebook, without rich; `medjax.run` makes none for a terminal."""
    top = [
        n for n in TREES[Path("medjax/table.py")].body if isinstance(n, ast.Import | ast.ImportFrom)
    ]
    assert not any(name.startswith("rich") for name in imported(ast.Module(top, [])))
    users = {name for name, tree in MODULES.items() if "medjax.report.run_tables" in imported(tree)}
    assert not [name for name in users if name.startswith("medjax.pipeline")]


def test_files_are_short():
    """At most 260 lines, so that each is read in one go."""
    lengths = {str(path): len((ROOT / path).read_text().splitlines()) for path in TREES}
    assert {path: n for path, n in lengths.items() if n > 260} == {}


def test_no_two_classes_share_a_name():
    """One word, one meaning."""
    classes = Counter(
        node.name
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in classes.items() if count > 1] == []


def test_main_files_hold_nothing():
    """experiments/NAME.py starts a command; each method and each tool has one."""
    names = {path.stem for path in TREES if path.parts[0] == "experiments"} - {"__init__"}
    assert names == {*launch.RECIPES, *launch.TOOLS}
    for name in names:
        path = Path("experiments", f"{name}.py")
        assert len((ROOT / path).read_text().splitlines()) <= 12
        assert imported(TREES[path]) == {"medjax.cli.launch"}
        assert f'launch("{name}")' in (ROOT / path).read_text()


class Arrived(Exception):
    """The driver was called."""


def test_the_driver_is_seven_files_from_main(monkeypatch, tmp_path):
    """`python -m experiments.mtt` crosses at most seven files of ours, main and driver among them. What comes after the
    driver's first call is left out."""
    crossed = []

    def watched(*args, **words):
        inner = (frame.filename for frame in inspect.stack()[1:])
        # Below medjax/ alone: a virtual environment may lie in the clone too.
        ours = (p for p in map(Path, inner) if ROOT / "medjax" in p.parents)
        crossed.append(list(dict.fromkeys(ours)))
        raise Arrived

    # The name by which the pipeline calls it.
    monkeypatch.setattr("medjax.pipeline.distil.run", watched)
    monkeypatch.setattr(launch, "keep_programs", lambda: None)
    monkeypatch.setattr(cost, "matrix_rate", lambda: 1e10)
    place = (f"--dataset={launching.tiny('grey')}", f"--out={tmp_path}")
    words = (*launching.NETWORK, *launching.SCORING, "--iterations=1", "--experts=1")
    words += ("--max_start_epoch=1", "--inner_steps=1", "--expert_augment=none")
    monkeypatch.setattr(sys, "argv", ["mtt", *place, *words])
    with launching.own_flags(), pytest.raises(Arrived):
        launch.launch("mtt")
    (stack,) = crossed
    # experiments/mtt.py calls `launch`, and the driver is called by the last of these.
    whole = ["experiments/mtt.py", *(str(p.relative_to(ROOT)) for p in reversed(stack))]
    whole.append(str(Path(base.__file__).relative_to(ROOT)))
    assert whole[-1] == "medjax/distill/base.py" and "medjax/cli/launch.py" in whole
    assert len(whole) <= 7, whole


def test_medjax_is_the_folder_beside_these_tests():
    """What is tested here is this clone."""
    assert Path(medjax.__file__).parent == ROOT / "medjax"
