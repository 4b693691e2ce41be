"""Models by address, from a server on this machine."""

from __future__ import annotations

import hashlib
import http.server
import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import Run, assert_error

from animegen import Generator, MissingPackageError, ModelError, UsageError
from animegen.model import fetch
from animegen.model.catalog import find_model

pytest.importorskip("pooch")


@dataclass
class Server:
    """What the server gives, and what it was asked for."""

    files: dict[str, bytes]
    asked: list[str] = field(default_factory=list)
    cut: bool = False  # break the connection half way
    port: int = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture
def server(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with the tiny model, and a cache of this test's own."""
    monkeypatch.setenv("ANIMEGEN_CACHE", str(tmp_path / "cache"))
    served = Server(
        {"/tiny.onnx": tiny_model.read_bytes(), "/me/faces/resolve/main/a/tiny.onnx": tiny_model.read_bytes()}
    )

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            data = served.files.get(self.path)
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write((data or b"")[: len(data or b"") // 2 if served.cut else None])

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        served.port = listening.server_address[1]
        threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
        yield served
        listening.shutdown()


@pytest.fixture
def notices(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="animegen")
    return caplog


def test_an_address_is_fetched_once(server: Server, tiny_model: Path, notices: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        path = find_model(server.url("/tiny.onnx"))
        assert path.read_bytes() == tiny_model.read_bytes()
    assert server.asked == ["/tiny.onnx"]
    assert notices.messages == [f"fetching {server.url('/tiny.onnx')}"]
    with Generator.load(server.url("/tiny.onnx"), device="cpu") as generator:
        assert generator.card.name == "tiny"
    (entry,) = fetch.cached()
    digest = hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    assert (entry.path, entry.address, entry.sha256) == (path, server.url("/tiny.onnx"), digest)


def test_the_hub_s_addresses(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetch.parse("hf://me/faces@v1/a.onnx").url == "https://huggingface.co/me/faces/resolve/v1/a.onnx"
    monkeypatch.setenv("HF_ENDPOINT", server.url(""))
    assert find_model("hf://me/faces/a/tiny.onnx").name == "tiny.onnx"
    assert server.asked == ["/me/faces/resolve/main/a/tiny.onnx"]


def test_a_checksum_in_the_address_is_kept(server: Server, tiny_model: Path) -> None:
    right = hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    assert find_model(f"{server.url('/tiny.onnx')}#sha256:{right.upper()}").exists()
    with pytest.raises(ModelError, match=f"is not the file of sha256 {'0' * 64}"):
        find_model(f"{server.url('/tiny.onnx')}#sha256:{'0' * 64}")
    server.files["/other.onnx"] = b"something else"
    with pytest.raises(ModelError, match="is not the file"):
        find_model(f"{server.url('/other.onnx')}#sha256:{right}")
    assert not list(fetch.parse(server.url("/other.onnx")).folder.iterdir())


def test_a_corrupt_cache_entry_is_fetched_again(
    server: Server, tiny_model: Path, notices: pytest.LogCaptureFixture
) -> None:
    path = find_model(server.url("/tiny.onnx"))
    path.write_bytes(tiny_model.read_bytes()[:-1])
    assert find_model(server.url("/tiny.onnx")).read_bytes() == tiny_model.read_bytes()
    assert len(server.asked) == 2
    assert "is damaged" in notices.messages[-1]


def test_a_note_that_cannot_be_read_is_made_again(server: Server) -> None:
    path = find_model(server.url("/tiny.onnx"))
    (path.parent / "pin.json").write_text("{")
    assert fetch.cached() == []
    assert find_model(server.url("/tiny.onnx")) == path
    assert [entry.path for entry in fetch.cached()] == [path]


def test_a_file_that_changed_on_the_server_is_refused(server: Server) -> None:
    path = find_model(server.url("/tiny.onnx"))
    path.unlink()
    server.files["/tiny.onnx"] += b"changed"
    with pytest.raises(ModelError, match="pinned at its first fetch"):
        find_model(server.url("/tiny.onnx"))


def test_an_interrupted_download_leaves_nothing(server: Server) -> None:
    server.cut = True
    with pytest.raises(ModelError, match="interrupted"):
        find_model(server.url("/tiny.onnx"))
    assert not list(fetch.parse(server.url("/tiny.onnx")).folder.iterdir())
    assert fetch.cached() == []
    server.cut = False
    assert find_model(server.url("/tiny.onnx")).exists()


def test_offline_is_one_clear_line(server: Server) -> None:
    path = find_model(server.url("/tiny.onnx"))
    nowhere = f"http://127.0.0.1:{server.port}/gone.onnx"
    with pytest.raises(ModelError, match="the server answers 404"):
        find_model(nowhere)
    with pytest.raises(ModelError, match="no connection"):
        find_model("http://127.0.0.1:9/tiny.onnx")
    assert find_model(server.url("/tiny.onnx")) == path  # what is cached needs no network


def test_a_download_without_end_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_LARGEST", 1000)
    with pytest.raises(ModelError, match="more than 1,000 bytes"):
        find_model(server.url("/tiny.onnx"))
    assert not list(fetch.parse(server.url("/tiny.onnx")).folder.iterdir())


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("http://example.org/a.onnx", "https:// or hf://"),
        ("ftp://example.org/a.onnx", "https:// or hf://"),
        ("file:///etc/passwd", "https:// or hf://"),
        ("https://example.org/", r"must end in .* \.onnx file"),
        ("https://example.org/a.zip", r"must end in .* \.onnx file"),
        ("https://example.org/a.onnx#md5:00", "must have sha256:"),
        ("https://example.org/a.onnx#sha256:00", "64 hexadecimal"),
        ("hf://owner/a.onnx", "hf://owner/repo/file.onnx"),
        ("hf://owner/repo/../../a.onnx", "hf://owner/repo/file.onnx"),
        ("hf://owner/repo/a b.onnx", "hf://owner/repo/file.onnx"),
    ],
)
def test_addresses_that_cannot_be(model: str, words: str) -> None:
    assert fetch.is_address(model)
    with pytest.raises(UsageError, match=words):
        fetch.parse(model)


@pytest.mark.parametrize("model", ["anime-face-64", "models/a.onnx", "C:\\models\\a.onnx", "./a.onnx"])
def test_what_is_no_address(model: str) -> None:
    assert not fetch.is_address(model)


def test_without_pooch(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'animegen\[fetch\]'"):
        find_model(server.url("/tiny.onnx"))


def test_the_commands(server: Server, animegen: Run) -> None:
    done = animegen("sample", "--n", 1, "--model", server.url("/tiny.onnx"), "--json")
    assert done.returncode == 0, done.stderr.decode()
    assert f"fetching {server.url('/tiny.onnx')}" in done.stderr.decode()
    assert json.loads(done.stdout)["model"] == "tiny"
    listed = json.loads(animegen("models", "--json").stdout)["models"]
    assert server.url("/tiny.onnx") in [entry["model"] for entry in listed]
    assert server.url("/tiny.onnx") in animegen("models").stdout.decode()
    assert_error(animegen("info", "--model", "http://127.0.0.1:9/a.onnx"), 1, "no connection")
    shutil.rmtree(fetch.cache())
    assert {entry["origin"] for entry in json.loads(animegen("models", "--json").stdout)["models"]} == {"shipped"}


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ANIMEGEN_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert fetch.cache().is_relative_to(tmp_path)
    assert "animegen" in fetch.cache().parts


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user of whom the system knows no home, as a container's may be."""

    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("ANIMEGEN_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nobody)


@pytest.mark.usefixtures("homeless")
def test_a_user_without_a_home(animegen: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert fetch.cached() == []
    done = animegen("models", "--json")
    assert (done.returncode, json.loads(done.stdout)["cache"]) == (0, None)
    assert animegen("models").returncode == 0
    with pytest.raises(ModelError, match="no home to keep fetched files in: name a folder by ANIMEGEN_CACHE"):
        find_model("https://example.org/a.onnx")
    assert_error(animegen("fid", "--extractor", "inception"), 1, "name a folder by ANIMEGEN_CACHE")
    for name in ("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME", "ANIMEGEN_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
        assert fetch.cache().is_relative_to(tmp_path / name)


def test_an_empty_or_relative_cache_home_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the XDG base directory specification says; an empty one would lie in the current folder."""
    monkeypatch.delenv("ANIMEGEN_CACHE", raising=False)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    usual = fetch.cache()
    assert usual.is_relative_to(Path.home())
    for value in ("", "cache"):
        monkeypatch.setenv("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME", value)
        assert fetch.cache() == usual


def test_a_cache_that_cannot_be_written(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ANIMEGEN_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"can't be written: .*: name another folder by ANIMEGEN_CACHE"):
        find_model(server.url("/tiny.onnx"))
