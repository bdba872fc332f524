"""The sweep and its table: jobs skipped, failed and dealt out; engines; numbers beside the study's."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import launching
import made
import pytest

from medjax import locks
from medjax.cli.sweep import dry_run, local, on_ray
from medjax.cli.sweep.dry_run import data_size, forecast_job
from medjax.cli.sweep.jobs import Job, Task, plan, state
from medjax.cli.sweep.sweep import deal, sweep
from medjax.cli.table1 import Table1Config, make_jobs, parse_shard, write_table
from medjax.errors import UserError
from medjax.pipeline.forecast import Forecast
from medjax.recipes import RECIPES
from medjax.report import table1
from medjax.report.baseline import baseline
from medjax.report.run_cells import cells
from medjax.report.runs import collect
from medjax.types import Size

SCORE = {"random": 0.3, "dc": 0.5, "mtt": 0.6, "full": 0.9}


def job(method="mtt", ipc=1, seed=0, model="convnet", dataset="bloodmnist"):
    return Job(dataset, None if method == "full" else ipc, method, model, seed, "cpu")


def command(out, j, status=0):
    """A stand-in for the command of a job: writes a result as one does and names it, or fails with a word."""
    ipc = None if j.method == "full" else j.ipc
    run = made.result(j.method, j.dataset, ipc, SCORE[j.method], seed=j.seed, model=j.model)
    folder = out / f"{j.name}-run"
    script = (
        "import pathlib, sys; f = pathlib.Path(sys.argv[1]); f.mkdir(exist_ok=True)\n"
        "(f / 'result.json').write_text(sys.argv[2]); open(f / 'times', 'a').write('x')\n"
        "print(f'result   {f}/result.json'); sys.exit(int(sys.argv[3]) and 'error: no memory')"
    )
    return [sys.executable, "-c", script, str(folder), json.dumps(run), str(int(status))]


def times(out, j):
    """How often a job was run."""
    path = out / f"{j.name}-run" / "times"
    return len(path.read_text()) if path.exists() else 0


def work(out, wanted, broken=(), engine=local.run):
    """A sweep of stand-ins, those of ``broken`` fail; trains no experts."""
    tasks = plan(out, wanted, lambda j: command(out, j, j in broken))
    sweep(tasks, engine(out, tasks))


def here(tmp_path, name, code):
    """A task of a few words of Python that runs in a folder of the test."""
    code = (
        f"import os, sys, time; os.chdir({str(tmp_path)!r})\n{code}\nprint('result /x/result.json')"
    )
    return Task(name, [sys.executable, "-c", code])


ENGINES = {"local": local.run, "ray": lambda out, tasks: on_ray.run(out, tasks, "", lambda _: 1e6)}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_finished_jobs_are_skipped_and_failures_recorded(engine, tmp_path):
    """One fails: the others go on; a second sweep runs the failed one again, and nothing else."""
    if engine == "ray":
        pytest.importorskip("ray")
    wanted = [job(m) for m in ("random", "dc", "mtt")]
    heard = signal.getsignal(signal.SIGTERM)
    work(tmp_path, wanted, wanted[1:2], ENGINES[engine])
    assert [state(tmp_path, j)["status"] for j in wanted] == ["done", "failed", "done"]
    assert "no memory" in state(tmp_path, wanted[1])["reason"]
    assert [times(tmp_path, j) for j in wanted] == [1, 1, 1]
    assert signal.getsignal(signal.SIGTERM) == heard, "Ray's own would end with another status"
    if engine == "ray":
        return
    work(tmp_path, wanted)
    assert [times(tmp_path, j) for j in wanted] == [1, 2, 1]
    assert state(tmp_path, wanted[1])["status"] == "done"
    (tmp_path / f"{wanted[0].name}-run" / "result.json").unlink()
    assert state(tmp_path, wanted[0]) is None, "a result that is gone is to be made again"


def test_shards_are_parts(tmp_path):
    """Every job is in one; what shares experts is in the same."""
    jobs = [job(m, i, s) for s in (0, 1) for m in ("dc", "tgdd", "mtt") for i in (1, 10)]
    parts = [deal(jobs, i, 3) for i in range(3)]
    assert sorted(j.name for part in parts for j in part) == sorted(j.name for j in jobs)
    assert all(parts) and parts[0] != deal(jobs, 0, 2)
    for seed in (0, 1):
        homes = {i for i in range(3) for j in parts[i] if j.seed == seed and j.method != "dc"}
        assert len(homes) == 1


def test_shared_experts_are_a_task_before(tmp_path):
    """Trained once as MTT with the most images wants them; a single job trains its own."""
    jobs = [job("dc"), job("mtt", 1), job("mtt", 10), job("tgdd", 1), job("mtt", 1, seed=1)]
    tasks = {task.name: task for task in plan(tmp_path, jobs, lambda j: [j.method])}
    (name,) = set(tasks) - {j.name for j in jobs}
    assert not tasks[name].needs
    words = tasks[name].words
    assert words[words.index("-m") :][:3] == ["-m", "medjax", "experts"] and "--ipc=10" in words
    assert [tasks[j.name].needs for j in jobs] == ["", name, name, name, ""]
    assert list(tasks).index(name) < list(tasks).index(jobs[1].name)


def test_a_task_on_each_gpu(tmp_path, monkeypatch):
    """Two at once, each sees one card; the third waits for a card, and what needs it for its end."""
    monkeypatch.setattr(local, "cards", lambda: ["3", "5"])
    meet = "open(sys.argv[0] + os.environ['CUDA_VISIBLE_DEVICES'], 'w')\n"
    meet += "while len([n for n in os.listdir() if n.startswith('-c')]) < 2: time.sleep(0.01)"
    tasks = [here(tmp_path, name, meet) for name in "ab"]
    tasks += [here(tmp_path, "c", "time.sleep(0.3); open('c', 'w')")]
    tasks += [here(tmp_path, "d", "assert os.path.exists('c')")._replace(needs="c")]
    events = [(task.name, known["status"]) for task, known in local.run(tmp_path, tasks)]
    assert {p.name for p in tmp_path.glob("-c*")} == {"-c3", "-c5"}
    assert events.index(("d", "started")) > events.index(("c", "done"))
    assert ("d", "done") in events, "it saw what it needs"


def test_gpus_are_those_that_jax_may_use(monkeypatch):
    """None without JAX's plugin; what CUDA_VISIBLE_DEVICES leaves over; else what the driver lists."""
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-7")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert local.cards() == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert local.cards() == ["2", "GPU-7"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    listed = subprocess.CompletedProcess([], 0, "GPU 0: x\n  MIG 1g\nGPU 1: x\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: listed)
    assert local.cards() == ["0", "1"]
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert local.cards() == []


def test_what_another_process_works_on_is_waited_for(tmp_path):
    """It is not begun a second time; what the other has done is taken."""
    one, other = job("dc"), job("random")
    (tmp_path / "jobs").mkdir()
    with open(tmp_path / "jobs" / f"{one.name}.lock", "a") as held:
        locks.take(held)
        tasks = plan(tmp_path, [one, other], lambda j: command(tmp_path, j))
        events = local.run(tmp_path, tasks)
        assert [next(events)[0].name, next(events)[0].name] == [other.name] * 2
        subprocess.run(tasks[0].words, check=True)
        path = Path(f"{one.name}-run", "result.json")
        record = {"status": "done", "result": str(path)}
        (tmp_path / "jobs" / f"{one.name}.json").write_text(json.dumps(record))
        held.close()
        assert [known["status"] for _, known in events] == ["started", "done"]
    assert times(tmp_path, one) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_sweep_takes_its_runs_along(number, tmp_path):
    """However it dies: the same command would find its folders in use."""
    script = (
        "import sys, pathlib, signal; sys.path.insert(0, sys.argv[2])\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "import test_table1 as t; out = pathlib.Path(sys.argv[1])\n"
        "task = t.here(out, 'a', 'open(str(os.getpid()), \"w\"); time.sleep(999)')\n"
        "t.sweep([task], t.local.run(out, [task]))"
    )
    words = [sys.executable, "-c", script, str(tmp_path), str(launching.ROOT / "tests")]
    sweeping = subprocess.Popen(words, env=launching.environment(), stdout=-3)
    while not (found := [p.name for p in tmp_path.iterdir() if p.name.isdigit()]):
        time.sleep(0.1)
    sweeping.send_signal(number)
    sweeping.wait()
    for _ in range(50):
        if not Path("/proc", found[0]).exists():
            break
        time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(int(found[0]), 0)
    with open(tmp_path / "jobs" / "a.lock", "a") as lock:
        assert locks.take(lock)


def test_table_has_our_numbers_the_studys_and_the_difference(tmp_path):
    """Seeds pooled, networks apart, the best in bold, failures and warnings said; CSV and LaTeX agree."""
    wanted = [job(m, seed=s) for m in ("dc", "mtt") for s in (0, 1)]
    wanted += [job("random"), job("random", model="resnet18"), job("full", model="resnet18")]
    bad = job("dc", dataset="a|b_&set")
    failing = job("mtt", dataset="dermamnist")
    wanted += [bad, failing]
    work(tmp_path, wanted, [failing])
    write_table(tmp_path, wanted)
    text = (tmp_path / "table1.md").read_text()
    assert "**60.0 ± 1.0 (study 60.5, -0.5)**" in text
    assert "30.0 ± 1.0 (study 34.8, -4.8)" in text, "random images under ResNet-18"
    assert "90.0 ± 1.0 (study 95.8, -5.8)" in text
    fair = text.split("ConvNet\n")[-1]
    assert "| 30.0 ± 1.0 |" in fair, "the study has no random images under ConvNet"
    assert "Missing: " in text and "no memory" in text and "not verified" in text
    assert "a\\|b_&set" in text and "2 x 5" in text
    with open(tmp_path / "table1.csv", newline="") as file:
        rows = {(r["dataset"], r["method"], r["network"]): r for r in csv.DictReader(file)}
    mtt = rows["bloodmnist", "mtt", "convnet"]
    assert (mtt["seeds"], mtt["networks"], mtt["difference"]) == ("2", "10", "-0.50")
    assert rows["bloodmnist", "random", "convnet"]["study_mean"] == ""
    tex = (tmp_path / "table1.tex").read_text()
    assert r"\textbf{60.0 $\pm$ 1.0 (study 60.5, -0.5)}" in tex and r"a|b\_\&set" in tex


def test_what_was_done_otherwise_is_not_mixed(tmp_path):
    """A line a preset; of several settings the plainest; what was chosen on the test split says so."""
    for number, (preset, mean, select, method) in enumerate(
        [
            ("cpu", 0.7, "val", "mtt"),
            ("quick", 0.1, "val", "mtt"),
            ("cpu", 0.9, "test", "mtt"),
            ("cpu", 0.4, "last", "random"),
            ("quick", 0.2, "last", "random"),
            ("cpu", 0.8, "test", "dc"),
        ]
    ):
        run = made.result(method, "set", 1, mean, preset=preset, select=select)
        (tmp_path / f"{number}.json").write_text(json.dumps(run))
    found = cells(collect(tmp_path)[0])
    text = table1.write(tmp_path, found, [], [1])
    lines = {line.split(" | ")[1]: line for line in text.splitlines() if line.startswith("| set ")}
    assert "70.0" in lines["cpu"] and "90.0" not in lines["cpu"] and "10.0" in lines["quick"]
    assert "80.0 ± 1.0 (chosen on test)" in lines["cpu"] and "chosen" not in lines["quick"]
    (mtt,) = [c for c in found if (c.method, c.how) == ("mtt", "quick")]
    assert baseline(mtt, found)[0].mean == 0.2, "random images of its own preset"


def test_jobs_of_the_words():
    """All methods, seeds, networks; all images once; a job's values as a command line."""
    config = Table1Config(datasets="a.npz", ipcs="1,10", preset="cpu", seeds=2)
    made_jobs = make_jobs(config)
    count = {m: sum(j.method == m for j in made_jobs) for m in RECIPES}
    assert count == {"random": 8, "kmeans": 4, "full": 2, "dp": 0} | dict.fromkeys(
        ("margin", "dc", "dsa", "dm", "tgdd", "mtt"), 4
    )
    assert len({j.name for j in made_jobs}) == len(made_jobs)
    words = job("dc", 10, 3).command(launching.workplace())
    assert words[words.index("-m") :][:3] == ["-m", "medjax", "dc"]
    assert {"--ipc=10", "--seed=3", "--dataset=bloodmnist", "--model=convnet"} <= set(words)
    joined = Table1Config(datasets="integrated,a.npz", integrate="a,b", ipcs="1", methods="dc")
    ways = {j.dataset: j.command(launching.workplace()) for j in make_jobs(joined)}
    assert "--integrate=a,b" in ways["integrated"] and "--integrate=a,b" not in ways["a.npz"]
    assert parse_shard("2/3") == (2, 3)
    quick = make_jobs(Table1Config(datasets="phantom", ipcs="1", preset="quick"))
    assert {(j.model, j.other) for j in quick} == {("convnet", "")}, "a look takes minutes"
    asked = Table1Config(datasets="phantom", ipcs="1", preset="quick", models="convnet,resnet18")
    assert any(j.other == "resnet18" for j in make_jobs(asked))
    assert len({j.dataset for j in make_jobs(Table1Config())}) == 8, "the study's sets"


@pytest.mark.parametrize("method", list(RECIPES))
def test_forecast_of_every_method_grows_with_the_set(method):
    """Positive, without a download for a named set, and more for more images per class."""
    size = data_size("bloodmnist")
    assert size == (8, 3, (11959, 1712, 3421), 28 * 28)
    small, large = (forecast_job(job(method, i), size, 1e11) for i in (1, 50))
    if method not in ("random", "kmeans", "full"):
        more = forecast_job(job(method)._replace(other="resnet18"), size, 1e11)
        assert more.total > small.total, "a further network is trained too"
    assert 0 < small.total <= large.total and small.memory > 1e8
    # MTT keeps the steps of a small set in memory, and computes those of a large one again. TGDD reads more snapshots
    # for a call of the device the smaller the set is.
    assert small.memory <= large.memory or method in ("tgdd", "mtt")
    assert (small.total < large.total) == (method != "full")


@pytest.mark.parametrize("preset", ["cpu", "best"])
def test_forecast_counts_the_optimiser_steps(preset):
    """Where a preset says how many there are, more images change nothing."""
    size = Size(8, 3, (12000, 0, 0), 28 * 28)
    found = [forecast_job(job("mtt", i)._replace(preset=preset), size, 1e11) for i in (50, 200)]
    few, many = (one.seconds["evaluation"] for one in found)
    assert many == pytest.approx(few, rel=0.05)


def test_jobs_share_experts_that_are_the_same():
    """Of methods with the same options of experts, and of seeds where the preset has one seed for them."""
    names = {
        preset: [
            job(method, 10, seed)._replace(preset=preset).experts
            for method, seed in (("mtt", 0), ("mtt" if preset == "best" else "tgdd", 0), ("mtt", 1))
        ]
        for preset in ("paper", "cpu", "best")
    }
    assert {preset: len(set(three)) for preset, three in names.items()} == {
        "paper": 3,  # TGDD's experts have momentum
        "cpu": 2,
        "best": 1,
    }
    assert job("mtt", 1).experts != job("mtt", 1)._replace(dataset="a.npz").experts
    assert job("dc", 1).experts == job("dc", 1).name


@pytest.mark.parametrize(
    "words",
    [
        ["--methods=dc,magic"],
        ["--models=vgg"],
        ["--datasets=,"],
        ["--out="],
        ["--ipcs=0"],
        ["--ipcs=one"],
        ["--shard=2/2"],
        ["--shard=all"],
        ["--engine=cloud"],
        ["--address=head:6379"],
        ["--preset=huge"],
        ["--seeds=0"],
        ["--integrate=a,b"],
        ["--dry_run", "--datasets=/nowhere/x.npz"],
        ["--datasets=phantom,phantm"],
        ["--datasets=chestmnist"],
        ["--integrate=phantom,nonesuch", "--datasets=integrated"],
    ],
)
def test_mistakes_are_one_line(words, tmp_path):
    """Status 2, the flag or the value named, nothing written."""
    ended = launching.SERVER.run("experiments.table1", f"--out={tmp_path}", *words)
    assert (ended.status, ended.stderr.count("\n")) == (2, 1), ended
    assert words[0 if "=" in words[0] else -1].split("=")[1].split(",")[-1] in ended.stderr
    assert not list(tmp_path.iterdir())


def test_dry_run_lists_jobs_and_runs_nothing(tmp_path):
    """A line a job with time and memory, and a sum."""
    words = ("--dry_run", "--datasets=bloodmnist", "--ipcs=1", "--preset=cpu", f"--out={tmp_path}")
    ended = launching.SERVER.run("experiments.table1", *words)
    assert ended.status == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert len(lines) == 2 + 1 + 1 + 5 + 2 + 1 and all("GB" in line for line in lines)
    assert not list(tmp_path.iterdir())


def test_a_sweep_with_failed_jobs_ends_with_status_1(tmp_path):
    """A job script must see it; the table is written all the same."""
    (tmp_path / "x.npz").write_text("no images")
    words = (f"--datasets={tmp_path}/x.npz", "--methods=random", "--ipcs=1", "--models=convnet")
    ended = launching.SERVER.run("experiments.table1", *words, f"--out={tmp_path}")
    assert (ended.status, "Missing: " in ended.stdout) == (1, True), ended
    assert "1 failed, see above" in ended.stderr and (tmp_path / "table1.csv").exists()


def test_sizes_of_an_integrated_set():
    """A tenth of each, without a download."""
    for parts in ("bloodmnist,dermamnist", "bloodmnist, dermamnist,"):
        images = 1196 + 701, 171 + 100, 342 + 200
        assert data_size("integrated", parts) == (2, 3, images, 28 * 28)
    assert data_size("integrated").classes == 8


def test_dry_run_counts_shared_experts_once(tmp_path, monkeypatch):
    """The first of the jobs that share experts trains them."""
    found = Forecast({"experts": 3600.0, "distillation": 60.0}, 2e9)
    monkeypatch.setattr(dry_run, "forecast_job", lambda *_: found)
    jobs = [job("mtt", 1), job("mtt", 10), job("mtt", 1, seed=1)]
    first, second, third, total = dry_run.dry_run(tmp_path, jobs).splitlines()
    assert ["61 min" in line for line in (first, second, third)] == [True, False, True]
    assert "60 s" in second and "2 h" in total and "2.0 GB at most" in total


def test_a_job_that_cannot_run_is_said_and_stops_no_other(tmp_path, monkeypatch):
    """The dry run has a line for it; Ray hands it out, and it fails by itself."""
    real = dry_run.forecast_job

    def forecast(job, size, rate):
        if job.ipc == 10:
            raise UserError("too large: lower --size")
        return real(job, size, rate)

    monkeypatch.setattr(dry_run, "forecast_job", forecast)
    first, second, total = dry_run.dry_run(tmp_path, [job("mtt", 10), job("mtt", 1)]).splitlines()
    assert first.endswith("  would fail: too large: lower --size")
    assert second.endswith("to do") and total.startswith("to do: ") and " 0 s" not in total
    assert (
        dry_run.memory.__wrapped__(job("mtt", 10)) == 0 < dry_run.memory.__wrapped__(job("mtt", 1))
    )


@pytest.mark.slow
def test_a_real_job(tmp_path):
    """A run as a subprocess, found by the result it names, and read into the table."""
    one = Job(str(launching.tiny("grey")), 1, "random", "convnet", 0, "quick")
    tiny = ("--width=8", "--depth=1", "--size=8", "--whiten=normalise", "--networks=2")
    few = ("--eval_epochs=4", "--interim_networks=1", "--interim_epochs=3")
    command = [*one.command(tmp_path), *tiny, *few, "--eval_augment=false"]
    environment = os.environ | launching.environment()
    command = ["env", *[f"{k}={environment[k]}" for k in ("PYTHONPATH", "XLA_FLAGS")], *command]
    tasks = plan(tmp_path, [one], lambda _: command)
    sweep(tasks, local.run(tmp_path, tasks))
    assert state(tmp_path, one)["status"] == "done", state(tmp_path, one)
    write_table(tmp_path, [one])
    text = (tmp_path / "table1.md").read_text()
    assert "cells" in text and "not a set of the study" in text


def test_shards_are_checked():
    with pytest.raises(UserError, match="--shard"):
        parse_shard("1/1")
