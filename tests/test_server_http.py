"""What the server says beside pictures: what may be kept, errors, limits, headers, the token, health and metrics."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

from starlette.testclient import TestClient

from animegen import Generator, UsageError, __version__
from animegen.server import Limits, create_app
from animegen.server.answers import VERSION_DIGITS
from animegen.server.service import Service


@pytest.fixture(scope="module")
def faces(conditional_model: Path) -> Iterator[Generator]:
    with Generator.load(conditional_model, device="cpu") as generator:
        yield generator


@pytest.fixture(scope="module")
def client(faces: Generator) -> Iterator[TestClient]:
    with TestClient(create_app(faces)) as asked:
        yield asked


@contextmanager
def limited(faces: Generator, **changes: Any) -> Iterator[TestClient]:
    with TestClient(create_app(faces, Limits(**changes))) as asked:
        yield asked


def service_of(client: TestClient) -> Service:
    found: Service = client.app.state.service  # type: ignore[attr-defined]
    return found


def assert_problem(answer: Any, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail"}
    assert problem["status"] == status
    assert "\n" not in problem["detail"]
    for word in words:
        assert word in problem["detail"]


# what may be kept


def test_a_picture_s_etag_is_known_before_it_is_made(client: TestClient) -> None:
    first = client.get("/v1/images/5.png?scale=2")
    etag = first.headers["etag"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', etag)
    assert client.get("/v1/images/5.png?scale=2").content == first.content
    for given in (etag, f'"x", W/{etag}', "*", f'W/"y",{etag}'):
        again = client.get("/v1/images/5.png?scale=2", headers={"If-None-Match": given})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        assert again.headers["cache-control"] == first.headers["cache-control"]
    assert client.get("/v1/images/5.png?scale=2", headers={"If-None-Match": '"x"'}).status_code == 200
    assert_problem(client.get("/v1/images/5.png?scale=99", headers={"If-None-Match": "*"}), 422)


def test_what_else_is_asked_has_another_etag(client: TestClient) -> None:
    addresses = ["5.png", "6.png", "5.webp", "5.png?scale=2", "5.png?toward=6:0.5", "5.png?download=true"]
    assert len({client.get(f"/v1/images/{address}").headers["etag"] for address in addresses}) == len(addresses)


def test_an_etag_names_the_model_and_the_encoder(
    client: TestClient, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Generator.load(tiny_model, device="cpu") as tiny, TestClient(create_app(tiny)) as other:
        here, there = (one.get("/v1/images/5.png").headers["etag"] for one in (client, other))
    assert here != there
    for name, other_word in (("answers.stamp", "another encoder"), ("models.processor", "another CPU")):
        with monkeypatch.context() as changed:
            changed.setattr(f"animegen.server.{name}", lambda word=other_word: word)
            with TestClient(create_app(service_of(client).models.default.generator)) as newer:
                assert newer.get("/v1/images/5.png").headers["etag"] != here


def test_only_an_address_that_names_the_model_file_is_for_ever(client: TestClient, faces: Generator) -> None:
    assert client.get("/v1/images/5.png").headers["cache-control"] == "public, max-age=3600"
    version = faces.sha256[:VERSION_DIGITS]
    kept = client.get(f"/v1/images/5.png?v={version}").headers["cache-control"]
    assert kept == "public, max-age=31536000, immutable"
    assert_problem(client.get("/v1/images/5.png?v=0123456789ab"), 404, version)


def test_head_is_there_wherever_get_is(client: TestClient) -> None:
    service = service_of(client)
    asked = {"interpolate": "a=1&b=2", "sheet": "rows=hair"}
    paths = [path for path, operations in client.get("/openapi.json").json()["paths"].items() if "get" in operations]
    assert len(paths) > 11
    for template in [*paths, "/docs", "/openapi.json", "/"]:
        path = template.format(seed=5, form="gif" if "walk" in template else "png")
        query = next((text for name, text in asked.items() if name in path), "")
        images = service.metrics.registry.get_sample_value("animegen_images_total", {"model": "faces"})
        head = client.head(f"{path}?{query}")
        assert head.status_code == 200, path
        assert head.content == b""
        if path.startswith("/v1/") and "." in path:  # a picture's headers are told without it
            assert service.metrics.registry.get_sample_value("animegen_images_total", {"model": "faces"}) == images
            assert "content-length" not in head.headers
        whole = client.get(f"{path}?{query}")
        told = ("content-type", "etag", "cache-control", "content-security-policy")
        assert [head.headers.get(name) for name in told] == [whole.headers.get(name) for name in told], path


# errors and limits


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/nothing", 404, "/docs"),
        ("/v1/images/5", 404, "/docs"),
        ("/v1/images/5.bmp", 422, "'png', 'webp' or 'jpg'"),
        ("/v1/images/x.png", 422, "seed"),
        ("/v1/images/4294967296.png", 422, "4294967295"),
        ("/v1/images/5.png?truncation=1.5", 422, "truncation"),
        ("/v1/images/5.png?truncation=nan", 422, "truncation"),
        ("/v1/images/5.png?colour=blue", 422, "colour"),
        ("/v1/images/5.png?toward=7", 422, "toward"),
        ("/v1/images/5.png?toward=7:1.5", 422, "share"),
        ("/v1/images/5.png?move=1:1", 422, "direction"),
        ("/v1/images/5.png?move=0:1001", 422, "1000"),
        ("/v1/images/5.png?move=0:1&move=0:2", 422, "two moves"),
        ("/v1/images/5.png?label=hair", 422, "hair=blue"),
        ("/v1/images/5.png?label=hair=green", 422, "blonde, blue, red"),
        ("/v1/images/5.png?scale=17", 422, "scale"),
        ("/v1/grid.png?n=257", 422, "at most 256"),
        ("/v1/grid.png?seeds=0-4294967295", 422, "at most 256"),
        ("/v1/grid.png?seeds=5&n=3", 422, "leave seed and n out"),
        ("/v1/grid.png?seeds=a", 422, "seeds"),
        ("/v1/grid.webp?n=256&columns=256&scale=16", 422, "pixels"),
        ("/v1/interpolate.png?a=1", 422, "b"),
        ("/v1/interpolate.png?a=1&b=2&steps=1000", 422, "at most 256"),
        ("/v1/interpolate.gif?a=1&b=2&fps=100", 422, "fps"),
        ("/v1/walk.gif?frames=601", 422, "at most 600"),
        ("/v1/walk.gif?stops=5&frames=4", 422, "stops"),
        ("/v1/walk.webp?frames=600&scale=16", 422, None),
        ("/v1/edit.png?direction=1", 422, "direction"),
        ("/v1/edit.png?range=0:1e9", 422, "range"),
        ("/v1/edit.png?range=0:9999", 422, "1000"),
        ("/v1/sheet.png", 422, "rows"),
        ("/v1/sheet.png?rows=nose", 422, "hair, eyes"),
        ("/v1/model?model=other", 404, "faces"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(address: str, status: int, words: str | None, client: TestClient) -> None:
    if words is None:  # a tiny model's frames are few pixels: it is not too much
        assert client.head(address).status_code == 200
    else:
        assert_problem(client.get(address), status, words)


def test_another_method_says_which_are_there(client: TestClient) -> None:
    answer = client.post("/v1/images/5.png")
    assert_problem(answer, 405, "POST")
    assert answer.headers["allow"] == "GET, HEAD"
    assert_problem(client.get("/v1/sample"), 405)
    assert_problem(client.delete("/nothing"), 404)


def test_a_body_that_is_no_json_or_another(client: TestClient) -> None:
    for body in (b"{", b"[" * 100_000, b'{"n": ' + b"9" * 5000 + b"}", b"\xff", b"null", b'{"n": NaN}'):
        answer = client.post("/v1/sample", content=body, headers={"Content-Type": "application/json"})
        assert_problem(answer, answer.status_code)
        assert answer.status_code in {400, 422}
    answer = client.post("/v1/sample", content=b'{"n": ]', headers={"Content-Type": "application/json"})
    assert_problem(answer, 400, "the body is not JSON: expecting value at character 6")
    assert_problem(client.post("/v1/sample", content=b'{"n": 3}'), 415, "Content-Type: application/json")


def test_an_address_or_a_body_that_is_too_long(faces: Generator) -> None:
    with limited(faces, url=100, body=200) as client:
        assert_problem(client.get("/v1/images/5.png?label=" + "x" * 100), 414, "100 bytes")
        assert_problem(client.post("/v1/sample", json={"seeds": [1] * 100}), 413, "200 bytes")

        def endless() -> Iterator[bytes]:
            yield from (b" " * 50 for _ in range(9))

        answer = client.post("/v1/sample", content=endless(), headers={"Content-Type": "application/json"})
        assert_problem(answer, 413)
        assert answer.headers["connection"] == "close"
        assert client.post("/v1/sample", json={"n": 1}).status_code == 200


def test_limits_are_what_was_asked_for(faces: Generator) -> None:
    with limited(faces, images=3, frames=4, pixels=300, frame_pixels=300) as client:
        assert client.get("/v1/grid.png?n=3&columns=1").status_code == 200
        assert_problem(client.get("/v1/grid.png?n=4"), 422, "at most 3")
        assert_problem(client.get("/v1/images/5.png?scale=3"), 422, "pixels")
        assert client.get("/v1/walk.gif?stops=2&frames=4").status_code == 200
        assert_problem(client.get("/v1/walk.gif?stops=2&frames=5"), 422, "at most 4")
        assert_problem(client.get("/v1/walk.gif?stops=2&frames=4&scale=2"), 422, "pixels")
        assert client.get("/config.json").json()["limits"]["images"] == 3
    for wrong in ({"images": 0}, {"queue": 100}, {"seconds": -1}):
        with pytest.raises(UsageError):
            Limits(**wrong)


def test_too_much_at_once_is_told_when_to_come_again(faces: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    with limited(faces) as client:
        service = service_of(client)
        monkeypatch.setattr(service.batcher, "waiting", 1024)
        answer = client.get("/v1/images/5.png")
        assert_problem(answer, 503, "ask again")
        assert int(answer.headers["retry-after"]) >= 1
        monkeypatch.setattr(service.batcher, "waiting", 0)
        monkeypatch.setattr(service, "_encoding", 99)
        assert_problem(client.get("/v1/walk.gif"), 503, "ask again")
        assert client.get("/v1/images/5.png").status_code == 200


def test_what_takes_too_long_is_given_up(faces: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    with limited(faces, seconds=0.01) as client:
        service = service_of(client)
        monkeypatch.setattr("animegen.server.service._WATCHED_AFTER", 0.01)
        monkeypatch.setattr(service.batcher, "_take", lambda _room: [])  # no lane takes anything
        answer = client.get("/v1/images/5.png")
        assert_problem(answer, 503, "longer than 0.01 seconds")
        assert "retry-after" not in answer.headers  # what is too much for the time is so again
        assert service.batcher.waiting == 0


def test_an_animation_that_is_given_up_is_encoded_no_further(faces: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    from animegen.images.stills import to_pillow

    encoded = []

    def slowly(image: Any) -> Any:
        encoded.append(image)
        time.sleep(0.05)
        return to_pillow(image)

    ends = []
    watched = Service._watched

    def noting(service: Service, future: Any, request: Any, until: float) -> Any:
        ends.append(until)
        return watched(service, future, request, until)

    with limited(faces, seconds=0.5) as client:
        monkeypatch.setattr("animegen.images.animation.to_pillow", slowly)
        monkeypatch.setattr(Service, "_watched", noting)
        assert_problem(client.get("/v1/walk.gif?frames=200"), 503, "longer than 0.5 seconds")
        encoder = service_of(client)._encoder
        assert encoder is not None
        encoder.submit(int).result()  # begins once the thread has let the animation go
        assert 0 < len(encoded) < 200
        assert len(ends) == 2  # its images are made and encoded
        assert ends[0] == ends[1]  # within one limit


def test_a_failing_model_is_told_without_its_words(
    faces: Generator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from animegen import ModelError

    def fails(*_: Any, **__: Any) -> None:
        raise ModelError("/secret/path failed")

    app = create_app(faces)
    with TestClient(app, raise_server_exceptions=False) as client:
        monkeypatch.setattr("animegen.generator.Generator.__call__", fails)
        answer = client.get("/v1/images/5.png")
        assert_problem(answer, 500)
        assert "secret" not in answer.text
        assert "/secret/path failed" in caplog.text  # the log has them
        monkeypatch.setattr("animegen.generator.Generator.__call__", lambda *_, **__: 1 // 0)
        unforeseen = client.get("/v1/images/5.png")
        assert_problem(unforeseen, 500)
        assert "content-security-policy" in unforeseen.headers


def test_a_model_that_can_t_be_run_is_never_ready(
    faces: Generator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("animegen.generator.Generator.__call__", lambda *_, **__: 1 // 0)
    with TestClient(create_app(faces)) as client:
        while "will not be ready" not in caplog.text:
            assert_problem(client.get("/readyz"), 503, "warming")
        assert_problem(client.get("/readyz"), 503)


def test_an_mp4_without_its_encoder_is_not_there(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert_problem(client.get("/v1/walk.mp4?stops=2&frames=2"), 501, "animegen[mp4]")


# what it says of itself


def test_models(client: TestClient, faces: Generator) -> None:
    (model,) = client.get("/v1/models").json()["models"]
    assert model == client.get("/v1/model").json()
    assert (model["name"], model["sha256"], model["z_dim"]) == ("faces", faces.sha256, 8)
    assert (model["image_shape"], model["directions"], model["device"]) == ([3, 8, 8], 1, "cpu")
    assert model["labels"][0] == {"name": "hair", "classes": ["blonde", "blue", "red"]}
    assert model["licence"] == model["card"]["licence"] == "MIT"
    config = client.get("/config.json").json()
    assert (config["engine"], config["version"], config["models"]) == ("server", __version__, [model])
    assert {"png", "webp", "jpg", "gif"} <= set(config["formats"])


def test_ready_is_who_is_warm_and_not_about_to_stop(faces: Generator) -> None:
    with TestClient(create_app(faces)) as client:
        service = service_of(client)
        while client.get("/readyz").status_code != 200:
            assert client.get("/healthz").status_code == 200
        service.draining = True
        assert_problem(client.get("/readyz"), 503, "stopping")
        assert client.get("/healthz").status_code == 200
        assert client.get("/v1/images/5.png").headers.get("connection") != "close"
        service.closing = True
        assert client.get("/v1/images/5.png").headers["connection"] == "close"
        service.ready = service.draining = False
        assert_problem(client.get("/readyz"), 503, "warming")
    assert_problem(TestClient(create_app(faces)).get("/readyz"), 503)
    assert_problem(TestClient(create_app(faces)).get("/v1/images/5.png"), 503, "stopping")


def test_an_application_may_be_started_again(faces: Generator) -> None:
    app = create_app(faces)
    for _ in range(2):
        with TestClient(app) as client:
            assert client.get("/v1/walk.gif?stops=2&frames=2").status_code == 200


def test_metrics(faces: Generator) -> None:
    with TestClient(create_app({"a": faces})) as client:
        for address in ("/v1/images/5.png", "/v1/images/6.png", "/v1/grid.png?n=5", "/v1/images/x.png", "/no", "/no2"):
            client.get(address)
        text = client.get("/metrics").text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    route = 'route="/v1/images/{seed}.{form}"'
    assert float(lines[f'animegen_requests_total{{code="200",method="GET",{route}}}']) == 2
    assert float(lines[f'animegen_requests_total{{code="422",method="GET",{route}}}']) == 1
    assert float(lines['animegen_requests_total{code="404",method="GET",route="none"}']) == 2
    assert float(lines['animegen_images_total{model="a"}']) == 7
    assert float(lines['animegen_batch_images_sum{model="a"}']) == 7
    assert float(lines["animegen_queue_seconds_count"]) == 3
    assert float(lines["animegen_waiting_images"]) == 0
    assert f"animegen_request_seconds_count{{{route}}}" in lines
    (info,) = (line for line in lines if line.startswith("animegen_build_info"))
    for fact in (f'version="{__version__}"', 'engine="onnxruntime ', 'provider="cpu"', 'model="a"'):
        assert fact in info


def test_the_documentation_asks_nobody_outside(client: TestClient) -> None:
    page = client.get("/docs")
    addresses = re.findall(r"(?:src|href)=\"([^\"]+)\"", page.text)
    assert len(addresses) >= 3
    for address in addresses:
        assert address.startswith("/")
        assert client.get(address).status_code in {200} | ({404} if address == "/favicon.svg" else set())
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    import base64
    import hashlib

    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page.headers["content-security-policy"]
    assert client.get("/redoc").status_code == 404


def test_the_page_and_its_files(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert client.get("/page/").status_code == 404  # the index's links would lead nowhere from there
    again = client.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304
    for path in ("/..%2fapp.py", "/page/../app.py", "/page/%2e%2e/app.py", "/page//etc/passwd", "/page/app.py"):
        assert client.get(path).status_code == 404


def test_a_grey_image_is_a_png_too(grey_model: Path) -> None:
    import io

    import numpy as np
    from PIL import Image

    with (
        Generator.load(grey_model, device="cpu") as grey,
        TestClient(create_app(grey)) as client,
        Image.open(io.BytesIO(client.get("/v1/images/5.png").content)) as picture,
    ):
        assert np.array_equal(np.asarray(picture), grey.image(5)[..., 0])


def test_a_server_has_at_least_one_model() -> None:
    with pytest.raises(UsageError, match="no models"):
        create_app({})
