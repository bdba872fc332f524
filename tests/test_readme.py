"""The README's Python example runs as written, and distils: its set beats the images it began with."""

import contextlib
import io
import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_python_example():
    """The example prints falling losses, and an accuracy above that of the random start."""
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, "README.md", "exec"), {})  # the README is ours
    first, second, start, distilled = output.getvalue().splitlines()
    assert float(second.split()[1]) < float(first.split()[1])
    means = [float(re.search(r"'mean': ([0-9.]+)", line).group(1)) for line in (start, distilled)]
    assert means[1] > means[0] + 0.03


def test_commands_name_things_that_exist():
    """Every module that a command of the README runs is there."""
    modules = set(re.findall(r"python -m (experiments\.\w+)", README.read_text()))
    assert "experiments.mtt" in modules
    for module in modules:
        assert (README.parent / (module.replace(".", "/") + ".py")).is_file(), module
