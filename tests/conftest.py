"""How the tests run JAX, and the tiny things they share.

Every signature of medjax is checked by beartype, shapes of arrays against each other are checked without promotion,
and compiled programs are kept from one run of the tests to the next. pytest-xdist deals the tests out to processes.
"""

import functools
import getpass
import importlib.util
import os
import pathlib
import tempfile

import jax
import jaxtyping
import launching

# Before any test module imports medjax. The tower: an int will do where a float is asked for, as for pyright.
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
if importlib.util.find_spec("beartype"):
    jaxtyping.install_import_hook("medjax", CHECKER)
# MEDJAX_TESTS_ON_GPU=1: golden values are compared at full precision there, by programs as they are.
ON_GPU = bool(os.environ.get("MEDJAX_TESTS_ON_GPU"))
if ON_GPU:
    jax.config.update("jax_default_matmul_precision", "highest")
else:
    os.environ.setdefault("XLA_FLAGS", launching.XLA_FLAGS)
# Each process has a cache of its own: JAX's entries are not written in one piece.
CACHE = pathlib.Path(tempfile.gettempdir(), f"medjax-tests-{getpass.getuser()}")
CACHE = pathlib.Path(os.environ.get("JAX_COMPILATION_CACHE_DIR", CACHE))
CACHE = CACHE / os.environ.get("PYTEST_XDIST_WORKER", "")
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(CACHE)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from jitter import Jitter  # noqa: E402

from medjax.models import ConvNetConfig, Model, convnet  # noqa: E402
from medjax.types import Dataset  # noqa: E402

GOLDEN = pathlib.Path(__file__).parent / "golden"

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_traceback_in_locations_limit", 0)  # as in launching.environment
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
jax.config.update("jax_compilation_cache_dir", str(CACHE))

#: Files whose tests look at the same finished runs.
TOGETHER = ("test_launchers", "test_resume", "test_flags", "test_evaluate_saved")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """One more than cores: a process often waits, for a disk, a clock, or the server of its commands."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file's tests share what they compile, and stay in one process. (Not --dist=loadgroup: xdist 3.8 marks groups in
    a way that pytest 9.2 does not see.)"""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "runs" if pathlib.Path(file).stem in TOGETHER else file

    return Scheduling(config, log)


@pytest.fixture(scope="session")
def golden():
    """A golden file as a dict of arrays, by name."""

    def read(name):
        with np.load(GOLDEN / f"{name}.npz") as file:
            return dict(file)

    return read


@pytest.fixture(scope="session")
def tiny():
    """45 images of 3 classes (24, 15 and 6 images): a patch of the class's own place and colour, and noise."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(3), [24, 15, 6]))
    images = 0.5 * rng.normal(size=(45, 16, 16, 3))
    for image, label in zip(images, labels, strict=True):
        image[4 * label : 4 * label + 6, 5:11, label] += 2
    return Dataset(jnp.asarray(images, jnp.float32), jnp.asarray(labels, jnp.int32))


@pytest.fixture(scope="session")
def net():
    """A tiny ConvNet for `tiny`."""
    return convnet(ConvNetConfig(width=4, depth=2), classes=3, size=16, channels=3)


@pytest.fixture(scope="session")
def jitter():
    """The augmentation `Jitter`."""
    return Jitter()


@pytest.fixture(scope="session")
def linear():
    """(features, classes) -> softmax regression as a `Model`, small random weights."""

    @functools.cache  # programs are kept by their model
    def model(features, classes):
        def init(key):
            w = 0.1 * jax.random.normal(key, (features, classes))
            return {"b": jnp.zeros(classes), "w": w}, {}

        def apply(params, model_state, images, train):
            x = images.reshape(images.shape[0], -1)
            return x @ params["w"] + params["b"].reshape(1, -1), model_state

        def flat(params, model_state, images):
            return images.reshape(images.shape[0], -1)

        flops = 2.0 * features * classes
        return Model(init, apply, flops=flops, separable=True, features=flat)

    return model


@pytest.fixture(scope="session")
def convnet_params():
    """PyTorch's layouts (golden files) -> our parameters: (arrays, prefix of the names, depth) -> tree."""

    def convert(arrays, prefix="", depth=3):
        params = {}
        for i in range(depth):
            params[f"conv{i}_kernel"] = arrays[f"{prefix}conv{i}_weight"].transpose(2, 3, 1, 0)
            params[f"conv{i}_bias"] = arrays[f"{prefix}conv{i}_bias"]
            params[f"norm{i}"] = {
                "scale": arrays[f"{prefix}norm{i}_scale"],
                "shift": arrays[f"{prefix}norm{i}_shift"],
            }
        weight = arrays[f"{prefix}linear_weight"]
        channels = arrays[f"{prefix}conv{depth - 1}_bias"].size
        side = int((weight.shape[1] / channels) ** 0.5)
        by_place = weight.reshape(-1, channels, side, side).transpose(2, 3, 1, 0)
        params["linear_kernel"] = by_place.reshape(weight.shape[1], -1)
        params["linear_bias"] = arrays[f"{prefix}linear_bias"]
        return params

    return convert


@pytest.fixture(scope="session")
def resnet_params():
    """The same for ResNet-18, to float64: arrays -> tree."""

    def convert(g):
        params = {}

        def layer(name, conv, norm):
            params[f"{name}_kernel"] = g[f"p_{conv}.weight"].transpose(2, 3, 1, 0)
            params[f"{name}_norm"] = {
                "scale": g[f"p_{norm}.weight"],
                "shift": g[f"p_{norm}.bias"],
            }

        layer("stem", "stem", "norm")
        for i in range(8):
            name = f"stage{i // 2}_block{i % 2}"
            layer(f"{name}_a", f"blocks.{i}.a", f"blocks.{i}.norm_a")
            layer(f"{name}_b", f"blocks.{i}.b", f"blocks.{i}.norm_b")
            if f"p_blocks.{i}.short.0.weight" in g:
                layer(f"{name}_short", f"blocks.{i}.short.0", f"blocks.{i}.short.1")
        params["linear_kernel"] = g["p_linear.weight"].T
        params["linear_bias"] = g["p_linear.bias"]
        return jax.tree.map(lambda a: np.asarray(a, np.float64), params)

    return convert
