"""Work dealt out to four devices is the work of one; the devices are a CPU's cores, or treated as a machine's GPUs."""

import os
import subprocess
import sys

import launching
import numpy as np
import pytest

#: Networks that whole programs train; sums over pieces of the images, and the classes, segments, seeds and images of
#: distillations whose programs are dealt out in part.
WHOLE = ("expert_group", "evaluation")
SUMMED = ("class_moments", "matched_classes", "classes", "segments", "seeds", "one_student")


def arrays_of(folder, kinds):
    """{(devices, kind): arrays}, each from a process of its own."""
    started, arrays = {}, {}
    for count, kind in kinds:
        path = folder / f"{count}-{kind}.npz"
        environment = launching.environment() | {"JAX_NUM_CPU_DEVICES": str(count)}
        environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(launching.ROOT)}
        words = [sys.executable, str(launching.ROOT / "tests" / "on_devices.py"), str(path)]
        words += ["gpu"] if kind == "gpu" else []
        started[count, kind] = (
            path,
            subprocess.Popen(
                words, env=os.environ | environment, stderr=subprocess.PIPE, text=True
            ),
        )
    for name, (path, process) in started.items():
        errors = process.communicate(timeout=500)[1]
        assert process.returncode == 0, errors[-2000:]
        with np.load(path) as file:
            arrays[name] = dict(file)
        assert arrays[name]["devices"] == name[0]
    return arrays


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Cores of a CPU."""
    return arrays_of(tmp_path_factory.mktemp("cores"), ((1, "cpu"), (4, "cpu")))


@pytest.fixture(scope="module")
def cards(tmp_path_factory):
    """The same treated as the GPUs of a machine."""
    return arrays_of(tmp_path_factory.mktemp("cards"), ((4, "gpu"),))[4, "gpu"]


@pytest.mark.parametrize("part", WHOLE)
def test_populations_on_four_cores_are_bit_equal_to_one(found, part):
    """Experts (five), evaluated networks (six): the last group is padded."""
    np.testing.assert_array_equal(found[4, "cpu"][part], found[1, "cpu"][part])


@pytest.mark.parametrize("part", SUMMED)
def test_one_student_on_four_cores(found, part):
    """Programs that only in part are dealt out, and gradients that are sums over the devices; after four iterations."""
    one, four = found[1, "cpu"][part], found[4, "cpu"][part]
    np.testing.assert_allclose(four, one, atol=2e-5 * np.abs(one).max())


@pytest.mark.slow
@pytest.mark.parametrize("part", WHOLE + SUMMED)
def test_four_cards_are_one(found, cards, part):
    """Side by side on each of four, against one device of a CPU."""
    one, four = found[1, "cpu"][part], cards[part]
    np.testing.assert_allclose(four, one, atol=1e-4 * np.abs(one).max())


def exchange_nothing(arrays):
    """Results are gathered once, at the end of a call, however many iterations it has."""
    three, six = arrays["exchanges"]
    assert three == six > 0


def test_seeds_exchange_nothing_between_iterations(found):
    exchange_nothing(found[4, "cpu"])


@pytest.mark.slow
def test_seeds_on_cards_exchange_nothing_between_iterations(cards):
    exchange_nothing(cards)
