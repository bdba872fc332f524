"""The forecast of a run's memory is within a third of the peak of a process that does the run.

All networks and methods: `XLA_FLAGS= python -m pytest -m slow tests/test_memory.py`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SHORT = {"preset": "quick", "networks": 2, "eval_epochs": 2}
SHORT |= {"interim_networks": 1, "interim_epochs": 2}
RESNET = {"model": "resnet18"}
#: (method, options of its run), the first of them in every run of the tests.
RUNS = (
    ("random", {"model": "convnet"}),
    ("random", {"model": "convnet", "ipc": 50}),
    ("random", {"model": "mlp", "ipc": 10}),
    ("random", {"model": "vit", "ipc": 10}),
    ("random", {"model": "alexnet", "ipc": 10}),
    ("random", RESNET),
    ("random", RESNET | {"ipc": 10}),
    ("random", RESNET | {"ipc": 10, "resnet_norm": "instance"}),
    ("full", {"model": "convnet"}),
    ("full", RESNET),
    ("dc", {"model": "convnet"}),
    ("dm", {"model": "convnet", "batch_real": 256}),
    ("dm", RESNET),
    ("mtt", {"model": "convnet"}),
    ("mtt", {"model": "convnet", "ipc": 10}),
    ("mtt", {"model": "convnet", "eval_models": "resnet18"}),
)
RUN = """
import json, sys
from medjax import devices
devices.use_cores()
import medjax
from medjax.pipeline import forecast
method, values, folder = json.loads(sys.argv[1])
made, estimate = [], forecast.estimate
forecast.estimate = lambda *args: made.append(estimate(*args)) or made[-1]
medjax.run(method, medjax.settings(method, **values), folder)
# Not ru_maxrss: a process inherits that of the one that starts it.
(line,) = (s for s in open("/proc/self/status") if s.startswith("VmHWM"))
peak = 1024 * int(line.split()[1])
print(json.dumps([made[0].memory, peak]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the system does not say it")
@pytest.mark.parametrize("method,values", RUNS)
def test_forecast_of_memory_within_a_third(tmp_path, method, values):
    """In a process of its own, without what other tests left behind."""
    if method == "full":
        values = {"preset": "quick", "full_epochs": 1} | values
    else:
        values = SHORT | values
    if method not in ("full", "random"):
        values |= {"iterations": 2, "eval_every": 2}
    if method == "mtt":
        values |= {"experts": 1, "max_start_epoch": 1}
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    words = [sys.executable, "-c", RUN, json.dumps([method, values, str(tmp_path)])]
    ran = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    said, peak = json.loads(ran.stdout.splitlines()[-1])
    assert 2 / 3 < said / peak < 4 / 3, f"{said / 1e6:.0f} MB forecast, {peak / 1e6:.0f} needed"


COMPILED = """
from medjax import memory
memory.LONG = 0.0
if asked := {asked}:
    memory.give_back_after_compiling()
import jax
held = [bytes(1000) for _ in range(200_000)]
last = bytes(1000)  # what lies after a block keeps it from going back by itself
del held
before = [int(s.split()[1]) for s in open("/proc/self/status") if s.startswith("VmRSS")][0]
jax.jit(lambda x: x + 1).lower(1.0).compile()
after = [int(s.split()[1]) for s in open("/proc/self/status") if s.startswith("VmRSS")][0]
print((before - after) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not say it")
@pytest.mark.parametrize("asked", [False, True])
def test_what_is_free_after_a_compilation_goes_back(asked):
    """200 MB that were freed before are the system's again, in a process of its own; without being asked, they stay."""
    command = [sys.executable, "-c", COMPILED.format(asked=asked)]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert (int(done.stdout) > 100) == asked
