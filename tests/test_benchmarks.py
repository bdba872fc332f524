"""The benchmark compares like with like: the PyTorch twin computes what medjax computes."""

import dataclasses
import functools
import importlib.util
import json
import re
import shlex
import statistics
import sys
import tarfile
import time
import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import launching
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from benchmarks import (
    card,
    card_table,
    commits,
    gpu,
    medjax_side,
    policies,
    programs,
    rows,
    steps,
)
from benchmarks.measure import Side, in_turns
from benchmarks.run import row
from benchmarks.table import markdown
from medjax import devices, models, share, train
from medjax.augment import FAMILIES, augment
from medjax.cli.launch import find
from medjax.data import preprocess
from medjax.data.preprocess import PreprocessConfig
from medjax.distill.dc import DCConfig, match_class
from medjax.distill.mtt import parameter_distance
from medjax.distill.unroll import student
from medjax.models import ConvNetConfig, convnet
from medjax.types import Synthetic


@pytest.fixture
def twin():
    """The twin, where PyTorch is installed."""
    pytest.importorskip("torch")
    from benchmarks import torch_side

    return torch_side


def draw(key):
    """The family and the uniform numbers that `augment` draws from a key."""
    family_key, draw_key = jax.random.split(key)
    family = FAMILIES[int(jax.random.randint(family_key, (), 0, len(FAMILIES)))]
    return family, draw_key


def as_torch(torch, images):
    return torch.tensor(np.asarray(images).transpose(0, 3, 1, 2))


def test_augmentations_of_the_twin(twin):
    """Every family of DSA, from the same uniform numbers; float32, 1e-4."""
    import torch

    images, seen = jax.random.normal(jax.random.key(9), (6, 32, 32, 3)), set()
    for seed in range(60):
        family, draw_key = draw(jax.random.key(seed))
        if family in seen:
            continue
        seen.add(family)
        u = torch.tensor(np.asarray(jax.random.uniform(draw_key, (6, 3))))
        theirs = twin.augment(as_torch(torch, images), family, u).numpy().transpose(0, 2, 3, 1)
        mine = augment(jax.random.key(seed), images)
        np.testing.assert_allclose(mine, theirs, atol=1e-4, err_msg=family)
    assert seen == set(FAMILIES)


def flat_for_torch(torch, params):
    """medjax's parameters in the twin's order and layout, as one vector."""
    parts = []
    for i in range(3):
        parts += [
            np.transpose(params[f"conv{i}_kernel"], (3, 2, 0, 1)),
            params[f"conv{i}_bias"],
            params[f"norm{i}"]["scale"],
            params[f"norm{i}"]["shift"],
        ]
    linear = np.asarray(params["linear_kernel"])
    features, classes = linear.shape
    linear = linear.reshape(4, 4, features // 16, classes).transpose(3, 2, 0, 1)
    parts += [linear, params["linear_bias"]]
    return torch.tensor(np.concatenate([np.ravel(p) for p in parts]))


def test_meta_gradient_of_the_twin(twin):
    """Loss, gradient to images and to the step size after three augmented steps; float64, 1e-8 of the largest."""
    import torch

    model = convnet(ConvNetConfig(width=8), classes=8, size=32, channels=3)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), model.init(jax.random.key(0))[0])
        target = jax.tree.map(
            lambda a: a + 0.01 * jnp.cos(jnp.arange(a.size)).reshape(a.shape), wide
        )
        model = model._replace(init=lambda key: (wide, {}))
        images = jax.random.normal(jax.random.key(1), (8, 32, 32, 3), jnp.float64)
        labels, table = jnp.arange(8, dtype=jnp.int32), jnp.tile(jnp.arange(8), (3, 1))
        start, goal = ravel_pytree(wide)[0], ravel_pytree(target)[0]
        key = jax.random.key(5)

        def loss(images, rate):
            end = student(model, augment, key, Synthetic(images, labels, rate), start, table)
            return parameter_distance(end, start, goal)[0]

        value, (g_images, g_rate) = jax.jit(jax.value_and_grad(loss, (0, 1)))(
            images, jnp.float64(0.02)
        )
        drawn = [draw(k) for k in jax.random.split(key, 3)]
        numbers = [
            (family, torch.tensor(np.asarray(jax.random.uniform(k, (8, 3))))) for family, k in drawn
        ]
    x = as_torch(torch, images).requires_grad_()
    rate = torch.tensor(0.02, dtype=torch.float64, requires_grad=True)
    steps = [lambda x, f=f, u=u: twin.augment(x, f, u) for f, u in numbers]
    flat, ending = flat_for_torch(torch, wide), flat_for_torch(torch, target)
    theirs = twin.unroll(flat, ending, x, torch.arange(8), rate, steps, width=8)
    theirs.backward()
    np.testing.assert_allclose(value, theirs.item(), rtol=1e-8)
    np.testing.assert_allclose(g_rate, rate.grad.item(), rtol=1e-7)
    expected = x.grad.numpy().transpose(0, 2, 3, 1)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(g_images, expected, atol=1e-8 * np.abs(expected).max())


def test_gradient_distance_of_the_twin(twin):
    """DC's distance of one class and its gradient to the synthetic images; float64, 1e-8 of the largest."""
    import torch

    model = convnet(ConvNetConfig(width=8), classes=8, size=32, channels=3)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), model.init(jax.random.key(0))[0])
        real, made = (
            jax.random.normal(jax.random.key(i), (n, 32, 32, 3), jnp.float64)
            for i, n in ((1, 5), (2, 2))
        )
        network = train.FitState(wide, {}, (), jnp.float32(0))
        match = jax.jit(functools.partial(match_class, model, None, DCConfig().distance, network))
        loss, gradient = match(jax.random.key(0), real, made, jnp.int32(3))
    parts = [p.clone().requires_grad_() for p in twin.split(flat_for_torch(torch, wide), width=8)]
    x = as_torch(torch, made).requires_grad_()
    wanted = [g.detach() for g in twin.gradients(parts, as_torch(torch, real), 3, False)]
    theirs = twin.gradient_distance(wanted, twin.gradients(parts, x, 3, True))
    theirs.backward()
    np.testing.assert_allclose(loss, theirs.item(), rtol=1e-8)
    expected = x.grad.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(gradient, expected, atol=1e-8 * np.abs(expected).max())


@pytest.mark.slow
def test_a_worker_measures():
    """A tiny case in a process of its own: seconds, memory, counted work; a side that fails says why."""
    case = {"images": 8, "steps": 2, "width": 4}
    sides = in_turns("mtt", case, ("medjax",))
    side = sides["medjax"]
    assert side.error is None and side.seconds > 0 and side.mb > 100
    assert side.facts["flops"] > 0 and side.facts["temporaries_mb"] > 0
    failed = in_turns("mtt", {"pictures": 8}, ("medjax",))["medjax"]
    assert failed.seconds is None and "pictures" in failed.error


def test_rows_and_table():
    """The ratio is eager PyTorch / medjax; a side that failed leaves null and is named below the table."""
    ours = Side(2.0, 100.0, {"flops": 8e9, "matrix_rate": 1e10, "temporaries_mb": 5.0}, None)
    sides = {
        "medjax": ours,
        "torch": Side(5.0, 400.0, {}, None),
        "fast": Side(None, None, {}, "RuntimeError: no"),
    }
    found = row("mtt", {"images": 8}, sides)
    assert found["ratio"] == 2.5 and found["gflops"] == 4.0 and found["fast_ratio"] is None
    assert found["errors"] == {"fast": "RuntimeError: no"}
    json.dumps(found, allow_nan=False)
    about = {"device": "d", "command": "c", "python": "3", "jax": "1", "torch": None}
    text = markdown([found], about)
    assert "| 2.5 |" in text and "fast failed: RuntimeError: no" in text and "torch absent" in text
    assert row("mtt", {}, {"medjax": ours})["ratio"] is None


def test_side_runs():
    """Experts and evaluation are prepared with the shapes asked for."""
    once, facts = medjax_side.evaluation(networks=1, images=8, epochs=1)
    once()
    assert facts["flops"] > 0


#: Stands for a job that measures: waits for the others of its stage, and writes a row where it has none yet.
MEASURES = """
import json, pathlib, sys, time
work, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
(work / "ready-measures").touch()
while len(list(work.glob("ready-*"))) < count:
    time.sleep(0.05)
row = {"name": "p: a", "unit": "step", "bf16": False, "alone_ms": [2.0, 4.0], "device": "d"}
with open(work / "rows.jsonl", "a") as file:
    file.write(json.dumps(row) + "\\n")
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """`benchmarks.gpu` with jobs of seconds, in folders of the test; returns what a call says."""
    (tmp_path / "measures.py").write_text(MEASURES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    slow = "timeit -n 1 -r 1 -s 'import time' 'time.sleep(60)'"
    stages = (
        (
            gpu.Job("short", 30, "json.tool --help"),
            gpu.Job("measures", 30, "measures {work} {wait}"),
        ),
        (gpu.Job("slow", 1, slow), gpu.Job("broken", 30, "json.tool no.json")),
    )
    monkeypatch.setattr(gpu, "STAGES", stages)
    monkeypatch.setattr(gpu, "SAVING", 2)

    def call(work, out, *more):
        monkeypatch.setattr(gpu, "WORK", tmp_path / work)
        words = ["gpu", "--data=x.npz", f"--out={tmp_path / out}", "--commit=abc", *more]
        monkeypatch.setattr(sys, "argv", words)
        gpu.main()

    return call


def test_gpu_jobs_are_done_once_and_go_on_elsewhere(tiny, tmp_path, capsys):
    """A job past its limit is cut off; rows come back at once; another machine goes on from the state."""
    tiny("work", "out")
    said = capsys.readouterr().out
    assert "short: status 0" in said and "medjax: p: a: 3.000 ms" in said
    assert "slow: cut off" in said and "broken: status" in said and "no.json" in said
    files = {path.name for path in (tmp_path / "out").rglob("*")}
    assert files == {"rows.jsonl", "gpu.json", "gpu.md", "state.tar.gz"}, "few, and no folder"
    kept = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert kept["calls"][0]["git"] == "abc" and kept["compared"][0]["ms"] == 3.0
    tiny("elsewhere", "again", f"--before={tmp_path / 'out' / 'state.tar.gz'}")
    said = capsys.readouterr().out
    assert "short: done before" in said and "measures: done before" in said
    assert "slow: cut off" in said and "broken: status" in said
    kept = json.loads((tmp_path / "again" / "gpu.json").read_text())
    assert len(kept["calls"]) == 2 and len(kept["rows"]) == 1


def test_rows_of_a_plan_go_on_elsewhere(tiny, tmp_path, monkeypatch):
    """On another machine they lie where `benchmarks.rows` looks for what is done."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "first")
    row = Path("results") / gpu.INGREDIENTS / "a-seed0" / "course.json"
    row.parent.mkdir(parents=True)
    row.write_text("[]")
    tiny("work", "out")
    monkeypatch.chdir(tmp_path / "second")
    tiny("elsewhere", "again", f"--before={tmp_path / 'out' / 'state.tar.gz'}")
    assert row.read_text() == "[]"


def test_networks_one_by_one_are_those_side_by_side():
    """The policy replaces what medjax does, shared arguments among them."""
    shared, each = jnp.float32(3), jnp.arange(4.0)
    with policies.under(policies.Policy(one_by_one=True)):
        found = devices.map_per_device(lambda a, b: a * b, shared)(each)
    assert np.array_equal(found, 3 * each)


def test_gpu_jobs_end_before_the_call_does(tiny, capsys, monkeypatch):
    """No stage is begun for which too little time is left, and what is at work is cut off in time."""
    tiny("work", "out", "--minutes=1")
    said = capsys.readouterr().out
    assert "short, measures: not begun" in said and "slow, broken: not begun" in said
    assert "nothing was begun" in said
    (stage,) = [stage for stage in gpu.STAGES if stage[0].name == "slow"]
    monkeypatch.setattr(gpu, "STAGES", ((stage[0]._replace(limit=60),),))
    monkeypatch.setattr(gpu, "LEAST", 0)
    tiny("work", "out", "--minutes=0.1")
    assert "cut off" in capsys.readouterr().out


def test_a_card_that_is_called_twice_measures_what_is_missing(tmp_path, monkeypatch, capsys):
    """The timer of programs on this machine; rows that are there are left alone, those that failed are tried again."""
    monkeypatch.setattr(card, "ROUND", 0.01)

    def fine(policy):
        return programs.Case(jnp.sin, lambda: (jnp.ones(3),), "step", 1.0)

    made = {"good": (fine, (policies.Policy(),)), "done": (fine, (policies.Policy(bf16=True),))}
    monkeypatch.setattr(programs, "PROGRAMS", made)
    rows = [{"name": "done: bf16", "bf16": True, "unit": "step", "alone_ms": [1, 1]}]
    rows += [{"name": "good", "error": "no"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(sys, "argv", ["card", f"--out={tmp_path}"])
    card.main()
    assert "done" not in capsys.readouterr().out
    again = card_table.read_rows(tmp_path / "rows.jsonl")
    names = {row["name"]: row for row in again}
    assert len(again) == 3 and names["good"]["alone_ms"][0] > 0


def measured(name, ms, **more):
    row = {"name": name, "unit": "step", "bf16": "bf16" in name, "alone_ms": [ms, ms]}
    return row | {"device": "card"} | more


def test_what_a_card_said(tmp_path):
    """The fastest policy wins, bf16 by itself; ratios say which PyTorch, on the same card; who waits for whom."""
    twin = {"torch": "eager", "units": 1}
    rows = [
        measured("p: kept", 6.0),
        measured("p: kept, graphs", 4.0),
        measured("p: bf16", 2.0),
        measured("p", 12.0, **twin, device_ms=11.0),
        measured("p", 30.0, **twin | {"torch": "TF32"}),
        measured("p: graph", 8.0, **twin | {"torch": "TF32"}),
        measured("p", 99.0, **twin, device="another card"),
        {"name": "q", "error": "out of memory"},
    ]
    (found,) = card_table.compared(rows)
    assert (found["policy"], found["ms"], found["bf16_ms"]) == ("kept, graphs", 4.0, 2.0)
    assert found["ratios"] == {"eager": 3.0, "TF32": 7.5, "TF32, graph": 2.0}
    said = [card_table.bound(row, rows) for row in rows[:5]]
    assert said == ["launches", None, None, "device", "launches"]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"name": "cu')
    assert card_table.read_rows(tmp_path / "rows.jsonl") == rows
    card_table.write(rows, [{"device": "a card", "versions": {"jax": "1"}}], tmp_path / "x.json")
    text = (tmp_path / "x.md").read_text()
    assert "| p, step | kept, graphs | 4 | 2 |" in text and "12 (3.0)" in text
    assert "- versions: jax 1" in text and "| q | out of memory |" in text


def test_what_the_first_card_said():
    """The page of results is made from the file of results."""
    path = launching.ROOT / "results" / "gpu" / "first-h200.json"
    assert path.with_suffix(".md").read_text() == card_table.markdown(json.loads(path.read_text()))


def test_rows_of_pytorch(twin, monkeypatch):
    """Every row names a program that medjax has; the device's own time is None where there is no card."""
    from benchmarks import torch_card

    plain = twin.forward
    try:
        rows = list(torch_card.rows())
    finally:
        twin.forward = plain
    assert {row.name.split(":")[0] for row in rows} <= set(programs.PROGRAMS)
    assert len({(row.name, row.torch) for row in rows}) == len(rows)
    cuda = twin.torch.cuda
    monkeypatch.setattr(torch_card, "ROUND", 0.01)
    monkeypatch.setattr(cuda, "get_device_name", lambda: "a card")
    monkeypatch.setattr(cuda, "reset_peak_memory_stats", lambda: None)
    found = torch_card.measured(torch_card.Row("eager", "p", lambda: lambda: time.sleep(0.02), 10))
    assert 2 <= found["alone_ms"][0] < 20 and "device_ms" not in found and "error" not in found
    failed = torch_card.measured(torch_card.Row("eager", "p", lambda: 1 / 0))
    assert "division" in failed["error"]


def flags(words):
    """The names of the flags among words."""
    return {name for word in words for name in re.findall(r"^--(\w+)", word)}


def options(command):
    """The names of a command's flags."""
    return {f.name for group in find(command).groups for f in dataclasses.fields(group)}


@functools.cache
def rows_of_plan():
    """Names of the runs of which cards do some."""
    path = launching.ROOT / "benchmarks/plans" / f"{gpu.INGREDIENTS}.toml"
    plan = tomllib.loads(path.read_text(encoding="utf-8"))
    return [row.name for row in rows.rows(plan, Path("data"))]


JOBS = [job for stage in gpu.STAGES for job in stage]


@pytest.mark.parametrize("job", JOBS, ids=[job.name for job in JOBS])
def test_gpu_jobs_name_what_there_is(job):
    """Tests, programs, commands and their flags: a lent machine is no place to find that one was renamed."""
    module, *words = shlex.split(job.words)
    assert importlib.util.find_spec(module) and job.limit < 60 * 9
    if module == "pytest":
        files = [word for word in words if word.startswith("tests/")]
        assert files and all((launching.ROOT / name).is_file() for name in files)
    elif module.startswith("benchmarks."):
        text = (launching.ROOT / f"{module.replace('.', '/')}.py").read_text()
        assert all(f'"--{name}"' in text for name in flags(words))
        for only in re.findall(r"--only=(\S+)", " ".join(words)):
            names = rows_of_plan() if module == "benchmarks.rows" else programs.PROGRAMS
            assert all(any(w in name for name in names) for w in only.split(";"))
    else:
        assert flags(words) <= options(module.removeprefix("experiments."))


def test_gpu_jobs_time_every_program():
    """Each program of `benchmarks.programs` is timed under at least one policy, and none by two jobs."""
    cards = [shlex.split(job.words) for job in JOBS if "benchmarks.card" in job.words]

    def values(words, flag):
        return [v for w in words for v in w.removeprefix(flag).split(";") if w.startswith(flag)]

    timed = {}
    for name, _, policy in programs.every():
        jobs = [
            words
            for words in cards
            if ("--graphs" in words) == policy.graphs
            and any(w in name for w in values(words, "--only=") or [""])
            and not any(w in name for w in values(words, "--without="))
        ]
        assert len(jobs) <= 1, name
        timed[name.partition(":")[0]] = timed.get(name.partition(":")[0], 0) + len(jobs)
    assert set(timed) == set(programs.PROGRAMS) and all(timed.values())


def test_two_checkouts_in_turns(monkeypatch):
    """Each case runs here and there in turns; the ratio is the median of old / new over the turns."""
    turns = []

    class Fake:
        error = None

        def __init__(self, side, suite, case, environment, folder="."):
            self.old, self.seconds = folder == "old", []

        def run(self):
            turns.append(self.old)
            self.seconds.append((3.0 if self.old else 1.0) * len(turns))

        def finish(self):
            return Side(statistics.median(self.seconds), 10.0, {}, None)

    monkeypatch.setattr(commits, "Worker", Fake)
    found = commits.compared("mtt", {"images": 8}, "old", 3)
    assert turns == [False, True] * 3
    assert (found["new_s"], found["old_s"], found["case"]) == (3.0, 12.0, "images=8")
    assert found["ratio"] == 4.0 and found["quartiles"] == [3.8, 5.0]
    Fake.error = "killed for memory?"
    with pytest.raises(SystemExit, match="mtt, images=8: killed for memory"):
        commits.compared("mtt", {"images": 8}, "old", 3)


def test_score_by_steps(tmp_path, monkeypatch, jitter):
    """Whole epochs of full batches that take at least the steps asked for; rows and table say what they took."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (6, 8, 8, 3), np.uint8)
    pre = preprocess.fit(PreprocessConfig(size=8, whiten="normalise"), images)
    labels = jnp.arange(6, dtype=jnp.int32) % 3
    made = Synthetic(jnp.asarray(preprocess.apply(pre, images)), labels, jnp.float32(0.01))
    network = ("mlp", models.network_config("mlp", {"mlp_width": 4}))
    share.save_set(tmp_path / "set.npz", made, pre, ("a", "b", "c"), network=network)
    monkeypatch.setattr(steps.medjax, "use_cores", lambda: None)
    monkeypatch.setattr(steps, "augment", jitter)
    words = ["steps", str(tmp_path / "set.npz"), str(launching.tiny("rgb"))]
    words += [f"--out={tmp_path / 'found.json'}", "--steps=1,5", "--networks=2"]
    words += ["--batches=2,3", "--step_sizes=0.02"]
    monkeypatch.setattr(sys, "argv", words)
    steps.main()
    found = json.loads((tmp_path / "found.json").read_text())
    taken = [[row[name] for name in ("batch", "steps", "images")] for row in found["rows"]]
    assert taken == [[2, 3, 6], [2, 6, 12], [3, 2, 6], [3, 6, 18]]
    assert {row["step_size"] for row in found["rows"]} == {0.02}
    assert found["split"] == "val" and found["rows"][0]["accuracy"]["n"] == 2
    assert (tmp_path / "found.md").read_text().count("±") == 8
    random = ["--random=2", "--pack=2", "--batches=24", "--steps=1", "--step_sizes="]
    monkeypatch.setattr(sys, "argv", [*words, *random])
    steps.main()
    found = json.loads((tmp_path / "found.json").read_text())
    about = [found[name] for name in ("method", "stored", "pack")]
    assert about == ["random", 6, 2] and [r["steps"] for r in found["rows"]] == [1]
    assert found["rows"][0]["step_size"] == pytest.approx(0.01)


def test_results_of_whole_runs_come_back(tmp_path, monkeypatch):
    """The state of a call holds a finished run's result, and nothing else of its folder."""
    run = tmp_path / "work/runs/cells-1/mtt-1"
    run.mkdir(parents=True)
    for name in ("result.json", "config.json", "large.npz"):
        (run / name).write_text("{}")
    monkeypatch.setattr(gpu, "WORK", tmp_path / "work")
    monkeypatch.chdir(tmp_path)
    gpu.pack(tmp_path)
    with tarfile.open(tmp_path / gpu.STATE) as tar:
        assert {Path(name).name for name in tar.getnames()} == {"result.json", "config.json"}
