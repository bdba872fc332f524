"""A bundle: what is in it, that it loads as its card says, that it says the truth, and that nothing of the user is
lost."""

import dataclasses
import hashlib
import io
import json
import re
import shutil
import zipfile

import launching
import numpy as np
import pytest
from bundles import SIZE, bundle, finished, recipe, table
from PIL import Image

import medjax
from medjax import packing, share, store
from medjax.bundle import apart, loading
from medjax.bundle.apart import compare
from medjax.bundle.card import source_of
from medjax.bundle.finished import read_finished_run
from medjax.bundle.images import class_folders, images_of
from medjax.bundle.licence import licence_of
from medjax.bundle.making import ShareConfig, make_bundle
from medjax.bundle.received import _settings, as_received
from medjax.data import preprocess, sources
from medjax.errors import UserError
from medjax.eval_config import InterimConfig
from medjax.pipeline.progress import Silent
from medjax.result import Result


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def colour(tmp_path_factory):
    """A run on colour images, and its bundle."""
    home = tmp_path_factory.mktemp("colour")
    run = finished(home / "run", launching.tiny("rgb"))
    return run, bundle(run, home / "bundle", zip=True)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A packed run on grey images with soft labels, and its bundle."""
    home = tmp_path_factory.mktemp("packed")
    run = finished(home / "run", launching.tiny("grey"), pack=2, whiten="normalise", soft=True)
    return run, bundle(run, home / "bundle")


def test_images_are_those_of_the_set(colour):
    """The PNG files, the .npz in MedMNIST's layout and the 8-bit images of synthetic.npz: the same pixels, in the order
    of the labels; exact.npz is the file itself."""
    run, out = colour
    shared = share.load_set(run / "synthetic.npz")
    with np.load(out / "medmnist.npz") as z:
        np.testing.assert_array_equal(z["train_images"], shared.images_uint8)
        np.testing.assert_array_equal(z["train_labels"][:, 0], shared.synthetic.labels)
        assert z["train_labels"].dtype == np.uint8 and tuple(z["class_names"]) == shared.class_names
        pixels = z["train_images"] / 255
        np.testing.assert_allclose(z["mean"], pixels.mean((0, 1, 2)), atol=1e-5)
        np.testing.assert_allclose(z["std"], pixels.std((0, 1, 2)), atol=1e-5)
    rows = table(out)
    for i, row in enumerate(rows):
        with Image.open(out / "data/train" / row["file_name"]) as image:
            np.testing.assert_array_equal(np.asarray(image), shared.images_uint8[i])
        assert int(row["label"]) == shared.synthetic.labels[i]
        assert row["class_name"] == shared.class_names[int(row["label"])]
    assert len(list((out / "data/train").rglob("*.png"))) == len(rows) == 6
    assert (out / "exact.npz").read_bytes() == (run / "synthetic.npz").read_bytes()


def test_folders_of_classes_sort_in_the_order_of_the_labels():
    """Whatever the classes are called."""
    names = (*(f"{'Äß/' * (i == 3)}kind {12 - i}" for i in range(12)), "..", "日本")
    folders = class_folders(names)
    assert sorted(folders) == folders and len(set(folders)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_]+", folder) for folder in folders)


def test_classes_are_given_names(colour, tmp_path):
    """In every file, exact.npz too; the images stay. Names that are there already are not replaced."""
    with pytest.raises(UserError, match="the classes have names, kind 0"):
        bundle(colour[0], tmp_path / "wrong", class_names="white,red cell,platelet")
    run = shutil.copytree(colour[0], tmp_path / "run")
    arrays = dict(np.load(run / "synthetic.npz"))
    unnamed = {"class_names": np.array(["class 0", "class 1", "class 2"])}
    store.write_arrays(run / "synthetic.npz", **arrays | unnamed)
    names = ["white", "red cell", "platelet"]
    named = bundle(run, tmp_path / "named", class_names=", ".join(names))
    assert list(np.load(named / "medmnist.npz")["class_names"]) == names
    exact = np.load(named / "exact.npz")
    assert list(exact["class_names"]) == names
    np.testing.assert_array_equal(exact["images"], arrays["images"])
    assert {row["class_name"] for row in table(named)} == set(names)
    assert json.loads((named / "recipe.json").read_text())["classes"] == names
    assert "red cell" in (named / "README.md").read_text()
    assert not [p for p, b in content(named).items() if b"class 1" in b or "class_1" in p]
    for wrong in ("white", "white,white,red", "white,,red"):
        with pytest.raises(UserError, match="3 different names"):
            bundle(run, tmp_path / "wrong", class_names=wrong)


def test_packed_images_are_decoded(packed):
    """A loader trains on what networks see: the images that the stored ones hold."""
    run, out = packed
    shared = share.load_set(run / "synthetic.npz")
    seen = np.rint(packing.decode(shared.images_uint8 / np.float32(255), 2) * 255)
    rows, names = table(out), sorted(p.name for p in (out / "data/train").rglob("*.png"))
    assert len(rows) == len(names) == 4 * len(shared.images_uint8) and len(set(names)) == len(names)
    for row, pixels in zip(rows, seen, strict=True):
        with Image.open(out / "data/train" / row["file_name"]) as image:
            np.testing.assert_array_equal(np.asarray(image), pixels[..., 0])
        assert int(row["label"]) == shared.synthetic.labels[int(row["stored"])]
    assert [int(row["tile"]) for row in rows] == np.repeat(range(4), 4).tolist()
    card = (out / "README.md").read_text()
    assert (
        "16 synthetic images of 2 classes, stored as 4" in card
        and "soft labels are in exact.npz" in card
    )
    with np.load(out / "medmnist.npz") as z:
        assert z["train_images"].shape == (16, SIZE, SIZE)


def test_every_file_is_summed_and_named(colour):
    """In SHA256SUMS, and but for itself in the card."""
    _, out = colour
    files = content(out)
    listed = dict(reversed(line.split("  ")) for line in files["SHA256SUMS"].decode().splitlines())
    assert listed == {
        n: hashlib.sha256(b).hexdigest() for n, b in files.items() if n != "SHA256SUMS"
    }
    card = files["README.md"].decode()
    assert all(
        f"{digest}  {name}\n" in card for name, digest in listed.items() if name != "README.md"
    )


def test_the_card_says_what_is_so(colour):
    """Scores of each kind, recall, counts, the network's training, and what is not known."""
    run, out = colour
    card, plan = (out / "README.md").read_text(), recipe(out)
    scores = Result.from_json(plan["result_as_received"])
    for text in ("80.0 ± 1.0", "70.0 ± 1.0", "by mlp", "60.0 ± 1.0", str(scores.test.accuracy)):
        assert text in card
    assert f"| as received (8-bit, mean and std) | {scores.test.accuracy} |" in card
    assert "6 synthetic images of 3 classes, 8 x 8 pixels, RGB, in place of the 60 training" in card
    assert "- Not audited." in card and "not known. Ask the owner" in card
    assert 'license: "other"' in card and "7 iterations" in card
    assert "| kind 0 | 2 | 66.7 |" in card  # 4 of 6 in `confusion`
    assert plan["exact"]["step_size"] == pytest.approx(0.02) and plan["exact"]["late_decay"]
    assert plan["received"]["step_size"] in (0.001, 0.003, 0.01, 0.03, 0.1)
    assert scores.evaluation["networks"] == 2 and plan["received"]["epochs"] == 4


def test_nothing_of_the_house_leaves_it(colour, packed):
    """No path, no command line, no real image, and no promise that cannot be kept."""
    for run, out in (colour, packed):
        for name, found in content(out).items():
            assert str(run.parent).encode() not in found, name
            assert str(launching.workplace()).encode() not in found, name
            assert b"anonym" not in found.lower(), name
            if name.endswith((".json", ".md")):
                assert b"experiments.mtt" not in found
    with Image.open(colour[1] / "gallery.png") as image:
        assert image.width < 900  # one block, not real images beside it


def test_equal_runs_give_equal_bundles(colour, tmp_path):
    """Also without the data set, whose scores are kept in the run's folder; and as one file."""
    run, out = colour
    shutil.copytree(run, tmp_path / "run")
    config = json.loads((tmp_path / "run/config.json").read_text())
    config["values"]["dataset"]["value"] = str(tmp_path / "gone.npz")
    store.write_json(tmp_path / "run/config.json", config)
    again = bundle(tmp_path / "run", tmp_path / "bundle", zip=True)
    assert content(again) == content(out)
    one, two = (folder.with_name("bundle.zip").read_bytes() for folder in (out, again))
    assert one == two
    with zipfile.ZipFile(io.BytesIO(one)) as file:
        assert {n.removeprefix("bundle/") for n in file.namelist()} == set(content(out))


def test_without_the_data_set(tmp_path):
    """The bundle is made all the same, and says what is missing; --dataset says where it is now."""
    here = tmp_path / "cells.npz"
    shutil.copy(launching.tiny("grey"), here)
    run = finished(tmp_path / "run", here)
    moved = here.rename(tmp_path / "moved.npz")
    card = (bundle(run, tmp_path / "bundle") / "README.md").read_text()
    assert "were not measured" in " ".join(card.split())
    assert (
        "as received (8-bit" not in card
        and recipe(tmp_path / "bundle")["result_as_received"] is None
    )
    with pytest.raises(UserError, match="other images than those of the run"):
        bundle(run, tmp_path / "bundle", dataset=str(launching.tiny("rgb")))
    with pytest.raises(UserError, match="no such file"):
        bundle(run, tmp_path / "bundle", dataset=str(here))
    assert "were not compared with the training images" in " ".join(card.split())
    out = bundle(run, tmp_path / "bundle", dataset=str(moved))
    assert "as received (8-bit" in (out / "README.md").read_text()
    card = " ".join((out / "README.md").read_text().split())
    assert "none is the same but for rounding. The correlation of an image" in card
    said = Heard()
    moved.unlink()
    make_bundle(ShareConfig(run=str(run), out=str(out)), progress=said)
    assert "none is the same" in " ".join((out / "README.md").read_text().split())
    assert "1 is the same picture" in said.text and "not compared" not in said.text


class Heard(Silent):
    """What is said."""

    def __init__(self):
        self.text = ""

    def say(self, text):
        self.text += text + "\n"


def test_a_method_that_does_not_say_how_it_begins(tmp_path):
    """Its images are taken to have begun as real ones: unmoved they are refused, and the card says what they were."""
    run = finished(tmp_path / "run", launching.tiny("grey"))
    config = json.loads((run / "config.json").read_text())
    del config["values"]["init_images"]
    store.write_json(run / "config.json", config)
    card = (bundle(run, tmp_path / "bundle") / "README.md").read_text()
    assert card.count("began as real training images") == 2
    shared = share.load_set(run / "synthetic.npz")
    begun = shared.images_uint8[np.searchsorted(shared.synthetic.labels, [0, 1])]
    store.write_arrays(run / "snapshots" / "00000000.npz", images=begun)
    with pytest.raises(UserError, match="hardly moved"):
        bundle(run, tmp_path / "other")


def test_privacy_comes_from_the_audit(colour, tmp_path):
    """privacy.json of a run is copied, and its sentences stand in the card. The console says what counts."""
    run = shutil.copytree(colour[0], tmp_path / "run")
    store.write_json(run / "privacy.json", {"card": ["AUC 0.51 (0.47 to 0.55) over 200 canaries."]})
    out = bundle(run, tmp_path / "bundle")
    assert "- AUC 0.51 (0.47 to 0.55) over 200 canaries." in (out / "README.md").read_text()
    assert "Not audited" not in (out / "README.md").read_text()
    assert "- exact.npz holds the mean" in (out / "README.md").read_text()
    assert (out / "README.md").read_text().count("began as real training images") == 2
    assert (out / "privacy.json").read_bytes() == (run / "privacy.json").read_bytes()
    attacked = {"auc": 0.61, "auc_interval": [0.52, 0.7]}
    found = {"membership": {"all": attacked}, "copies": {"start_is_nearest": {"count": 3, "of": 4}}}
    store.write_json(run / "privacy.json", found | {"card": ["It leaks."]})
    heard = Heard()
    config = ShareConfig(run=str(run), out=str(tmp_path / "bundle"))
    make_bundle(config, progress=heard)
    assert "AUC 0.61 (0.52 to 0.70; guessing has 0.5)" in heard.text
    assert "for 3 of 4 images" in heard.text and "the covariance" in heard.text
    card = (out / "README.md").read_text()
    assert "may still show them." in card and "often it can be recognised" not in card
    make_bundle(dataclasses.replace(config, exact=False), progress=(heard := Heard()))
    assert "AUC 0.61" in heard.text and "the covariance" not in heard.text
    (run / "privacy.json").unlink()
    make_bundle(config, progress=(heard := Heard()))
    assert f"not audited: python -m experiments.audit --run={run}" in heard.text
    odd = ("{", "[]", '{"card": 3}', '{"membership": []}', '{"membership": {"all": 1}}')
    odd += ('{"membership": {"all": {"epsilon_at_least": "much"}}}',)
    for text in odd:
        (run / "privacy.json").write_text(text)
        with pytest.raises(UserError, match=r"privacy\.json is damaged"):
            bundle(run, tmp_path / "bundle")


@pytest.mark.parametrize(
    ("dataset", "integrate", "given", "hub"),
    [
        ("dermamnist", "", "", "cc-by-nc-4.0"),
        ("dermamnist_64", "", "cc-by-nc-4.0", "cc-by-nc-4.0"),
        ("bloodmnist", "", "", "cc-by-4.0"),
        ("med_mnist-dermamnist", "", "", "cc-by-nc-4.0"),  # as TensorFlow Datasets names it
        ("integrated", "/d/dermamnist.npz,tfds:med_mnist/bloodmnist", "", "cc-by-nc-4.0"),
        ("tfds:med_mnist/dermamnist:1.0.0", "", "", "cc-by-nc-4.0"),
        ("DermaMNIST", "", "", "cc-by-nc-4.0"),  # files by names that people give them
        ("dermamnist_28", "", "", "cc-by-nc-4.0"),
        ("dermamnist-64", "", "", "cc-by-nc-4.0"),
        ("integrated", "", "", "cc-by-nc-4.0"),  # the study's eight, DermaMNIST among them
        ("integrated", "bloodmnist,octmnist", "", "cc-by-4.0"),
        ("integrated", "bloodmnist,mine.npz", "", "other"),
        ("mine", "", "", "other"),
        ("mine", "", "CC BY 4.0", "cc-by-4.0"),
        ("mine", "", "see the ward's board", "other"),
    ],
)
def test_a_licence_is_inherited(dataset, integrate, given, hub):
    """A public set decides; of own images the user says it."""
    found = licence_of(dataset, integrate, given)
    assert found.hub == hub and found.commercial == ("nc" not in hub)
    assert not licence_of("mine", "", "CC BY-NC 2.0").commercial
    assert not licence_of("mine", "", "PolyForm Noncommercial 1.0.0").commercial


@pytest.mark.parametrize("given", ["CC BY-NC-ND 4.0", "CC BY-ND 4.0", "cc-by-nd-3.0"])
def test_a_licence_without_derivatives_is_refused(given):
    with pytest.raises(UserError, match="forbids to pass on what is made of the images"):
        licence_of("mine", "", given)


def test_the_licence_of_another_start_holds_too():
    """A set that began as one of DermaMNIST is not for commercial use."""
    with pytest.raises(UserError, match="forbids commercial use"):
        licence_of("mine", "", "CC BY 4.0", begun="dermamnist")
    assert licence_of("bloodmnist", "", "", begun="dermamnist").hub == "cc-by-nc-4.0"
    assert licence_of("bloodmnist", "", "", begun="theirs").name == "unknown"


def test_the_name_of_a_file_grants_nothing(tmp_path):
    """Own images in a file with the name of a public set are their owner's; a name that forbids still forbids."""
    assert licence_of("pathmnist", "", "the ward's", public=False).name == "the ward's"
    assert licence_of("phantom", "", "", public=False).hub == "other"
    assert not licence_of("dermamnist", "", "", public=False).commercial
    own = shutil.copy(launching.tiny("rgb"), tmp_path / "pathmnist.npz")
    out = bundle(finished(tmp_path / "run", own), tmp_path / "bundle", license="the ward's")
    card = (out / "README.md").read_text()
    assert "the ward's" in card and "MedMNIST v2" not in card


@pytest.mark.parametrize(
    ("dataset", "integrate", "makers"),
    [
        ("octmnist", "", ["Kermany"]),
        ("integrated", "octmnist,pneumoniamnist,bloodmnist", ["Kermany", "Kermany", "Acevedo"]),
        ("integrated", "bloodmnist,mine.npz", []),
    ],
)
def test_who_made_a_public_set_is_named(colour, dataset, integrate, makers):
    """As licences with attribution ask."""
    run = read_finished_run(str(colour[0]))
    values = run.values | {"dataset": dataset, "integrate": integrate}
    run = run._replace(values=values, result=dataclasses.replace(run.result, dataset=dataset))
    said = source_of(run, "")
    assert re.findall("Kermany|Acevedo", said) == makers and ("MedMNIST v2" in said) == bool(makers)


@pytest.mark.parametrize("start", [{}, {"init_images": "noise", "init_set": "margin.npz"}])
def test_images_that_have_not_moved_are_real(tmp_path, start):
    """A run whose images are those it began with, but for a rounding, gives real images away: also those of another
    set, which can be real."""
    folder = finished(tmp_path / "run", launching.tiny("grey"))
    config = json.loads((folder / "config.json").read_text())
    config["values"] |= {name: {"value": value, "origin": "flag"} for name, value in start.items()}
    (folder / "config.json").write_text(json.dumps(config))
    shared = share.load_set(folder / "synthetic.npz")
    labels = np.asarray(shared.synthetic.labels)
    first = shared.images_uint8[np.searchsorted(labels, np.arange(len(shared.class_names)))]
    for shift, real in ((1, True), (9, False)):
        moved = np.where(first < 128, first + shift, first - shift)
        store.write_arrays(folder / "snapshots" / "00000000.npz", images=moved)
        if real:
            with pytest.raises(UserError, match="have hardly moved from those"):
                read_finished_run(str(folder))
        else:
            read_finished_run(str(folder))
    (folder / "snapshots" / "00000000.npz").unlink()
    with pytest.raises(UserError, match=r"has no snapshots/00000000\.npz"):
        read_finished_run(str(folder))


@pytest.mark.parametrize("pack", [1, 2, 3])
def test_a_training_image_in_the_set_is_found(tmp_path, pack):
    """One of the later ones of a class, or one tile of four; a set that has moved far is taken."""
    folder = finished(tmp_path / "run", launching.tiny("rgb"), pack=pack)
    shared, raw = share.load_set(folder / "synthetic.npz"), sources.load(launching.tiny("rgb"))
    side = -(-shared.images_uint8.shape[1] // pack)
    last = shared.images_uint8.shape[1] - side * (
        pack - 1
    )  # of the tiles at the end, which may be cut
    compare(folder, shared, raw)
    image = preprocess.resize(raw.train.images[7:8], shared.images_uint8.shape[1])
    image = np.rint(255 * image).astype(np.uint8)
    if pack > 1:
        image = np.rint(255 * preprocess.resize(image, side)).astype(np.uint8)
    images = shared.images_uint8.copy()
    odd = (np.arange(side).reshape(-1, 1, 1) % 2).astype(np.uint8)
    images[-1, -last:, :side] = (image[0] ^ odd)[:last]  # every other line is off by one
    with pytest.raises(UserError, match="is a training image of"):
        compare(folder, shared._replace(images_uint8=images), raw)


def test_how_like_images_are_to_training_images(tmp_path, monkeypatch):
    """The largest correlation of each, as NumPy counts it; a training image of less contrast has 1, one without any 0.
    Test images are measured likewise."""
    folder = finished(tmp_path / "run", launching.tiny("rgb"))
    shared, raw = share.load_set(folder / "synthetic.npz"), sources.load(launching.tiny("rgb"))
    images = shared.images_uint8.copy()
    size = images.shape[1]
    real = 255 * preprocess.resize(raw.train.images, size)
    images[0], images[1] = np.rint(64 + real[7] / 2), 9
    monkeypatch.setattr(apart, "BLOCK", 7)
    found = compare(folder, shared._replace(images_uint8=images), raw)

    def most(rows):
        one, other = (x.reshape(len(x), -1).astype(float) for x in (rows, real))
        return [max(np.corrcoef(row, b)[0, 1] for b in other) for row in one]

    mine = [*most(images[[0, *range(2, len(images))]]), 0.0]
    assert found.largest == pytest.approx(max(mine), abs=1e-4) and found.largest > 0.99
    assert found.median == pytest.approx(np.median(mine), abs=1e-4)
    chosen = np.rint(np.linspace(0, len(raw.test.images) - 1, len(images))).astype(int)
    tested = most(255 * preprocess.resize(raw.test.images[chosen], size))
    assert found.test_median == pytest.approx(np.median(tested), abs=1e-4)
    assert found.test_largest == pytest.approx(max(tested), abs=1e-4)


def test_the_licence_of_a_start_is_not_lost(tmp_path):
    """The set says what its images began as; one that does not is taken only with the file that it began with."""
    folder = finished(tmp_path / "run", launching.tiny("grey"))
    run = read_finished_run(str(folder))
    run = run._replace(values=run.values | {"init_set": str(tmp_path / "gone.npz")})
    said = run.shared._replace(origin=run.shared.origin | {"begun": "dermamnist"})
    assert run._replace(shared=said).begun == "dermamnist"
    with pytest.raises(UserError, match="whose licence holds for this set too"):
        run.begun  # noqa: B018
    shutil.copy(folder / "synthetic.npz", tmp_path / "gone.npz")
    assert run.begun == run.result.dataset
    chain = {"dataset": "dermamnist", "begun": "phantom"}
    assert share.made_of(chain) == "dermamnist,phantom"
    assert licence_of("bloodmnist", "", "", begun=share.made_of(chain)).hub == "cc-by-nc-4.0"


def test_an_audit_of_another_run_is_refused(colour, tmp_path):
    """Its numbers would stand in the card as this set's."""
    run = shutil.copytree(colour[0], tmp_path / "run")
    made = Result.read(run)
    about = {name: getattr(made, name) for name in ("method", "dataset", "fingerprint", "seed")}
    for changed in ({"seed": 7}, {"method": "dm"}):
        store.write_json(run / "privacy.json", {"card": ["low"], "run": about | changed})
        with pytest.raises(UserError, match="is of another run"):
            bundle(run, tmp_path / "bundle")
    store.write_json(run / "privacy.json", {"card": ["low"], "run": about, "set": "0"})
    with pytest.raises(UserError, match=r"another run \(set differs"):
        bundle(run, tmp_path / "bundle")
    more = {"card_exact": ["The whitening map tells much."]}
    store.write_json(run / "privacy.json", {"card": ["low"], "run": about} | more)
    said = (bundle(run, tmp_path / "bundle") / "README.md").read_text()
    assert (
        "- The whitening map tells much." in said and "almost surely where there were fewer" in said
    )


@pytest.mark.parametrize(
    ("dataset", "integrate"), [("dermamnist", ""), ("integrated", "dermamnist,mine.npz")]
)
def test_a_licence_cannot_be_widened(dataset, integrate):
    """DermaMNIST stays non-commercial."""
    with pytest.raises(UserError, match="license"):
        licence_of(dataset, integrate, "CC BY 4.0")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"method": "random", "select": "last"}, "its images are real"),
        ({"method": "margin, packed 2 x 2"}, "its images are real"),
        ({"method": "outside", "chosen_images": True}, "its images are real"),
        ({"selected_iteration": 0}, "its images are real"),
        ({"fingerprint": "0" * 16}, "of other data than result.json"),
    ],
)
def test_real_images_and_mixed_folders_are_refused(tmp_path, changed, words):
    run = finished(tmp_path / "run", launching.tiny("grey"), **changed)
    with pytest.raises(UserError, match=words):
        bundle(run, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("result.json", None, "has no result.json"),
        ("result.json", "{}", "not a whole result"),
        ("synthetic.npz", None, "has no synthetic.npz"),
        ("synthetic.npz", "damaged", "not an .npz file"),
        ("config.json", None, "gone or damaged"),
        ("config.json", "[1]", "gone or damaged"),
    ],
)
def test_a_run_that_is_not_whole_is_refused(colour, tmp_path, name, text, words):
    run = shutil.copytree(colour[0], tmp_path / "run")
    (run / name).unlink()
    if text is not None:
        (run / name).write_text(text)
    with pytest.raises(UserError, match=words) as error:
        bundle(run, tmp_path / "bundle")
    assert str(run) in str(error.value) and not (tmp_path / "bundle").exists()


def test_a_bundle_replaces_itself_and_nothing_else(colour, tmp_path):
    """A folder of the user, a file added to a bundle, an edited card: each is refused, and stays."""
    run, _ = colour
    mine = tmp_path / "mine"
    mine.mkdir()
    bundle(run, mine)  # an empty folder is free
    bundle(run, mine)
    (mine / "README.md").write_text("My own words.")
    with pytest.raises(UserError, match=r"would lose README\.md"):
        bundle(run, mine)
    assert (mine / "README.md").read_text() == "My own words."
    (mine / "README.md").unlink()
    (mine / ".git").mkdir()
    (mine / ".git" / "HEAD").write_text("ref")
    with pytest.raises(UserError, match=r"would lose \.git/HEAD"):
        bundle(run, mine)
    (mine / "SHA256SUMS").unlink()
    with pytest.raises(UserError, match="other things in it"):
        bundle(run, mine)
    assert (mine / ".git" / "HEAD").exists()
    with pytest.raises(UserError, match="is no folder"):
        bundle(run, mine / ".git" / "HEAD")
    with pytest.raises(UserError, match="HEAD/x: cannot write there"):
        bundle(tmp_path, mine / ".git" / "HEAD" / "x")  # before the run is read, and evaluated
    (tmp_path / "two.zip").write_text("letters")
    with pytest.raises(UserError, match="is no bundle"):
        bundle(run, tmp_path / "two", zip=True)
    assert (tmp_path / "two.zip").read_text() == "letters"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "two.zip"]  # nothing half made


def test_the_command(colour, tmp_path):
    """One line and status 2 for a mistake; the path of the bundle otherwise."""
    line = launching.complaint(launching.SERVER.run("experiments.share", f"--run={tmp_path}"))
    assert "--run=RUN --out=BUNDLE" in line
    words = (f"--run={colour[0]}", f"--out={tmp_path / 'bundle'}")
    ended = launching.SERVER.run("experiments.share", *words)
    assert (ended.status, ended.stderr) == (0, "") and str(tmp_path / "bundle") in ended.stdout
    assert content(tmp_path / "bundle") == content(colour[1])


def test_load_distilled(colour, tmp_path, monkeypatch):
    """A path, or the name of a set that comes with medjax; a changed file is refused."""
    run, out = colour
    whole = share.load_set(run / "synthetic.npz")
    np.testing.assert_array_equal(
        medjax.load_distilled(out).synthetic.images, whole.synthetic.images
    )
    shutil.copytree(out, tmp_path / "cells-ipc2")
    monkeypatch.setattr(loading, "BUNDLES", tmp_path)
    assert medjax.load_distilled("cells", ipc=2).class_names == whole.class_names
    with pytest.raises(UserError, match="there is cells-ipc2"):
        medjax.load_distilled("cells", ipc=1)
    with pytest.raises(UserError, match="is no folder"):
        medjax.load_distilled("cells")
    with pytest.raises(UserError, match="is no bundle"):
        medjax.load_distilled(run)
    file = tmp_path / "cells-ipc2" / "exact.npz"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"exact\.npz is not as it was written"):
        medjax.load_distilled("cells", ipc=2)


def test_images_alone(colour, packed, tmp_path, monkeypatch):
    """Without the run's own set exact.npz is the set as received: the 8-bit images, normalised by their own mean and
    standard deviation, with the step size chosen for them; nothing else is different."""
    run, whole = packed
    with pytest.raises(UserError, match="soft labels"):
        bundle(run, tmp_path / "soft", exact=False)
    run = finished(tmp_path / "run", launching.tiny("grey"), pack=2)
    out = bundle(run, tmp_path / "images", exact=False)
    kept = medjax.load_distilled(out)
    with np.load(out / "medmnist.npz") as z, np.load(out / "exact.npz") as stored:
        pixels = z["train_images"].reshape(kept.images_uint8.shape)
        expected = (pixels / np.float32(255) - z["mean"]) / z["std"]
        assert not len(stored["images"]) and stored["preprocess"] == "normalise"
    np.testing.assert_array_equal(kept.images_uint8, pixels)
    np.testing.assert_allclose(kept.synthetic.images, expected, atol=1e-5)
    assert (kept.pack, len(pixels)) == (
        1,
        4 * len(share.load_set(run / "synthetic.npz").images_uint8),
    )
    plan, card = recipe(out), (out / "README.md").read_text()
    assert plan["exact"] == plan["received"]
    assert float(kept.synthetic.step_size) == pytest.approx(plan["received"]["step_size"])
    assert "stayed at home" in card and "which is not in this bundle" in card
    assert "stayed at home" not in (whole / "README.md").read_text()
    both = content(out), content(bundle(run, tmp_path / "whole"))
    said = {"exact.npz", "README.md", "recipe.json", "croissant.json", "SHA256SUMS"}
    assert {name for name in both[1] if both[0][name] != both[1][name]} == said
    # Without the data there is no step size for these images.
    moved = finished(tmp_path / "moved", launching.tiny("grey"))
    config = json.loads((moved / "config.json").read_text())
    config["values"]["dataset"]["value"] = str(tmp_path / "gone.npz")
    store.write_json(moved / "config.json", config)
    with pytest.raises(UserError, match="give the run's --dataset"):
        bundle(moved, tmp_path / "none", exact=False)
    assert not (tmp_path / "none").exists()


def test_images_given_in_memory(tmp_path):
    """A run on images that were given to `medjax.run` gets its scores from them."""
    run = finished(tmp_path / "run", launching.tiny("grey"))
    config = json.loads((run / "config.json").read_text())
    config["values"]["dataset"]["value"] = "(given in memory)"
    store.write_json(run / "config.json", config)
    raw = sources.load(str(launching.tiny("grey")))
    out = make_bundle(ShareConfig(run=str(run), out=str(tmp_path / "bundle")), data=raw)
    assert recipe(out)["result_as_received"]["fingerprint"] == raw.fingerprint


def test_interim_evaluations_count_as_in_the_run(colour):
    """Steps where the run counted steps, beside its own default of epochs."""
    run = read_finished_run(str(colour[0]))
    run = run._replace(values=run.values | {"interim_steps": 5, "interim_epochs": 300})
    shared = as_received(run.shared, images_of(run.shared))
    assert _settings(run, shared, "", 2).config(InterimConfig).interim_steps == 5


def test_more_networks_than_in_the_run(tmp_path):
    """The first of them are those of the run's number; what the receiver trains stays as many as in the run."""
    run = finished(tmp_path / "run", launching.tiny("grey"))
    few, many = (bundle(run, tmp_path / str(n), networks=n) for n in (0, 4))
    counts = [recipe(out)["result_as_received"]["test"]["accuracy"]["n"] for out in (few, many)]
    assert counts == [recipe(few)["networks"], 4] and recipe(many)["networks"] == counts[0] < 4
    assert "As received: 4 networks trained" in (many / "README.md").read_text()
    kept = [
        json.loads(p.read_text())["scores"] for p in run.glob("received-*/evaluations/test.json")
    ]
    short, long = sorted(kept, key=len)
    np.testing.assert_allclose(long[: len(short)], short, atol=0.02)


def test_who_publishes_it(tmp_path):
    """A name and an address, each where the formats want them; neither where nobody has said them."""
    run = finished(tmp_path / "run", launching.tiny("grey"))
    said = {"creator": "Clinic A,\n<b>Pathology</b>", "url": "https://example.org/set"}
    said |= {"published": "2026-12-31"}
    out, silent = bundle(run, tmp_path / "said", **said), bundle(run, tmp_path / "silent")
    value = json.loads((out / "croissant.json").read_text())
    assert value["creator"] == {"@type": "sc:Organization", "name": "Clinic A, <b>Pathology</b>"}
    assert (value["url"], value["datePublished"]) == (said["url"], said["published"])
    assert value["dateCreated"] == json.loads((out / "recipe.json").read_text())["date"]
    assert "- **Published by**: Clinic A, " in (out / "README.md").read_text()
    left_out = {"creator", "url", "datePublished"}
    assert not left_out & json.loads((silent / "croissant.json").read_text()).keys()
    with pytest.raises(UserError, match="--published=May 2026 is no day like"):
        bundle(run, tmp_path / "day", published="May 2026")
    assert "Published by" not in (silent / "README.md").read_text()
