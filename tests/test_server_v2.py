"""The Open Inference Protocol: requests as Triton's client writes them, in JSON and with bytes behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_model

from animegen import Generator, Overrides

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")  # starlette's test client

from starlette.testclient import TestClient

from animegen.server import Limits, create_app

HEADER = "Inference-Header-Content-Length"
TOKEN = "-".join(["a", "long", "word"])
LIMITS = Limits(images=16, frames=16, queue=64)


@pytest.fixture(scope="module")
def generators(tiny_model: Path, conditional_model: Path) -> Iterator[dict[str, Generator]]:
    with Generator.load(tiny_model, device="cpu") as tiny, Generator.load(conditional_model, device="cpu") as faces:
        yield {"tiny": tiny, "faces": faces}


@pytest.fixture(scope="module")
def client(generators: dict[str, Generator]) -> Iterator[TestClient]:
    with TestClient(create_app(generators, LIMITS, v2=True), raise_server_exceptions=False) as client:
        while client.get("/v2/health/ready").status_code != 200:
            pass
        yield client


def as_bytes(tensors: dict[str, np.ndarray], **said: Any) -> dict[str, Any]:
    """A request of Triton's client: the JSON, the bytes of each tensor, the JSON's length in a header."""
    inputs = [
        {
            "name": name,
            "datatype": "FP32",
            "shape": list(values.shape),
            "parameters": {"binary_data_size": values.nbytes},
        }
        for name, values in tensors.items()
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}, **said}).encode()
    body = head + b"".join(values.astype("<f4").tobytes() for values in tensors.values())
    return {"content": body, "headers": {HEADER: str(len(head))}}


def as_json(tensors: dict[str, np.ndarray], **said: Any) -> dict[str, Any]:
    inputs = [
        {"name": name, "datatype": "FP32", "shape": list(values.shape), "data": values.tolist()}
        for name, values in tensors.items()
    ]
    return {"json": {"inputs": inputs, **said}}


def images_of(response: Any) -> np.ndarray:
    """The one output of an answer, whichever way it came: uint8 [N, C, H, W]."""
    assert response.status_code == 200, response.text
    length = response.headers.get(HEADER)
    head = json.loads(response.content[: None if length is None else int(length)])
    (output,) = head["outputs"]
    assert (output["name"], output["datatype"]) == ("images", "UINT8")
    if length is None:
        assert response.headers["content-type"] == "application/json"
        return np.array(output["data"], np.uint8).reshape(output["shape"])
    data = response.content[int(length) :]
    assert output["parameters"]["binary_data_size"] == len(data)
    assert response.headers["content-type"] == "application/octet-stream"
    return np.frombuffer(data, np.uint8).reshape(output["shape"])


@pytest.mark.parametrize("form", [as_bytes, as_json])
@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_pixels_are_the_library_s(form: Any, version: str, client: TestClient, generators: Any) -> None:
    z = generators["tiny"].latents(range(5))
    response = client.post(f"/v2/models/tiny{version}/infer", **form({"z": z}, id="mine"))
    np.testing.assert_array_equal(images_of(response), generators["tiny"].sample(5).transpose(0, 3, 1, 2))
    assert b'{"model_name": "tiny", "model_version": "1", "id": "mine", "outputs": ' in response.content


@pytest.mark.parametrize("form", [as_bytes, as_json])
def test_labels_are_a_tensor_of_their_own(form: Any, client: TestClient, generators: Any) -> None:
    faces = generators["faces"]
    z, y = faces.latents(range(3)), faces.label_vectors(range(3), {"hair": {"blue": 0.5, "red": 0.5}})
    expected = faces(z, y).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(
        images_of(client.post("/v2/models/faces/infer", **form({"labels": y, "z": z}))), expected
    )


def test_a_foreign_model_s_labels(tmp_path: Path) -> None:
    from test_foreign import INT, foreign

    path = write_model(tmp_path / "their.onnx", None, foreign(c=(INT, ["batch"])))
    overrides = Overrides(labels="c", classes=("a", "b", "c"))
    with Generator.load(path, device="cpu", overrides=overrides) as generator:
        z, y = generator.latents(range(3)), np.eye(3, dtype=np.float32)
        with TestClient(create_app(generator, LIMITS, v2=True)) as client:
            response = client.post("/v2/models/their/infer", **as_bytes({"z": z, "labels": y}))
            np.testing.assert_array_equal(images_of(response), generator(z, y).transpose(0, 3, 1, 2))
            mixed = client.post("/v2/models/their/infer", **as_bytes({"z": z, "labels": y / 2}))
            assert mixed.status_code == 400
            assert "has a mix or an unknown class" in mixed.json()["error"]


@pytest.mark.parametrize("asked", [True, False])
def test_the_output_says_how_it_is_wanted(asked: bool, client: TestClient, generators: Any) -> None:
    """The output's own word counts before the request's; without outputs that are named, all are meant."""
    outputs = [{"name": "images", "parameters": {"binary_data": asked}}]
    said = as_json(
        {"z": generators["tiny"].latents([7])}, outputs=outputs, parameters={"binary_data_output": not asked}
    )
    response = client.post("/v2/models/tiny/infer", **said)
    assert (HEADER in response.headers) is asked
    np.testing.assert_array_equal(images_of(response)[0], generators["tiny"].image(7).transpose(2, 0, 1))


def test_what_the_server_says_of_itself(client: TestClient) -> None:
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    for path in ("health/live", "health/ready", "models/tiny/ready", "models/faces/versions/1/ready"):
        for method in ("GET", "HEAD"):
            response = client.request(method, f"/v2/{path}")
            assert (response.status_code, response.content) == (200, b"")
    assert client.get("/v2/models/tiny/versions/1").json() == client.get("/v2/models/tiny").json()
    assert client.get("/v2/models/faces").json() == {
        "name": "faces",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "z", "datatype": "FP32", "shape": [-1, 8]},
            {"name": "labels", "datatype": "FP32", "shape": [-1, 5]},
        ],
        "outputs": [{"name": "images", "datatype": "UINT8", "shape": [-1, 3, 8, 8]}],
    }


def one(**changes: Any) -> dict[str, Any]:
    return {"name": "z", "datatype": "FP32", "shape": [1, 8], "data": [0.5] * 8, **changes}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in one().items() if key != name}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([], "must be a JSON object"),
        ({}, "inputs must be a list"),
        ({"inputs": []}, "has no input z"),
        ({"inputs": [7]}, "an input must be a JSON object"),
        ({"inputs": [one(name="seed")]}, "called 'seed' and must be z"),
        ({"inputs": [one(name=["z"])]}, "must be z"),
        ({"inputs": [one(datatype="FP64")]}, "FP64 and must be FP32"),
        ({"inputs": [one(shape=[8])]}, r"must have [N, 8]"),
        ({"inputs": [one(shape=[True, 8])]}, r"must have [N, 8]"),
        ({"inputs": [one(shape=[0, 8], data=[])]}, r"must have [N, 8]"),
        ({"inputs": [one(shape=[1, 9])]}, r"must have [N, 8]"),
        ({"inputs": [one(), one()]}, "stands twice"),
        ({"inputs": [one(data=[0.5] * 7)]}, "as many as its shape"),
        ({"inputs": [one(data=["1"] * 8)]}, "must be numbers"),
        ({"inputs": [one(data=[None] * 8)]}, "must be numbers"),
        ({"inputs": [one(data=[10**400] * 8)]}, "must be numbers"),
        ({"inputs": [one(data=[[0.5] * 7, 1])]}, "must be a list of numbers"),
        ({"inputs": [one(data="AAAA")]}, "must be a list"),
        ({"inputs": [without("data")]}, "must be a list"),
        ({"inputs": [one(data=[1e300] * 8)]}, "not finite"),
        ({"inputs": [one(shape=[17, 8], data=[0] * 136)]}, "17 images and must be of at most 16"),
        ({"inputs": [one(parameters={"binary_data_size": 32})]}, "32 bytes of 0"),
        ({"inputs": [one(parameters={"shared_memory_region": "x"})]}, "shared_memory_region is not taken"),
        ({"inputs": [one(parameters=[1])]}, "parameters must be a JSON object"),
        ({"inputs": [one()], "id": 7}, "id must be a text"),
        ({"inputs": [one()], "outputs": [{"name": "z"}]}, "'z' and must be images"),
        ({"inputs": [one()], "outputs": [{"name": "images", "parameters": {"classification": 2}}]}, "classification"),
        ({"inputs": [one()], "parameters": {"binary_data_output": "yes"}}, "true or false"),
    ],
)
def test_wrong_requests(said: Any, words: str, client: TestClient) -> None:
    response = client.post("/v2/models/tiny/infer", json=said)
    assert (response.status_code, list(response.json())) == (400, ["error"])
    assert words in response.json()["error"]
    assert "\n" not in response.json()["error"]


def test_wrong_bytes(client: TestClient, generators: Any) -> None:
    right = as_bytes({"z": generators["tiny"].latents([1])})
    fraction = right["content"].replace(b'"binary_data_size": 32', b'"binary_data_size": 32.0')
    for body, length, words in (
        (right["content"], "99999", "must be the JSON's length"),
        (right["content"], "-1", "must be the JSON's length"),
        (right["content"], "²", "must be the JSON's length"),
        (right["content"], "9" * 30, ""),
        (right["content"], None, "no JSON"),
        (right["content"][:-1], None, "no JSON"),
        (right["content"][:-1], right["headers"][HEADER], "31 and must have 4 for each"),
        (right["content"] + b"x", right["headers"][HEADER], "1 bytes too many"),
        (fraction, str(len(fraction) - 32), "32.0 bytes of 32 and must have 4 for each"),
        (b"[" * 100_000, None, "no JSON"),
        (b"\xff\xfe", None, "no JSON"),
        (b"", None, "no JSON"),
        (
            b'{"inputs": [{"name": "z", "datatype": "FP32", "shape": [1, 8], "data": [NaN, 1,1,1,1,1,1,1]}]}',
            None,
            "finite",
        ),
    ):
        headers = {} if length is None else {HEADER.encode(): length.encode("latin-1")}
        response = client.post("/v2/models/tiny/infer", content=body, headers=headers)
        assert response.status_code == 400, response.text
        assert words in response.json()["error"]
    compressed = client.post("/v2/models/tiny/infer", **{**right, "headers": {"content-encoding": "gzip"}})
    assert compressed.status_code == 400


def test_errors_that_others_answer_have_the_form_too(client: TestClient, generators: Any) -> None:
    for method, path, status in (
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/tiny/versions/2/ready", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("GET", "/v2/nothing", 404),
        ("GET", f"/v2/models/{'x' * 300}", 400),
        ("DELETE", "/v2/models/tiny", 405),
    ):
        response = client.request(method, path)
        assert (response.status_code, list(response.json())) == (status, ["error"]), path
        assert response.headers["content-length"] == str(len(response.content))
    response = client.head("/v2/models/other")
    assert (response.status_code, response.content) == (404, b"")
    assert client.get("/v1/nothing").headers["content-type"] == "application/problem+json"
    z = generators["tiny"].latents(range(16))
    with TestClient(create_app(generators, Limits(images=16, frames=16, queue=64, body=1024), v2=True)) as small:
        response = small.post("/v2/models/tiny/infer", **as_json({"z": z}))
        assert (response.status_code, list(response.json())) == (413, ["error"])
    with TestClient(create_app(generators, LIMITS, v2=True, token=TOKEN)) as guarded:
        response = guarded.get("/v2/models/tiny")
        assert (response.status_code, list(response.json())) == (401, ["error"])
        assert guarded.get("/v2/health/live").status_code == 200
        assert guarded.get("/v2/models/tiny", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_the_schema_names_every_route(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    mine = {path: set(methods) for path, methods in paths.items() if path.startswith("/v2")}
    assert len(mine) == 9
    assert {path for path, methods in mine.items() if methods == {"post"}} == {
        "/v2/models/{name}/infer",
        "/v2/models/{name}/versions/{version}/infer",
    }


def test_it_is_an_option(generators: Any) -> None:
    assert TestClient(create_app(generators, LIMITS)).get("/v2").status_code == 404


def test_what_nobody_foresaw_has_the_form_of_errors_too(
    generators: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("animegen.server.tensors.read", lambda *_: 1 // 0)
    with TestClient(create_app(generators, v2=True)) as client:
        response = client.post("/v2/models/tiny/infer", content=b"{}")
    assert (response.status_code, list(response.json())) == (500, ["error"])
    assert "content-security-policy" in response.headers
    assert "ZeroDivisionError" in caplog.text  # the log has it
