"""Runs that are killed, damaged or extended end as if nothing had happened, bit for bit."""

import json
import re
import shutil
import signal
from collections import Counter
from pathlib import Path

import launching
import numpy as np
import pytest
from launching import SERVER, mtt, other_grey, paper_grey, read_log, tiny, workplace
from orbax.checkpoint import v1 as ocp

import medjax
from medjax.pipeline.progress import Silent

#: Where a run dies: a log row, and after it nothing is done any more.
DEATHS = {
    "experts": r'"phase": "experts", "group": 0, "epoch": 2,',
    "distillation": r'"phase": "distill", "iteration": 5,',  # the first of a chunk of two
    "interim": r'"name": "interim-00000008", "epoch": 1\d,',
}


def place(dataset, out):
    """The flags that say where from and where to."""
    return f"--dataset={tiny(dataset)}", f"--out={workplace() / out}"


def logs(out):
    """(the experts' rows, the run's rows) below a results folder, each with the phase."""
    root = workplace() / out
    return tuple(
        [row for folder in root.glob(f"*/{kind}-*") for row in read_log(folder)]
        for kind in ("experts", "mtt")
    )


@pytest.fixture(scope="module")
def killed():
    """The run of `paper_grey` in another folder, killed in every phase, and the statuses of all its commands."""
    words, statuses, locks = (*place("grey", "killed"), *launching.PLAIN), [], []
    for death in DEATHS.values():
        pid = SERVER.start().pid
        statuses.append(mtt(*words, kill=death).status)
        (lock,) = (workplace() / "killed").glob("*/mtt-*/lock")
        locks.append(lock.read_text() == str(pid))
    return launching.finished("grey", "killed", *launching.PLAIN), statuses, locks


def test_every_phase_was_killed_and_no_lock_was_in_the_way(killed):
    """Deaths by signal 9, each with its lock left behind, and then a result."""
    run, statuses, locks = killed
    assert statuses == [-signal.SIGKILL] * len(DEATHS)
    assert all(locks)
    assert run.ended.status == 0


def test_killed_run_equals_the_run_in_one_go(killed):
    """Distilled set, scores, evaluations, experts: the same bytes."""
    run, whole = killed[0], paper_grey()
    assert run.folder != whole.folder
    assert run.folder.name == whole.folder.name
    assert launching.scores(run) == launching.scores(whole)
    names = ["synthetic.npz", "gallery.png"]
    names += [str(p.relative_to(whole.folder)) for p in whole.folder.glob("evaluations/*.json")]
    assert len(names) >= 2 + 2 + 4
    for name in names:
        assert (run.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name
    assert trajectories(run.experts()).keys() == {"expert-0000-e0004", "expert-0001-e0004"}
    assert trajectories(run.experts()) == trajectories(whole.experts())


def test_log_shows_at_most_one_chunk_twice(killed):
    """An epoch of an expert, two iterations, one call of an evaluation; and every row that a whole run has."""
    whole = paper_grey()
    one, two = logs("killed")
    keys = ("phase", "group", "epoch", "iteration", "name")

    def count(rows):
        return Counter(tuple(row.get(key) for key in keys) for row in rows)

    reference = count(read_log(whole.experts()) + whole.log)
    counted = count(one + two)
    assert counted.keys() == reference.keys()
    again = Counter({key: n - reference[key] for key, n in counted.items() if n > reference[key]})
    by_phase = Counter()
    for (phase, *_), n in again.items():
        by_phase[phase] += n
    assert max(again.values()) == 1, again
    assert by_phase["experts"] <= 1
    assert (
        1 <= by_phase["distill"] <= 2
    )  # the process died between a chunk's rows and its checkpoint
    assert by_phase["evaluate"] <= 1


def test_killed_run_tells_the_same_story(killed):
    """Losses, step sizes and interim scores, row by row, those done twice included."""
    run, whole = killed[0], paper_grey()
    for phase in ("distill", "interim"):
        told = {row["iteration"]: plain(row) for row in whole.rows(phase)}
        assert told.keys() == {row["iteration"] for row in run.rows(phase)}
        for row in run.rows(phase):
            assert plain(row) == told[row["iteration"]]


def test_finished_run_leaves_no_litter(killed):
    """Nothing but results: no networks in training, no temporary files, no half checkpoints."""
    left = {p.name for p in killed[0].folder.parent.rglob("*")}
    assert not [name for name in left if "tmp" in name]
    assert not [name for name in left if name.startswith("group-")]
    folder = killed[0].folder / "evaluations"
    assert all(p.suffix == ".json" for p in folder.iterdir())


def test_damaged_checkpoint_of_a_distillation_is_passed_over():
    """The one before it takes its place, that is said, and the result stays the same: that of a run in another folder,
    whose experts were not trained by another command before."""
    words = (*place("grey", "damaged"), *launching.GREY)
    assert SERVER.run("experiments.experts", *words).status == 0
    trained = logs("damaged")[0]
    assert mtt(*words, kill=r'"distill", "iteration": 5,').status == -signal.SIGKILL
    (folder,) = (workplace() / "damaged").glob("*/mtt-*/checkpoints")
    newest = max(folder.iterdir())
    assert newest.name == f"{4:08d}"
    flip(newest)
    run, whole = launching.finished("grey", "damaged", *launching.GREY), other_grey()
    assert launching.scores(run) == launching.scores(whole)
    assert logs("damaged")[0] == trained, "mtt trained experts that were there"
    for name in ("synthetic.npz", "gallery.png"):
        assert (run.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    iterations = [row["iteration"] for row in run.rows("distill")]
    assert iterations == [1, 2, 3, 4, 5, 3, 4, 5, 6]
    said = run.ended.stdout
    assert re.search(
        r"^note: .*/00000004 (cannot be read|does not match).* passed over", said, re.M
    )
    assert "goes on after 2 of 6; the log reaches 5, and what lies between is done again" in said
    _what_it_needs_and_has_lost_is_made_again(words, whole)


def _what_it_needs_and_has_lost_is_made_again(words, whole):
    """Of the finished run above: an interim evaluation, a picture's source, half of the log; and the result itself."""
    (folder,) = (workplace() / "damaged").glob("*/mtt-*")
    for missing in ("result.json", "evaluations/test-uint8.json", "evaluations/start.json"):
        (folder / missing).unlink()
    (folder / "evaluations" / "interim-00000002.json").write_text('{"scores": [')
    (folder / "snapshots" / "00000004.npz").write_bytes(b"PK")
    log = (folder / "log.jsonl").read_bytes()
    (folder / "log.jsonl").write_bytes(log[: log.index(b"\n", len(log) // 2) + 1])
    run = launching.read_run(mtt(*words))
    assert launching.scores(run) == launching.scores(whole)
    lost = "interim-00000002.json is missing or damaged; the distillation is done"
    assert lost in run.ended.stdout
    (folder / "result.json").write_text('{"method": "mtt"}')
    start = folder / "evaluations" / "start.json"
    other = json.loads(start.read_text()) | {"step_sizes": [0.5]}
    start.write_text(json.dumps(other | {"scores": [[0.5] * 3] * len(other["scores"])}))
    shared = folder / "evaluations" / "test-uint8.json"
    other = json.loads(shared.read_text()) | {"set": "another"}
    shared.write_text(json.dumps(other | {"scores": [[0.5] * 3] * len(other["scores"])}))
    again = launching.read_run(mtt(*words))
    assert launching.scores(again) == launching.scores(whole)
    assert re.search(r"^note: .*/test-uint8.json is of another set", again.ended.stdout, re.M)
    assert re.search(r"^note: .*/start.json is of another set or other", again.ended.stdout, re.M)
    assert re.search(r"^note: .*/result.json: .* it is written again$", again.ended.stdout, re.M)


def test_what_is_distilled_again_keeps_its_own_saves(tmp_path):
    """An interim evaluation of a finished distillation is lost, and the run is stopped while it is made again: the next
    start goes on from there, not from the beginning."""
    words = {"size": 8, "width": 4, "depth": 1, "augment": "none", "batch_real": 4}
    words |= {"networks": 1, "eval_epochs": 2, "interim_networks": 1, "interim_epochs": 2}
    asked = medjax.settings("dm", "quick", iterations=6, eval_every=2, **words)
    made = medjax.run("dm", asked, tmp_path)
    (made.folder / "result.json").unlink()
    (made.folder / "evaluations" / "interim-00000002.json").unlink()

    class Stopped(Silent):
        def bar(self, name, total, first=0):
            def update(done, text=""):
                if name == "distil" and done == 4:
                    raise InterruptedError

            return update

    with pytest.raises(InterruptedError):
        medjax.run("dm", asked, tmp_path, progress=Stopped())
    kept = sorted(path.name for path in (made.folder / "checkpoints").iterdir() if path.is_dir())
    assert kept == ["00000002", "00000004"]


@pytest.fixture
def grown():
    """Runs the experts alone in a folder of their own; gives what was said, and the log's new (group, epoch)s."""

    def train(experts, epochs):
        before = len(logs("grown")[0])
        words = (f"--experts={experts}", f"--expert_epochs={epochs}")
        ended = SERVER.run("experiments.experts", *place("grey", "grown"), *launching.GREY, *words)
        assert ended.status == 0, ended.stderr
        assert ended.stderr == ""
        rows = [row for row in logs("grown")[0][before:] if row["phase"] == "experts"]
        return ended.stdout, [(row["group"], row["epoch"]) for row in rows]

    return train


def test_experts_grow_in_number_and_length_and_heal(grown):
    """Only what is missing is trained; in the end they are those of a run that trained them at once."""
    assert grown(1, 1)[1] == [(0, 0), (0, 1)]
    assert grown(2, 1)[1] == [(0, 0), (0, 1)], "the second of the first pair"
    assert grown(2, 2)[1] == [(0, 2)], "both at once"
    assert grown(3, 2)[1] == [(1, 0), (1, 1), (1, 2)]
    assert grown(3, 2)[1] == []
    assert grown(2, 1)[1] == [], "fewer and shorter ones are there already"
    (folder,) = (workplace() / "grown").glob("*/experts-*")
    whole = trajectories(other_grey().experts())
    assert trajectories(folder) == whole
    flip(folder / "expert-0001-e0002")
    for path in (folder / "expert-0002-e0002").rglob("*"):
        if path.is_file() and path.name != "lock":
            path.unlink()
            break
    said, trained = grown(3, 2)
    assert trained == [(g, e) for g in (0, 1) for e in (0, 1, 2)]
    assert said.count("trained again") == 2
    assert "expert-0001" in said
    assert trajectories(folder) == whole


@pytest.mark.slow
def test_expert_that_was_not_kept_yet_is_not_taken_for_its_neighbour():
    """Killed after the first of a pair was kept: the epochs of both are still there, and the second is the second."""
    words = (*place("grey", "pair"), *launching.GREY)
    launched = SERVER.run("experiments.experts", *words, kill=r'"group": 0, "epoch": 2,')
    assert launched.status == -signal.SIGKILL
    (folder,) = (workplace() / "pair").glob("*/experts-*")
    whole = other_grey().experts()
    assert folder.name == whole.name and (folder / "group-0000x2" / f"{2:08d}").is_dir()
    kept = "expert-0000-e0002"
    shutil.copytree(whole / kept, folder / kept)
    assert SERVER.run("experiments.experts", *words).status == 0
    assert trajectories(folder) == trajectories(whole)
    trained = [row for row in read_log(folder) if row["phase"] == "experts"]
    assert [(row["group"], row["epoch"]) for row in trained] == [
        (g, e) for g in (0, 1) for e in (0, 1, 2)
    ], "nothing was trained twice"


def plain(row):
    """A row without what depends on the clock."""
    return {k: v for k, v in row.items() if k not in ("time", "seconds", "wall")}


def trajectories(folder: Path):
    """Every expert's snapshots as bytes, by the name of its folder."""
    found = sorted(folder.glob("expert-*"))
    return {path.name: np.asarray(ocp.load(path.absolute())).tobytes() for path in found}


def flip(path: Path):
    """Turn over some bytes in the largest file below a folder."""
    files = [p for p in path.rglob("*") if p.is_file() and p.name != "sums.json"]
    largest = max(files, key=lambda p: p.stat().st_size)
    content = bytearray(largest.read_bytes())
    middle = len(content) // 2
    for i in range(middle, middle + 8):
        content[i] ^= 0xFF
    largest.write_bytes(bytes(content))
