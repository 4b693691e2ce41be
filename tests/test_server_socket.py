"""What only a socket shows: what is no HTTP, headers that are too long or too slow, readers that are slow, noise."""

from __future__ import annotations

import json
import random
import select
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httptools")

from animegen import Generator, UsageError
from animegen.server import Limits, create_app
from animegen.server.runner import Runner, bind


@contextmanager
def serving(generator: Generator, **limits: Any) -> Iterator[tuple[str, int]]:
    """The address of a server in a thread of this process."""
    listener = bind("127.0.0.1", 0)
    started = threading.Event()
    runner = Runner(create_app(generator, Limits(**limits), v2=True), started=started.set)
    thread = threading.Thread(target=runner.run, args=([listener],))
    thread.start()
    try:
        assert started.wait(60)
        yield listener.getsockname()
    finally:
        runner.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> Iterator[Generator]:
    with Generator.load(tiny_model, device="cpu") as generator:
        yield generator


@pytest.fixture(scope="module")
def server(tiny: Generator) -> Iterator[tuple[str, int]]:
    with serving(tiny, header=2000, reading_seconds=0.5, keep_alive=0.02) as address:
        yield address


def ask(address: tuple[str, int], *parts: bytes) -> bytes:
    """All that comes back for these bytes, until the server closes: it soon does where nothing more is asked."""
    with socket.create_connection(address, timeout=30) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except OSError:
            pass  # the server has closed already
        answer = b""
        try:
            while data := connection.recv(65536):
                answer += data
        except ConnectionResetError:
            pass  # it closed while more was on its way
        return answer


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def problem(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    found: dict[str, Any] = json.loads(body)
    assert found["status"] == status(answer)
    for header in (b"content-security-policy", b"x-content-type-options", b"cross-origin-resource-policy"):
        assert header in head.lower()
    return found


def is_well(address: tuple[str, int]) -> bool:
    answer = ask(address, b"GET /v1/images/5.png HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    return status(answer) == 200 and b"\x89PNG" in answer


def test_what_is_no_http(server: tuple[str, int]) -> None:
    for noise in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
        assert problem(ask(server, noise))["title"] == "Bad Request"
    assert is_well(server)


def test_headers_that_are_too_long(server: tuple[str, int]) -> None:
    whole = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 2500 + b"\r\n\r\n"
    assert problem(ask(server, whole))["status"] == 431
    assert problem(ask(server, whole[:1500], whole[1500:2200]))["status"] == 431
    many = b"GET /healthz HTTP/1.1\r\n" + b"A: b\r\n" * 2000
    assert problem(ask(server, many))["status"] == 431
    assert problem(ask(server, b"GET /" + b"a" * 3000))["status"] == 431
    assert is_well(server)


def test_pipelined_requests_are_answered_in_order(server: tuple[str, int]) -> None:
    first = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    last = b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    answer = ask(server, first * 3 + last)
    assert answer.count(b"HTTP/1.1 200") == 3
    assert answer.rindex(b"HTTP/1.1 404") > answer.rindex(b"HTTP/1.1 200")


def test_headers_and_bodies_that_are_too_slow(tiny: Generator) -> None:
    with serving(tiny, reading_seconds=0.1) as address:
        with socket.create_connection(address, timeout=30) as idle:
            assert idle.recv(1) == b""  # who says nothing is not waited for
        with socket.create_connection(address, timeout=30) as slow:
            slow.sendall(b"GET /healthz HTTP/1.1\r\nHost")
            assert problem(slow.recv(4096))["status"] == 408
        with socket.create_connection(address, timeout=30) as slow:
            slow.sendall(b"POST /v1/sample HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{")
            answer = slow.recv(4096)
            while b"\r\n\r\n{" not in answer:
                answer += slow.recv(4096)
            assert problem(answer)["status"] == 408
        assert is_well(address)


def test_too_many_connections(tiny: Generator) -> None:
    with serving(tiny, connections=2) as address:
        held = [socket.create_connection(address, timeout=30) for _ in range(2)]
        try:
            for one in held:
                one.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
                assert status(one.recv(4096)) == 200
            assert problem(ask(address, b""))["status"] == 503
        finally:
            for one in held:
                one.close()


def test_who_does_not_read_holds_nobody_up(tiny: Generator) -> None:
    most = {"images": 40_000, "queue": 40_000}
    with serving(tiny, sending_seconds=0.2, keep_alive=0.02, **most) as address, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(30)
        slow.connect(address)
        headers = b"Host: a\r\nAccept: application/x-npz\r\nContent-Type: application/json\r\nContent-Length: 11"
        slow.sendall(
            b"POST /v1/sample HTTP/1.1\r\n" + headers + b'\r\n\r\n{"n":40000}'
        )  # 8 MB: more than a kernel takes
        assert slow.recv(1) == b"H"
        assert is_well(address)
        poll = select.poll()
        poll.register(slow, select.POLLHUP | select.POLLERR)
        assert poll.poll(30_000)  # the server lets it go, without having been read


PATHS = [
    *("/v1/images/5.png", "/v1/grid.png?n=2", "/v1/sample", "/%00", "/%ff%fe", "//", "/v1/images/5.png?label=%ff", "*"),
    *(
        "http://a/healthz",
        "/v1/images/5.png?toward=%00:1",
        "/healthz#x",
        "/v1/images/%35.png",
        *(
            "/v2",
            "/v2/models/tiny",
            "/v2/models/tiny/infer",
            "/v2/models/%00/infer",
            "/v2/models/tiny/versions/2/infer",
        ),
        "/é",
        "",
        "/?" + "&" * 99,
    ),
]
HEADERS = [
    *(b"Host: a", b"Content-Length: 3", b"Content-Length: -1", b"Transfer-Encoding: chunked", b"Expect: 100-continue"),
    *(b"Content-Type: application/json", b'If-None-Match: "', b"If-None-Match: \xff", b"Accept: ;q=,*/*;q=-1", b"X"),
    *(b"Upgrade: websocket\r\nConnection: upgrade", b"Authorization: Bearer \x00", b"Cookie: =;;=", b": y"),
    *(b"Inference-Header-Content-Length: 2", b"Inference-Header-Content-Length: -9", b"Content-Encoding: gzip"),
    *(b"Connection: close", b"Content-Length: 999999999999999999999", b"Content-Type: \xff/\xfe; charset=x"),
]
INFERENCES = [b'{"inputs":[{"name":"z","shape":[1,4],"datatype":"FP32","data":[0,1,1e999,"x"]}]}', b'{"inputs":{}}{}']
BODIES = [
    b"",
    b"{}",
    b'{"n":1}',
    b"3\r\n{}\n\r\n0\r\n\r\n",
    b"ffffffffffffffffff\r\n",
    b"\x00" * 50,
    b'{"n":1e999}',
    *INFERENCES,
]


def noise(dice: random.Random) -> bytes:
    """A request of parts that are wrong here and there."""
    method = dice.choice([b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS", b"get", b"\xff"])
    version = dice.choice([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b""])
    lines = [b" ".join([method, dice.choice(PATHS).encode(), version]), *dice.sample(HEADERS, dice.randrange(5))]
    request = b"\r\n".join([*lines, b"", dice.choice(BODIES)])
    if dice.random() < 0.2:
        place = dice.randrange(len(request))
        request = request[:place] + dice.randbytes(dice.randrange(1, 4)) + request[place + dice.randrange(3) :]
    return request


def test_noise_finds_no_fault(server: tuple[str, int], caplog: pytest.LogCaptureFixture) -> None:
    dice = random.Random(0)  # noqa: S311
    requests = [noise(dice) for _ in range(800)]
    with ThreadPoolExecutor(20) as pool:
        for request, answer in zip(requests, pool.map(lambda request: ask(server, request), requests), strict=True):
            assert answer, request
            assert 100 <= status(answer) < 500 or status(answer) == 501, (request, answer)
    assert not [record for record in caplog.records if record.exc_info]
    assert is_well(server)


def test_addresses_to_listen_at() -> None:
    taken = bind("127.0.0.1", 0)
    with taken, pytest.raises(UsageError, match=r"port \d+ of 127.0.0.1 is taken"):
        bind("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(UsageError, match="address of this machine"):
        bind("no such host.invalid", 0)
    with pytest.raises(UsageError, match="can't be listened at"):
        bind("192.0.2.1", 0)  # one of those for documents (RFC 5737), so nobody's
