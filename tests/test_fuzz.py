"""Files that were damaged or made up: a normal result or one clear line; no traceback, no hang, no write elsewhere.

A few hundred cases here; `python -m tests.faults.fuzz --n=10000` tries that many of each kind.
"""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

sys.path.insert(0, str(Path(__file__).parents[1]))  # pytest gives the folder of this file alone

from medjax.data import sources
from tests.faults import fuzz, makers
from tests.faults.fuzz import ends_well
from tests.faults.kinds import dataset_bytes, load_config, npz

CASES = 30


@pytest.mark.parametrize("kind", fuzz.ALL)
def test_damaged(tmp_path, kind):
    tried = fuzz.ALL[kind](CASES, tmp_path)
    assert tried.wrong == []
    assert 0 <= tried.sound <= CASES
    if kind in ("image folder", *makers.MADE):
        assert tried.sound > CASES / 2  # a broken image is left out, never the end


ARRAYS = hnp.arrays(
    hnp.scalar_dtypes() | hnp.unicode_string_dtypes(),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)
KEYS = [f"{s}_{kind}" for s in ("train", "val", "test") for kind in ("images", "labels")]


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from([*KEYS, "class_names", "other"]), ARRAYS, max_size=4))
def test_made_up_arrays(tmp_path_factory, changes):
    """Any array in any place of a sound file."""
    path = tmp_path_factory.getbasetemp() / "made.npz"
    with np.load(io.BytesIO(dataset_bytes())) as z:
        content = dict(z) | changes
    path.write_bytes(npz(**content))
    ends_well(lambda p: sources.load(str(p)), path)


@settings(max_examples=CASES, deadline=None)
@given(st.text(max_size=30))
def test_made_up_names(name):
    """No text is a data set by accident, and none breaks the message."""
    if name != "phantom" and "mnist" not in name:
        ends_well(sources.load, name)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["values", "value", "data", "fingerprint", "preprocess", "ipc", "mean"]
            ),
            inner,
            max_size=4,
        )
    ),
)


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(JSON)
def test_made_up_config(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "made" / "config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    ends_well(load_config, path)
