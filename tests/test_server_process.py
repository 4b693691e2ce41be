"""`animegen serve` as people and orchestrators run it: it starts, refuses, drains and stops."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conftest import COMMAND, Run, assert_error

pytest.importorskip("fastapi")
pytest.importorskip("httptools")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="it is ended by signals")

END = 60  # seconds: what takes longer hangs


class Server:
    """A running `animegen serve`."""

    def __init__(self, *options: str | Path) -> None:
        words = [str(word) for word in (COMMAND, "serve", "--port", "0", "--device", "cpu", *options)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.process.stderr is not None
        self.line = self.process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+) ", self.line)
        assert found, self.line + self.process.stderr.read()
        self.port = int(found[1])

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=END)

    def get(self, address: str) -> tuple[int, bytes]:
        connection = self.connect()
        connection.request("GET", address, headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def until(self, address: str, *, status: int = 200, words: str = "") -> None:
        """Ask again and again until it is answered so."""
        ends = time.monotonic() + END
        while True:
            code, body = self.get(address)
            if code == status and words in body.decode():
                return
            assert time.monotonic() < ends, body

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(END)


@contextmanager
def serving(*options: str | Path) -> Iterator[Server]:
    server = Server(*options)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        assert server.process.stderr is not None
        server.process.stderr.close()


def test_it_says_where_and_on_what_it_serves_and_stops_at_ctrl_c(tiny_model: Path, conditional_model: Path) -> None:
    with serving("--model", f"mine={tiny_model}", "--model", conditional_model, "--grace", "60") as server:
        assert re.fullmatch(r"serving mine, faces at http://127\.0\.0\.1:\d+ on cpu; Ctrl-C stops it\n", server.line)
        assert [model["name"] for model in json.loads(server.get("/v1/models")[1])["models"]] == ["mine", "faces"]
        assert server.stop(signal.SIGINT) == 0
        assert server.process.stderr is not None
        assert server.process.stderr.read() == ""


def test_options_may_come_from_the_environment(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANIMEGEN_SERVE_TOKEN", "correct-horse")
    monkeypatch.setenv("ANIMEGEN_SERVE_MODEL", str(tiny_model))
    with serving("--grace", "0") as server:
        assert server.get("/v1/models")[0] == 401
        assert server.get("/healthz")[0] == 200


def test_what_can_t_be_served_is_one_line(animegen: Run, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert_error(animegen("serve", "--port", port, "--model", tiny_model), 2, "is taken", "--port")
    assert_error(animegen("serve", "--port", "0", "--token", "short"), 2, "token")
    two = ("--model", tiny_model, "--model", tiny_model)
    assert_error(animegen("serve", "--port", "0", *two), 2, "two models are named tiny")
    assert_error(animegen("serve", "--port", "0", "--max-frames", "9000"), 2, "queue")
    assert_error(animegen("serve", "--port", "0", "--model", "nobody"), 1, "shipped models")
    for name in [name for name in sys.modules if name.startswith("animegen.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert_error(animegen("serve"), 1, "fastapi", "pip install 'animegen[cpu,serve]'")


def keep_asking(server: Server, address: str, results: Counter[str], stop: threading.Event) -> None:
    """Ask on one connection, and on a new one where the server closed it, until none is accepted any more."""
    while not stop.is_set():
        connection = server.connect()
        try:
            connection.connect()
        except ConnectionRefusedError:
            results["refused"] += 1
            return
        try:
            while True:
                connection.request("GET", address)
                answer = connection.getresponse()
                body = answer.read()
                whole = answer.status == 200 and body.startswith(b"\x89PNG")
                results["answered" if whole else f"{answer.status}"] += 1
                if answer.getheader("connection") == "close":
                    results["told to close"] += 1
                    break
        except (http.client.HTTPException, OSError):
            results["lost"] += 1
        finally:
            connection.close()


def test_sigterm_loses_nothing_that_was_asked(tiny_model: Path) -> None:
    with serving("--model", tiny_model, "--grace", "0.3") as server:
        server.until("/readyz")
        results, stop = Counter[str](), threading.Event()
        clients = [
            threading.Thread(target=keep_asking, args=(server, f"/v1/images/{seed}.png", results, stop))
            for seed in range(16)
        ]
        for client in clients:
            client.start()
        server.until("/metrics", words="animegen_images_total")
        server.process.send_signal(signal.SIGTERM)
        server.until("/readyz", status=503, words="stopping")
        assert server.get("/v1/images/5.png")[0] == 200  # it goes on for the grace
        assert server.process.wait(END) == 0
        stop.set()
        for client in clients:
            client.join(END)
    assert results["refused"] == 16
    assert results["answered"] >= results["told to close"] >= 16
    assert set(results) == {"refused", "answered", "told to close"}, results


def test_a_second_signal_stops_it_at_once(tiny_model: Path) -> None:
    with serving("--model", tiny_model, "--grace", "600") as server:
        server.until("/readyz")
        server.process.send_signal(signal.SIGTERM)
        server.until("/readyz", status=503)
        assert server.stop() == 130


def test_who_does_not_read_cannot_hold_the_stop(tiny_model: Path) -> None:
    most = ("--max-images", "60000", "--queue", "60000", "--timeout", "1", "--grace", "0")
    with serving("--model", tiny_model, *most) as server, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", server.port))
        asked = b'{"seeds": "0-39999"}'
        headers = b"Host: a\r\nAccept: application/x-npz\r\nContent-Type: application/json\r\nContent-Length: 20"
        slow.sendall(b"POST /v1/sample HTTP/1.1\r\n" + headers + b"\r\n\r\n" + asked)
        assert slow.recv(1) == b"H"
        assert server.stop() == 0


def test_overload_is_answered_by_200_and_503_only() -> None:
    most = ("--queue", "4", "--max-images", "4", "--max-frames", "4")
    with serving("--model", "anime-face-64", *most, "--grace", "0") as server:
        server.until("/readyz")
        codes = Counter[int]()

        def hurry(client: int) -> None:
            for number in range(8):
                codes[server.get(f"/v1/images/{100 * client + number}.png")[0]] += 1

        clients = [threading.Thread(target=hurry, args=(client,)) for client in range(24)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(END)
        assert set(codes) == {200, 503}
        assert codes.total() == 24 * 8
        assert server.get("/v1/images/5.png")[0] == 200
        assert server.stop() == 0


def test_a_client_that_leaves_is_not_worked_for() -> None:
    with serving("--model", "anime-face-64", "--queue", "4096", "--max-images", "2048", "--grace", "0") as server:
        server.until("/readyz")
        with socket.create_connection(("127.0.0.1", server.port)) as leaving:
            leaving.sendall(b"GET /v1/grid.png?n=2048 HTTP/1.1\r\nHost: a\r\n\r\n")
            server.until("/metrics", words='animegen_batch_images_bucket{le="16.0",model="anime-face-64"}')
        server.until("/metrics", words='code="499"')
        server.until("/metrics", words="animegen_waiting_images 0.0")
        text = server.get("/metrics")[1].decode()
        made = re.search(r"animegen_batch_images_sum\S* (\d+)", text)
        assert made
        assert int(made[1]) < 2048
        with suppress(OSError):
            assert server.stop() == 0
