"""The receiver's side of a bundle: its programs do what medjax does, without it; its files load as the card shows."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import launching
import numpy as np
import pytest
from bundles import bundle, finished, recipe, table

from medjax import evaluate, metrics, share
from medjax.augment import DSA, FAMILIES, augment
from medjax.bundle import writing
from medjax.bundle.images import images_of
from medjax.bundle.received import as_received
from medjax.data import preprocess, sources
from medjax.data.raw import in_order
from medjax.eval_config import EvalConfig
from medjax.models import ConvNetConfig, build
from medjax.result import Result

TEMPLATES = Path(share.__file__).parent / "templates" / "bundle"


def program(name):
    """A program of the bundle as a module. As a script it finds the file beside it, which both use."""
    if str(TEMPLATES) not in sys.path:
        sys.path.append(str(TEMPLATES))
    spec = importlib.util.spec_from_file_location(name, TEMPLATES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def receiver():
    """evaluate.py. It is written for JAX as it comes, which broadcasts."""
    with jax.numpy_rank_promotion("allow"):
        yield program("evaluate")


@pytest.fixture(scope="module", params=[("rgb", 1, "zca"), ("rgb", 2, "zca"), ("grey", 2, "half")])
def made(request, tmp_path_factory):
    """A run and its bundle, made without the data set: nothing is trained."""
    name, pack, whiten = request.param
    home = tmp_path_factory.mktemp("made")
    data = shutil.copy(launching.tiny(name), home / "cells.npz")
    run = finished(home / "run", data, pack=pack, whiten=whiten, soft=pack == 2)
    Path(data).unlink()
    return run, bundle(run, home / "bundle", published="2026-12-31")


def test_sets_are_read_as_medjax_reads_them(made, receiver):
    """The exact set and the one as received: images, labels, and the way of real images into their space."""
    run, out = made
    shared = share.load_set(run / "synthetic.npz")
    received = as_received(shared, images_of(shared))
    pixels = np.random.default_rng(1).random((5, *shared.images_uint8.shape[1:]), np.float32)
    for file, read, whole in (
        ("exact.npz", receiver.exact_set, shared),
        ("medmnist.npz", receiver.received_set, received),
    ):
        with np.load(out / file) as z:
            images, shares, model_space = read(dict(z))
        wanted = share.decoded(whole)
        np.testing.assert_allclose(images, wanted.images, atol=2e-4)
        soft = wanted.soft
        given = np.eye(len(shared.class_names))[wanted.labels] if soft is None else soft
        np.testing.assert_allclose(shares, given, atol=1e-6)
        forward = preprocess.forward(whole.preprocessor, pixels)
        np.testing.assert_allclose(model_space(pixels), forward, atol=1e-4)


def test_images_alone_are_read_as_medjax_reads_them(receiver, tmp_path):
    """`exact.npz` of a bundle of 8-bit images, which it preprocesses itself."""
    run = finished(tmp_path / "run", launching.tiny("rgb"), pack=2, whiten="normalise")
    out = bundle(run, tmp_path / "bundle", exact=False)
    with np.load(out / "exact.npz") as exact, np.load(out / "medmnist.npz") as z:
        images, shares, _ = receiver.exact_set(dict(exact))
        again = receiver.received_set(dict(z))
    kept = share.load_set(out / "exact.npz").synthetic
    np.testing.assert_allclose(images, kept.images, atol=1e-6)
    np.testing.assert_allclose(images, again[0], atol=1e-5)
    np.testing.assert_array_equal(shares, again[1])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_network_is_medjaxs(receiver, channels):
    """The same weights give the same logits, and initial weights have the same bounds."""
    config = ConvNetConfig(width=6, depth=2)
    model = build("convnet", config, classes=3, size=10, channels=channels)
    params, state = model.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (4, 10, 10, channels))
    blocks = [
        (params[f"conv{i}_kernel"], params[f"norm{i}"]["scale"], params[f"norm{i}"]["shift"])
        for i in range(2)
    ]
    mine = blocks, (params["linear_kernel"], params["linear_bias"])
    wanted = jax.jit(model.apply, static_argnums=3)(params, state, x, True)[0]
    np.testing.assert_allclose(jax.jit(receiver.logits)(mine, x), wanted, atol=1e-5)
    network = jax.jit(receiver.network, static_argnums=(1, 2, 3, 4))
    drawn = network(jax.random.key(0), (10, 10, channels), 3, 6, 2)
    for a, b in zip(jax.tree.leaves(drawn), jax.tree.leaves(mine), strict=True):
        assert a.shape == b.shape
        if a.size > 50:  # the largest of many is near the bound
            assert jnp.abs(a).max() == pytest.approx(float(jnp.abs(b).max()), rel=0.1)


def test_its_augmentation_is_medjaxs(receiver):
    """The same key draws the same family and the same numbers."""
    x, seen = jax.random.normal(jax.random.key(0), (6, 9, 9, 3)), set()
    mine, wanted = jax.jit(receiver.augmented), jax.jit(DSA())
    draw = jax.jit(DSA().draw, static_argnums=1)
    for i in range(24):
        key = jax.random.key(i)
        seen.add(int(draw(key, 6).family[0]))
        np.testing.assert_allclose(mine(key, x), wanted(key, x), atol=2e-5)
    assert len(seen) == len(FAMILIES)


def test_its_scores_are_medjaxs(receiver):
    """Ties, and a class that the labels lack, among them."""
    rng = np.random.default_rng(0)
    logits, labels = rng.integers(-3, 4, (60, 4)).astype(float), rng.integers(0, 3, 60)
    wanted = metrics.scores(labels, metrics.log_odds(logits))
    np.testing.assert_allclose(receiver.scores(labels, logits), wanted, atol=1e-12)


@pytest.mark.parametrize("late", [False, True])
def test_its_schedule_is_medjaxs(receiver, late, monkeypatch):
    """Step sizes of every epoch, and where the momentum begins anew."""
    people = evaluate.population(
        EvalConfig(decay_parity=late), jax.random.key(0), 1, 7, jnp.ones(1)
    )
    rates, fresh = [], []

    def step(augment, params, momentum, key, images, shares, rate):
        rates.append(rate)
        fresh.append(momentum == 0)
        return params, momentum + 1

    monkeypatch.setattr(receiver, "step", step)
    monkeypatch.setattr(receiver, "network", lambda *_: np.float32(0))
    plan = {"batch": 4, "epochs": 7, "late_decay": late, "full_batches": True, "step_size": 1.0}
    plan |= {"augment": True, "network": {"width": 1, "depth": 1}}
    receiver.trained(jax.random.key(0), np.zeros((5, 4, 4, 3)), np.zeros((5, 2)), plan)
    np.testing.assert_allclose(rates, people.rates[0], atol=1e-6)
    assert np.flatnonzero(fresh).tolist() == [0, *np.flatnonzero(people.forget)]


def alone(folder, *words):
    """A program of a bundle in a process that cannot see medjax."""
    hidden = "import sys; sys.modules['medjax'] = None; import runpy; sys.argv = sys.argv[1:];"
    hidden += "runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", hidden, *map(str, words)]
    # Threads of PyTorch that wait for each other on busy cores take many times as long.
    environment = launching.environment() | {"PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    environment["PYTHONDONTWRITEBYTECODE"] = ""  # as a receiver has it
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """A run on the phantom set, its bundle, and the test split as a receiver's file; a quarter of it, for time."""
    home = tmp_path_factory.mktemp("phantom")
    raw = sources.load("phantom")
    names = {"class_names": np.array(raw.class_names)}
    test = {"test_images": raw.test.images[::4], "test_labels": raw.test.labels[::4]}
    np.savez(home / "test.npz", **test, **names)
    run = finished(home / "run", "phantom", evaluation={"networks": 5, "epochs": 4, "batch": 4})
    text = (run / "config.json").read_text().replace('"value": "phantom"', '"value": "gone.npz"')
    (run / "config.json").write_text(text)  # nothing is trained for the bundle
    out = bundle(run, home / "bundle")
    plan = recipe(out)
    plan["received"] |= {"epochs": 120, "step_size": 0.01}
    (out / "recipe.json").write_text(json.dumps(plan))
    sums = writing.read_sums(out) | {"recipe.json": writing._sum(out / "recipe.json")}
    (out / "SHA256SUMS").write_text("".join(f"{s}  {n}\n" for n, s in sums.items()))
    return out, raw, home / "test.npz"


def test_evaluate_repeats_the_scores_as_received(phantom):
    """Without medjax, within a standard deviation."""
    out, raw, file = phantom
    plan = recipe(out)
    ended = alone(out, "evaluate.py", file, "--received")
    assert ended.returncode == 0, ended.stderr
    shared = share.load_set(out / "exact.npz")
    received = as_received(shared, images_of(shared))
    config = EvalConfig(eval_batch=4)
    network = ConvNetConfig(**plan["received"]["network"])
    model = build("convnet", network, classes=8, size=8, channels=3)
    trainer = evaluate.trainer(config, model, 8, augment)
    people = evaluate.population(config, jax.random.key(0), 5, 120, jnp.float32([0.01]))
    split = raw.test._replace(images=raw.test.images[::4], labels=raw.test.labels[::4])
    test = preprocess.to_device(received.preprocessor, split)
    mine = metrics.summary(evaluate.evaluate(trainer, people, received.synthetic, test))
    for words, name in (
        ("accuracy", "accuracy"),
        ("balanced accuracy", "balanced_accuracy"),
        ("AUC", "auc"),
    ):
        theirs = re.search(rf"^{words} +([\d.]+) ± ([\d.]+)$", ended.stdout, re.M)
        spread = max(100 * mine[name]["std"], float(theirs[2]), 1.0)
        assert abs(float(theirs[1]) - 100 * mine[name]["mean"]) <= spread, (theirs[0], mine[name])
        assert float(theirs[1]) > 100 / 8 + 5, "networks that guess agree too"


@pytest.mark.parametrize("file", ["evaluate.py", "evaluate_torch.py"])
def test_evaluate_complains_in_one_line(phantom, tmp_path, file):
    """About a file of other channels, other classes, or without a test split."""
    if "torch" in file:
        pytest.importorskip("torch")
    out, raw, _ = phantom
    images, labels = raw.test.images[:9], raw.test.labels[:9]
    file_of = tmp_path / "mine.npz"
    for words, arrays in (
        ("has no test_labels", {"test_images": images}),
        ("has 3: repeat them", {"test_images": images[..., 0], "test_labels": labels}),
    ):
        np.savez(file_of, **arrays)
        ended = alone(out, file, file_of)
        assert ended.returncode == 2 and words in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
    assert alone(out, file, file_of, "--networks=0").returncode == 2
    assert not list(out.rglob("__pycache__")), "the folder stays as SHA256SUMS says"


@pytest.mark.parametrize("file", ["evaluate.py", "evaluate_torch.py"])
def test_a_changed_set_is_not_scored(phantom, tmp_path, file):
    """Images or a recipe that are not those of SHA256SUMS end it in one line; so does a set without the list."""
    if "torch" in file:
        pytest.importorskip("torch")
    out, _, images = phantom
    for name in ("medmnist.npz", "recipe.json", "SHA256SUMS"):
        copy = shutil.copytree(out, tmp_path / name)
        if name == "SHA256SUMS":
            (copy / name).unlink()
        else:
            (copy / name).write_bytes((copy / name).read_bytes() + b" ")
        received = ["--received"] if file == "evaluate.py" else []
        ended = alone(copy, file, images, *received)
        assert ended.returncode == 2 and ended.stderr.startswith(f"{name} is missing, or ")
        assert len(ended.stderr.splitlines()) == 1


def test_one_network_has_no_deviation(receiver, capsys):
    receiver.show([(0.5, 0.25, 0.75)])
    assert capsys.readouterr().out.splitlines()[0].split() == ["accuracy", "50.0"]
    receiver.show([(0.5, 0.25, 0.75), (0.7, 0.25, 0.75)])
    assert capsys.readouterr().out.splitlines()[0].split() == ["accuracy", "60.0", "±", "10.0"]


@pytest.mark.parametrize("file", ["evaluate", "evaluate_torch"])
def test_images_that_cannot_be_scored_are_refused(receiver, tmp_path, capsys, file):
    """Before any network is trained, in one line. One-hot labels are classes."""
    if "torch" in file:
        pytest.importorskip("torch")
    images, path = np.zeros((4, 8, 8, 3), np.uint8), tmp_path / "mine.npz"
    names = ["a", "b", "c"]

    def said(words, place=path, **arrays):
        if arrays:
            np.savez(place, **arrays)
        with pytest.raises(SystemExit) as ended:
            program(file).test_split(place, 3, names)
        lines = capsys.readouterr().err.splitlines()
        assert ended.value.code == 2 and len(lines) == 1 and words in lines[0]

    said("can be read")  # for it is not there
    said("can be read", tmp_path)
    path.write_text("no array")
    said("can be read")
    said("labels [0, 1, 2, 3]; the set has 0 (", test_images=images, test_labels=np.arange(4))
    said("one whole number for each of 4", test_images=images, test_labels=np.arange(3))
    said("one whole number for each of 4", test_images=images, test_labels=np.arange(4) / 2)
    said("not empty", test_images=images[:0], test_labels=np.arange(0))
    said("must be uint8", test_images=images / 255, test_labels=np.arange(4) % 3)
    said("one-hot rows", test_images=images, test_labels=np.ones((4, 3), int))
    one_hot = np.eye(3, dtype=int)[[2, 0, 1, 2]]
    np.savez(path, test_images=images, test_labels=one_hot)
    assert program(file).test_split(path, 3, names)[1].tolist() == [2, 0, 1, 2]


@pytest.mark.parametrize("file", ["evaluate", "evaluate_torch"])
def test_classes_without_names_are_those_of_the_receiver(receiver, tmp_path, capsys, file):
    """A set of "class 0" and "class 1" says nothing of names; one of other names does."""
    if "torch" in file:
        pytest.importorskip("torch")
    arrays = {"test_images": np.zeros((4, 8, 8, 3), np.uint8), "test_labels": np.arange(4) % 2}
    np.savez(tmp_path / "mine.npz", **arrays, class_names=np.array(["a", "b"]))
    for names in (["class 0", "class 1"], ["a", "b"]):
        found = program(file).test_split(tmp_path / "mine.npz", 3, names)
        assert found[1].tolist() == [0, 1, 0, 1]
    found = program(file).test_split(tmp_path / "mine.npz", 3, ["b", "a"])
    assert found[1].tolist() == [1, 0, 1, 0], "by name, as medjax does"
    with pytest.raises(SystemExit):
        program(file).test_split(tmp_path / "mine.npz", 3, ["b", "c"])
    assert "the set has 0 (b), 1 (c)" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["evaluate", "evaluate_torch"])
def test_classes_that_are_called_class_1(receiver, tmp_path, file):
    """Folders of that name, sorted as text: their labels are 0 to 2, and class 10 is the second."""
    if "torch" in file:
        pytest.importorskip("torch")
    names = ["class 1", "class 10", "class 2"]
    images = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8, 1)
    arrays = {f"{n}_images": images for n in ("train", "val", "test")}
    arrays |= {f"{n}_labels": np.array([2, 0, 1]) for n in ("train", "val", "test")}
    np.savez(tmp_path / "own.npz", **arrays, class_names=np.array(names))
    assert program(file).test_split(tmp_path / "own.npz", 1, names)[1].tolist() == [2, 0, 1]
    other = arrays | {f"{n}_labels": np.array([2, 1, 10]) for n in ("train", "val", "test")}
    np.savez(tmp_path / "other.npz", **other)
    raw = in_order(sources.load(str(tmp_path / "other.npz")), tuple(names))
    found = program(file).test_split(tmp_path / "other.npz", 1, names)[1]
    assert found.tolist() == raw.test.labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize("file", ["evaluate", "evaluate_torch"])
@pytest.mark.parametrize("given", [None, ["", "a", "b  c", "é"], ["a", "b  c", "e\u0301"]])
def test_labels_with_gaps_are_those_of_medjax(receiver, tmp_path, capsys, file, given):
    """Labels from 1 on, of which test lacks the last, without names, with names for all labels or for the classes that
    there are: each image has the class that medjax gives it, by whose names it is asked."""
    if "torch" in file:
        pytest.importorskip("torch")
    images = np.arange(6 * 64, dtype=np.uint8).reshape(6, 8, 8, 1)
    arrays = {f"{n}_images": images for n in ("train", "val", "test")}
    arrays |= {"train_labels": np.array([1, 2, 3, 1, 2, 3]), "val_labels": np.array([3, 2, 1] * 2)}
    arrays |= {"test_labels": np.array([2, 1, 2, 2, 1, 1])}
    arrays |= {} if given is None else {"class_names": np.array(given)}
    np.savez(tmp_path / "mine.npz", **arrays)
    raw = sources.load(str(tmp_path / "mine.npz"))
    found = program(file).test_split(tmp_path / "mine.npz", 1, list(raw.class_names))[1]
    assert found.tolist() == raw.test.labels.tolist() == [1, 0, 1, 1, 0, 0]
    wrong = {"test_images": images, "test_labels": np.arange(6)}
    np.savez(tmp_path / "wrong.npz", **wrong)
    with pytest.raises(SystemExit):
        program(file).test_split(tmp_path / "wrong.npz", 1, list(raw.class_names))
    assert "number test_labels as here" in capsys.readouterr().err


# --- the PyTorch twin


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def twin_weights(torch, net, params):
    """Give a network of PyTorch the parameters of evaluate.py's."""
    blocks, (weights, bias) = params
    state = net.state_dict()
    for i, block in enumerate(blocks):
        kernel, scale, shift = (np.array(a) for a in block)
        state[f"{4 * i}.weight"] = torch.tensor(kernel.transpose(3, 2, 0, 1).copy())
        state[f"{4 * i + 1}.weight"], state[f"{4 * i + 1}.bias"] = map(torch.tensor, (scale, shift))
    width, side = kernel.shape[3], int((len(weights) / kernel.shape[3]) ** 0.5)
    last = np.array(weights).reshape(side, side, width, -1).transpose(3, 2, 0, 1)
    state[f"{4 * len(blocks) + 1}.weight"] = torch.tensor(last.reshape(len(bias), -1).copy())
    state[f"{4 * len(blocks) + 1}.bias"] = torch.tensor(np.array(bias))
    net.load_state_dict(state)


def test_the_twin_is_the_same_network_on_the_same_images(made, receiver, torch):
    """Images and loss before a step and after one agree to 1e-5."""
    _, out = made
    twin = program("evaluate_torch")
    with np.load(out / "medmnist.npz") as z:
        z = dict(z)
    images, shares, _ = receiver.received_set(z)
    x = twin.planes(z["train_images"], z["mean"], z["std"])
    np.testing.assert_allclose(x.permute(0, 2, 3, 1), images, atol=1e-5)
    k, shape, how = shares.shape[1], images.shape[1:], {"width": 6, "depth": 2}
    params = receiver.network(jax.random.key(0), shape, k, **how)
    net = twin.convnet(shape[2], shape[0], k, **how)
    twin_weights(torch, net, params)
    labels = torch.tensor(z["train_labels"][:, 0].astype(np.int64))
    sgd = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    zero = jax.tree.map(jnp.zeros_like, params)
    arrays = [np.asarray(a, np.float32) for a in (images, shares)]
    logits = jax.jit(receiver.logits)
    for _ in range(2):
        mine = -(arrays[1] * jax.nn.log_softmax(logits(params, arrays[0]))).sum(1).mean()
        sgd.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), labels)
        assert loss.item() == pytest.approx(float(mine), abs=1e-5)
        loss.backward()
        sgd.step()
        params, zero = receiver.step(False, params, zero, jax.random.key(0), *arrays, 0.1)


def test_real_images_are_resized_as_here(receiver, torch, tmp_path):
    """To a larger side and to a smaller one, which is antialiased."""
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 9, 3)).astype(np.uint8)
    np.savez(tmp_path / "x.npz", test_images=images, test_labels=[0, 1, 0])
    for side in (6, 9, 14):
        pixels, _ = receiver.test_split(tmp_path / "x.npz", 3, ["a", "b"])
        mine = receiver.resized(pixels, (side, side, 3))
        theirs = program("evaluate_torch").planes(images, np.zeros(3), np.ones(3), side)
        np.testing.assert_allclose(theirs.permute(0, 2, 3, 1), mine, atol=1e-5)


def test_the_twins_augmentation(receiver, torch, monkeypatch):
    """Each of its families does what evaluate.py's does with the same numbers."""
    twin, x = program("evaluate_torch"), np.random.default_rng(0).normal(size=(5, 9, 9, 3))
    x, places = x.astype(np.float32), {"color": 0, "cutout": 1, "flip": 2, "crop": 3, "scale": 4}
    draw, augmented = jax.jit(DSA().draw, static_argnums=1), jax.jit(receiver.augmented)
    for i in range(24):
        drawn = draw(jax.random.key(i), 5)
        family = places.get(FAMILIES[int(drawn.family[0])], 5)
        u = torch.tensor(np.array(drawn.u).T.reshape(3, 5, 1, 1, 1).copy())
        monkeypatch.setattr(torch, "rand", lambda *_, u=u: u)
        monkeypatch.setattr(torch, "randint", lambda *_, f=family: torch.tensor(f))
        theirs = twin.augmented(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        np.testing.assert_allclose(theirs, augmented(jax.random.key(i), x), atol=5e-5)


def test_the_twin_scores_as_evaluate_does(phantom, torch):
    """Within their standard deviations, as programs, on the 8-bit images."""
    out, _, file = phantom
    found = []
    for words in (("evaluate.py", file, "--received"), ("evaluate_torch.py", file)):
        ended = alone(out, *words, "--networks=3")
        assert ended.returncode == 0, ended.stderr
        found.append([float(n) for n in re.search(r"accuracy +(.+) ± (.+)", ended.stdout).groups()])
    (one, spread), (two, other) = found
    assert abs(one - two) <= max(spread + other, 2.0)


# --- what the card shows, with the real libraries


def shown(out, word, tail):
    """Run the block of the card in which a word stands, where the bundle lies; the value of an expression after it.
    In a process of its own, without medjax: some of these libraries leave files open."""
    card = (out / "README.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", card, re.DOTALL | re.MULTILINE)
    wanted = ["np.load", word] if word == "TensorDataset" else [word]
    code = "".join(block for block in blocks if any(w in block for w in wanted))
    before = f"import json, sys; sys.path[:] = {sys.path!r}; sys.modules['medjax'] = None\n"
    text = f"{before}{code}import numpy as np\nprint(json.dumps({tail}))"
    environment = launching.environment() | {"HF_HOME": str(out.parent / "cache")}
    environment |= {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", text]
    ended = subprocess.run(command, cwd=out.parent, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def rows_of(out):
    """{file: (label, pixels)}, as they are in the bundle."""
    with np.load(out / "medmnist.npz") as z:
        pixels = z["train_images"].tolist()
    return {r["file_name"]: (int(r["label"]), p) for r, p in zip(table(out), pixels, strict=True)}


def test_numpy_loads_it(made):
    _, out = made
    labels, shape, means = shown(
        out, "np.load", "[labels.tolist(), images.shape, images.mean((0, 1, 2)).tolist()]"
    )
    assert labels == [label for label, _ in rows_of(out).values()]
    assert shape[:3] == [len(labels), 8, 8]
    np.testing.assert_allclose(means, 0, atol=1e-4)


def test_torch_loads_it(made, torch):
    _, out = made
    found = shown(out, "TensorDataset", "[[int(k) for _, k in train], train[0][0].shape]")
    labels, shape = found
    assert labels == [label for label, _ in rows_of(out).values()] and shape[1:] == [8, 8]


def test_torchvision_loads_it(made):
    pytest.importorskip("torchvision")
    _, out = made
    rows = rows_of(out)
    found = shown(out, "ImageFolder", "[[p.split('data/train/')[1], k] for p, k in train.samples]")
    assert dict(found) == {name: label for name, (label, _) in rows.items()}


def test_datasets_loads_it(made):
    """As a folder of images, as the whole bundle, and its Parquet file, whose labels have names."""
    pytest.importorskip("datasets")
    _, out = made
    rows = rows_of(out)
    one = "[[r['image'].filename.split('data/train/')[1], [r['label'], np.asarray(r['image']).tolist()]] for r in "
    found = shown(out, "load_dataset", f"{one}train]")
    assert {name: tuple(row) for name, row in found} == rows
    whole = f"load_dataset({str(out)!r}, split='train')"
    assert {name: tuple(row) for name, row in shown(out, "load_dataset", f"{one}{whole}]")} == rows
    named = f"load_dataset({str(out)!r}, split='train').features['label'].names"
    assert shown(out, "load_dataset", named) == recipe(out)["classes"]
    parquet = f"load_dataset('parquet', data_files={str(out / 'train.parquet')!r}, split='train')"
    names, labels, first = shown(
        out,
        "load_dataset",
        f"(lambda d: [d.features['label'].names, list(d['label']), np.asarray(d[0]['image']).tolist()])({parquet})",
    )
    assert (names, labels) == (recipe(out)["classes"], [label for label, _ in rows.values()])
    assert first == next(iter(rows.values()))[1]


def test_croissant_describes_it(made):
    """Valid, with nothing that is recommended left out; the records are images with their labels."""
    pytest.importorskip("mlcroissant")
    _, out = made
    issues = f"mlcroissant.Dataset({str(out / 'croissant.json')!r}).metadata.issues"
    # mlcroissant gives every image in RGB; the card says how a grey one becomes grey again.
    image = "r['images/image']" + ".convert('L')" * (recipe(out)["images"]["channels"] == 1)
    pairs = f"[[r['images/label'], np.asarray({image}).tolist()] for r in rows]"
    tail = f"[len({issues}.errors), len({issues}.warnings), {pairs}]"
    errors, warnings, records = shown(out, "mlcroissant", tail)
    assert (errors, warnings) == (0, 0)
    assert [tuple(record) for record in records] == list(rows_of(out).values())


def test_croissant_is_json_that_says_the_licence(made):
    """Where mlcroissant is not there to check it."""
    value = json.loads((made[1] / "croissant.json").read_text())
    assert "http://mlcommons.org/croissant/1.1" in value["conformsTo"]
    assert (
        value["license"] == "unknown" and "Not audited" in value["rai:personalSensitiveInformation"]
    )
    sums = {f["@id"]: f["sha256"] for f in value["distribution"] if "sha256" in f}
    listed = (made[1] / "SHA256SUMS").read_text()
    assert all(f"{digest}  {name}\n" in listed for name, digest in sums.items())
    assert Result.from_json(recipe(made[1])["result"]).test.accuracy.mean == 0.8
