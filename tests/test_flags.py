"""No flag is dead: each of them, set on a command line, changes what its line of help says, and is recorded."""

import dataclasses
import functools
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import launching
import made
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import medjax
import medjax.pipeline.run as pipeline
from medjax import cost, evaluate, metrics, models, store, train
from medjax.augment import augment, strategy
from medjax.cli import methods
from medjax.cli.flags import OutConfig, help_text
from medjax.data.preprocess import PreprocessConfig
from medjax.distill import Distiller, mtt, run
from medjax.distill.average import AverageConfig, averaged
from medjax.distill.mtt_config import MTTConfig
from medjax.distill.random import random_images
from medjax.errors import UserError
from medjax.eval_config import GRID, EvalConfig, InterimConfig
from medjax.models import MODELS, ConvNetConfig, Model, convnet
from medjax.models.vit import HIDDEN
from medjax.pipeline import experts, folders, forecast, presets
from medjax.pipeline.distil import first_state
from medjax.pipeline.forecast import evaluation_flops
from medjax.pipeline.progress import Silent
from medjax.pipeline.rank import upper_bound
from medjax.pipeline.resolve import resolve, sized
from medjax.pipeline.score import at_best
from medjax.pipeline.session import check_data, load_data, open_session, random_start
from medjax.pipeline.settings import SETS, UNNAMED, IpcConfig, RunConfig, groups_of
from medjax.recipes import RECIPES
from medjax.recipes.base import Costs, Setup
from medjax.recipes.mtt import (
    RECIPE,
    expert_epochs,
    prepare,
    students_augmentation,
    unchecked_costs,
)
from medjax.result import Result
from medjax.share import load_set
from medjax.types import Dataset, Synthetic, Trajectories

GROUPS = (*groups_of(RECIPE), OutConfig)
#: Flags that are for another network than the default's.
NEEDS = {
    field.name: (f"--model={name}",)
    for name, network in MODELS.items()
    for field in dataclasses.fields(network.config)
    if name != RunConfig.model
} | {"lr_labels": ("--labels=soft",), "img_optimizer": ("--lr_img=0.01",)}
FIELDS = {field.name: field for group in GROUPS for field in dataclasses.fields(group)}


def settings(*words):
    """What a command line of `mtt` resolves to."""
    return launching.settings("mtt", *words)


def run_folder(asked, raw):
    """The folder of a run, named as the launcher does: `out` and `fresh` are no part of its settings."""
    groups = {group: values for group, values in asked.groups.items() if group is not OutConfig}
    out = Path(asked.config(OutConfig).out)
    return folders.run_folder(out, raw, "mtt", asked._replace(groups=groups))


def opened(*words):
    """The session of a command line."""
    asked = settings(*words)
    raw = load_data(asked, Silent())
    return open_session(asked, raw, run_folder(asked, raw), Silent())


@functools.cache  # programs are kept by their model
def linear(features, classes):
    """Softmax regression: compiles in no time, and is convex."""

    def init(key):
        return {"w": 0.1 * jax.random.normal(key, (features, classes))}, {}

    def apply(params, model_state, images, train):
        return images.reshape(images.shape[0], -1) @ params["w"], model_state

    return Model(init, apply, flops=2.0 * features * classes, separable=True)


@pytest.fixture(scope="module")
def data():
    """60 noisy images of 3 classes, unbalanced, 4 px."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), [40, 12, 8])
    images = rng.normal(size=(60, 4, 4, 3)) + labels.reshape(-1, 1, 1, 1)
    return Dataset(jnp.asarray(images, jnp.float32), jnp.asarray(labels, jnp.int32))


class Course(NamedTuple):
    """A distillation: first and last state, infos, and which expert epochs were read, (expert, start, end) each."""

    begin: Any
    state: Any
    infos: Any
    read: list


#: Defaults of the flags' runs: all effects are large.
BASE = {
    "iterations": 3,
    "inner_steps": 2,
    "expert_span": 2,
    "max_start_epoch": 4,
    "lr_img": 1.0,
    "lr_lr": 1e-3,
    "img_momentum": 0.0,
    "ipc": 2,
}


@pytest.fixture(scope="module")
def distil(data):
    """(flags) -> Course of MTT with linear networks and made-up experts."""
    features, count, epochs = 4 * 4 * 3, 5, 9
    snapshots = 0.3 * np.random.default_rng(1).normal(size=(count, epochs + 1, features * 3))
    snapshots = np.cumsum(snapshots, axis=1).astype(np.float32)

    def course(**changed):
        chosen = BASE | changed
        resolved = settings("--preset=cpu", *(f"--{k}={v}" for k, v in chosen.items()))
        config, ipc = resolved.groups[MTTConfig], resolved.groups[IpcConfig].ipc
        read = []

        def reader(expert, rows):
            read.append((expert, *(int(row) for row in rows)))
            return snapshots[expert, rows]

        distiller = mtt.mtt(
            config,
            model=linear(features, 3),
            augment=None,
            trajectories=Trajectories(reader, count, epochs),
            ipc=ipc,
            classes=3,
        )
        begin = distiller.init(jax.random.key(0), data)
        *_, (_, state, infos) = run(
            distiller,
            jax.random.key(1),
            data,
            begin,
            first=0,
            iterations=config.iterations,
            chunk=config.iterations,
        )
        return Course(begin, state, infos, read)

    return course


def make_session(tmp_path, *words):
    """A session on the tiny colour set with linear networks."""
    small = ("--size=4", "--depth=1", "--whiten=normalise")
    words = ("--preset=quick", f"--out={tmp_path}", *small, *words)
    session = opened(f"--dataset={launching.tiny('rgb')}", *words)
    return session._replace(model=linear(4 * 4 * 3, 3))


CHECKS = {}


def shows(*names):
    """Marks the check of these flags; every flag of the launcher must have one."""

    def mark(check):
        CHECKS.update(dict.fromkeys(names, check.__name__))
        return check

    return mark


# --- what every launcher asks first, preprocessing, network


@shows("dataset", "seed", "out", "preset")
def test_folders_and_keys(tmp_path):
    """Data set and out name the place, seed and preset the run; a seed makes other networks and images."""
    rgb, grey = (f"--dataset={launching.tiny(name)}" for name in ("rgb", "grey"))
    one, other = settings(rgb, f"--out={tmp_path}"), settings(grey, f"--out={tmp_path / 'x'}")
    raws = [load_data(s, Silent()) for s in (one, other)]
    homes = [run_folder(s, raw).parent for s, raw in zip((one, other), raws, strict=True)]
    assert [home.parent for home in homes] == [tmp_path, tmp_path / "x"]
    assert homes[0].name != homes[1].name
    words = [(), ("--seed=1",), ("--preset=cpu",), ("--preset=quick",)]
    assert len({run_folder(settings(rgb, *w), raws[0]).name for w in words}) == 4
    keys = [make_session(tmp_path, f"--seed={s}").key("experts") for s in (0, 0, 1)]
    drawn = [int(jax.random.bits(key)) for key in keys]
    assert drawn[0] == drawn[1] != drawn[2]


@shows("data_dir", "integrate", "integrate_share", "integrate_seed")
def test_where_data_come_from(tmp_path, monkeypatch):
    """The folder that is looked into first; the sets, the share and the draw of an integrated set."""
    monkeypatch.setenv("MEDJAX_DATA", str(tmp_path / "second"))
    with pytest.raises(UserError, match="damaged"):
        (tmp_path / "first").mkdir()
        (tmp_path / "first" / "bloodmnist.npz").write_bytes(b"half")
        asked = settings("--dataset=bloodmnist", f"--data_dir={tmp_path / 'first'}")
        load_data(asked, Silent())
    other = tmp_path / "other.npz"
    other.write_bytes(launching.tiny("grey").read_bytes())
    words = ("--dataset=integrated", f"--integrate={launching.tiny('rgb')},{other}")
    raws = [
        load_data(settings(*words, *more), Silent())
        for more in ((), ("--integrate_share=0.5",), ("--integrate_seed=1",))
    ]
    assert raws[0].class_names == ("cells", "other")
    assert [len(raw.train.labels) for raw in raws] == [12, 60, 12]
    assert len({raw.fingerprint for raw in raws}) == 3
    assert not np.array_equal(raws[0].train.images, raws[2].train.images)


@shows("fresh")
def test_fresh(tmp_path, monkeypatch):
    """With it the run finds an empty folder; without it, it finds what an earlier one left."""
    words = [f"--dataset={launching.tiny('rgb')}", f"--out={tmp_path}", "--size=4", "--depth=1"]
    raw = load_data(settings(*words), Silent())
    folder = run_folder(settings(*words), raw)
    (folder / "checkpoints").mkdir(parents=True)
    for name in ("log.jsonl", "result.json", "checkpoints/x"):
        (folder / name).write_text("")
    found = []

    def work(sessions, recipe):
        (session,) = sessions
        found.append({p.name for p in session.folder.iterdir()})
        return [Result.from_json(made.result("mtt", "cells", 1, 0.5))]

    monkeypatch.setattr(pipeline, "work", work)
    monkeypatch.setattr(methods, "show", lambda result, console: None)
    for more in ([], ["--fresh"]):
        with launching.own_flags():
            launcher = methods.command(RECIPE)
            launching.parse(launcher.groups, *words, *more)
            launcher.main([])
    new = {"lock", "config.json"}
    assert found == [new | {"log.jsonl", "result.json", "checkpoints"}, new]


@shows("precision")
def test_precision():
    """Activations are rounded to 8 bits of fraction; parameters, logits and the float32 network are not."""
    words = (f"--dataset={launching.tiny('rgb')}", "--size=8", "--depth=1", "--width=4")
    wide, narrow = (opened(*words, f"--precision={p}").model for p in ("float32", "bf16"))
    params, state = wide.init(jax.random.key(0))
    images = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))
    a, b = (model.apply(params, state, images, True)[0] for model in (wide, narrow))
    assert a.dtype == b.dtype == jnp.float32
    assert 0 < np.abs(a - b).max() < 0.05 * np.abs(a).max()
    text = str(jax.make_jaxpr(lambda x: narrow.apply(params, state, x, True)[0])(images))
    assert "bf16" in text and "bf16" not in str(jax.tree.map(lambda p: p.dtype, params))


@shows("allow_repeat")
def test_allow_repeat():
    """More images than the smallest class has are refused, unless they may repeat."""
    words = (f"--dataset={launching.tiny('rgb')}", "--ipc=21")
    raw = load_data(settings(*words), Silent())
    with pytest.raises(UserError, match=r"20 training images of class 'kind 0'.*2 more.*repeat"):
        check_data(settings(*words), raw, Silent())
    check_data(settings(*words, "--allow_repeat"), raw, Silent())
    data = Dataset(jnp.asarray(raw.train.images, jnp.float32), jnp.asarray(raw.train.labels))
    assert random_images(jax.random.key(0), data, 21, 3)[0].shape[0] == 63


@shows("pack")
def test_pack(tmp_path):
    """What is distilled from the training split holds 2 x 2 images, and that takes four real ones each."""
    words = (f"--dataset={launching.tiny('rgb')}", f"--out={tmp_path}", "--size=8", "--pack=2")
    session = opened(*words, "--ipc=5")
    assert session.train.packing.factor == 2 and session.setup().held == 4
    assert random_start(session).images.shape == (5 * 3 * 4, 8, 8, 3)
    asked = settings(*words, "--ipc=6")
    with pytest.raises(UserError, match=r"--ipc=6 with --pack=2 takes 24 images .* than the 20"):
        check_data(asked, load_data(asked, Silent()), Silent())


@shows("size", "whiten", "model")
def test_preprocessing_and_network(tmp_path):
    """The side and the kind of model space, and the network that --model names."""
    words = (f"--dataset={launching.tiny('rgb')}", f"--out={tmp_path}", "--width=4", "--depth=1")
    for size, whiten, shape in ((8, "zca", (192, 192)), (6, "normalise", (3,))):
        session = opened(*words, f"--size={size}", f"--whiten={whiten}", "--model=convnet")
        assert session.train.images.shape == (60, size, size, 3)
        assert (session.pre.kind, session.pre.forward.shape) == (whiten, shape)
        linear_part = session.model.init(jax.random.key(0))[0]["linear_kernel"]
        assert linear_part.shape == ((size // 2) ** 2 * 4, 3)
        config = session.settings.groups[ConvNetConfig]
        expected = convnet(config, classes=3, size=size, channels=3)
        assert session.model.flops == expected.flops
    for channels, size in ((1, 28), (3, 32)):  # the ConvNet pads grey images to 32 px
        found = sized(settings("--size=0"), channels)
        origin = "channels" if channels == 1 else "default"
        for asked in (found, sized(settings("--preset=best"), channels)):
            assert asked.config(PreprocessConfig).size == size and asked.origin["size"] == origin
        assert sized(settings(f"--size={size}"), 2).identity() == found.identity()
    assert sized(given := settings("--size=6"), 1) == given
    with pytest.raises(UserError, match="--size=3 is too small: the smallest value is 4"):
        settings("--size=3")
    with pytest.raises(UserError, match="--pack=30 leaves tiles of a 28 px image"):
        sized(settings("--size=0", "--pack=30"), 1)
    with pytest.raises(UserError, match="vgg"):
        settings("--model=vgg")
    with pytest.raises(UserError, match="batch statistics"):
        session = opened(*words[:2], "--size=8", "--model=resnet18")
        mtt.check(MTTConfig(), session.model, 30)


@shows("width", "depth", "conv")
def test_network_flags():
    """Channels, blocks, and the convolution in the traced program; auto is Winograd's here."""

    def traced(*words):
        config = settings(*words).groups[ConvNetConfig]
        model = convnet(config, classes=3, size=8, channels=3)
        params = jax.eval_shape(model.init, jax.random.key(0))[0]
        images = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)
        program = jax.make_jaxpr(lambda p, x: model.apply(p, {}, x, True))(params, images)
        return params, str(program).count("conv_general_dilated[")

    for width, depth in ((4, 1), (6, 2), (6, 3)):
        params, _ = traced(f"--width={width}", f"--depth={depth}")
        kernels = [
            v.shape for k, v in sorted(params.items()) if k.endswith("_kernel") and "conv" in k
        ]
        assert [shape[-1] for shape in kernels] == [width] * depth
    depths = {64: 4, 127: 4, 128: 5, 224: 5, 63: 3, 32: 3, 8: 3}
    for size, depth in depths.items():  # it follows the size, unless it is given
        followed = settings(f"--size={size}", "--whiten=normalise")
        assert followed.groups[ConvNetConfig].depth == depth
        assert followed.origin["depth"] == ("size" if depth > 3 else "default")
        assert settings(f"--size={size}", "--depth=2").groups[ConvNetConfig].depth == 2
    counts = {c: traced("--depth=2", f"--conv={c}")[1] for c in ("lax", "im2col", "winograd")}
    assert counts == {"lax": 2, "im2col": 0, "winograd": 0}


@shows("resnet_width", "resnet_norm", "resnet_conv")
def test_resnet_flags(tmp_path):
    """Its first stage's channels, and the norm without batch statistics, with which MTT takes it; other experts."""
    words = (
        f"--dataset={launching.tiny('rgb')}",
        f"--out={tmp_path}",
        "--size=8",
        "--model=resnet18",
    )
    kept = set()
    for width, norm in ((2, "batch"), (2, "instance"), (3, "instance")):
        how = (f"--resnet_width={width}", f"--resnet_norm={norm}", "--resnet_conv=lax")
        session = opened(*words, *how)
        params = jax.eval_shape(session.model.init, jax.random.key(0))[0]
        assert {leaf.shape[-1] for leaf in jax.tree.leaves(params)} >= {width, 8 * width}
        assert session.model.separable == (norm == "instance")
        kept.add(experts.experts_folder(session))
    mtt.check(MTTConfig(), session.model, 30)
    kept.add(experts.experts_folder(opened(*words, *how[:2])))
    assert len(kept) == 4


def shapes(words, size=8):
    """{shape: number of parameter arrays of it} of the network that a command line names, and of its programs the
    number of convolutions that XLA does."""
    asked = settings(*words, f"--size={size}")
    name = asked.run.model
    config = asked.config(MODELS[name].config)
    model = models.build(name, config, classes=3, size=size, channels=3)
    params = jax.eval_shape(model.init, jax.random.key(0))[0]
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    program = jax.make_jaxpr(lambda p, x: model.apply(p, {}, x, True)[0])(params, images)
    count = str(program).count("conv_general_dilated[")
    return Counter(leaf.shape for leaf in jax.tree.leaves(params)), count


@shows("mlp_width", "alexnet_width", "alexnet_conv")
def test_mlp_and_alexnet_flags():
    """Units, and channels of the first convolution, on which those of the others depend; the lowering."""
    for width in (5, 6):
        found, _ = shapes(("--model=mlp", f"--mlp_width={width}"))
        assert found[192, width] == found[width, width] == found[width, 3] == 1
        words = ("--model=alexnet", f"--alexnet_width={2 * width}")
        found, lax = shapes((*words, "--alexnet_conv=lax"), size=32)
        assert sum(shape[-2:] == (2 * width, 3 * width) for shape in found) == 1
        assert (lax, shapes((*words, "--alexnet_conv=im2col"), size=32)[1]) == (5, 0)


@shows("vit_width", "vit_depth", "vit_heads", "vit_patch", "vit_conv")
def test_vit_flags():
    """Patches, width of a token, blocks; heads must divide the width; the lowering of the patches' convolution."""
    words = ("--model=vit", "--vit_width=6", "--vit_heads=2", "--vit_patch=2")
    for depth in (1, 3):
        assert shapes((*words, f"--vit_depth={depth}"))[0][6, 6 * HIDDEN] == depth
    for patch in (2, 4):
        found, lax = shapes((*words[:3], f"--vit_patch={patch}", "--vit_conv=lax"))
        assert any(shape[:2] == (patch, patch) and shape[-1] == 6 for shape in found)
        assert (lax, shapes((*words[:3], "--vit_conv=im2col"))[1]) == (1, 0)
    with pytest.raises(UserError, match="vit_heads"):
        shapes((*words, "--vit_heads=4"))


# --- experts


@shows("experts", "expert_epochs", "expert_lr", "expert_batch")
def test_expert_flags(tmp_path):
    """Number, length, step size (0: they stand still), and images a step."""

    def trained(*words):
        words = ("--max_start_epoch=1", "--expert_span=1", "--expert_augment=none", *words)
        session = make_session(tmp_path, *words)
        reader = experts.train_experts(session, expert_epochs(session.setup()))
        rows = [reader.read(i, np.arange(reader.epochs + 1)) for i in range(reader.experts)]
        return np.stack(rows)

    base = trained("--experts=1", "--expert_epochs=0", "--expert_batch=16")
    assert base.shape == (1, 2, 144)
    more = trained("--experts=2", "--expert_epochs=3", "--expert_batch=16")
    assert more.shape == (2, 4, 144)
    np.testing.assert_array_equal(more[:1, :2], base)
    assert not np.array_equal(more[0], more[1])
    still = trained("--experts=1", "--expert_lr=0")
    np.testing.assert_array_equal(still[0, 0], still[0, 1])
    faster = trained("--experts=1", "--expert_batch=16", "--expert_lr=0.02")
    np.testing.assert_array_equal(faster[0, 0], base[0, 0])
    moved = [np.linalg.norm(x[0, 1] - x[0, 0]) for x in (base, faster)]
    assert 1.5 * moved[0] < moved[1] < 2.5 * moved[0]
    steps = {}
    for batch in (16, 60):
        session = make_session(tmp_path, f"--expert_batch={batch}")
        steps[batch] = train.steps_per_epoch(experts._trainer(session), 60)
    assert steps == {16: 4, 60: 1}
    fewer = trained("--experts=1", "--expert_batch=60")
    assert np.linalg.norm(fewer[0, 1] - fewer[0, 0]) < moved[0]


@shows("expert_epoch_steps")
def test_steps_of_an_experts_epoch(tmp_path):
    """Snapshots lie so many full batches apart, and the forecast counts them: 7 of 16; else 60 images, 3 and a tail. At
    the end the expert scores the 24 images of val, each a third of the work of training on one."""
    moved, work = {}, {}
    for steps in (0, 3, 7):
        words = ("--experts=1", "--expert_epochs=2", "--expert_batch=16", "--expert_lr=0.001")
        words += ("--expert_augment=none",)
        session = make_session(tmp_path, *words, f"--expert_epoch_steps={steps}")
        assert train.steps_per_epoch(experts._trainer(session), 60) == (steps or 4)
        rows = experts.train_experts(session, 2).read(0, np.arange(3))
        moved[steps] = np.linalg.norm(rows[1] - rows[0])
        setup = session.setup()
        work[steps] = unchecked_costs(setup).work["experts"] / setup.model.flops / cost.GRADIENT
    assert moved[3] < moved[0] < moved[7] and moved[7] / moved[3] == pytest.approx(7 / 3, rel=0.2)
    assert work == {0: 2 * 60 + 8, 3: 2 * 48 + 8, 7: 2 * 112 + 8}


@shows("expert_seed")
def test_expert_seed(tmp_path):
    """Runs of several seeds have the experts of one; without it each has its own, in the folders of before."""

    def made(*words):
        session = make_session(tmp_path, *words)
        return experts.experts_folder(session), session.key("experts"), session.key("init")

    own, other = made("--seed=0"), made("--seed=1")
    assert own[0] == made("--seed=0", "--expert_seed=-1")[0] != other[0]
    assert own[0].name.startswith("experts-convnet-seed0-")
    for seed in (1, 2):
        folder, key, init = made(f"--seed={seed}", "--expert_seed=0")
        assert (folder, key) == own[:2] and init != own[2]
    assert made("--expert_seed=1")[:2] == other[:2]


@shows("expert_sampling")
def test_expert_sampling(tmp_path, data):
    """shuffled: every image once. balanced: with replacement, each class as often."""
    orders = {}
    for how in ("shuffled", "balanced"):
        session = make_session(tmp_path, f"--expert_sampling={how}")
        trainer = experts._trainer(session)
        keys = jax.random.split(jax.random.key(0), 20)
        orders[how] = [np.asarray(train.epoch_order(trainer, k, data.labels)) for k in keys]
    for order in orders["shuffled"]:
        assert sorted(order) == list(range(60))
    drawn = np.asarray(data.labels)[np.concatenate(orders["balanced"])]
    assert np.abs(np.bincount(drawn) / len(drawn) - 1 / 3).max() < 0.06
    assert len(set(orders["balanced"][0])) < 60


@shows("expert_momentum", "expert_weight_decay", "expert_augment", "augment")
def test_optimiser_and_augmentation(tmp_path):
    """What the experts' trainer is made of, and what students augment with; test_experts.py has the numbers."""
    words = ("--expert_momentum=0.9", "--expert_weight_decay=0.1", "--expert_augment=flip")
    plain, other = (experts._trainer(make_session(tmp_path, *w)) for w in ((), words))
    assert plain.augment == augment and other.augment == strategy("flip", "expert_augment")
    ones, zeros = jnp.ones(2), jnp.zeros(2)
    moved = []
    for trainer in (plain, other):
        state = trainer.tx.init(ones)
        for gradient in (ones, zeros):
            direction, state = trainer.tx.update(gradient, state, ones)
        moved.append(float(direction[0]))
    np.testing.assert_allclose(moved, [0.0, 0.1 + 0.9 * 1.1], rtol=1e-6)
    for words, expected in (("", augment), ("--augment=none", None)):
        setup = make_session(tmp_path, *filter(None, [words])).setup()
        assert students_augmentation(setup) == expected


# --- MTT


@shows("iterations", "ipc")
def test_counts(distil):
    """Updates done; images a class."""
    for iterations, ipc in ((1, 1), (4, 3)):
        course = distil(iterations=iterations, ipc=ipc)
        assert course.infos.loss.shape == (iterations,)
        assert course.state.labels.tolist() == np.repeat(np.arange(3), ipc).tolist()
        assert course.state.images.shape[0] == 3 * ipc


@shows("inner_steps")
def test_inner_steps(distil):
    """More student steps lead further: about in proportion while the step size is tiny."""
    near, far = (distil(inner_steps=n, lr_init=1e-4, iterations=1).infos for n in (1, 4))
    assert far.displacement[0] / near.displacement[0] == pytest.approx(4, rel=0.05)


@shows("expert_span", "max_start_epoch")
def test_segments(distil):
    """Targets lie M epochs after the starts, and starts below T+."""
    for span, below in ((1, 1), (3, 6)):
        read = distil(expert_span=span, max_start_epoch=below, iterations=40).read
        starts = [start for _, start, _ in read]
        assert {end - start for _, start, end in read} == {span}
        assert set(starts) == set(range(below))
    short, long = (
        settings(f"--expert_span={m}", f"--max_start_epoch={t}") for m, t in ((1, 1), (3, 6))
    )
    needed = [
        s.groups[MTTConfig].max_start_epoch - 1 + s.groups[MTTConfig].expert_span
        for s in (short, long)
    ]
    assert needed == [1, 8]


@shows("min_start_epoch", "start_growth")
def test_window_of_starts(distil):
    """Starts lie in [T-, T+), and the latest one reaches T+ after so many iterations."""
    starts = [s for _, s, _ in distil(min_start_epoch=2, max_start_epoch=6, iterations=60).read]
    assert set(starts) == {2, 3, 4, 5}
    growing = {"min_start_epoch": 1, "max_start_epoch": 5, "start_growth": 40, "iterations": 80}
    starts = np.array([start for _, start, _ in distil(**growing).read])
    for i in range(4):
        assert starts[10 * i : 10 * (i + 1)].max() <= 1 + i
    assert set(starts[:10]) == {1} and set(starts[40:]) == {1, 2, 3, 4}
    with pytest.raises(UserError, match="--min_start_epoch=3 leaves no start below"):
        distil(min_start_epoch=3, max_start_epoch=3)


@shows("lr_img", "lr_lr")
def test_step_sizes_of_the_update(distil):
    """Images and step size move in proportion to their own step size, and stand still at 0."""
    moved = {}
    for lr_img, lr_lr in ((0.0, 1e-6), (1.0, 0.0), (2.0, 2e-6)):
        course = distil(iterations=1, lr_img=lr_img, lr_lr=lr_lr, lr_update="raw")
        images = np.abs(course.state.images - course.begin.images).max()
        moved[lr_img] = images, abs(float(course.state.step_size - course.begin.step_size))
    assert moved[0.0][0] == moved[1.0][1] == 0
    assert moved[2.0][0] == pytest.approx(2 * moved[1.0][0], rel=1e-3)
    assert moved[2.0][1] == pytest.approx(2 * moved[0.0][1], rel=0.05)


@shows("lr_init")
def test_start_of_the_step_size(distil, tmp_path):
    """The value given; 0 makes the launcher search one, which the run's log and first row show."""
    assert distil(lr_init=0.037, iterations=1).infos.step_size[0] == pytest.approx(0.037)
    given = make_session(tmp_path, "--lr_init=0.01")
    nothing = Distiller(None, None, None, None)
    assert prepare(given.setup(), nothing, jax.random.key(0), None) is None
    searched, paper = launching.other_grey(), launching.paper_rgb()
    (row,) = searched.rows("search")
    near = np.flatnonzero(np.array(row["losses"], float) <= 1.15 * np.nanmin(row["losses"]))
    assert row["step_size"] == pytest.approx(row["grid"][near[-1]])
    assert searched.rows("distill")[0]["step_size"] == row["step_size"]
    assert paper.rows("search") == []
    assert paper.rows("distill")[0]["step_size"] == pytest.approx(0.01)


@shows("lr_update", "lr_clip", "img_momentum")
def test_update_of_the_step_size(distil):
    """raw adds, multiplicative multiplies within the clip, and the momentum carries the last gradient on."""
    for momentum in (0.0, 0.5):
        raw = distil(lr_update="raw", lr_lr=1e-5, img_momentum=momentum).infos
        gradient, steps = raw.grad_step_size, raw.step_size
        assert steps[1] - steps[0] == pytest.approx(-1e-5 * gradient[0], rel=1e-2)
        trace = momentum * gradient[0] + gradient[1]
        assert steps[2] - steps[1] == pytest.approx(-1e-5 * trace, rel=1e-2)
    for clip in (0.02, 0.3):
        steps = distil(lr_update="multiplicative", lr_lr=1.0, lr_clip=clip).infos.step_size
        np.testing.assert_allclose(np.abs(np.diff(np.log(steps))), clip, rtol=1e-4)
    plain, heavy = (distil(img_momentum=m, lr_lr=0.0, lr_img=1e-3) for m in (0.0, 0.9))
    ways = [np.linalg.norm(c.state.images - c.begin.images) for c in (plain, heavy)]
    assert ways[0] != pytest.approx(ways[1], rel=1e-3)


@shows("batch_syn")
def test_synthetic_minibatches(distil):
    """One inner step on two images changes these two; 0 takes all."""
    for batch, count in ((2, 2), (0, 6)):
        course = distil(batch_syn=batch, inner_steps=1, iterations=1)
        moved = np.abs(course.state.images - course.begin.images).max((1, 2, 3)) > 0
        assert moved.sum() == count


@shows("labels", "lr_labels")
def test_soft_labels(distil):
    """Hard labels have no logits; soft ones move in proportion to their step size."""
    assert distil().state.soft is None
    moved = {}
    for rate in (0.0, 1.0, 2.0):
        course = distil(labels="soft", lr_labels=rate, iterations=1)
        moved[rate] = np.asarray(course.state.soft.logits - course.begin.soft.logits)
    assert not moved[0.0].any() and moved[1.0].any()
    np.testing.assert_allclose(moved[2.0], 2 * moved[1.0], rtol=1e-3, atol=1e-5)


@shows("meta_batch")
def test_meta_batch(distil):
    """So many segments are read for an iteration, and their gradients averaged."""
    one, many = distil(meta_batch=1, iterations=2), distil(meta_batch=8, iterations=2)
    assert (len(one.read), len(many.read)) == (2, 16)
    assert many.infos.grad_images[0] < one.infos.grad_images[0]


@shows("init_images")
def test_start_of_the_images(distil, data):
    """Real images of their class, or standard normal noise."""
    real, noise = (distil(init_images=k, iterations=1, ipc=8).begin for k in ("real", "noise"))
    for image, label in zip(np.asarray(real.images), real.labels, strict=True):
        (found,) = np.flatnonzero((np.asarray(data.images) == image).all((1, 2, 3)))[:1]
        assert data.labels[found] == label
    assert abs(float(noise.images.mean())) < 0.1
    assert abs(float(noise.images.std()) - 1) < 0.1


@shows("skip_factor")
def test_skip_factor(distil):
    """At 1 a loss above the median is skipped, once enough losses are known; at a million, or at 0, none is."""
    runs = {f: distil(skip_factor=f, iterations=30, lr_img=0, lr_lr=0) for f in (1, 1e6, 0)}
    course = {factor: made.infos for factor, made in runs.items()}
    assert course[0].skipped.sum() == 0
    with pytest.raises(UserError, match=r"--skip_factor=0\.5"):
        distil(skip_factor=0.5)
    assert course[1.0].skipped[:5].sum() == 0
    assert 5 <= course[1.0].skipped.sum() <= 18
    assert course[1e6].skipped.sum() == 0


@shows("average")
def test_running_average(data, tmp_path):
    """The kept set is the mean of the sets after each iteration, weighed by the decay; 0 keeps the last one."""

    def init(key, data):
        return jnp.float32(0)

    def step(key, state, data, item):
        return state + 1, ()

    def extract(state):
        images = jnp.full((3, 4, 4, 3), state**2)
        soft = jnp.tile(jnp.stack([state, 10 - state]) / 10, (3, 1))
        return Synthetic(images, jnp.arange(3, dtype=jnp.int32), 0.1 * state, soft)

    plain = Distiller(init, None, step, extract)
    method = averaged(settings("--average=0.5").groups[AverageConfig], plain)
    state = method.init(jax.random.key(0), data)
    expected = expected_step = 0.0
    for n in range(8):
        state, _ = method.step(jax.random.key(n), state, data, None)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * (n + 1) ** 2
        expected_step = decay * expected_step + (1 - decay) * 0.1 * (n + 1)
    kept = method.extract(state)
    np.testing.assert_allclose(kept.images, expected, rtol=1e-5)
    np.testing.assert_allclose(kept.step_size, expected_step, rtol=1e-5)
    np.testing.assert_allclose(kept.soft, [[expected_step, 1 - expected_step]] * 3, rtol=1e-5)
    np.testing.assert_array_equal(kept.labels, [0, 1, 2])
    assert averaged(settings().groups[AverageConfig], plain) is plain
    # What is searched before the first iteration is in the average too, and in the log.
    session = make_session(tmp_path)
    setup = Setup({}, session.model, classes=3, ipc=1, shape=(3, 4, 4, 3))
    recipe = RECIPE._replace(prepare=lambda setup, _, key, state: (state + 3, {"step_size": 0.3}))
    begun = [
        first_state(session, recipe, setup, plain, one.init(jax.random.key(0), data))
        for one in (method, plain)
    ]
    assert float(method.extract(begun[0]).images[0, 0, 0, 0]) == 9.0 and float(begun[1]) == 3.0
    assert [row["step_size"] for row in store.read_log(session.log)] == [0.3, 0.3]
    with pytest.raises(UserError, match="average"):
        averaged(AverageConfig(1.0), plain)


@shows("expert_order")
def test_expert_order(distil):
    """cycled: all experts once, in some order, before any comes again. drawn: as chance has it."""
    read = {o: distil(expert_order=o, iterations=20).read for o in ("drawn", "cycled")}
    order = {o: [expert for expert, *_ in rows] for o, rows in read.items()}
    rounds = [order["cycled"][i : i + 5] for i in range(0, 20, 5)]
    assert all(sorted(r) == list(range(5)) for r in rounds)
    assert len({tuple(r) for r in rounds}) > 1
    assert any(sorted(order["drawn"][i : i + 5]) != list(range(5)) for i in range(0, 20, 5))


# --- evaluation


@shows("eval_augment")
def test_evaluation_without_augmentation(linear, jitter):
    """The networks of an evaluation see DSA unless told not to."""
    for asked in (True, False):
        config = EvalConfig(eval_augment=asked)
        trainer = evaluate.trainer(config, linear(48, 3), 3, jitter)
        assert (trainer.augment is jitter) == asked


@shows("networks", "eval_epochs", "interim_networks", "interim_epochs", "eval_every", "select")
@pytest.mark.parametrize("run_of", launching.RUNS, ids=[r.__name__ for r in launching.RUNS])
def test_evaluations_are_as_large_as_asked(run_of):
    """Networks and epochs of both kinds in the files of the evaluations; how often; the split and the choice."""
    finished = run_of()
    asked = {name: entry["value"] for name, entry in finished.config["values"].items()}
    tables = {p.stem: store.read_json(p) for p in finished.folder.glob("evaluations/*.json")}
    for name in ("test", "test-uint8", "start"):
        assert len(tables[name]["scores"]) == tables[name]["networks"] == asked["networks"]
    interim = [t for name, t in tables.items() if name.startswith("interim-")]
    start_too = asked["select"] == "test"  # as in the public code
    assert len(interim) == -(-asked["iterations"] // asked["eval_every"]) + start_too
    assert {len(t["scores"]) for t in interim} == {asked["interim_networks"]}
    searched = tables["start-on-val"]
    assert len(searched["scores"]) == asked["interim_networks"] * len(searched["step_sizes"])
    longest = {}
    for row in finished.rows("evaluate"):
        longest[row["name"]] = max(longest.get(row["name"], 0), row.get("epoch", 0))
    assert longest["test"] == asked["eval_epochs"] + asked["decay_parity"]
    assert longest["start-on-val"] == asked["interim_epochs"] + asked["decay_parity"]
    assert finished.result["evaluation"] == {
        "networks": asked["networks"],
        "epochs": asked["eval_epochs"],
        "batch": asked["eval_batch"],
        "augment": asked["eval_augment"],
        "decay_parity": asked["decay_parity"],
    }
    splits = {row["split"] for row in finished.rows("interim")}
    assert splits == {"test" if asked["select"] == "test" else "val"}
    if asked["select"] == "last":
        assert finished.result["selected_iteration"] == asked["iterations"]


def test_the_forecast_counts_the_evaluation_of_the_start(linear):
    """Where the test split chooses, there is one interim evaluation more: of two networks for 300 epochs. Where step
    sizes are searched each of the two interim evaluations is one at two step sizes."""
    setup = Setup({}, linear(48, 3), 3, 1, (10, 4, 4, 3))
    val, test, searched = (
        evaluation_flops(settings(word), setup, {}, 200)
        for word in ("--select=val", "--select=test", "--eval_step_size=searched")
    )
    once = cost.GRADIENT * setup.model.flops * 2 * 300 * 3
    assert (test - val, searched - val) == (once, 2 * once)


def test_the_forecast_counts_the_images_that_are_scored(linear):
    """A forward pass each: two interim evaluations of two networks and a search at five step sizes on val, three final
    evaluations of five networks on test; with select=test three on test in place of two on val."""
    setup = Setup({}, linear(48, 3), 3, 1, (10, 4, 4, 3))
    scored = setup._replace(val=70, test=30)
    for select, interim in (("val", 2 * 2 * 70), ("test", 3 * 2 * 30)):
        asked = settings(f"--select={select}")
        more = (evaluation_flops(asked, one, {}, 200) for one in (scored, setup))
        images = interim + len(GRID) * 2 * 70 + 3 * 5 * 30
        assert next(more) - next(more) == setup.model.flops * images


@pytest.mark.parametrize(
    ("method", "values", "images"),
    [
        ("full", {"full_networks": 2, "full_epochs": 4}, 2 * 30),
        ("full", {"full_networks": 2, "full_epochs": 4, "full_select": "val"}, 2 * (30 + 4 * 70)),
        ("random", {"networks": 3, "interim_networks": 2}, 2 * 3 * 30 + len(GRID) * 2 * 70),
        ("mtt", {"experts": 3}, 3 * 70),
    ],
)
def test_the_forecast_of_a_method_counts_them_too(linear, method, values, images):
    """Networks on real images are scored on test, or on val after each epoch; experts on val."""
    asked = medjax.settings(method, "quick", **values)
    setup = asked.setup(linear(48, 3), 3, (10, 4, 4, 3))
    costs = RECIPES[method].costs
    more = (sum(costs(s).work.values()) for s in (setup._replace(val=70, test=30), setup))
    assert next(more) - next(more) == setup.model.flops * images


def test_the_forecast_counts_the_set_in_memory(linear, monkeypatch):
    """The set as it was read, which a GPU does not hold, and val and test as floats of the model's size."""
    setup = Setup({}, linear(48, 3), 3, 1, (9, 4, 4, 3))
    whole = setup._replace(val=10**6, test=10**6, raw=10**9)

    def more(asked):
        needs = [forecast.peak_memory(asked, one, {}, Costs({})) for one in (whole, setup)]
        return needs[0] - needs[1]

    floats = 4 * 2 * 10**6 * 48
    normalised, zca = (medjax.settings("mtt", "quick", whiten=w) for w in ("normalise", "zca"))
    assert more(normalised) == more(zca) == 10**9 + floats
    monkeypatch.setattr(forecast.devices, "on_cpu", lambda: False)
    assert more(normalised) == pytest.approx(floats)


def test_the_forecast_of_random_images_counts_full_batches():
    """Where steps are counted, an epoch of 50 images in batches of 32 sees 32."""
    final = EvalConfig(networks=5, eval_epochs=10, eval_batch=32, eval_steps=10)
    interim = InterimConfig(interim_networks=2, interim_epochs=4, interim_steps=4)
    setup = Setup({EvalConfig: final, InterimConfig: interim}, linear(48, 5), 5, 10, (9, 4, 4, 3))
    once = cost.GRADIENT * setup.model.flops * 32
    found = RECIPES["random"].costs(setup).work["evaluation"]
    assert found == once * (2 * 5 * 10 + len(GRID) * 2 * 4)


@pytest.mark.parametrize(("expert_seed", "times"), [(-1, 4), (0, 1)])
def test_the_forecast_of_several_seeds(monkeypatch, expert_seed, times):
    """Four seeds take four times as long, but for experts of one seed, which all share."""
    made, seen = forecast.Forecast({"experts": 120.0, "distillation": 240.0}, 1e9), []
    monkeypatch.setattr(forecast, "estimate", lambda *_: made)
    monkeypatch.setattr(cost, "matrix_rate", lambda: 1.0)

    class Heard(Silent):
        def say(self, text):
            seen.append(text)

    asked = medjax.settings("mtt", "quick", expert_seed=expert_seed)
    forecast.forecast(
        asked, Setup({}, linear(48, 3), 3, 1, (9, 4, 4, 3)), {}, Costs({}), Heard(), 4
    )
    assert f"experts {2 * times} min, distillation 16 min" in seen[0]


def test_experts_of_several_seeds_take_memory_once(monkeypatch):
    """They are trained for one seed after the other; several cards share the seeds that are distilled."""
    setup = Setup({}, linear(48, 3), 3, 1, (9, 4, 4, 3))
    asked = medjax.settings("mtt", "quick", whiten="normalise")
    monkeypatch.setattr(forecast.devices, "on_cpu", lambda: False)

    def memory(seeds, cards, **costs):
        monkeypatch.setattr(forecast.devices, "device_count", lambda: cards)
        return forecast.peak_memory(asked, setup, {}, Costs({}, **costs), seeds)

    assert memory(8, 1, trained=10**9) == memory(1, 1, trained=10**9)
    assert memory(8, 1, kept=1e12) > 7 * memory(1, 1, kept=1e12)
    assert memory(8, 4, kept=1e12) == pytest.approx(memory(2, 1, kept=1e12))


def test_runs_differ_in_the_flags_of_the_evaluation():
    """The check above saw two values of each."""
    one, other = (
        {name: entry["value"] for name, entry in run_of().config["values"].items()}
        for run_of in (launching.paper_rgb, launching.other_grey)
    )
    for name in CHECKS:
        if CHECKS[name] == "test_evaluations_are_as_large_as_asked":
            assert one[name] != other[name], name
    selects = {run_of().result["select"] for run_of in launching.RUNS}
    assert selects == {"val", "last", "test"}


@shows("eval_step_size")
def test_the_step_size_that_val_chooses(tmp_path):
    """Networks of interim evaluations train at shares of the set's own step size. The iteration and the share that are
    best on val are kept: they are in result.json and in the set's file, and the final networks train so."""
    values = {"size": 8, "width": 4, "depth": 1, "augment": "none", "batch_real": 4, "ipc": 1}
    values |= {"networks": 1, "eval_epochs": 30, "interim_networks": 2, "interim_epochs": 30}
    values |= {"iterations": 2, "eval_every": 1, "eval_step_size": "searched"}
    values |= {"eval_augment": False}
    found = medjax.settings("dm", "quick", dataset=str(launching.tiny("rgb")), **values)
    result = pipeline.run("dm", found, tmp_path)
    scored = {}
    for path in sorted(result.folder.glob("evaluations/interim-*.json")):
        table = store.read_json(path)
        assert table["step_sizes"] == pytest.approx([0.003, 0.001])
        balanced = np.reshape([row[1] for row in table["scores"]], (2, 2)).mean(1)
        scored |= {(int(path.stem[-1]), i): balanced[i] for i in range(2)}
    assert len(set(scored.values())) > 1, "shares and iterations differ"
    iteration, share = max(scored, key=scored.get)
    best = pytest.approx([0.003, 0.001][share])
    assert (result.selected_iteration, result.step_size) == (iteration, best)
    assert load_set(result.folder / "synthetic.npz").synthetic.step_size == best
    assert store.read_json(result.folder / "evaluations" / "test.json")["step_sizes"] == [best]
    assert "(chosen on val)" in str(result)


def test_the_best_of_several_step_sizes():
    """By the mean of the score that is asked for; NaN is the worst, and the first of equals wins."""
    nan = float("nan")
    rows = [(0.9, 0.2, nan), (0.9, 0.4, nan), (0.1, 0.8, 0.5), (0.1, 0.6, 0.5), (nan, nan, nan)]
    table = {"scores": [metrics.Metrics(*row) for row in (*rows, rows[-1])]}
    table["step_sizes"] = [0.3, 0.2, 0.1]
    assert at_best(table, "balanced_accuracy") == (0.2, table["scores"][2:4])
    assert at_best(table, "accuracy")[0] == 0.3
    table["scores"][2:4] = table["scores"][:2]
    assert at_best(table, "balanced_accuracy")[0] == 0.3


@shows("eval_recipe")
def test_cutmix_is_a_recipe_of_its_own():
    """Evaluated networks train on mixed images and shares of classes."""
    for name in ("study", "cutmix"):
        config = settings(f"--eval_recipe={name}").groups[EvalConfig]
        trainer = evaluate.trainer(config, linear(48, 3), 3, None)
        assert trainer.cutmix == (name == "cutmix")


@shows("eval_batch", "decay_parity")
def test_recipe_of_the_evaluation(data):
    """Images a step; the public code's later decay, its extra epoch and its forgotten momentum."""

    def trained(*words):
        config = settings("--preset=quick", *words).groups[EvalConfig]
        trainer = evaluate.trainer(config, linear(4 * 4 * 3, 3), 3, None)
        people = evaluate.population(config, jax.random.key(0), 1, 6, jnp.array([0.01]))
        fresh = evaluate.start_networks(trainer, people)
        *_, (epochs, state) = evaluate.train_networks(trainer, people, data, fresh)
        return people, epochs, np.asarray(ravel_pytree(state.params)[0])

    plain, epochs, params = trained("--eval_batch=60", "--nodecay_parity")
    assert epochs == 6
    np.testing.assert_allclose(plain.rates[0], [0.01] * 3 + [0.001] * 3, rtol=1e-6)
    assert not plain.forget.any()
    parity, longer, _ = trained("--eval_batch=60", "--decay_parity")
    assert longer == 7
    np.testing.assert_allclose(parity.rates[0], [0.01] * 5 + [0.001] * 2, rtol=1e-6)
    assert np.flatnonzero(parity.forget).tolist() == [5]
    _, _, smaller = trained("--eval_batch=10", "--nodecay_parity")
    fresh = np.asarray(
        linear(48, 3).init(jax.random.fold_in(jax.random.fold_in(jax.random.key(0), 0), 0))[0]["w"]
    )
    ways = [np.linalg.norm(p - fresh.ravel()) for p in (params, smaller)]
    assert ways[1] > 2 * ways[0]


@shows("eval_steps", "interim_steps")
def test_evaluations_by_steps(tmp_path):
    """Epochs of full batches that take so many steps on the decoded images: 24 here, in batches of 10. A flag of epochs
    wins over steps of a preset."""
    words = (f"--dataset={launching.tiny('rgb')}", "--ipc=2", "--pack=2", "--eval_batch=10")
    asked = settings(*words, "--eval_steps=31", "--interim_steps=5").counted(24)
    assert asked.groups[EvalConfig].eval_epochs == 16
    assert asked.groups[InterimConfig].interim_epochs == 3
    assert asked.origin["eval_epochs"] == asked.origin["interim_epochs"] == "steps"
    assert settings(*words).counted(24) == settings(*words)
    both = settings(*words, "--eval_steps=31", "--eval_epochs=7")
    with pytest.raises(UserError, match="give --eval_epochs or --eval_steps, not both"):
        both.counted(24)
    preset = both._replace(origin=both.origin | {"eval_steps": "preset cpu"}).counted(24)
    assert preset.groups[EvalConfig] == dataclasses.replace(
        both.groups[EvalConfig], eval_steps=0, eval_epochs=7
    )


@shows("ranking")
def test_a_run_of_full_to_rank_by(data):
    """A folder that is no such run is refused before any work (tests/test_ranking.py: what it adds)."""
    raw = load_data(settings(f"--dataset={launching.tiny('rgb')}"), Silent())
    assert upper_bound(settings(), raw) is None
    with pytest.raises(UserError, match="--ranking=nothing: "):
        upper_bound(settings("--ranking=nothing"), raw)


@shows("init_set")
def test_a_set_to_begin_with(tmp_path):
    """One that is not there is refused before any work (tests/test_img_optimizer.py: what it begins with)."""
    with pytest.raises(UserError, match=r"nothing\.npz"):
        make_session(tmp_path, "--init_set=nothing.npz")


@shows("img_optimizer")
def test_images_as_pixels(tmp_path):
    """Adam moves what is kept as pixels (tests/test_img_optimizer.py); SGD moves images of model space."""
    for name in ("sgd", "adam"):
        session = make_session(tmp_path, f"--img_optimizer={name}", "--lr_img=0.01")
        assert session.train.packing.pixels == (name == "adam")


@shows("eval_models")
def test_other_networks(tmp_path):
    """None, or those named, for the data's classes; what cannot be is said before any work."""
    assert make_session(tmp_path).others == {}
    others = make_session(tmp_path, "--eval_models=mlp,convnet").others
    assert list(others) == ["mlp", "convnet"]
    params = jax.eval_shape(others["mlp"].init, jax.random.key(0))[0]
    assert params["hidden0"]["kernel"].shape == (48, 128) and params["linear"]["bias"].shape == (3,)
    for words, said in (("vgg", "vgg"), ("mlp,mlp", "twice"), ("alexnet", "--size")):
        with pytest.raises(UserError, match=said):
            make_session(tmp_path, f"--eval_models={words}")


# --- and none is forgotten


def test_every_flag_has_its_check():
    """A new flag needs a check in this file."""
    assert set(CHECKS) == set(FIELDS)
    here = sys.modules[__name__]
    assert all(callable(getattr(here, name)) for name in CHECKS.values())


def test_origin_and_precedence():
    """Default < preset < flag, for every flag; what a flag sets is what the configuration holds."""
    other = {int: 7, float: 0.125, bool: True, str: "text"}
    for name, field in FIELDS.items():
        choices = field.metadata["choices"]
        new = choices[-1] if choices else other[field.type]
        new = {
            "skip_factor": 2.5,
            "preset": "cpu",
            "eval_models": "mlp,vit",
            "model": "vit",
            "augment": "flip",
            "expert_augment": "flip",
        }.get(name, new)
        asked = settings(f"--{name}={new}", *NEEDS.get(name, ()))
        assert asked.values()[name] == new, name
        assert asked.origin[name] == "flag"
        untouched = settings().origin[name]
        table = presets.read(RECIPE)["paper"]["*"]["*"]
        assert untouched == ("preset paper" if name in table else "default")
    assert settings().groups[MTTConfig].lr_update == "raw"
    assert settings("--preset=cpu").groups[MTTConfig].lr_update == MTTConfig.lr_update
    assert settings("--lr_update=multiplicative").groups[MTTConfig].lr_update == "multiplicative"


def test_flag_of_a_network_that_is_not_asked_for_is_refused():
    """It would change nothing; where the network is one of those that evaluate, it does."""
    with pytest.raises(UserError, match="--width is for --model=convnet, not for mlp"):
        settings("--model=mlp", "--width=8")
    assert settings("--model=mlp", "--eval_models=convnet", "--width=8").values()["width"] == 8


def test_seed_beyond_32_bits_is_refused():
    """JAX keeps the low 32 bits: 2**32 would silently be seed 0 under another name."""
    low = jax.random.key_data(jax.random.key(2**32 - 1))
    assert not np.array_equal(low, jax.random.key_data(jax.random.key(0)))
    assert settings(f"--seed={2**32 - 1}").groups[RunConfig].seed == 2**32 - 1
    with pytest.raises(UserError, match="--seed"):
        settings(f"--seed={2**32}")


def test_flags_make_other_runs_and_no_flag_the_same():
    """Every value but the place of things is part of the name of a run's folder."""
    raw = load_data(settings(f"--dataset={launching.tiny('rgb')}"), Silent())
    assert run_folder(settings(), raw) == run_folder(settings(), raw)
    for name, field in FIELDS.items():
        if name == "model" or name in {*UNNAMED, *SETS, "out", "fresh"} - {"preset"}:
            continue
        value = settings().values()[name]
        choices = [c for c in field.metadata["choices"] if c != value]
        words = {"preset": "cpu", "eval_models": "mlp", "augment": "flip", "expert_augment": "flip"}
        new = choices[0] if choices else words.get(name)
        below = field.metadata["below"]
        new = new or (not value if field.type is bool else below / 2 if below else value + 4)
        needs = NEEDS.get(name, ())
        plain = run_folder(settings(*needs), raw)
        assert run_folder(settings(f"--{name}={new}", *needs), raw) != plain, name


def test_entries_for_a_set_and_a_number_of_images_come_last():
    """("*", "*") < ("*", ipc) < (set, "*") < (set, ipc), and a preset that does not fit is not looked at."""
    table = {
        "*": {
            "*": {"iterations": 1, "inner_steps": 1, "expert_span": 1, "width": 1},
            "5": {"iterations": 2, "inner_steps": 2, "expert_span": 2},
        },
        "cells": {
            "*": {"iterations": 3, "inner_steps": 3},
            "5": {"iterations": 4},
            "6": {"iterations": 9},
        },
        "others": {"5": {"iterations": 9}},
    }
    given = {"dataset": "/a/cells.npz", "ipc": 5, "preset": "paper"}
    values = resolve(GROUPS, {"paper": table}, given).values()
    names = ("iterations", "inner_steps", "expert_span", "width")
    assert [values[n] for n in names] == [4, 3, 2, 1]


def test_entries_for_a_number_of_images_or_more():
    """ "10+" holds for 10 and more, a larger one wins, and an entry for the very number wins over both."""
    sizes = {"*": 1, "100+": 4, "10+": 2, "50": 3}
    table = {"*": {size: {"iterations": value} for size, value in sizes.items()}}
    found = {}
    for ipc in (1, 9, 10, 49, 50, 51, 100, 500):
        given = {"dataset": "cells", "ipc": ipc, "preset": "paper"}
        found[ipc] = resolve(GROUPS, {"paper": table}, given).values()["iterations"]
    assert found == {1: 1, 9: 1, 10: 2, 49: 2, 50: 3, 51: 2, 100: 4, 500: 4}


def test_the_batches_of_the_study():
    """256 images at IPC 1 and 128 from IPC 10; CIFAR-10 has what it was published with."""
    for ipc, batch in ((1, 256), (9, 256), (10, 128), (50, 128)):
        assert settings(f"--ipc={ipc}").values()["eval_batch"] == batch
        assert launching.settings("dc", f"--ipc={ipc}").values()["batch_real"] == batch
    published = [settings("--dataset=tfds:cifar10", f"--ipc={ipc}").values() for ipc in (1, 10, 50)]
    names = ("inner_steps", "max_start_epoch", "lr_img", "lr_lr", "lr_init", "whiten")
    assert [[values[name] for name in names] for values in published] == [
        [50, 2, 100.0, 1e-7, 0.01, "zca"],
        [30, 20, 100.0, 1e-5, 0.001, "zca"],
        [30, 40, 1000.0, 1e-5, 0.001, "normalise"],
    ]
    assert {values["eval_batch"] for values in published} == {256}


def test_the_protocol_of_the_public_codes():
    """MTT: the best of full evaluations on test. DC: plain intensities and the last iteration. Training on all images:
    MedMNIST's."""
    public, paper = settings("--preset=public").values(), settings().values()
    changed = {name: value for name, value in public.items() if value != paper[name]}
    assert changed == {
        "preset": "public",
        "select": "test",
        "interim_networks": paper["networks"],
        "interim_epochs": paper["eval_epochs"],
    }
    for method in ("mtt", "random", "dc"):
        large = launching.settings(method, "--preset=public", "--ipc=10").values()
        assert large["eval_batch"] == 256, method
    for dataset, whiten in (("bloodmnist", "none"), ("integrated", "half")):
        dc = launching.settings("dc", "--preset=public", f"--dataset={dataset}").values()
        assert (dc["whiten"], dc["select"], dc["eval_epochs"]) == (whiten, "last", 300)
    full = launching.settings("full", "--preset=medmnist").values()
    assert (full["size"], full["whiten"], full["full_select"]) == (28, "half", "val")


def test_the_presets_of_mtt():
    """`cpu` and `quick` are tuned to no data set; the study's values (test_registry.py walks the presets of all)."""
    tables = presets.read(RECIPE)
    assert set(tables) == {"paper", "public", "cpu", "best", "quick"}
    assert [set(tables[name]) for name in ("cpu", "best", "quick")] == [{"*"}] * 3
    chosen = settings().values()
    paper = {
        "experts": 100,
        "iterations": 5000,
        "inner_steps": 20,
        "expert_span": 3,
        "max_start_epoch": 20,
        "lr_img": 1000.0,
        "lr_lr": 1e-6,
        "lr_init": 0.01,
        "lr_update": "raw",
        "whiten": "zca",
        "networks": 5,
        "eval_epochs": 1000,
        "decay_parity": True,
        "expert_order": "cycled",
        "skip_factor": 0.0,
    }
    assert {name: chosen[name] for name in paper} == paper
    assert settings("--preset=cpu").values()["eval_epochs"] == 1000


def test_help_shows_the_defaults_of_every_flag():
    """One line each, with what is allowed and the default; no line is cut."""
    lines = help_text("Title.", GROUPS).splitlines()
    for name, field in FIELDS.items():
        (line,) = (text for text in lines if text.startswith(f"  --{name}="))
        assert field.metadata["help"] in line
        assert line.endswith(
            f"[{field.default}]" if field.default != "" else field.metadata["help"]
        )
        assert all(choice in line for choice in field.metadata["choices"])
