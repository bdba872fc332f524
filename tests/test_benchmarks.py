"""The benchmark compares like with like: the PyTorch twin computes what medjax computes."""

import dataclasses
import functools
import importlib.util
import json
import re
import shlex
import sys

import jax
import jax.numpy as jnp
import launching
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from benchmarks import gpu, growth, medjax_side
from benchmarks.measure import Side, in_turns
from benchmarks.run import ROWS, row
from benchmarks.table import markdown
from medjax import train
from medjax.augment import FAMILIES, augment
from medjax.cli.launch import find
from medjax.distill.dc import match_class
from medjax.distill.matching import parameter_distance
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
        match = jax.jit(functools.partial(match_class, model, None, network))
        loss, gradient = match(jax.random.key(0), real, made, jnp.int32(3))
    parts = [p.clone().requires_grad_() for p in twin.split(flat_for_torch(torch, wide), width=8)]
    x = as_torch(torch, made).requires_grad_()
    wanted = [g.detach() for g in twin.gradients(parts, as_torch(torch, real), 3, False)]
    theirs = twin.gradient_distance(wanted, twin.gradients(parts, x, 3, True))
    theirs.backward()
    np.testing.assert_allclose(loss, theirs.item(), rtol=1e-8)
    expected = x.grad.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(gradient, expected, atol=1e-8 * np.abs(expected).max())


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


def test_slope():
    """Exponents of exact power laws."""
    assert abs(growth.slope((1, 2, 4), [3.0, 6.0, 12.0]) - 1) < 1e-9
    assert abs(growth.slope((5, 10, 20), [1.0, 4.0, 16.0]) - 2) < 1e-9
    assert "4.00 times" in growth.in_words(2.0)


def test_side_runs():
    """Experts and evaluation are prepared with the shapes asked for."""
    once, facts = medjax_side.evaluation(networks=1, images=8, epochs=1)
    once()
    assert facts["flops"] > 0


def test_gpu_jobs_end_in_time_and_are_done_once(tmp_path, monkeypatch, capsys):
    """One that ended well is not done again; one past its limit is cut off; one that would not fit is not begun."""
    assert all(job.limit < 60 * gpu.MINUTES - 20 for job in gpu.JOBS), "else it is never begun"
    long = gpu.Job("long", 1, "timeit -n 1 -r 1 -s 'import time' 'time.sleep(60)'")
    jobs = (gpu.Job("short", 30, "json.tool --help"), long, gpu.Job("longer", 600, "nothing"))
    monkeypatch.setattr(gpu, "JOBS", jobs)
    words = ["gpu", "--data=x.npz", f"--out={tmp_path}", "--minutes=9"]
    monkeypatch.setattr(sys, "argv", words)
    gpu.main()
    first = capsys.readouterr().out
    assert "short: status 0" in first and "long: cut off" in first and "do not fit" in first
    gpu.main()
    assert "short: done before" in capsys.readouterr().out
    assert not (tmp_path / "longer.json").exists()


def flags(words):
    """The names of the flags among words."""
    return {name for word in words for name in re.findall(r"^--(\w+)", word)}


def options(command):
    """The names of a command's flags."""
    return {f.name for group in find(command).groups for f in dataclasses.fields(group)}


@pytest.mark.parametrize("job", gpu.JOBS, ids=[job.name for job in gpu.JOBS])
def test_gpu_jobs_name_what_there_is(job):
    """Tests, suites, commands and their flags: a lent machine is no place to find that one was renamed."""
    module, *words = shlex.split(job.words)
    assert importlib.util.find_spec(module)
    if module == "pytest":
        files = [word for word in words if word.startswith("tests/")]
        assert files and all((launching.ROOT / name).is_file() for name in files)
    elif module == "benchmarks.run":
        (suites,) = re.findall(r"--suite=(\S+)", job.words)
        assert set(suites.split(",")) <= set(ROWS)
    else:
        assert flags(words) <= options(module.removeprefix("experiments."))


def test_the_script_of_the_cpu_results_names_what_there_is():
    """Every launcher and flag of its runs."""
    text = (launching.ROOT / "benchmarks" / "cpu_results.sh").read_text()
    text = re.sub(r"^ *#.*", "", text, flags=re.M).replace("\\\n", " ")
    runs = re.findall(r"\brun (\w+) (.*?)(?:;|$)", text, re.M)
    runs += re.findall(r"\brun_integrated (\w+) (.*)", text)
    runs += re.findall(r"^python -m experiments\.(\w+) (.*)", text, re.M)
    assert {command for command, _ in runs} == {
        *("random", "dc", "dsa", "dm", "mtt", "full", "evaluate")
    }
    for command, words in runs:
        assert (launching.ROOT / "experiments" / f"{command}.py").is_file()
        assert flags(words.split()) <= options(command), (command, words)
