from __future__ import annotations

import gzip
import hashlib
import http.server
import socket
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from plmnist.data import DATA_DIR_VARIABLE
from plmnist.download import download
from plmnist.errors import DataError, DownloadError
from plmnist.registry import DATASETS, DataFile, DataSet

CONTENT = {name: gzip.compress(name.encode() * 5000, mtime=0) for name in ("one.gz", "two.gz", "three.gz")}


@dataclass
class Mirror:
    """A local web server that can fail, lie, and hang up."""

    files: dict[str, bytes] = field(default_factory=lambda: dict(CONTENT))
    cut: int | None = None
    requests: Counter[str] = field(default_factory=Counter)
    address: str = ""


def serve(mirror: Mirror) -> http.server.ThreadingHTTPServer:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            mirror.requests[name] += 1
            content = mirror.files.get(name)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: mirror.cut])

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    mirror.address = f"http://127.0.0.1:{server.server_port}/"
    return server


@pytest.fixture
def good():
    mirror = Mirror()
    server = serve(mirror)
    yield mirror
    server.shutdown()
    server.server_close()


@pytest.fixture
def bad():
    mirror = Mirror(files={})
    server = serve(mirror)
    yield mirror
    server.shutdown()
    server.server_close()


def register(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    files = tuple(DataFile(name, hashlib.sha256(content).hexdigest(), "packed") for name, content in CONTENT.items())
    entry = DataSet("web", "Web", "none", files, addresses, 255, ())
    monkeypatch.setitem(DATASETS, "web", entry)


def dead_address() -> str:
    """Return an address on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_files_are_fetched_once_and_then_used(monkeypatch, tmp_path, good):
    register(monkeypatch, good.address)
    seen = []
    first = download("web", tmp_path, progress=lambda *step: seen.append(step))
    assert [(path, fetched) for path, fetched in first] == [(tmp_path / "web" / name, True) for name in CONTENT]
    assert {name: (tmp_path / "web" / name).read_bytes() for name in CONTENT} == CONTENT
    assert [fetched for _, fetched in download("web", tmp_path)] == [False, False, False]
    assert good.requests == Counter(list(CONTENT))
    assert seen[0] == ("one.gz", 0, len(CONTENT["one.gz"]))
    assert seen[-1][1] == len(CONTENT["three.gz"])


def test_next_mirror_is_tried_when_one_fails(monkeypatch, tmp_path, good, bad):
    register(monkeypatch, dead_address(), bad.address, good.address)
    download("web", tmp_path)
    assert names(tmp_path / "web") == sorted(CONTENT)
    assert bad.requests == good.requests == Counter(list(CONTENT))


def test_wrong_content_is_never_kept(monkeypatch, tmp_path, good, bad):
    bad.files = {name: gzip.compress(b"something else") for name in CONTENT}
    register(monkeypatch, bad.address, good.address)
    download("web", tmp_path)
    assert {name: (tmp_path / "web" / name).read_bytes() for name in CONTENT} == CONTENT


def test_connection_that_ends_early_is_a_failure(monkeypatch, tmp_path, good):
    good.cut = 20
    register(monkeypatch, good.address)
    with pytest.raises(DownloadError, match=r"one\.gz of data set web could not be fetched") as caught:
        download("web", tmp_path)
    assert good.address in str(caught.value)
    assert names(tmp_path / "web") == []


def test_every_mirror_s_answer_is_reported(monkeypatch, tmp_path, bad):
    dead = dead_address()
    register(monkeypatch, dead, bad.address)
    with pytest.raises(DownloadError) as caught:
        download("web", tmp_path)
    assert dead in str(caught.value)
    assert "refused" in str(caught.value)
    assert "404" in str(caught.value)
    assert "--mirror" in caught.value.hint


def test_given_mirror_comes_first(monkeypatch, tmp_path, good, bad):
    register(monkeypatch, bad.address)
    download("web", tmp_path, mirrors=[good.address.rstrip("/")])
    assert bad.requests == Counter()


def test_damaged_download_is_replaced(monkeypatch, tmp_path, good):
    register(monkeypatch, good.address)
    download("web", tmp_path)
    (tmp_path / "web" / "two.gz").write_bytes(CONTENT["two.gz"][:-5])
    assert [fetched for _, fetched in download("web", tmp_path)] == [False, True, False]
    assert (tmp_path / "web" / "two.gz").read_bytes() == CONTENT["two.gz"]


def test_provided_folder_is_used_and_never_written(monkeypatch, tmp_path, good):
    register(monkeypatch, good.address)
    provided = tmp_path / "provided"
    provided.mkdir()
    (provided / "one.gz").write_bytes(CONTENT["one.gz"])
    (provided / "two.gz").write_bytes(b"damaged")
    monkeypatch.setenv(DATA_DIR_VARIABLE, str(provided))
    with pytest.raises(DataError, match=r"two\.gz is damaged") as caught:
        download("web", tmp_path / "own")
    assert "only read" in caught.value.hint
    assert good.requests == Counter()
    (provided / "two.gz").unlink()
    found = download("web", tmp_path / "own")
    assert [path.parent for path, _ in found] == [provided, tmp_path / "own" / "web", tmp_path / "own" / "web"]
    assert names(provided) == ["one.gz"]


def test_folder_that_cannot_be_made_is_named(monkeypatch, tmp_path, good):
    register(monkeypatch, good.address)
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="file/web cannot be written"):
        download("web", tmp_path / "file")


def test_embedded_data_set_is_only_verified(tmp_path):
    ((path, fetched),) = download("digits", tmp_path)
    assert path.name == "digits.csv.gz"
    assert not fetched
    assert list(tmp_path.iterdir()) == []


def test_concurrent_downloads_fetch_each_file_once(monkeypatch, tmp_path, good, bad):
    program = f"""
import hashlib, sys
from pathlib import Path
from plmnist.download import download
from plmnist.registry import DATASETS, DataFile, DataSet
files = {[(name, hashlib.sha256(content).hexdigest()) for name, content in CONTENT.items()]!r}
DATASETS["web"] = DataSet("web", "Web", "none", tuple(DataFile(n, s, "packed") for n, s in files),
                          ({bad.address!r}, {good.address!r}), 255, ())
download("web", Path(sys.argv[1]))
"""
    children = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(4)]
    assert [child.wait(60) for child in children] == [0, 0, 0, 0]
    assert good.requests == bad.requests == Counter(list(CONTENT))
    assert names(tmp_path / "web") == sorted(CONTENT)
    assert {name: (tmp_path / "web" / name).read_bytes() for name in CONTENT} == CONTENT
