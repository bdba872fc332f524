"""The sweep and its table: jobs skipped, failed, claimed and taken over; numbers beside the study's."""

import csv
import json
import os
import subprocess
import sys
import time

import launching
import made
import pytest

from medjax.cli.sweep import claims, dry_run
from medjax.cli.sweep import sweep as sweep_module
from medjax.cli.sweep.claims import release, take
from medjax.cli.sweep.dry_run import data_size, forecast_job
from medjax.cli.sweep.jobs import Job, state, work_on
from medjax.cli.sweep.sweep import sweep
from medjax.cli.table1 import Table1Config, make_jobs, parse_shard, write_table
from medjax.errors import UserError
from medjax.pipeline.forecast import Forecast
from medjax.recipes import RECIPES
from medjax.report import table1
from medjax.report.runs import baseline, cells, collect

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


def test_finished_jobs_are_skipped_and_failures_recorded(tmp_path):
    """One fails: the others go on; a second sweep runs the failed one again, and nothing else."""
    wanted = [job(m) for m in ("random", "dc", "mtt")]
    broken = {wanted[1].name}
    sweep(tmp_path, wanted, (0, 1), lambda j: command(tmp_path, j, j.name in broken))
    assert [state(tmp_path, j)["status"] for j in wanted] == ["done", "failed", "done"]
    assert "no memory" in state(tmp_path, wanted[1])["reason"]
    broken.clear()
    sweep(tmp_path, wanted, (0, 1), lambda j: command(tmp_path, j))
    assert [times(tmp_path, j) for j in wanted] == [1, 2, 1]
    assert state(tmp_path, wanted[1])["status"] == "done"
    assert not list((tmp_path / "jobs").glob("*.claim-*"))
    (tmp_path / f"{wanted[0].name}-run" / "result.json").unlink()
    assert state(tmp_path, wanted[0]) is None, "a result that is gone is to be made again"


def test_two_shards_never_take_one_job(tmp_path):
    """Two processes, one folder: every job once, and each shard works."""
    script = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[3])\n"
        "import test_table1 as t; from medjax.cli.sweep import sweep as s; s.POLL = 0.2\n"
        "out = pathlib.Path(sys.argv[1])\n"
        "jobs = [t.job(m, i) for m in ('random', 'dc', 'mtt') for i in (1, 10, 50)]\n"
        "s.sweep(out, jobs, (int(sys.argv[2]), 2), lambda j: t.command(out, j))"
    )
    here = str(launching.ROOT / "tests")
    words = [[sys.executable, "-c", script, str(tmp_path), str(i), here] for i in (0, 1)]
    shards = [subprocess.Popen(w, env=launching.environment()) for w in words]
    assert [s.wait(300) for s in shards] == [0, 0]
    for method in ("random", "dc", "mtt"):
        assert [times(tmp_path, job(method, i)) for i in (1, 10, 50)] == [1, 1, 1]


def test_claims(tmp_path, monkeypatch):
    """A living claim is respected; a dead process's is taken over at once, a foreign one's when it is cold."""
    one = job("dc")
    mine = take(tmp_path / "jobs", one.claim)
    assert mine and take(tmp_path / "jobs", one.claim) is None
    assert job("mtt", 1).claim == job("mtt", 10).claim != job("mtt", 1, seed=1).claim
    foreign = {"host": "elsewhere", "pid": 1}
    mine.write_text(json.dumps(foreign))
    assert take(tmp_path / "jobs", one.claim) is None
    cold = time.time() - 2 * claims.DEAD
    os.utime(mine, (cold, cold))
    second = take(tmp_path / "jobs", one.claim)
    assert second and not mine.exists()
    assert work_on(tmp_path, one, mine, [sys.executable, "-c", ""])["status"] == "taken over"
    assert state(tmp_path, one) is None, "who lost its claim records nothing"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    import socket

    second.write_text(json.dumps({"host": socket.gethostname(), "pid": gone.pid}))
    third = take(tmp_path / "jobs", one.claim)
    assert third and third != second
    release(third)
    assert take(tmp_path / "jobs", one.claim)


def test_a_run_that_outlived_its_sweep_is_waited_for(tmp_path):
    """kill -9 of the sweep alone: its run goes on, so nobody else starts one for that job before it ends."""
    one = job("dc")
    claim, orphan = (
        take(tmp_path / "jobs", one.claim),
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1),
    )
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    owner = json.loads(claim.read_text()) | {"pid": gone.pid, "run": orphan.pid}
    claim.write_text(json.dumps(owner))
    assert take(tmp_path / "jobs", one.claim) is None
    orphan.communicate(b"\n")
    mine = take(tmp_path / "jobs", one.claim)
    assert mine
    words = [sys.executable, "-c", "import time; time.sleep(0.5)"]
    ended = work_on(tmp_path, one, mine, words)
    assert ended["status"] == "failed" and json.loads(mine.read_text())["run"] > 0


def test_a_dead_shards_job_is_taken_over(tmp_path, monkeypatch):
    """Another machine died in the middle: its job is waited for, and run when its claim is cold."""
    monkeypatch.setattr(sweep_module, "POLL", 0.05)
    monkeypatch.setattr(claims, "DEAD", 1.0)
    one, other = job("dc"), job("random")
    claim = take(tmp_path / "jobs", other.claim)
    claim.write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    sweep(tmp_path, [one, other], (0, 2), lambda j: command(tmp_path, j))
    assert times(tmp_path, one) == times(tmp_path, other) == 1


def test_table_has_our_numbers_the_studys_and_the_difference(tmp_path):
    """Seeds pooled, networks apart, the best in bold, failures and warnings said; CSV and LaTeX agree."""
    wanted = [job(m, seed=s) for m in ("dc", "mtt") for s in (0, 1)]
    wanted += [job("random"), job("random", model="resnet18"), job("full", model="resnet18")]
    bad = job("dc", dataset="a|b_&set")
    failing = job("mtt", dataset="dermamnist")
    wanted += [bad, failing]
    sweep(tmp_path, wanted, (0, 1), lambda j: command(tmp_path, j, j is failing))
    assert write_table(tmp_path, wanted) == 1
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
        ("dc", "dsa", "dm", "tgdd", "mtt"), 4
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
    assert data_size("bloodmnist") == (8, 3, 11959)
    small, large = (forecast_job(job(method, i), (8, 3, 12000), 1e11) for i in (1, 50))
    if method not in ("random", "kmeans", "full"):
        more = forecast_job(job(method)._replace(other="resnet18"), (8, 3, 12000), 1e11)
        assert more.total > small.total, "a further network is trained too"
    assert 0 < small.total <= large.total and small.memory > 1e8
    # MTT keeps the steps of a small set in memory, and computes those of a large one again. TGDD reads more snapshots
    # for a call of the device the smaller the set is.
    assert small.memory <= large.memory or method in ("tgdd", "mtt")
    assert (small.total < large.total) == (method != "full")


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
    assert len(lines) == 2 + 1 + 5 + 2 + 1 and all("GB" in line for line in lines)
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
        assert data_size("integrated", parts) == (2, 3, 1196 + 701)
    assert data_size("integrated")[0] == 8


def test_dry_run_counts_shared_experts_once(tmp_path, monkeypatch):
    """Jobs with one claim share experts: the first trains them."""
    found = Forecast({"experts": 3600.0, "distillation": 60.0}, 2e9)
    monkeypatch.setattr(dry_run, "forecast_job", lambda *_: found)
    jobs = [job("mtt", 1), job("mtt", 10), job("mtt", 1, seed=1)]
    first, second, third, total = dry_run.dry_run(tmp_path, jobs).splitlines()
    assert ["61 min" in line for line in (first, second, third)] == [True, False, True]
    assert "60 s" in second and "2 h" in total and "2.0 GB at most" in total


def test_a_real_job(tmp_path):
    """A run as a subprocess, found by the result it names, and read into the table."""
    one = Job(str(launching.tiny("grey")), 1, "random", "convnet", 0, "quick")
    tiny = ("--width=8", "--depth=1", "--size=8", "--whiten=normalise", "--networks=2")
    few = ("--eval_epochs=4", "--interim_networks=1", "--interim_epochs=3")
    command = [*one.command(tmp_path), *tiny, *few, "--eval_augment=false"]
    environment = os.environ | launching.environment()
    command = ["env", *[f"{k}={environment[k]}" for k in ("PYTHONPATH", "XLA_FLAGS")], *command]
    sweep(tmp_path, [one], (0, 1), lambda _: command)
    assert state(tmp_path, one)["status"] == "done", state(tmp_path, one)
    write_table(tmp_path, [one])
    text = (tmp_path / "table1.md").read_text()
    assert "cells" in text and "not a set of the study" in text


def test_shards_are_checked():
    with pytest.raises(UserError, match="--shard"):
        parse_shard("1/1")
