"""What is done to a run's files between two commands, what is compared in the end, and the server of its data."""

import http.server
import json
import os
import random
import re
import shutil
import signal
import time
from pathlib import Path

#: What may happen to the newest checkpoint, and to any other file that a run will read again.
HARMS = (
    "newest checkpoint: bytes flipped",
    "newest checkpoint: a file cut short",
    "newest checkpoint: a file deleted",
    "newest checkpoint: deleted",
    "another file cut short",
    "another file deleted",
)
SAVES = ("*/mtt-*/checkpoints/*", "*/mtt-*/evaluations/*/*", "*/experts-*/group-*/*")
SAVES += ("*/experts-*/expert-*",)
TOLD = re.compile(r"passed over|done again|trained again|go on from|written again")


def saves(runs: Path) -> list[Path]:
    """Whole checkpoints below a results folder, the newest last."""
    found = [
        p for pattern in SAVES for p in runs.glob(pattern) if p.is_dir() and "tmp" not in p.name
    ]
    return sorted(found, key=lambda p: p.stat().st_mtime_ns)


def harm(runs: Path, how: str, rng: random.Random) -> str:
    """Do it; what was hurt, or nothing where there is nothing to hurt."""
    kept = saves(runs)
    if how.startswith("newest"):
        files = [p for p in kept[-1].rglob("*") if p.is_file()] if kept else []
        if how.endswith(": deleted") and kept:
            shutil.rmtree(kept[-1])
            return str(kept[-1])
    else:
        files = [p for p in runs.rglob("*") if p.suffix in (".json", ".jsonl", ".npz")]
        files = [p for p in files if not any(folder in p.parents for folder in kept)]
    files = sorted(p for p in files if p.stat().st_size)
    if not files:
        return ""
    path = rng.choice(files)
    data = bytearray(path.read_bytes())
    if how.endswith("deleted"):
        path.unlink()
    elif how.endswith("short"):
        path.write_bytes(data[: rng.randrange(len(data))])
    else:
        at = rng.randrange(len(data))
        data[at : at + 8] = bytes(b ^ 0xFF for b in data[at : at + 8])
        path.write_bytes(data)
    return str(path)


def told(said: str) -> bool:
    """Whether a command said that something was not as it had been left."""
    return bool(TOLD.search(said))


def outcome(out: Path) -> tuple:
    """Scores, images and single evaluations of the finished run in a folder."""
    (path,) = out.glob("runs/*/mtt-*/result.json")
    result = json.loads(path.read_text())
    # A log that was deleted does not come back, and is warned of.
    warnings = [line for line in result["warnings"] if not line.startswith("log.jsonl was lost")]
    scores = {k: v for k, v in result.items() if k != "seconds"} | {"warnings": warnings}
    names = ["synthetic.npz", "gallery.png"]
    evaluated = {p.name: p.read_bytes() for p in path.parent.glob("evaluations/*.json")}
    files = [path.with_name(name).read_bytes() for name in names]
    return json.dumps(scores, sort_keys=True), files, evaluated


def litter(runs: Path) -> list[str]:
    """What a finished run must not leave."""
    names = [str(p.relative_to(runs)) for p in runs.rglob("*")]
    return [n for n in names if "tmp" in n or re.search(r"group-\d{4}$", n)]


def forget(out: Path) -> None:
    """A run that ended well takes no more room."""
    shutil.rmtree(out, ignore_errors=True)


def serve(content: bytes) -> tuple[str, str]:
    """Start a slow server of one file in a process of its own (forks of a process with threads may hang): its address
    and the file's MD5."""
    from tests.faults.product import md5

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            first = min(int(span[1]) if span else 0, len(content) - 1)
            self.send_response(206 if first else 200)
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - first))
            self.end_headers()
            for start in range(first, len(content), 8000):
                self.wfile.write(content[start : min(start + 8000, len(content))])
                time.sleep(0.05)

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_):
            pass  # clients that are killed are what this is about

    server, parent = Server(("127.0.0.1", 0), Handler), os.getpid()
    if not os.fork():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        server.timeout = 1.0
        while os.getppid() == parent:
            server.handle_request()
        os._exit(0)
    port = server.server_port
    server.socket.close()
    return f"http://127.0.0.1:{port}", md5(content)
