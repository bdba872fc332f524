"""The arrays of an .npz file, or one line that says what is wrong with it. Never unpickles."""

import zipfile
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from medjax import memory
from medjax.errors import UserError, reason_of

#: A file that unpacks to more than BOMB bytes and to more than RATIO times its size is refused.
BOMB, RATIO = 1 << 28, 250


def read_arrays(path: Path, wanted: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an .npz file: all, or those of ``wanted`` that it has. Raises UserError for a file that cannot be
    read, holds Python objects, or would need too much memory."""
    return select_arrays(path, lambda key: wanted is None or key in wanted)[0]


def select_arrays(
    path: Path, wanted: Callable[[str], object]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of an .npz file whose keys are wanted, and the other keys. Raises UserError as `read_arrays`."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder, expected an .npz file.")
    if not path.is_file():
        raise UserError(f"{path}: no such file.")
    key = ""
    try:
        # Opened here, because NumPy leaves its own handle open where a file is damaged.
        with path.open("rb") as handle:
            if not zipfile.is_zipfile(handle):  # NumPy would read it as a pickle
                raise UserError(
                    f"{path}: not an .npz file, or cut short; save it again with np.savez."
                )
            handle.seek(0)
            with np.load(handle, allow_pickle=False) as file:
                keys = [k for k in file.files if wanted(k)]
                _check_size(path, file.zip, keys)
                arrays = {}
                for key in keys:
                    arrays[key] = np.asarray(file[key])
                    _check_text(arrays[key], key)
                return arrays, [k for k in file.files if k not in keys]
    except UserError:
        raise
    except Exception as error:  # NumPy, zipfile, zlib and tokenize raise many types
        if "Object arrays" in str(error):
            raise UserError(
                f"{path}: {key} holds Python objects (a pickle), which medjax never loads because they can run code;"
                " save uint8 images, integer labels and plain strings."
            ) from error
        raise UserError(f"{path}: damaged ({reason_of(error)}); copy or save it again.") from error


def _check_text(array: np.ndarray, key: str) -> None:
    """Raises ValueError for strings with codes that are not characters: Python fails wherever it reads one."""
    if array.dtype.kind != "U" or not array.nbytes:
        return
    numbers = np.dtype(np.uint32).newbyteorder(array.dtype.byteorder)
    codes = np.ascontiguousarray(array).reshape(-1).view(numbers)
    if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes < 0xE000))).any():
        raise ValueError(f"{key} holds bytes that are not text")


def _check_size(path: Path, file: zipfile.ZipFile, keys: list[str]) -> None:
    """Raises UserError for arrays that do not fit into memory or have an implausible size, before unpacking them."""
    members = [m for m in file.infolist() if m.filename.removesuffix(".npy") in keys]
    size, packed, room = sum(m.file_size for m in members), path.stat().st_size, memory.available()
    if size > room // 2:
        raise UserError(
            f"{path}: unpacks to {memory.words(size)}, more than half of the free memory"
            f" ({memory.words(room // 2)}): use fewer or smaller images."
        )
    if size > BOMB and size > RATIO * packed:
        raise UserError(
            f"{path}: {memory.words(packed)} would unpack to {memory.words(size)}; images do not compress like that:"
            " check where the file is from, and save it again with np.savez."
        )
