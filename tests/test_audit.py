"""An audit finds a planted leak and nothing where there is none; what it makes its data of, and what it says."""

import functools
import json
import shutil

import jax.numpy as jnp
import launching
import numpy as np
import pytest
from launching import NETWORK, SERVER, complaint, read_json, tiny, workplace

import medjax
from medjax import devices, share, store
from medjax.audit import copies, making, shadows
from medjax.audit.attack import guess
from medjax.audit.canaries import draw, half, shadow_data
from medjax.audit.copies import as_pixels, closer, find_copies, nearest, starts
from medjax.audit.making import AuditConfig, audit_run
from medjax.audit.opening import data_of, open_run
from medjax.audit.words import against, copies_words, rate_words, shadows_words
from medjax.data import preprocess
from medjax.data.preprocess import PreprocessConfig
from medjax.data.raw import raw_dataset
from medjax.errors import UserError
from medjax.pipeline import distil
from medjax.pipeline.progress import Silent
from medjax.pipeline.run import Asked
from medjax.pipeline.session import open_session, random_start
from medjax.pipeline.settings import RunConfig
from medjax.report.overview import write_report
from medjax.report.privacy import beside_table
from medjax.types import RawSplit, Synthetic

SIDE = 8


def noise(seed, count, groups=None, classes=2):
    """A split of images that have nothing to do with their labels: they can only be known by heart."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, SIDE, SIDE, 1)).astype(np.uint8)
    return RawSplit(images, np.arange(count, dtype=np.int32) % classes, groups)


def noisy(count=120, groups=None):
    """A data set of such images; groups: of the training images."""
    other = None if groups is None else np.arange(1000, 1024)
    splits = {"train": noise(0, count, groups)}
    splits |= {"val": noise(1, 24, other), "test": noise(2, 24, other)}
    return raw_dataset("noisy", ("a", "b"), splits)


def settings(**more):
    """Of a tiny network on these images."""
    words = {"size": SIDE, "width": 8, "depth": 1, "whiten": "normalise", "networks": 2}
    words |= {"eval_epochs": 60, "interim_networks": 1, "interim_epochs": 5, "eval_augment": False}
    return medjax.settings("dm", preset="quick", **words | more)


def published(path, images, labels):
    """A released set of these 8-bit images."""
    pre = preprocess.fit(PreprocessConfig(SIDE, "normalise"), noise(0, 120).images)
    made = jnp.asarray(preprocess.apply(pre, images))
    stored = Synthetic(made, jnp.asarray(labels, jnp.int32), jnp.float32(0.03))
    network = ("convnet", settings().config(medjax.models.MODELS["convnet"].config))
    share.save_set(path / "synthetic.npz", stored, pre, ("a", "b"), network=network)
    return share.load_set(path / "synthetic.npz")


def attacked(release, folder, count=8, canaries=20):
    """(scores, canaries) of shadows of a procedure on the noisy images."""
    raw = noisy()
    chosen = draw(raw, canaries, 0, 1)
    parts = raw, chosen, count, folder, Silent()
    return shadows.attack_shadows("own", settings(), release, *parts), chosen


def test_a_planted_leak_is_found(tmp_path):
    """A procedure that publishes the canaries that it saw: nearly all are told from the others."""

    def release(each, progress):
        ((_, raw, folder),) = each
        chosen = draw(noisy(), 20, 0, 1)
        rest = {image.tobytes() for image in np.delete(noisy().train.images, chosen.rows, 0)}
        planted = [i for i, image in enumerate(raw.train.images) if image.tobytes() not in rest]
        assert len(planted) == 10
        return [published(folder, raw.train.images[planted], raw.train.labels[planted])]

    found, chosen = attacked(release, tmp_path)
    membership = making.membership(found, chosen, seed=0)
    assert membership["all"]["auc"] > 0.95
    assert membership["mislabelled"]["auc"] > 0.95 and membership["labelled_right"]["auc"] > 0.95
    assert membership["all"]["epsilon_at_least"] > 1


def test_nothing_is_found_where_no_canary_was_used(tmp_path):
    """A procedure that publishes images of its own, other ones each time: no better than guessing."""

    def release(each, progress):
        ((settings, _, folder),) = each
        other = noise(100 + settings.run.seed, 10)
        return [published(folder, other.images, other.labels)]

    found, chosen = attacked(release, tmp_path)
    all_of_them = making.membership(found, chosen, seed=0)["all"]
    low, high = all_of_them["auc_interval"]
    # With so few guesses the AUC of chance has a standard deviation of 0.06.
    assert low < 0.5 < high and abs(all_of_them["auc"] - 0.5) < 0.15
    assert all_of_them["epsilon_at_least"] < 0.5


def test_finished_shadows_are_not_done_again(tmp_path, monkeypatch):
    """Stopped and started again, each shadow is made once; one of other data or with a damaged file is made again;
    more shadows are added to those that are there."""
    done = []

    def score(settings, raw, canaries, *rest):
        rng = np.random.default_rng(settings.run.seed)
        return rng.normal(size=len(canaries.rows)), 0.5

    monkeypatch.setattr(shadows, "score", score)

    def release(each, progress):
        ((settings, _, folder),) = each
        done.append(settings.run.seed)
        if len(done) == 3:
            raise KeyboardInterrupt
        other = noise(settings.run.seed, 4)
        return [published(folder, other.images, other.labels)]

    with pytest.raises(KeyboardInterrupt):
        attacked(release, tmp_path, count=4)
    first, _ = attacked(release, tmp_path, count=4)
    assert done == [1, 2, 3, 3, 4] and first.seeds == [1, 2, 3, 4]
    again, _ = attacked(release, tmp_path, count=5)
    assert done == [1, 2, 3, 3, 4, 5]
    assert np.array_equal(again.scores[:4], first.scores)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()], (
        "what a run leaves is removed"
    )
    path = tmp_path / "own-01.json"
    path.write_text(path.read_text()[:50])
    attacked(release, tmp_path, count=4, canaries=16)
    assert done[6:] == [1, 2, 3, 4]


def test_canaries_of_images():
    """Half of them mislabelled, images alone, none that is in the data twice; the same every time."""
    raw = noisy()
    twice = raw.train.images.copy()
    twice[7] = twice[3]
    raw = raw._replace(train=raw.train._replace(images=twice))
    chosen = draw(raw, 20, 0, 1)
    assert len(set(chosen.rows)) == 20 and not {3, 7} & set(chosen.rows)
    assert chosen.mislabelled.sum() == 10 and chosen.unit == "image"
    assert ((chosen.labels != raw.train.labels[chosen.rows]) == chosen.mislabelled).all()
    assert (np.flatnonzero(chosen.owner >= 0) == np.sort(chosen.rows)).all()
    assert all(np.array_equal(a, b) for a, b in zip(draw(raw, 20, 0, 1), chosen, strict=True))
    assert set(draw(raw, 20, 1, 1).rows) != set(chosen.rows)
    assert len(draw(raw, 0, 0, 1).rows) == 12, "a tenth"


def test_canaries_of_patients():
    """One image of a patient; with it all of the patient's images come and go, and no patient of test is one."""
    groups = np.repeat(np.arange(40), 3)
    raw = noisy(groups=groups)
    raw = raw._replace(test=raw.test._replace(groups=np.arange(24)))
    chosen = draw(raw, 4, 0, 1)
    assert chosen.unit == "patient" and len(set(groups[chosen.rows])) == 4
    assert groups[chosen.rows].min() >= 24, "the others are in test"
    inside = half(chosen, 0, 0)
    made = shadow_data(raw, chosen, inside)
    left = set(groups[chosen.rows][~inside])
    assert not left & set(made.train.groups) and len(made.train.labels) == 120 - 6
    assert made.fingerprint != raw.fingerprint


def test_the_data_of_a_shadow():
    """Half of the canaries are in, labelled as they are given; everything else is as it was."""
    raw, chosen = noisy(), draw(noisy(), 20, 0, 1)
    halves = [half(chosen, 0, shadow) for shadow in range(64)]
    assert {int(one.sum()) for one in halves} == {10}
    assert np.abs(np.mean(halves, 0) - 0.5).max() < 0.25, "each is in about half of the shadows"
    made = shadow_data(raw, chosen, halves[0])
    there = {image.tobytes(): label for image, label in zip(*made.train[:2], strict=True)}
    assert len(there) == 110
    for row, label, is_in in zip(chosen.rows, chosen.labels, halves[0], strict=True):
        assert there.get(raw.train.images[row].tobytes()) == (label if is_in else None)
    for row in np.flatnonzero(chosen.owner < 0):
        assert there[raw.train.images[row].tobytes()] == raw.train.labels[row]
    assert made.val is raw.val and made.test is raw.test


def test_too_few_canaries_are_one_line():
    """A class that cannot spare as many; a set that is too small; both say how many there are."""
    with pytest.raises(UserError, match=r"--canaries=40: noisy can spare 30 images"):
        draw(noisy(), 40, 0, 1)
    with pytest.raises(UserError, match="too few training images"):
        draw(noisy(8), 0, 0, 1)
    with pytest.raises(UserError, match="can spare 8 images"):
        draw(noisy(), 20, 0, least=56)
    for words in ({"canaries": 3}, {"init_set": "x.npz"}):
        with pytest.raises(UserError, match=f"--{next(iter(words))}"):
            AuditConfig("run", **words)


WORDS = tuple("--whiten=zca" if "--whiten" in word else word for word in NETWORK)
WORDS += ("--networks=2", "--eval_epochs=30", "--interim_networks=1")
WORDS += ("--interim_epochs=3", "--iterations=2", "--batch_real=4", "--eval_every=2")
WORDS += ("--augment=none", "--eval_augment=false")


@functools.cache
def run_of(out):
    """A finished run of DM on the tiny colour images: its folder."""
    place = (f"--dataset={tiny('rgb')}", f"--out={out}")
    return launching.read_run(SERVER.run("experiments.dm", *place, *WORDS)).folder


@pytest.mark.slow
def test_an_audit_from_beginning_to_end(monkeypatch):
    """Its files, its sentences; twice the same; the report shows it, and no shadow. The procedure is one that is quick:
    random real images."""
    out = workplace() / "audit"
    run = run_of(out)
    monkeypatch.setattr(making, "of_method", lambda recipe: shadows.real_images)
    config = AuditConfig(str(run), shadows=4, canaries=6)
    found = audit_run(config)
    assert found == read_json(run / "privacy.json")
    assert found["unit"] == "image" and found["canaries"]["count"] == 6
    assert found["membership"]["all"]["members"] == 4 * 3
    assert found["whitening"]["members"] == 4 * 3
    assert "The whitening map" in found["card_exact"][0]
    assert "the whitening map alone was attacked" in found["card_exact"][1]
    assert not any("exact.npz" in line for line in found["card"]), "a bundle may have no map"
    assert found["copies"]["pixels"]["of"] == 3 == found["copies"]["start_is_nearest"]["of"]
    text = json.dumps(found)
    assert "anonym" not in text.lower()
    assert str(workplace()) not in text, "no path leaves the house"
    for name in ("roc.png", "closest.png"):
        assert (run / name).read_bytes()[:4] == b"\x89PNG"
    before, said = bytes_below(run), []

    class Heard(Silent):
        def say(self, text):
            said.append(text)

    audit_run(config, progress=Heard())
    assert bytes_below(run) == before and not any("replaces it" in line for line in said)
    store.write_json(run / "privacy.json", found | {"shadows": {"count": 16}})
    audit_run(config, progress=Heard())
    assert any("--shadows=16" in line for line in said) and bytes_below(run) == before
    (run / "audit" / "begun").mkdir()
    (run / "audit" / "begun" / "result.json").write_text((run / "result.json").read_text())
    page, shown, complaints = write_report(out, out / "page")
    text = page.read_text()
    assert (shown, complaints) == (1, []) and "LiRA" in text and "The whitening map" in text


def bytes_below(folder):
    """The bytes of every file."""
    return {name: data for name, (_, data) in launching.contents(folder).items()}


@pytest.mark.slow
def test_a_killed_audit_goes_on(tmp_path):
    """The command, killed in the distillation of a shadow: it goes on, and ends as if it had not been."""
    run = run_of(tmp_path)
    words = (f"--run={run}", "--shadows=4", "--canaries=6")
    killed = SERVER.run("experiments.audit", *words, kill='"iteration": 2')
    assert killed.status == -9 and list((run / "audit").rglob("checkpoints"))
    ended = SERVER.run("experiments.audit", *words)
    assert ended.status == 0, ended.stderr
    assert "forecast" in ended.stdout and "of one patient" in ended.stdout
    assert all(line in ended.stdout for line in read_json(run / "privacy.json")["card"])
    assert not list((run / "audit").rglob("checkpoints"))
    before = bytes_below(run)
    assert SERVER.run("experiments.audit", *words).status == 0
    assert bytes_below(run) == before


def test_what_cannot_be_audited_is_one_line(tmp_path):
    """No run, an unfinished one, one that distilled nothing, one whose data are gone, and other data."""

    def said(*words):
        return complaint(SERVER.run("experiments.audit", *words))

    run = run_of(workplace() / "audit")
    assert "which run" in said() and "no folder" in said("--run=none")
    (tmp_path / "begun").mkdir()
    assert "finish that run" in said(f"--run={tmp_path / 'begun'}")
    assert "--shadows=3" in said(f"--run={run}", "--shadows=3")
    assert "--canaries=2" in said(f"--run={run}", "--canaries=2")
    assert "is not what" in said(f"--run={run}", f"--dataset={tiny('grey')}")
    assert "cannot begin with another set" in said(
        f"--run={run}", "--beside", f"--init_set={run / 'synthetic.npz'}", "--canaries=6"
    )
    moved = f"--run={run}", "--dataset=gone.npz"
    assert "gone.npz" in said(*moved)
    chosen = json.dumps(read_json(run / "result.json") | {"method": "random"})
    for number, (name, text, words) in enumerate(
        (
            ("result.json", "{}", "result.json"),
            ("config.json", "{}", "config.json"),
            ("synthetic.npz", "PK", "synthetic.npz"),
            ("result.json", chosen, "distilled a set"),
        )
    ):
        copy = tmp_path / str(number)
        copy.mkdir()
        for file in ("result.json", "config.json", "synthetic.npz"):
            (copy / file).write_bytes((run / file).read_bytes())
        (copy / name).write_text(text)
        assert words in said(f"--run={copy}")


def test_images_in_memory_are_given_again():
    """A run from Python has no data set that could be loaded: its images are given to the audit, or it is said."""
    run = open_run(run_of(workplace() / "audit"))
    asked = run.settings.groups | {RunConfig: RunConfig(dataset="(given in memory)")}
    run = run._replace(settings=run.settings._replace(groups=asked))
    with pytest.raises(UserError, match="from Python"):
        data_of(run, "", "", Silent())
    raw = data_of(run, str(tiny("rgb")), "", Silent())
    assert raw.fingerprint == run.result.fingerprint
    with pytest.raises(UserError, match="is not what"):
        audit_run(AuditConfig(str(run.folder)), data=noisy())


def test_the_settings_of_a_run_are_read_back():
    """From config.json, as they were given: a shadow differs from the run in its seed alone."""
    run = open_run(run_of(workplace() / "audit"))
    place = (f"--dataset={tiny('rgb')}", "--out=x")
    assert run.settings.values() == {
        name: value
        for name, value in launching.settings("dm", *place, *WORDS).values().items()
        if name not in ("out", "fresh")
    }
    own = shadows.with_seed(run.settings, 7)
    changed = {n: v for n, v in own.values().items() if v != run.settings.values()[n]}
    assert changed == {"seed": 7}


def test_a_shadow_releases_what_an_ordinary_run_does(tmp_path):
    """With the run's own seed and all its images: the same set, and no network was trained but those that choose the
    iteration."""
    run = open_run(run_of(workplace() / "audit"))
    raw = data_of(run, str(tiny("rgb")), "", Silent())
    asked = Asked(run.settings, raw, tmp_path)
    (made,) = shadows.of_method(run.recipe)([asked], Silent())
    assert made.images_uint8.any() and np.array_equal(made.images_uint8, run.shared.images_uint8)
    np.testing.assert_array_equal(made.synthetic.images, run.shared.synthetic.images)
    assert made.origin["collapsed"] == run.shared.origin["collapsed"]
    assert [path.name for path in tmp_path.rglob("evaluations/*")] == ["interim-00000002.json"]


def test_shadows_side_by_side(tmp_path, monkeypatch):
    """In blocks of three, each distilled in one program, with one shadow stopped while its networks train: the scores
    of shadows that are made in turn."""
    run, seeds, score = open_run(run_of(workplace() / "audit")), [], shadows.score
    raw = data_of(run, str(tiny("rgb")), "", Silent())
    chosen, made = draw(raw, 6, 0, 1), distil.together
    parts = "own", run.settings, shadows.of_method(run.recipe), raw, chosen, 4
    alone = shadows.attack_shadows(*parts, tmp_path / "alone", Silent())
    monkeypatch.setattr(distil, "together", lambda ds: seeds.append(len(ds)) or made(ds))

    def stopped(settings, *rest):
        if settings.run.seed == 2:
            raise InterruptedError
        return score(settings, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(shadows, "score", stopped)
        with pytest.raises(InterruptedError):
            shadows.attack_shadows(*parts, tmp_path / "beside", Silent(), beside=3)
    assert seeds == [3] and [p.name for p in (tmp_path / "beside").glob("*.json")] == [
        "own-00.json"
    ]
    found = shadows.attack_shadows(*parts, tmp_path / "beside", Silent(), beside=3)
    assert seeds == [3], "what was distilled is not distilled again, and the fourth is alone"
    assert found.seeds == alone.seeds and np.array_equal(found.inside, alone.inside)
    for name in ("scores", "balanced", "by_map"):
        np.testing.assert_allclose(getattr(found, name), getattr(alone, name), atol=1e-3)
    assert not np.allclose(alone.scores[0], alone.scores[1], atol=1e-2)


def test_how_many_shadows_side_by_side(monkeypatch):
    """A CPU makes them in turn; an accelerator as many as half of its memory holds."""
    assert shadows.side_by_side(1.0) == 1
    monkeypatch.setattr(devices, "on_cpu", lambda: False)
    monkeypatch.setattr(devices, "accelerator_bytes", lambda: 64e9)
    assert [shadows.side_by_side(size) for size in (2e9, 31e9, 33e9)] == [16, 1, 1]


def test_procedures_beside(tmp_path):
    """The same method from noise, random real images, and another set where the method takes one."""
    run = open_run(run_of(workplace() / "audit"))
    made = making.procedures(AuditConfig("run", beside=True), run)
    assert list(made) == ["own", "noise", "real"]
    assert made["noise"][0].values()["init_images"] == "noise"
    assert list(making.procedures(AuditConfig("run"), run)) == ["own"]
    begun = run._replace(settings=made["noise"][0])
    assert list(making.procedures(AuditConfig("run", beside=True), begun)) == ["own", "real"]
    other = shadows.started_from(medjax.settings("mtt"), init_set="set.npz")
    assert other is not None and other.values()["init_set"] == "set.npz"
    assert shadows.started_from(medjax.settings("dc"), init_set="set.npz") is None
    (kept,) = shadows.real_images([Asked(settings(ipc=3), noisy(), tmp_path)], Silent())
    real = {image.tobytes() for image in noisy().train.images}
    assert all(image.tobytes() in real for image in kept.images_uint8)
    assert len(kept.images_uint8) == 6 and kept.origin["collapsed"] == "True"


def test_a_start_that_saw_all_canaries_is_refused():
    """Shadows that begin with a set of the same images would hide what it gives away."""
    run = open_run(run_of(workplace() / "audit"))
    raw = data_of(run, "", "", Silent())
    path = str(run.folder / "synthetic.npz")
    begun = shadows.started_from(medjax.settings("mtt"), init_set=path)
    with pytest.raises(UserError, match="all canaries"):
        making.check_start(begun, raw._replace(name="renamed"))
    making.check_start(begun, raw._replace(name="others", fingerprint="0" * 16))
    making.check_start(run.settings, raw)


@pytest.mark.parametrize(
    ("shown", "words"), [(0.4, "below it, as"), (0.9, "above it and below"), (1.1, "is broken")]
)
def test_a_bound_beside_a_stated_epsilon(shown, words):
    """A shadow replaces a canary, which a guarantee for one added or removed allows twice its epsilon."""
    assert words in against({"epsilon": 0.5, "delta": 1e-5}, shown)


def test_a_set_that_does_not_fit_is_said_before_the_shadows(monkeypatch):
    """--init_set names a file that is not there: hours before it would be read."""
    run = run_of(workplace() / "audit")
    other = shadows.started_from(
        medjax.settings("mtt", preset="quick", size=SIDE), init_set="gone.npz"
    )
    made = {"own": (open_run(run).settings, None), "set": (other, None)}
    monkeypatch.setattr(making, "procedures", lambda config, run: made)
    monkeypatch.setattr(making, "attack_shadows", None)
    with pytest.raises(UserError, match=r"gone\.npz"):
        audit_run(AuditConfig(str(run), canaries=6))


def test_a_dry_run_says_how_long_it_takes_and_does_nothing():
    """The forecast, and no file is written or changed."""
    run = run_of(workplace() / "audit")
    before = bytes_below(run)
    ended = SERVER.run("experiments.audit", f"--run={run}", "--canaries=6", "--dry_run")
    assert ended.status == 0 and "forecast of the whole audit" in ended.stdout, ended
    assert "closest.png" not in ended.stdout and bytes_below(run) == before
    assert SERVER.run("experiments.audit", f"--run={run}", "--canaries=3", "--dry_run").status == 2


def test_the_table_beside(tmp_path):
    """A row for each procedure, with a dash for what could not be counted. The report shows it where there is more than
    one and it can be read."""
    rng = np.random.default_rng(0)
    inside = rng.random((4, 60)).argsort(1) < 30
    one = making.summary(guess(rng.normal(size=(4, 60)), inside), 0)
    found = {
        "beside": {name: {"balanced_accuracy": 0.5, "membership": one} for name in ("own", "real")}
    }
    own, real = beside_table(found).rows
    assert (
        own[0] == "this method, as it was run"
        and real[0] == "random real images, shown as they are"
    )
    assert own[1] == "50.0 %" and own[4].endswith("%") and own[5] == "–"
    run = tmp_path / "run"
    shutil.copytree(run_of(workplace() / "audit"), run)
    shown = []
    for beside in (found["beside"], {"own": found["beside"]["own"]}, {"own": 1, "real": None}):
        store.write_json(run / "privacy.json", {"card": ["A sentence."], "beside": beside})
        path, _, complaints = write_report(tmp_path, tmp_path / "page")
        assert not complaints and "A sentence." in path.read_text()
        shown.append("What each procedure gives away" in path.read_text())
        assert ("real images give themselves away" in path.read_text()) == shown[-1]
    assert shown == [True, False, False]


def test_the_sentences_say_what_cannot_be_said():
    """Too few canaries for a rate of false positives are named, with the number that it takes."""
    rng = np.random.default_rng(0)
    inside = rng.random((4, 60)).argsort(1) < 30
    one = making.summary(guess(rng.normal(size=(4, 60)), inside), 0)
    lines = [rate_words(one, row) for row in one["true_positives"]]
    assert "1 % false positives the attack finds" in lines[0]
    assert "1,000 guesses" in lines[1] and "there are 120" in lines[1]


def test_shadows_that_failed_are_said():
    """Nearer to chance than to the run: such shadows say nothing, and a low AUC would look like safety."""
    found = {"balanced_accuracy": 0.8, "chance": 0.25}
    fine = shadows_words(found | {"shadows": {"balanced_accuracy": [0.7, 0.8, 0.6]}})
    assert fine.endswith(
        "70.0 % balanced accuracy on test (60.0 % to 80.0 %), those trained on the run's 80.0 %."
    )
    worse = shadows_words(found | {"shadows": {"balanced_accuracy": [0.7, 0.25, 0.5]}})
    assert "2 of the shadows failed" in worse


def test_the_nearest_is_the_same_in_blocks():
    rng = np.random.default_rng(0)
    rows, among = (rng.normal(size=(n, 5)).astype(np.float32) for n in (7, 50))
    among[40] = among[3] = rows[2]
    distances = np.linalg.norm(rows[:, None] - among[None], axis=2)
    found, place = nearest(rows, [among[:8], among[8:33], among[33:]])
    assert (place == distances.argmin(1)).all() and place[2] == 3
    np.testing.assert_allclose(found, distances.min(1), atol=1e-6)


def test_planted_copies_are_nearer_to_training():
    """Copies of training images are all nearer to it; images of nowhere as often as not."""
    train, held = (as_pixels(noise(seed, 200).images / 255.0) for seed in (0, 1))
    dull = as_pixels(0.4 + 0.1 * noise(0, 40).images / 255.0)
    found = closer(dull, [train], [held])
    assert found["nearer_to_training"] == found["of"] == 40 and found["interval"][0] > 0.9
    low, high = closer(as_pixels(noise(2, 200).images / 255.0), [train], [held])["interval"]
    assert low < 0.5 < high


def test_copies_are_sought_a_block_at_a_time(tmp_path, monkeypatch):
    """With the numbers and pictures of all images at once; none is looked at beside more than a block of others."""
    session = open_session(settings(ipc=2), noisy(), tmp_path / "home" / "run", Silent())
    shared = published(tmp_path, *noise(3, 4)[:2])
    whole, pictures = find_copies(session, shared, True)
    assert set(whole) == {
        "images",
        "real_images_of_each_kind",
        "pixels",
        "features",
        "start_is_nearest",
    }
    seen, invert = [], preprocess.invert

    def watched(pre, images):
        seen.append(len(images))
        return invert(pre, images)

    monkeypatch.setattr(preprocess, "invert", watched)
    monkeypatch.setattr(copies, "WAITING", 13)
    found, shown = find_copies(session, shared, True)
    assert found == whole and shown.names == pictures.names and max(seen) == 13
    for name, images in pictures.columns.items():
        np.testing.assert_array_equal(shown.columns[name], images)


def test_features_that_depend_on_their_batch_are_left_out(tmp_path):
    """Networks with batch norm see an image beside others; the card says why there is no row."""
    session = open_session(settings(ipc=2), noisy(), tmp_path / "home" / "run", Silent())
    shared = published(tmp_path, *noise(3, 4)[:2])
    for separable in (True, False):
        model = session.model._replace(separable=separable)
        found, _ = find_copies(session._replace(model=model), shared, False)
        assert ("features" in found, "features_left_out" in found) == (separable, not separable)
        said = copies_words(found)
        assert len(said) == 3 and ("not sought in the features" in said[1]) == (not separable)


@pytest.mark.parametrize("pack", (1, 2))
def test_the_image_that_each_began_with(pack, tmp_path):
    """`starts` names the training images that a distillation begins with, in the order of its decoded images."""
    own = settings(ipc=2, pack=pack)
    session = open_session(own, noisy(), tmp_path / "home" / "run", Silent())
    begun = random_start(session).images
    pixels = [preprocess.invert(session.pre, np.asarray(a)) for a in (begun, session.train.images)]
    made, train = map(as_pixels, pixels)
    _, near = nearest(made, [train])
    assert len(near) == 4 * pack**2
    assert (near == starts(session)).mean() > (0.99 if pack == 1 else 0.8)
