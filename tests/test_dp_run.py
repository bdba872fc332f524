"""Runs under differential privacy: what is released, once, and what is refused."""

import dataclasses
import json
import shutil
import sys

import jax
import numpy as np
import pytest
from private import SIDE, cells, settings, sigma_of, split, without

import medjax
from medjax.audit.making import AuditConfig, audit_run
from medjax.bundle import making
from medjax.bundle.finished import read_finished_run
from medjax.bundle.making import ShareConfig, make_bundle
from medjax.bundle.privacy import privacy_of
from medjax.data import preprocess
from medjax.data.preprocess import PreprocessConfig
from medjax.data.raw import fingerprint, raw_dataset
from medjax.distill.release import StatisticsConfig, joint_sums
from medjax.guarantee import terms
from medjax.models import ConvNetConfig, convnet
from medjax.pipeline import ledger
from medjax.pipeline import release as releases
from medjax.pipeline.evaluate_saved import evaluate_saved, evaluation_settings
from medjax.pipeline.progress import Silent
from medjax.report import run_cells
from medjax.report.overview import write_report
from medjax.report.runs import collect
from medjax.types import RawSplit


@pytest.fixture
def accountant(monkeypatch):
    """The multiplier without dp-accounting, which may not be installed, and versions to say."""
    monkeypatch.setattr(releases, "noise_multiplier", lambda p: sigma_of(p.epsilon, p.delta))
    monkeypatch.setattr(releases.metadata, "version", lambda name: "1")


def files(folder, wanted):
    """Bytes of files, and a result without its seconds."""
    result = json.loads((folder / "result.json").read_text())
    return [result | {"seconds": 0}] + [(folder / name).read_bytes() for name in wanted]


def timeless(path):
    """A result whose seconds are all the same."""
    result = json.loads(path.read_text())
    path.write_text(json.dumps(result | {"seconds": dict.fromkeys(result["seconds"], 1.0)}))


def test_all_that_is_released_comes_through_the_mechanism(tmp_path, accountant, monkeypatch):
    """Two data sets that differ in one patient, and the same noisy table: set, result, config and bundle are the same,
    byte for byte. Nothing of the training images is in them: no fingerprint, no count."""
    monkeypatch.chdir(tmp_path)
    groups = np.repeat(np.arange(8), 5)
    raw = cells(groups)
    one = medjax.run("dp", settings(), tmp_path / "runs", data=raw)
    (path,) = (tmp_path / "runs" / "releases").glob("*/release.npz")
    other = without(raw, 3)
    place = ledger.place(tmp_path / "runs", other, releases._about(settings()))
    shutil.copytree(path.parent, place.parent)
    two = medjax.run("dp", settings(), tmp_path / "runs", data=other)
    assert one.folder.parent != two.folder.parent
    wanted = "synthetic.npz", "config.json", "gallery.png", "strip.png"
    assert files(one.folder, wanted) == files(two.folder, wanted)
    wrong = ShareConfig(str(one.folder), str(tmp_path / "wrong"))
    with pytest.raises(medjax.UserError, match="holds other images than those of the run"):
        make_bundle(wrong, data=cells(count=44))
    bundles, as_received = [], making.received

    def untimed(*parts):
        got = as_received(*parts)
        return got._replace(result=dataclasses.replace(got.result, seconds={}))

    monkeypatch.setattr(making, "received", untimed)
    for result, data in ((one, raw), (two, other)):
        (result.folder / "privacy.json").write_text('{"card": ["found"]}')
        timeless(result.folder / "result.json")
        place = tmp_path / data.fingerprint / "bundle"
        make_bundle(ShareConfig(str(result.folder), str(place)), data=data)
        bundles.append({p.name: p.read_bytes() for p in place.rglob("*") if p.is_file()})
    card = bundles[0]["README.md"].decode()
    assert "(4, 0.01)-differentially private for each patient" in card and "Not audited" not in card
    assert "an image of which they do not counts as a patient" in card
    assert "privacy.json" not in bundles[0]
    assert bundles[0] == bundles[1]
    for name in ("README.md", "recipe.json", "croissant.json"):
        text = bundles[0][name].decode()
        assert raw.fingerprint not in text and "40 training" not in text and "groups" not in text
    timed = json.loads(bundles[0]["recipe.json"])["result"]["seconds"]
    assert set(timed) == {"distill", "evaluate"} < one.seconds.keys()
    config = json.loads((one.folder / "config.json").read_text())
    assert set(config["data"]) == {"name", "fingerprint", "classes", "val", "test", "notes"}
    assert (one.fingerprint, config["data"]["notes"]) == ("withheld", [])
    broken = {"membership": {"all": {"epsilon_at_least": 8.5}}}
    (one.folder / "privacy.json").write_text(json.dumps(broken))
    with pytest.raises(
        medjax.UserError, match=r"at least 8\.50, and the run states 4: .* is broken"
    ):
        make_bundle(ShareConfig(str(one.folder), str(tmp_path / "broken")), data=raw)
    asked = evaluation_settings(one.folder / "synthetic.npz", networks=1, eval_epochs=1)
    scored = evaluate_saved(asked, tmp_path / "scored", data=raw)
    assert scored.test and scored.fingerprint == "withheld"


def test_a_release_is_made_once(tmp_path, accountant):
    """Runs that differ in what follows share it, --fresh keeps it, a killed run finds it; only noisy sums are on disk.
    A damaged one is never drawn again by itself. Another seed makes another one, and that is said."""
    raw, said = cells(), []

    class Told(Silent):
        def say(self, text):
            said.append(text)

    first = medjax.run("dp", settings(), tmp_path, data=raw, progress=Told())
    assert any("m times the epsilon" in line for line in said)
    (path,) = tmp_path.rglob("release.npz")
    before, set_before = path.read_bytes(), (first.folder / "synthetic.npz").read_bytes()
    medjax.run("dp", settings(ipc=2), tmp_path, data=raw)
    shutil.rmtree(first.folder)
    medjax.run("dp", settings(), tmp_path, data=raw, fresh=True)
    assert path.read_bytes() == before and len(list(tmp_path.rglob("release.npz"))) == 1
    assert (first.folder / "synthetic.npz").read_bytes() == set_before
    with np.load(path) as kept:
        made = convnet(ConvNetConfig(4, 1), classes=2, size=SIDE, channels=1)
        key = jax.random.wrap_key_data(kept["key"])
        pre = preprocess.fit(PreprocessConfig(SIDE, "half"), raw.train.images)
        data = preprocess.to_device(pre, raw.train)
        exact = joint_sums(StatisticsConfig(3, 4), made, key, data, np.ones(40), 2)[0]
        noise = (kept["sums"] - exact) / float(kept["sigma"])
    assert 0.6 < noise.std() < 1.5 and abs(noise.mean()) < 0.8
    assert float(json.loads(str(first.guarantee["noise_multiplier"]))) == pytest.approx(
        sigma_of(4, 0.01)
    )
    said.clear()
    second = medjax.run("dp", settings(seed=1), tmp_path, data=raw, progress=Told())
    assert any("1 other releases" in line for line in said)
    card = privacy_of(read_finished_run(str(second.folder)), None, exact=True)
    assert any("1 other releases" in line for line in card)
    path.write_bytes(before[:100])
    shutil.rmtree(first.folder)
    with pytest.raises(medjax.UserError, match="second release"):
        medjax.run("dp", settings(), tmp_path, data=raw)


def test_the_same_training_images_have_one_release(tmp_path, accountant):
    """Under another name, and with another test split. What was drawn stays counted when it is deleted, also where the
    run lies beside it alone; a run that was copied away does not know."""
    raw = cells(np.repeat(np.arange(8), 5))
    first = medjax.run("dp", settings(), tmp_path, data=raw)
    test = split(7, 12, np.arange(1000, 1012))
    later = raw.train._replace(
        groups=raw.train.groups + 3
    )  # three patients of test came before them
    about = {"name": "b", "fingerprint": fingerprint(later, raw.val, test)}
    moved = raw._replace(train=later, test=test, **about)
    second = medjax.run("dp", settings(), tmp_path, data=moved)
    (path,) = tmp_path.rglob("release.npz")
    assert first.folder.parent != second.folder.parent
    assert first.guarantee["release"] == second.guarantee["release"]
    assert ledger.others(first.folder) == []
    path.unlink()
    third = medjax.run("dp", settings(ipc=2), tmp_path, data=raw)
    assert third.guarantee["release"] != first.guarantee["release"]
    assert [row["epsilon"] for row in ledger.others(first.folder)] == [4]
    shutil.copytree(first.folder, tmp_path / "away" / "x" / "run")
    assert ledger.others(tmp_path / "away" / "x" / "run") is None
    card = privacy_of(read_finished_run(str(tmp_path / "away" / "x" / "run")), None, exact=True)
    assert any("an unknown number of other releases" in line for line in card)


def test_a_release_of_an_earlier_version_is_the_release(tmp_path, accountant):
    """It lay in the folder of the data: runs read it, a stopped one goes on, and all of them are counted."""
    made = medjax.run("dp", settings(), tmp_path, data=cells())
    (path,) = tmp_path.rglob("release.npz")
    options = path.parent.name.partition("-")[2]
    kept = made.folder.parent / f"release-{options}" / "release.npz"
    kept.parent.mkdir()
    path.rename(kept)
    shutil.rmtree(tmp_path / ledger.FOLDER)
    for name in ("result.json", ledger.READ):
        (made.folder / name).unlink()
    shutil.copytree(kept.parent, kept.parent.with_name("release-00000000"))
    arrays = dict(np.load(kept))
    np.savez(
        kept.parent.with_name("release-00000000") / "release.npz",
        **arrays | {"sums": arrays["sums"] + 1},
    )
    again = medjax.run("dp", settings(), tmp_path, data=cells())
    assert again.guarantee["release"] == made.guarantee["release"]
    assert len(ledger.others(again.folder)) == 1
    assert files(again.folder, ["synthetic.npz"])[1] == (made.folder / "synthetic.npz").read_bytes()


def test_a_page_states_the_guarantee(tmp_path, accountant):
    """All its terms. A withheld fingerprint keeps runs on two data sets of one name apart, and stands beside random
    images of the same data."""
    runs = tmp_path / "runs"
    medjax.run("dp", settings(), runs, data=cells())
    medjax.run("dp", settings(), runs, data=cells(count=44))
    words = {
        "size": SIDE,
        "width": 4,
        "depth": 1,
        "whiten": "half",
        "networks": 2,
        "eval_epochs": 4,
    }
    medjax.run("random", medjax.settings("random", "quick", **words), runs, data=cells())
    found = run_cells.cells(collect(runs)[0])
    drawn = {cell.fingerprint for cell in found if cell.method.startswith("dp")}
    (random,) = (cell.fingerprint for cell in found if cell.method == "random")
    assert len(found) == 3 and len(drawn) == 2 and random in drawn
    page = write_report(runs, tmp_path / "page")[0].read_text()
    for words in (
        "(4, 0.01)-differentially private",
        "L2 sensitivity 1",
        "Versions: dp-accounting 1",
    ):
        assert page.count(words) == 2


@pytest.mark.parametrize("known", [True, False])
def test_one_set_comes_from_one_release(tmp_path, accountant, known):
    """A run that was stopped, whose release is gone: it does not go on with a second one. known: whether its folder
    says which it read."""
    made = medjax.run("dp", settings(), tmp_path, data=cells())
    (path,) = tmp_path.rglob("release.npz")
    path.unlink()
    (made.folder / "result.json").unlink()
    if not known:
        (made.folder / ledger.READ).unlink()
    with pytest.raises(medjax.UserError, match="begun with another release"):
        medjax.run("dp", settings(), tmp_path, data=cells())
    assert not list(tmp_path.rglob("release.npz")), "a run that is refused draws nothing"
    again = medjax.run("dp", settings(), tmp_path, data=cells(), fresh=True)
    assert again.guarantee["release"] != made.guarantee["release"]


def test_what_names_a_release(tmp_path):
    """What it depends on, and nothing else: how convolutions are computed, and the unit, which the data say."""
    given = settings(conv="im2col"), settings(conv="lax"), settings(ipc=5, iterations=7)
    assert len({json.dumps(releases._about(one)) for one in given}) == 1
    others = settings(epsilon=2.0), settings(width=8), settings(seed=1), settings(directions=5)
    assert len({json.dumps(releases._about(one)) for one in (given[0], *others)}) == 5
    assert "epsilon" not in releases._about(settings(epsilon=4.0))  # as in a run's name


def test_the_size_of_a_class_is_not_told(tmp_path, accountant):
    """A class of as many images as are asked of it, and of one less: both are distilled, for no real one is taken."""
    for count in (40, 38):  # 20 and 19 in a class
        assert medjax.run("dp", settings(ipc=5), tmp_path, data=cells(count=count)).guarantee


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"epsilon": 0.0}, "--epsilon=0"),
        ({"delta": 0.0}, "--delta=0 must be above 0 and below 1 / 40"),
        ({"delta": 0.025}, r"below 1 / 40.* give for example --delta=1e-2"),
        ({"delta": 1e-13}, "below 1e-12"),
        ({"unit": "patient"}, "does not say which images are of one patient"),
        ({"whiten": "zca"}, "--whiten=zca is fitted on the private images"),
        ({"select": "val"}, "--select=last"),
        ({"eval_step_size": "searched"}, "--eval_step_size=set"),
        ({"ranking": "there"}, "--ranking scores random training images"),
        ({"model": "resnet18", "delta": 0.01}, "without batch statistics"),
    ],
)
def test_a_wrong_use_is_one_line(tmp_path, accountant, words, said):
    """Before anything is read."""
    found = settings(**words) if "model" not in words else medjax.settings("dp", "quick", **words)
    with pytest.raises(medjax.UserError, match=said) as caught:
        medjax.run("dp", found, tmp_path, data=cells())
    assert "\n" not in str(caught.value) and not list(tmp_path.rglob("release.npz"))


def test_data_that_no_guarantee_covers_are_refused(tmp_path, accountant):
    """A file without val images: some of its training images would become val, which is scored without noise."""
    raw = cells()
    arrays = {
        f"{n}_{kind}": getattr(getattr(raw, n), kind)
        for n in ("train", "test")
        for kind in ("images", "labels")
    }
    np.savez(tmp_path / "cells.npz", **arrays)
    asked = settings(dataset=str(tmp_path / "cells.npz"))
    with pytest.raises(medjax.UserError, match="no guarantee for cells: it has no val images"):
        medjax.run("dp", asked, tmp_path / "runs")
    assert not list(tmp_path.rglob("release.npz"))


def test_a_class_of_one_patient_is_refused(tmp_path, accountant):
    """That it exists would say that the patient is there. Two are enough."""
    groups = np.repeat(np.arange(8), 5)
    raw = cells(groups)
    alone = np.where(raw.train.labels == 1, 0, groups)
    with pytest.raises(medjax.UserError, match="class 'b' of cells has one patient alone"):
        medjax.run("dp", settings(), tmp_path, data=cells(alone))
    alone[np.flatnonzero(raw.train.labels == 1)[0]] = 1
    assert medjax.run("dp", settings(), tmp_path, data=cells(alone)).guarantee


def test_patients_of_test_are_none_of_training(tmp_path, accountant):
    """Their scores would be read without noise. And delta is held against patients, not images."""
    raw = cells(np.repeat(np.arange(8), 5))
    test = split(2, 12, np.arange(7, 19))
    mixed = raw._replace(test=test, fingerprint=fingerprint(raw.train, raw.val, test))
    with pytest.raises(medjax.UserError, match="1 patients of cells are in training and in val"):
        medjax.run("dp", settings(), tmp_path, data=mixed)
    with pytest.raises(medjax.UserError, match="below 1 / 8"):
        medjax.run("dp", settings(delta=0.125), tmp_path, data=raw)


def test_a_start_from_the_same_data_is_refused(tmp_path, accountant):
    """It would bring private images in, under another name too; one of other data is taken."""
    words = {"size": SIDE, "width": 4, "depth": 1, "whiten": "half", "augment": "none"}
    words |= {"networks": 1, "pack": 2}
    words |= {"iterations": 1, "eval_every": 1, "eval_epochs": 1, "interim_epochs": 1}
    first = medjax.run("dm", medjax.settings("dm", "quick", **words), tmp_path, data=cells())
    given = settings(init_set=str(first.folder / "synthetic.npz"))
    with pytest.raises(medjax.UserError, match="was made from cells"):
        medjax.run("dp", given, tmp_path, data=cells())
    with pytest.raises(medjax.UserError, match="was made from others"):
        medjax.run("dp", given, tmp_path, data=cells()._replace(name="others"))
    silent = medjax.run("dp", settings(noise=False), tmp_path, data=cells())  # of no fingerprint
    again = settings(init_set=str(silent.folder / "synthetic.npz"))
    with pytest.raises(medjax.UserError, match="does not say from what"):
        medjax.run("dp", again, tmp_path, data=cells()._replace(name="others"))
    public = medjax.run("dp", given, tmp_path, data=cells(count=44)._replace(name="others"))
    assert public.guarantee and public.start is not None
    assert "public images" in public.guarantee["only_if"]
    made = medjax.load_set(public.folder / "synthetic.npz")
    assert made.origin["begun"] == "cells", "whose licence holds for what is made of it"
    assert any("holds only if the set" in line for line in terms(public.guarantee))
    arrays = dict(np.load(first.folder / "synthetic.npz"))
    del arrays["fingerprint"]
    np.savez(tmp_path / "unknown.npz", **arrays)
    unknown = settings(init_set=str(tmp_path / "unknown.npz"))
    with pytest.raises(medjax.UserError, match="does not say from what"):
        medjax.run("dp", unknown, tmp_path, data=cells(count=48)._replace(name="others"))


def test_without_noise_there_is_no_guarantee_and_no_table_on_disk(tmp_path, monkeypatch):
    """The result says so, no accountant is needed, and exact sums are never written; with noise the missing extra is
    one line."""
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    made = medjax.run("dp", settings(noise=False), tmp_path, data=cells())
    assert made.guarantee and made.guarantee["epsilon"] is None
    assert "No guarantee" in repr(made) and not list(tmp_path.rglob("release*"))
    with pytest.raises(medjax.UserError, match=r"medjax\[privacy\]"):
        medjax.run("dp", settings(), tmp_path, data=cells())
    assert not list(tmp_path.rglob("release.npz"))


@pytest.mark.slow
def test_an_audit_says_whether_it_stays_below(tmp_path, accountant):
    """Shadows draw noise of their own, and leave none behind; the bound is beside the stated epsilon."""
    drawn = []
    patched = releases.gaussian

    def counted(shape, draw=None):
        drawn.append(patched(shape, draw))
        return drawn[-1]

    releases.gaussian = counted
    try:
        run = medjax.run("dp", settings(delta=1e-3), tmp_path, data=cells(count=120))
        found = audit_run(
            AuditConfig(str(run.folder), shadows=4, canaries=8), data=cells(count=120)
        )
    finally:
        releases.gaussian = patched
    assert len(drawn) == 5 and len({one.tobytes() for one in drawn}) == 5
    assert found["stated"]["epsilon"] == 4
    assert found["membership"]["all"]["epsilon_at_least"] < 4
    assert any("Stated: epsilon 4" in line and "as it must be" in line for line in found["card"])
    assert len(list(tmp_path.rglob("release.npz"))) == 1
    with pytest.raises(medjax.UserError, match="is not what"):
        audit_run(AuditConfig(str(run.folder), shadows=4, canaries=8), data=cells())


@pytest.mark.slow
@pytest.mark.parametrize("noisy", [True, False])
def test_an_audit_finds_that_the_noise_is_off(tmp_path, accountant, monkeypatch, noisy):
    """From the run to the card: images that can only be known by heart, eight of each class. The lower bound is below
    the stated epsilon; with a noise of nothing it is above twice that, and the card says: the guarantee is broken."""
    if not noisy:
        monkeypatch.setattr(releases, "gaussian", lambda shape, draw=None: np.zeros(shape))
    splits = {}
    for seed, (name, count) in enumerate({"train": 16, "val": 12, "test": 12}.items()):
        images = np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 1))
        splits[name] = RawSplit(images.astype(np.uint8), np.arange(count, dtype=np.int32) % 2)
    raw = raw_dataset("cells", ("a", "b"), splits)
    more = {"statistic_networks": 32, "directions": 16, "width": 16, "ipc": 4, "eval_epochs": 60}
    more |= {"iterations": 600, "eval_every": 600, "allow_repeat": True}
    run = medjax.run("dp", settings(epsilon=0.3, **more), tmp_path, data=raw)
    found = audit_run(AuditConfig(str(run.folder), shadows=32, canaries=4), data=raw)
    attacked, card = found["membership"]["all"], " ".join(found["card"])
    assert (attacked["epsilon_at_least"] < 0.3) == noisy
    assert (attacked["auc"] > 0.85) != noisy
    assert ("below it, as it must be" in card) == noisy
    assert ("the guarantee is broken" in card) != noisy
