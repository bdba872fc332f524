"""Named sets from the network: a server of our own that behaves, and one that misbehaves in every way we know."""

import errno
import hashlib
import http.server
import io
import os
import re
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from medjax.data import catalog, download, named, sources
from medjax.data.catalog import CATALOG
from medjax.errors import UserError

FILE = "octmnist.npz"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No cache of this user's, no proxy, no patience."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("MEDJAX_DATA", raising=False)
    monkeypatch.setattr(download, "PAUSE", 0.01)
    monkeypatch.setattr(download, "TIMEOUT", 2.0)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def content():
    """A sound grey set of some 400 kB: several blocks."""
    rng, out = np.random.default_rng(0), io.BytesIO()
    arrays = {}
    for name, n in (("train", 400), ("val", 40), ("test", 40)):
        arrays[f"{name}_images"] = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        arrays[f"{name}_labels"] = np.arange(n).reshape(-1, 1) % 4
    np.savez(out, **arrays)
    return out.getvalue()


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` under every name; `script` says how each connection ends, the last entry all later ones.

    "whole", "cut" (half of what is due), "stall" (half, then silence), "no range", "slow", "404", "503", "short"
    (declares less than there is), or bytes to send instead.
    """

    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients that hang up are what this is about


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        number = min(len(server.asked), len(server.script) - 1)
        how, span = server.script[number], self.headers.get("Range")
        server.asked.append((self.path, span))
        body = how if isinstance(how, bytes) else server.content
        if how in ("404", "503"):
            return self.send_error(int(how))
        first = int(re.fullmatch(r"bytes=(\d+)-", span)[1]) if span and how != "no range" else 0
        if first and first >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        due = body[first:]
        self.send_header("Content-Length", str(len(due)))
        self.end_headers()
        if how in ("cut", "stall"):
            self.wfile.write(due[: len(due) // 2])
            self.wfile.flush()
            if how == "stall":
                time.sleep(3)
            self.close_connection = True
        elif how == "slow":
            for start in range(0, len(due), len(due) // 20):
                self.wfile.write(due[start : start + len(due) // 20])
                time.sleep(0.02)
        else:
            self.wfile.write(due)


@pytest.fixture
def server(content, monkeypatch):
    """A server that stands for the record, and octmnist's checksum that of its file."""
    server = Server(("127.0.0.1", 0), Handler)
    server.content, server.script, server.asked = content, ["whole"], []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setattr(catalog, "RECORD", f"http://127.0.0.1:{server.server_port}")
    sums = (hashlib.md5(content).hexdigest(), "0" * 32, "0" * 32, "0" * 32)
    monkeypatch.setitem(CATALOG, "octmnist", replace(CATALOG["octmnist"], md5=sums))
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_good_file_is_downloaded_once(server, tmp_path):
    folder, told = tmp_path / "deep" / "folder", []
    data = sources.load("octmnist", folder, lambda *row: told.append(row))
    assert data.name == "octmnist" and data.class_names == CATALOG["octmnist"].class_names
    assert server.asked == [(f"/files/{FILE}?download=1", None)]
    assert [p.name for p in folder.iterdir()] == [FILE]  # nothing else is left
    assert told[-1] == (FILE, len(server.content), len(server.content))
    assert sources.load("octmnist", folder).fingerprint == data.fingerprint
    assert len(server.asked) == 1


def test_sizes_have_files_of_their_own(server, tmp_path, monkeypatch):
    sums = ("0" * 32, hashlib.md5(server.content).hexdigest(), "0" * 32, "0" * 32)
    monkeypatch.setitem(CATALOG, "octmnist", replace(CATALOG["octmnist"], md5=sums))
    assert sources.load("octmnist_64", tmp_path).name == "octmnist_64"
    assert server.asked == [("/files/octmnist_64.npz?download=1", None)]


@pytest.mark.parametrize("how", ["cut", "stall"])
def test_cut_half_way_is_gone_on_from(server, tmp_path, how):
    server.script = [how, how, "whole"] if how == "cut" else [how, "whole"]
    sources.load("octmnist", tmp_path)
    size = len(server.content)
    spans = [span for _, span in server.asked]
    expected = [None, f"bytes={size // 2}-", f"bytes={size // 2 + (size - size // 2) // 2}-"]
    assert spans == expected[: len(spans)] and len(spans) == len(server.script)


def test_cut_for_good_keeps_what_has_come(server, tmp_path):
    server.script = ["cut", "503"]
    with pytest.raises(UserError, match=r"503.*by hand"):
        sources.load("octmnist", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [f"{FILE}.part"]
    server.script, before = ["whole"], len(server.asked)
    sources.load("octmnist", tmp_path)
    assert server.asked[before:] == [
        (f"/files/{FILE}?download=1", f"bytes={len(server.content) // 2}-")
    ]
    assert [p.name for p in tmp_path.iterdir()] == [FILE]


def test_server_that_cannot_resume_begins_anew(server, tmp_path):
    server.script = ["cut", "no range"]
    assert sources.load("octmnist", tmp_path).name == "octmnist"
    assert len(server.asked) == 2


def test_slow_is_not_silent(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    server.script = ["slow"]
    assert sources.load("octmnist", tmp_path).name == "octmnist"
    assert len(server.asked) == 1


def test_wrong_content_is_not_kept(server, tmp_path):
    server.script = [server.content[:-1] + b"x"]
    with pytest.raises(UserError, match=r"MD5 .* expected .*by hand"):
        sources.load("octmnist", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_truncated_on_the_server_is_not_kept(server, tmp_path):
    server.script = [server.content[:1000]]
    with pytest.raises(UserError, match="MD5"):
        sources.load("octmnist", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [1000, None, 10_000_000])
def test_rests_of_another_version_do_not_stand_in_the_way(server, tmp_path, size):
    """Too little, just as much and too much: what comes has a wrong MD5, and is then fetched whole."""
    (tmp_path / f"{FILE}.part").write_bytes(b"?" * (size or len(server.content)))
    assert sources.load("octmnist", tmp_path).name == "octmnist"
    assert [p.name for p in tmp_path.iterdir()] == [FILE]


def test_no_such_file_on_the_server(server, tmp_path):
    server.script = ["404"]
    with pytest.raises(UserError, match=r"404.*by hand") as caught:
        sources.load("octmnist", tmp_path)
    assert "\n" not in str(caught.value) and len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_server_that_recovers(server, tmp_path):
    server.script = ["503", "503", "whole"]
    assert sources.load("octmnist", tmp_path).name == "octmnist"


def test_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "RECORD", "http://127.0.0.1:9")
    begin = time.monotonic()
    with pytest.raises(UserError, match=r"refused.*by hand.*phantom needs no network") as caught:
        sources.load("bloodmnist", tmp_path)
    message = str(caught.value)
    assert str(tmp_path / "bloodmnist.npz") in message and "\n" not in message
    assert "/files/bloodmnist.npz" in message
    assert list(tmp_path.iterdir()) == [] and time.monotonic() - begin < 2


def test_a_home_folder_of_another_user_is_passed_over(server, tmp_path, home, monkeypatch):
    """As below `sudo -u`, which keeps HOME: what lies there cannot be looked at."""
    stat = os.stat

    def refused(path, *words, **more):
        if str(path).startswith(str(home)):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, *words, **more)

    monkeypatch.setattr(os, "stat", refused)
    assert sources.load("octmnist", tmp_path / "mine").name == "octmnist"


def test_a_mistyped_folder_is_not_left_behind(tmp_path, monkeypatch, server):
    """What was made for a download that failed goes again; what was there before, or holds something, stays."""
    (tmp_path / "mine").mkdir()
    for folder in ("mistyped/deep", "mine", "mine/deep"):
        server.script = ["404"]
        with pytest.raises(UserError):
            sources.load("octmnist", tmp_path / folder)
    assert [p.name for p in tmp_path.rglob("*")] == ["mine"]
    server.script = ["cut"]
    with pytest.raises(UserError):
        sources.load("octmnist", tmp_path / "kept" / "deep")
    assert (tmp_path / "kept" / "deep" / "octmnist.npz.part").is_file()


def test_a_file_system_without_locks(server, tmp_path, monkeypatch):
    """The file is downloaded all the same."""

    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    assert sources.load("octmnist", tmp_path).name == "octmnist"


def test_two_at_once_download_once(server, tmp_path):
    server.script, got = ["slow", "whole"], []
    threads = [
        threading.Thread(target=lambda: got.append(named.fetch(CATALOG["octmnist"], 28, tmp_path)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [tmp_path / FILE] * 3 and len(server.asked) == 1


def test_redirection_from_https_to_http_is_not_followed():
    handler = download._OnlySafer()
    asked = download.urllib.request.Request("https://example.org/a")
    with pytest.raises(download.Failed, match="not https"):
        handler.redirect_request(asked, None, 302, "Found", {}, "http://example.org/a")
    new = handler.redirect_request(asked, None, 302, "Found", {}, "https://example.org/b")
    assert new.full_url == "https://example.org/b"
    assert all(catalog.url(e, s).startswith("https://") for e in CATALOG.values() for s in (28, 64))


def test_full_disk_is_said_with_the_numbers(server, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"no room for octmnist.npz.*1000 bytes free"):
        sources.load("octmnist", tmp_path)


# --- where it is looked for


def test_folders_are_looked_into_in_their_order(server, tmp_path, home, monkeypatch):
    folders = [tmp_path / "flag", tmp_path / "env", home / ".medmnist"]
    monkeypatch.setenv("MEDJAX_DATA", str(folders[1]))
    entry = CATALOG["octmnist"]
    for folder in reversed(folders):
        folder.mkdir(parents=True)
        (folder / FILE).write_bytes(server.content)
        assert named.fetch(entry, 28, folders[0]) == folder / FILE
    assert server.asked == []
    (folders[0] / FILE).unlink()
    (folders[1] / FILE).write_bytes(b"another version")  # passed over
    assert named.fetch(entry, 28, folders[0]) == folders[2] / FILE


@pytest.mark.parametrize("given", [0, 1, 2])
def test_downloads_go_to_the_first_folder_that_is_given(server, tmp_path, home, monkeypatch, given):
    folders = [tmp_path / "flag", tmp_path / "env", home / ".medmnist"]
    if given < 2:
        monkeypatch.setenv("MEDJAX_DATA", str(folders[1]))
    found = named.fetch(CATALOG["octmnist"], 28, folders[0] if given == 0 else None)
    assert found == folders[given] / FILE


def test_damaged_file_is_reported(tmp_path):
    (tmp_path / "bloodmnist.npz").write_bytes(b"half")
    with pytest.raises(UserError, match="delete it"):
        sources.load("bloodmnist", tmp_path)


def test_file_where_the_folder_should_be(server, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match=r"taken.*by hand"):
        sources.load("octmnist", tmp_path / "taken")


def test_grades_are_said_to_be_taken_as_classes(server, tmp_path, monkeypatch):
    entry = replace(CATALOG["octmnist"], task="ordinal")
    monkeypatch.setitem(CATALOG, "octmnist", entry)
    assert "4 plain classes" in sources.load("octmnist", tmp_path).notes[-1]
    assert CATALOG["retinamnist"].task == "ordinal"
    assert os.listdir(tmp_path) == [FILE]
