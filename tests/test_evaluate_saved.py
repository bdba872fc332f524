"""Saved sets evaluated alone, and evaluations by networks that a set was not distilled with."""

import functools
import json
from pathlib import Path

import launching
import numpy as np
import pytest
from launching import MATCHING, NETWORK, SCORING, complaint, contents, other_grey, tiny

import medjax
from medjax import share
from medjax.eval_config import EvalConfig
from medjax.models import MODELS, ResNetConfig
from medjax.pipeline.evaluate_saved import as_distilled, evaluation_settings

METRICS = {"accuracy", "balanced_accuracy", "auc"}


def evaluate(*words):
    """``python -m experiments.evaluate`` for the grey run; its network's width and depth, and how long and on what
    batches it trains, come with the set."""
    few = ("--networks=3", "--conv=im2col")
    return launching.SERVER.run("experiments.evaluate", *few, *words)


def test_saved_set_evaluated_alone_scores_as_in_its_run(tmp_path):
    """The same networks on the same images: the same scores; a second command reads them back."""
    first = other_grey()
    words = (f"--synthetic={first.folder / 'synthetic.npz'}", f"--dataset={tiny('grey')}")
    ended = evaluate(*words, f"--out={tmp_path}")
    assert ended.status == 0, ended.stderr
    (folder,) = tmp_path.glob("evaluate-*")
    result = json.loads((folder / "result.json").read_text())
    assert result["test"] == first.result["test"]
    assert result["test_uint8"] == first.result["test_uint8"] and result["preset"] == "of the set"
    assert (result["ipc"], result["step_size"]) == (3, first.result["step_size"])
    assert "distilled (float)" in ended.stdout
    before = contents(tmp_path)
    assert evaluate(*words, f"--out={tmp_path}").stdout.endswith(ended.stdout[-200:])
    assert contents(tmp_path) == before
    (folder / "left.txt").touch()
    written = (folder / "result.json").stat().st_mtime_ns
    assert evaluate(*words, f"--out={tmp_path}", "--fresh").status == 0
    assert not (folder / "left.txt").exists()
    assert (folder / "result.json").stat().st_mtime_ns > written
    again = json.loads((folder / "result.json").read_text())
    assert again["test"] == result["test"]


def test_real_images_are_not_called_distilled(tmp_path):
    """A set of margin selection: the result says that its images were chosen."""
    whole = share.load_set(other_grey().folder / "synthetic.npz")
    parts = (whole.synthetic, whole.preprocessor, whole.class_names)
    about = whole.origin | {"method": "margin", "eval_epochs": "2"}
    share.save_set(tmp_path / "real.npz", *parts, network=whole.network, **about)
    words = (f"--synthetic={tmp_path / 'real.npz'}", f"--dataset={tiny('grey')}", "--networks=1")
    ended = evaluate(*words, "--eval_augment=false", f"--out={tmp_path}")
    assert ended.status == 0 and "chosen (float)" in ended.stdout
    assert "distilled" not in ended.stdout.replace("distilled from", "")


def collapsed_set(path):
    """The grey run's set, saved as one whose step size has collapsed; as it was."""
    whole = share.load_set(other_grey().folder / "synthetic.npz")
    small = whole.synthetic._replace(step_size=np.float32(5e-5))
    about = whole.origin | {"collapsed": "True", "eval_epochs": "2"}
    parts = (small, whole.preprocessor, whole.class_names)
    share.save_set(path, *parts, network=whole.network, **about)
    return whole


def test_a_step_size_that_collapsed_does_not_decide(tmp_path):
    """A set whose run says so is scored at a step size chosen on val, with a warning; a flag wins."""
    collapsed_set(tmp_path / "bad.npz")
    words = (f"--synthetic={tmp_path / 'bad.npz'}", f"--dataset={tiny('grey')}")
    words += ("--interim_networks=1", "--interim_epochs=2", "--networks=1", "--eval_augment=false")
    found = {}
    for name, flag in (("chosen", ()), ("asked", ("--step_size=0.001",))):
        assert evaluate(*words, *flag, f"--out={tmp_path / name}").status == 0
        (path,) = (tmp_path / name).glob("*/result.json")
        found[name] = json.loads(path.read_text())
    assert found["chosen"]["step_size_from"] == "val" and found["chosen"]["step_size"] >= 0.001
    assert "had collapsed" in found["chosen"]["warnings"][0]
    assert found["asked"]["step_size_from"] == "flag" and not found["asked"]["warnings"]


def test_a_collapsed_step_size_is_no_other_network_s_either(tmp_path):
    """The set's own network beside another one: it is not trained at a step size at which it stays untrained."""
    whole = collapsed_set(tmp_path / "bad.npz")
    words = {"interim_networks": 1, "interim_epochs": 2, "networks": 1, "eval_augment": False}
    words |= {"model": "mlp", "eval_models": whole.network[0], "dataset": str(tiny("grey"))}
    words |= {name: getattr(whole.network[1], name) for name in ("width", "depth")}
    asked = evaluation_settings(tmp_path / "bad.npz", **words)
    row = medjax.evaluate_saved(asked, tmp_path / "out").eval_models[whole.network[0]]
    assert row.step_size_from == "val" and row.step_size >= 0.001


def test_options_are_those_of_the_set_s_network(tmp_path):
    """Of a ResNet-18 set: its options are taken without --model, those of the default network are refused."""
    whole = share.load_set(other_grey().folder / "synthetic.npz")
    network = ("resnet18", MODELS["resnet18"].config(resnet_width=2))
    parts = (whole.synthetic, whole.preprocessor, whole.class_names)
    share.save_set(tmp_path / "set.npz", *parts, network=network, **whole.origin)
    shared = share.load_set(tmp_path / "set.npz")
    found = as_distilled(evaluation_settings("x", resnet_norm="batch"), shared)
    assert found.run.model == "resnet18"
    assert found.config(type(network[1])).resnet_norm == "batch"
    with pytest.raises(medjax.UserError, match="--width is for --model=convnet, not for resnet18"):
        as_distilled(evaluation_settings("x", width=64), shared)


def test_classes_are_compared_by_name_and_another_width_is_another_network(tmp_path):
    """The same data with its classes in another order scores alike; a step size belongs to the network it was learned
    with, and other data is a warning in the result."""
    first, arrays = other_grey(), dict(np.load(tiny("grey")))
    for split in ("train", "val", "test"):
        arrays[f"{split}_labels"] = 1 - arrays[f"{split}_labels"].astype(int)
    np.savez(tmp_path / "turned.npz", **arrays | {"class_names": arrays["class_names"][::-1]})
    words = [f"--synthetic={first.folder / 'synthetic.npz'}", f"--out={tmp_path}"]
    ended = evaluate(*words, f"--dataset={tmp_path / 'turned.npz'}")
    assert ended.status == 0, ended.stderr
    (path,) = tmp_path.glob("*/result.json")
    result = json.loads(path.read_text())
    assert result["test"]["accuracy"] == first.result["test"]["accuracy"]
    assert "not from these images" in result["warnings"][0]
    few = ("--networks=1", "--interim_networks=1", "--interim_epochs=2", "--eval_epochs=2")
    few += ("--eval_augment=false",)
    words[1] = f"--out={tmp_path / 'wide'}"
    assert evaluate(*words, f"--dataset={tiny('grey')}", "--width=5", *few).status == 0
    (path,) = (tmp_path / "wide").glob("*/result.json")
    assert json.loads(path.read_text())["step_size_from"] == "val"


def test_evaluate_refuses_what_it_cannot_use(tmp_path):
    """No set, a missing file, a file of another kind, another data set: one line each."""
    mine = other_grey().folder / "synthetic.npz"
    place = f"--out={tmp_path}"
    assert "--synthetic" in complaint(evaluate(place))
    assert "none.npz" in complaint(evaluate(place, "--synthetic=none.npz"))
    said = complaint(evaluate(place, f"--synthetic={mine}"))
    assert "distilled from cells" in said, "not phantom for want of a flag"
    wrong = f"--synthetic={tiny('grey')}"
    assert "synthetic.npz" in complaint(evaluate(place, wrong, f"--dataset={tiny('grey')}"))
    other = (f"--synthetic={mine}", f"--dataset={tiny('rgb')}")
    assert "1 channels" in complaint(evaluate(place, *other))
    assert not list(tmp_path.rglob("result.json"))


@functools.cache
def judged_by_others():
    """A finished DC run whose set is also evaluated with an MLP; its command, how it ended, its result's path."""
    place = (f"--dataset={tiny('grey')}", f"--out={launching.workplace() / 'others'}")
    words = (*place, *NETWORK, *MATCHING, "--eval_models=mlp,convnet")
    ended = launching.SERVER.run("experiments.dc", *words)
    assert ended.status == 0, ended.stderr
    (path,) = (launching.workplace() / "others").glob("*/*/result.json")
    return words, ended, path


def test_evaluation_with_other_networks():
    """Scores of every network asked for, the run's own as they stand there, another's at step sizes chosen on val."""
    _, ended, path = judged_by_others()
    result = json.loads(path.read_text())
    own, other = (result["eval_models"][name] for name in ("convnet", "mlp"))
    sets = ("test", "test_uint8", "start")
    names = {"step_size", "step_size_from", "start_step_size", *sets}
    assert list(result["eval_models"]) == ["mlp", "convnet"]
    assert set(own) == set(other) == names
    for name in ("step_size", "start_step_size", *sets):
        assert own[name] == result[name]
    assert (own["step_size_from"], other["step_size_from"]) == ("set", "val")
    for step, file in (("step_size", "chosen"), ("start_step_size", "start")):
        searched = json.loads((path.parent / f"evaluations/mlp-{file}-on-val.json").read_text())
        balanced = np.mean(np.reshape([s[1] for s in searched["scores"]], (5, -1)), axis=1)
        assert other[step] == searched["step_sizes"][int(np.argmax(balanced))]
    assert all(set(other[name]) == METRICS and other[name]["auc"]["n"] == 2 for name in sets)
    assert other["test"] != own["test"]
    assert f"by mlp, step size {other['step_size']} (chosen on val)" in ended.stdout
    assert ended.stdout.count("distilled (uint8, as shared)") == 3


def test_evaluation_with_other_networks_goes_on():
    """What is finished is read back; what is missing is done again, to the same bits."""
    words, _, path = judged_by_others()
    whole, kept = json.loads(path.read_text()), contents(path.parent / "evaluations")
    path.unlink()
    lost = path.parent / "evaluations" / "mlp-test-uint8.json"
    lost.unlink()
    rows = len(launching.read_log(path.parent))
    assert launching.SERVER.run("experiments.dc", *words).status == 0
    again = launching.read_log(path.parent)[rows:]
    assert {row["name"] for row in again} == {"mlp-test-uint8"}
    now = contents(path.parent / "evaluations")
    assert now.keys() == kept.keys()
    assert all(now[name] == kept[name] for name in now if name != str(lost))
    result = json.loads(path.read_text())
    assert {k: v for k, v in result.items() if k != "seconds"} == {
        k: v for k, v in whole.items() if k != "seconds"
    }


def test_saved_set_evaluated_by_another_network(tmp_path):
    """`experiments.evaluate` finds the scores of the run: the set's own step size is for the network it was made with
    alone, whichever of the two is --model."""
    path = judged_by_others()[2]
    result, few = json.loads(path.read_text()), SCORING
    words = (f"--synthetic={path.parent / 'synthetic.npz'}", f"--dataset={tiny('grey')}")
    words += ("--width=8", "--depth=1", "--preset=quick", f"--out={tmp_path}", *few)
    ended = launching.SERVER.run(
        "experiments.evaluate", *words, "--model=mlp", "--eval_models=convnet"
    )
    assert ended.status == 0, ended.stderr
    (found,) = (json.loads(p.read_text()) for p in tmp_path.glob("*/result.json"))
    for name in ("test", "test_uint8", "step_size", "step_size_from"):
        assert found[name] == result["eval_models"]["mlp"][name]
        assert found["eval_models"]["convnet"][name] == result["eval_models"]["convnet"][name]
    assert "(chosen on val)" in ended.stdout


def test_options_of_a_network_come_with_the_set(tmp_path):
    """--model=resnet18 alone means the set's own ResNet-18; a flag wins."""
    whole = share.load_set(other_grey().folder / "synthetic.npz")
    network = "resnet18", ResNetConfig(resnet_width=2, resnet_norm="instance")
    parts = whole.synthetic, whole.preprocessor, whole.class_names
    share.save_set(tmp_path / "set.npz", *parts, network=network, pixels=False, **whole.origin)
    shared = share.load_set(tmp_path / "set.npz")
    for given, norm in (({}, "instance"), ({"resnet_norm": "batch"}, "batch")):
        settings = medjax.evaluation_settings(tmp_path / "set.npz", model="resnet18", **given)
        found = as_distilled(settings, shared).config(ResNetConfig)
        assert (found.resnet_width, found.resnet_norm) == (2, norm)


def test_a_preset_that_is_asked_for_says_how_networks_are_trained():
    """All of it, also where the set's run counted steps; without one it is as in that run."""
    path = Path(medjax.__file__).parent / "bundles" / "pbc_blood8-ipc10" / "exact.npz"
    shared, trained = share.load_set(path), {}
    for asked in (
        {},
        {"preset": "quick"},
        {"preset": "cpu"},
        {"preset": "paper"},
        {"eval_epochs": 7},
    ):
        settings = as_distilled(medjax.evaluation_settings(path, **asked), shared)
        config = settings.counted(len(shared.synthetic.labels)).config(EvalConfig)
        training = config.eval_epochs, config.eval_steps, config.eval_batch, config.decay_parity
        trained["".join(map(str, asked.values()))] = training
    assert trained == {
        "": (250, 500, 32, False),
        "quick": (40, 0, 256, False),
        "cpu": (1000, 0, 256, False),
        "paper": (1000, 0, 256, True),
        "7": (7, 0, 32, False),
    }


@pytest.fixture(scope="module", params=["dm", "mtt"])
def made_with_resnet(request):
    """A set that was distilled with a narrow ResNet-18 without batch norm: its file and its result."""
    place = (f"--dataset={tiny('grey')}", f"--out={launching.workplace() / 'resnet'}")
    words = ("--preset=quick", "--size=8", "--whiten=normalise", *SCORING, "--model=resnet18")
    words += ("--resnet_norm=instance", "--resnet_width=2", "--resnet_conv=lax")  # traced fastest
    words += ("--iterations=2", "--eval_every=1", "--augment=none")
    if request.param == "mtt":
        words += ("--experts=2", "--inner_steps=2", "--max_start_epoch=2", "--lr_init=0.02")
    run = launching.read_run(launching.SERVER.run(f"experiments.{request.param}", *place, *words))
    return run.folder / "synthetic.npz", run.result


def evaluated(file, out, *words):
    """The result of `experiments.evaluate --model=resnet18` on a set of the grey images."""
    place = (f"--synthetic={file}", f"--dataset={tiny('grey')}", f"--out={out}")
    few = ("--networks=2", "--interim_networks=2", "--interim_epochs=3")
    command = ("experiments.evaluate", *place, *few, "--model=resnet18", *words)
    ended = launching.SERVER.run(*command)
    assert ended.status == 0, ended.stderr
    (path,) = out.glob("*/result.json")
    return json.loads(path.read_text())


@pytest.mark.slow
def test_the_network_of_a_set_keeps_its_options(made_with_resnet, tmp_path):
    """--model=resnet18 alone means the set's own ResNet-18, with instance norm: its scores and its step size."""
    file, made = made_with_resnet
    assert share.load_set(file).network[1].resnet_norm == "instance"
    found = evaluated(file, tmp_path)
    assert (found["step_size_from"], found["step_size"]) == ("set", made["step_size"])
    assert found["test"] == made["test"] and found["test_uint8"] == made["test_uint8"]


@pytest.mark.slow
def test_another_norm_is_another_network(made_with_resnet, tmp_path):
    """With batch norm the set's step size was not learned for it: one is chosen on val."""
    file, made = made_with_resnet
    found = evaluated(file, tmp_path, "--resnet_norm=batch")
    assert found["step_size_from"] == "val" and found["step_size"] != made["step_size"]
    assert found["test"] != made["test"]
