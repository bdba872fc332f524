"""The README's Python example runs as written, and distils: its set beats the images it began with."""

import contextlib
import io
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from medjax import share
from medjax.data import preprocess
from medjax.types import Synthetic

README = Path(__file__).parents[1] / "README.md"


def code(begin):
    """The Python block of the README that begins so."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (found,) = (block for block in blocks if block.startswith(begin))
    return found


def test_python_example():
    """The example prints falling losses, and an accuracy above that of the random start."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code("import jax"), "README.md", "exec"), {})  # the README is ours
    first, second, start, distilled = output.getvalue().splitlines()
    assert float(second.split()[1]) < float(first.split()[1])
    means = [float(re.search(r"'mean': ([0-9.]+)", line).group(1)) for line in (start, distilled)]
    assert means[1] > means[0] + 0.03


@pytest.mark.parametrize("whiten", ["zca", "normalise"])
def test_a_set_is_used_with_numpy_alone(tmp_path, monkeypatch, whiten):
    """What the README's snippet makes of pixels is what medjax makes of them."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (30, 6, 6, 3)).astype(np.uint8)
    pre = preprocess.fit(preprocess.PreprocessConfig(6, whiten), pixels)
    mine = preprocess.apply(pre, pixels)
    made = Synthetic(jnp.asarray(mine[:2]), jnp.arange(2, dtype=jnp.int32), jnp.float32(0.01))
    path, about = tmp_path / "synthetic.npz", {"eval_epochs": "1000"}
    share.save(path, made, pre, ("a", "b"), network=None, **about)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code("import numpy"), "README.md", "exec"), names)
    with names["z"]:
        np.testing.assert_allclose(names["model_space"](pixels), mine, rtol=1e-4, atol=1e-5)
        assert int(names["z"]["eval_epochs"]) == 1000


def test_commands_name_things_that_exist():
    """Every module that a command of the README runs is there."""
    modules = set(re.findall(r"python -m (experiments\.\w+)", README.read_text()))
    assert "experiments.mtt" in modules
    for module in modules:
        assert (README.parent / (module.replace(".", "/") + ".py")).is_file(), module
