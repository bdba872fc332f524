"""Files that were damaged or made up: a normal result or one clear line; no traceback, no hang, no write elsewhere.

A few hundred cases here; by hand `python tests/test_fuzz.py 10000` tries that many of each kind.
"""

import io
import json
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from experiments import checks
from experiments.expert_stage import _check_maps
from experiments.flags import IpcConfig, RunConfig, Settings
from medjax import runs, share
from medjax.data import preprocess, sources
from medjax.data.folder import read_folder
from medjax.data.phantom import fingerprint
from medjax.errors import UserError
from medjax.types import RawDataset, RawSplit, Synthetic

CASES = 150


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Bytes with something wrong: flipped, cut, doubled, moved, zeroed, numbers made huge, or joined with junk."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        if not data:
            break
        at, length = int(rng.integers(len(data))), int(2 ** rng.uniform(0, 8))
        match rng.integers(8):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                del data[at:]
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length]
            case 4:
                data[at : at + length] = bytes(length)
            case 5:
                data[at : at + 4] = b"\xff\xff\xff\x7f"
            case 6:
                data[at : at + length] = rng.bytes(length)
            case 7:
                # Digits are where shapes and versions are written.
                digits = [i for i, b in enumerate(data[:4000]) if 48 <= b <= 57]
                if digits:
                    data[digits[int(rng.integers(len(digits)))]] = int(rng.integers(48, 58))
    return bytes(data)


def ends_well(call, path) -> bool:
    """Whether it gave a result; else it must have said one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)
        warnings.simplefilter(
            "ignore", RuntimeWarning
        )  # huge numbers in a whitening matrix overflow
        try:
            call(path)
        except UserError as error:
            assert "\n" not in str(error) and len(str(error)) > 10
            return False
    return True


def npz(**arrays) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def tiny_raw() -> RawDataset:
    rng = np.random.default_rng(0)
    splits = [
        RawSplit(
            rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8), np.arange(n, dtype=np.int32) % 3
        )
        for n in (12, 6, 6)
    ]
    return RawDataset("tiny", ("a", "b", "c"), *splits, fingerprint(*splits))


def dataset_bytes() -> bytes:
    raw, arrays = tiny_raw(), {"class_names": np.array(["a", "b", "c"])}
    for name in ("train", "val", "test"):
        arrays[f"{name}_images"] = getattr(raw, name).images
        arrays[f"{name}_labels"] = getattr(raw, name).labels
    return npz(**arrays)


def synthetic_bytes() -> bytes:
    import jax.numpy as jnp

    pre = preprocess.fit(preprocess.PreprocessConfig(size=4), tiny_raw().train.images)
    made = Synthetic(jnp.zeros((3, 4, 4, 3)), jnp.arange(3, dtype=jnp.int32), jnp.float32(0.01))
    with tempfile.TemporaryDirectory() as folder:
        share.save(Path(folder) / "s.npz", made, pre, ("a", "b", "c"), method="mtt")
        return (Path(folder) / "s.npz").read_bytes()


def config_bytes() -> bytes:
    values = {name: {"value": 1, "origin": "flag"} for name in ("ipc", "seed", "model")}
    content = {"values": values, "data": {"fingerprint": "0"}, "preprocess": {"mean": 1.0}}
    return json.dumps(content).encode()


def load_config(path: Path) -> None:
    """What is done with an earlier config.json: of a run, and of experts."""
    asked = Settings({RunConfig: RunConfig(), IpcConfig: IpcConfig()}, {})
    _check_maps(path.parent, {"whiten": "zca", "mean": 1.0})
    checks.check_folder(asked, tiny_raw(), path.parent)


def load_folder(path: Path) -> None:
    read_folder(path.parent, 4)


#: kind -> (sound bytes, the file's name, what reads it).
KINDS = {
    "npz": (dataset_bytes, "x.npz", lambda p: sources.load(str(p))),
    "synthetic": (synthetic_bytes, "s.npz", lambda p: share.as_shared(share.load(p))),
    "config": (config_bytes, "config.json", load_config),
    "result": (config_bytes, "result.json", runs.read_json),
    "log": (lambda: b'{"a": 1}\n{"b": 2}\n', "log.jsonl", runs.read_log),
}


def mutations(kind: str, count: int, folder: Path, seed: int = 0) -> int:
    """Mutate and read ``count`` times; how many were read as if sound."""
    make, name, call = KINDS[kind]
    whole, rng, sound = make(), np.random.default_rng(seed), 0
    path = folder / name
    for _ in range(count):
        path.write_bytes(mutate(whole, rng))
        sound += ends_well(call, path)
        assert [p.name for p in folder.iterdir()] == [name]
    return sound


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files(tmp_path, kind):
    mutations(kind, CASES, tmp_path)


def unchecked(content: bytes, rng: np.random.Generator) -> bytes:
    """A zip whose members were mutated and packed again: its checksums hold, so that what is inside is read."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, mutate(data, rng) if rng.random() < 0.2 else data)
    return out.getvalue()


def repacked(kind: str, count: int, folder: Path, seed: int = 1) -> int:
    """The same for what lies inside an archive."""
    make, name, call = KINDS[kind]
    whole, rng, sound = make(), np.random.default_rng(seed), 0
    for _ in range(count):
        (folder / name).write_bytes(unchecked(whole, rng))
        sound += ends_well(call, folder / name)
    return sound


@pytest.mark.parametrize("kind", ["npz", "synthetic"])
def test_mutated_members(tmp_path, kind):
    sound = repacked(kind, CASES, tmp_path)
    assert 0 < sound < CASES


def images(count: int, folder: Path, seed: int = 2) -> int:
    """Folders in which one image of each format is damaged."""
    rng, sound = np.random.default_rng(seed), 0
    for label in ("a", "b"):
        (folder / label).mkdir()
        for i in range(4):
            pixels = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{i}.png")
    for number in range(count):
        suffix = ("png", "jpg", "tif", "bmp")[number % 4]
        out = io.BytesIO()
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(out, {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix))
        path = folder / "a" / f"odd.{suffix}"
        path.write_bytes(mutate(out.getvalue(), rng))
        sound += ends_well(lambda p: read_folder(p, 4), folder)
        path.unlink()
    return sound


def test_mutated_images(tmp_path):
    assert images(60, tmp_path) == 60  # a broken image is left out, never the end


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


def by_hand(count: int) -> None:
    """A table of what was tried."""
    print(
        "| kind | cases | read as sound | refused in one line | tracebacks |\n|---|---|---|---|---|"
    )
    rows = [(k, lambda f, k=k: mutations(k, count, f, 7)) for k in KINDS]
    rows += [
        (f"{k}, inside", lambda f, k=k: repacked(k, count, f, 8)) for k in ("npz", "synthetic")
    ]
    rows += [("image folder", lambda f: images(count, f, 9))]
    for name, tried in rows:
        with tempfile.TemporaryDirectory() as folder:
            sound = tried(Path(folder))
        print(f"| {name} | {count} | {sound} | {count - sound} | 0 |", flush=True)


if __name__ == "__main__":
    by_hand(int(sys.argv[1]))
