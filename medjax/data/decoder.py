"""Compressed pixels of DICOM, decoded in a process of their own: gdcm ends its process where a file is damaged.

The process serves one file after another and ends with this one. A request is a line of JSON; the answer is one too,
followed by the bytes of the array.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from medjax.data.planes import Unreadable
from medjax.errors import reason_of

#: JPEG Extended; pydicom passes it to no decoder where samples have 12 bits.
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
#: Seconds that a frame may take.
PATIENCE = 120.0
_RUNNING: list[Any] = []
_TURN = threading.Lock()


def decode(path: Path, syntax: str, frame: int) -> np.ndarray:
    """The stored values of a frame, [h, w] or [h, w, 3]. syntax: that of the file. Raises Unreadable."""
    with _TURN:
        return _answer(path, syntax, frame)


def _answer(path: Path, syntax: str, frame: int) -> np.ndarray:
    process = _process()
    clock = threading.Timer(PATIENCE, process.kill)
    clock.start()
    try:
        request = json.dumps([os.fsencode(path.absolute()).hex(), syntax, frame])
        process.stdin.write(request.encode() + b"\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        content = process.stdout.read(answer.get("size", 0))
        if len(content) < answer.get("size", 0):
            raise ValueError("half an answer")
    except (
        BaseException
    ) as error:  # Ctrl-C too: the rest of an answer must not be taken for the next
        close()
        if isinstance(error, OSError | ValueError):
            raise Unreadable("its decoder broke off: the pixels are damaged") from error
        raise
    finally:
        clock.cancel()
    if "error" in answer:
        raise Unreadable(answer["error"])
    return np.frombuffer(content, answer["kind"]).reshape(answer["shape"])


def close() -> None:
    """End the process, if there is one."""
    while _RUNNING:
        process = _RUNNING.pop()
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            stream.close()


def _process() -> Any:
    if _RUNNING and _RUNNING[0].poll() is not None:
        close()
    if not _RUNNING:
        atexit.unregister(close)
        atexit.register(close)
        pipe = subprocess.PIPE
        paths = os.pathsep.join(sys.path)
        started = subprocess.Popen(
            [sys.executable, "-m", "medjax.data.decoder"],
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": paths},
        )
        _RUNNING.append(started)
    return _RUNNING[0]


def _serve() -> None:
    """Answer requests until there are none. Decoders may print; what they print is dropped."""
    warnings.simplefilter("ignore")
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        name, syntax, frame = json.loads(line)
        try:
            array = _pixels(os.fsdecode(bytes.fromhex(name)), syntax, frame)
        except Exception as error:  # pydicom and its decoders raise many types
            out.write(json.dumps({"error": reason_of(error)[:200]}).encode() + b"\n")
        else:
            head = {"shape": array.shape, "kind": array.dtype.str, "size": array.nbytes}
            out.write(json.dumps(head).encode() + b"\n" + array.tobytes())
        out.flush()


def _pixels(path: str, syntax: str, frame: int) -> np.ndarray:
    import pydicom
    from pydicom.pixels.utils import pixel_array

    data: Any = pydicom.dcmread(path, force=True)
    data.file_meta.TransferSyntaxUID = syntax
    if syntax != JPEG_EXTENDED or data.BitsStored <= 8:
        return pixel_array(data, index=frame)
    import gdcm  # pyright: ignore[reportMissingImports]

    reader = gdcm.ImageReader()
    reader.SetFileName(path)
    if not reader.Read():
        raise Unreadable("gdcm cannot decode it")
    content = reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape")
    kind = "i2" if data.PixelRepresentation else "u2"
    return np.frombuffer(content, kind).reshape(-1, data.Rows, data.Columns)[frame]


if __name__ == "__main__":
    _serve()
