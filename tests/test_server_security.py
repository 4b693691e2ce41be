"""Who may ask, and what each answer says to a browser: security headers, the token, other origins, paths of proxies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from starlette.testclient import TestClient
from test_server_http import assert_problem

from animegen import Generator, UsageError
from animegen.server import create_app

TOKEN = "correct-horse"  # noqa: S105


@pytest.fixture(scope="module")
def faces(conditional_model: Path) -> Iterator[Generator]:
    with Generator.load(conditional_model, device="cpu") as generator:
        yield generator


def test_every_answer_has_the_security_headers(faces: Generator) -> None:
    with TestClient(create_app(faces)) as client:
        for address in ("/v1/images/5.png", "/nothing", "/healthz", "/config.json", "/v1/images/5.png?scale=99"):
            headers = client.get(address).headers
            assert "unsafe" not in headers["content-security-policy"].replace("wasm-unsafe-eval", "")
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert headers["cross-origin-embedder-policy"] == "require-corp"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["x-content-type-options"] == "nosniff"
            assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {TOKEN}"},
        {"Authorization": f"bearer  {TOKEN}"},
        {"Cookie": f"other=1; animegen-token={TOKEN}"},
        {"Cookie": "animegen-token=correct%2Dhorse"},
    ],
)
def test_who_has_the_token_may_ask(headers: dict[str, str], faces: Generator) -> None:
    with TestClient(create_app(faces, token=TOKEN)) as client:
        answer = client.get("/v1/images/5.png", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["cache-control"].startswith("private, ")


def test_who_has_it_not_may_see_the_page_and_the_probes(faces: Generator) -> None:
    with TestClient(create_app(faces, token=TOKEN)) as client:
        closed = ["/v1/images/5.png", "/v1/models", "/config.json", "/metrics", "/docs", "/openapi.json", "/nothing"]
        for address in closed:
            answer = client.get(address)
            assert_problem(answer, 401, "Authorization")
            assert answer.headers["www-authenticate"].startswith("Bearer")
        wrong = [b"Bearer wrong-horse", b"Bearer ", b"Basic " + TOKEN.encode(), b"Bearer \xff\xfe", b"\xff"]
        for given in wrong:
            assert client.get("/v1/models", headers={b"Authorization": given}).status_code == 401
        assert client.get("/v1/models", headers={"Cookie": "animegen-token=; animegen-token"}).status_code == 401
        for address in ("/", "/healthz"):
            assert client.get(address).status_code == 200
    for unfit in ("short", "with a space", "naïveté-naïveté"):
        with pytest.raises(UsageError, match="token"):
            create_app(faces, token=unfit)


def test_a_proxy_may_take_a_path_away(faces: Generator) -> None:
    with TestClient(create_app(faces, token=TOKEN), root_path="/faces") as client:
        for address in ("/faces/healthz", "/faces/"):
            assert client.get(address).status_code == 200
        assert client.get("/faces/v1/images/5.png").status_code == 401
        token = {"Authorization": f"Bearer {TOKEN}"}
        picture = client.get("/faces/v1/images/5.png", headers=token)
        assert picture.headers["content-type"] == "image/png"
        assert client.head("/faces/v1/images/5.png", headers=token).headers["etag"] == picture.headers["etag"]
        assert '"/faces/docs/swagger-ui.css"' in client.get("/faces/docs", headers=token).text


def test_the_protocol_s_errors_keep_their_form_behind_a_proxy(faces: Generator) -> None:
    with TestClient(create_app(faces, v2=True), root_path="/faces") as client:
        answer = client.get("/faces/v2/models/none")
        assert (answer.status_code, list(answer.json())) == (404, ["error"])
        wrong = client.post(f"/faces/v2/models/{faces.card.name}/infer", json={"inputs": []})
        assert (wrong.status_code, list(wrong.json())) == (400, ["error"])


def test_pages_of_other_origins_may_ask_if_they_are_named(faces: Generator) -> None:
    origin = "https://example.org"
    with TestClient(create_app(faces, token=TOKEN, cors_origins=[origin])) as client:
        for header in ("authorization", "if-none-match", "inference-header-content-length"):
            asked = {"Origin": origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": header}
            assert client.options("/v1/images/5.png", headers=asked).status_code == 200
        answer = client.get("/v1/images/5.png", headers={"Origin": origin, "Authorization": f"Bearer {TOKEN}"})
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        other = client.get("/healthz", headers={"Origin": "https://example.com"})
        assert "access-control-allow-origin" not in other.headers
    for wrong in ("example.org", "https://example.org/path"):
        with pytest.raises(UsageError, match="origin"):
            create_app(faces, cors_origins=[wrong])
