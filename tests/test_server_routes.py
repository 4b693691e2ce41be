"""Every route of pictures gives what the library gives, and says so in the picture that is downloaded."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run
from PIL import Image

pytest.importorskip("fastapi")

from starlette.testclient import TestClient

from animegen import Generator, grid, table
from animegen.images.animation import encode_animation
from animegen.images.metadata import read_metadata
from animegen.images.stills import Images, encode, enlarge
from animegen.server import create_app

BLUE = {"hair": "blue"}


@pytest.fixture(scope="module")
def faces(conditional_model: Path) -> Iterator[Generator]:
    """The model with labels and a direction."""
    with Generator.load(conditional_model, device="cpu") as generator:
        yield generator


@pytest.fixture(scope="module")
def client(faces: Generator, tiny_model: Path) -> Iterator[TestClient]:
    """A server of two models, the first of which has labels."""
    with Generator.load(tiny_model, device="cpu") as tiny:
        app = create_app({"faces": faces, "tiny": tiny})
        with TestClient(app) as asked:
            yield asked


def pixels(data: bytes) -> Images:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def get(client: TestClient, address: str) -> bytes:
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    return answer.content


def test_a_seed_s_image_is_the_library_s(client: TestClient, faces: Generator) -> None:
    expected = faces.image(7)
    for form in ("png", "webp"):
        assert np.array_equal(pixels(get(client, f"/v1/images/7.{form}")), expected)
    assert get(client, "/v1/images/7.webp") == encode(expected, "webp")
    assert get(client, "/v1/images/7.jpg") == encode(expected, "jpg")


def test_what_an_image_may_be_asked_with(client: TestClient, faces: Generator) -> None:
    query = "toward=9:0.25&toward=4294967295:0.5&move=0:1.5&label=hair=blue&truncation=0.8&scale=3&mode=lerp"
    toward, moves = [(9, 0.25), (4294967295, 0.5)], {0: 1.5}
    expected = faces.image(3, toward=toward, moves=moves, labels=BLUE, truncation=0.8, mode="lerp")
    assert np.array_equal(pixels(get(client, f"/v1/images/3.png?{query}")), enlarge(expected, 3))


def test_the_model_is_chosen_by_name(client: TestClient, tiny_model: Path) -> None:
    with Generator.load(tiny_model, device="cpu") as tiny:
        assert np.array_equal(pixels(get(client, "/v1/images/3.png?model=tiny")), tiny.image(3))
    answer = client.get("/v1/images/3.png?model=other")
    assert answer.status_code == 404
    assert "faces, tiny" in answer.json()["detail"]


def test_grids(client: TestClient, faces: Generator) -> None:
    seeds = [0, 1, 2, 77]
    images = faces.sample(seeds=seeds, labels=BLUE)
    captioned = pixels(get(client, "/v1/grid.png?seeds=0-2,77&columns=3&captions=true&label=hair=blue"))
    assert np.array_equal(captioned, grid(images, 3, seeds))
    assert np.array_equal(pixels(get(client, "/v1/grid.png?scale=2")), enlarge(grid(faces.sample(64)), 2))
    assert get(client, "/v1/grid.jpg?seed=5&n=2") == encode(grid(faces.sample(2, seed=5)), "jpg")


def test_the_way_from_one_image_to_another(client: TestClient, faces: Generator) -> None:
    query = "a=3&b=4&steps=5&mode=lerp&label_a=hair=blonde&label_b=hair=red"
    labels = [{"hair": "blonde"}, {"hair": "red"}]
    images = faces.interpolate(3, 4, steps=5, mode="lerp", labels=labels)
    assert np.array_equal(pixels(get(client, f"/v1/interpolate.png?{query}")), grid(images, 5))
    frames = [*images, *images[-2:0:-1]]
    for form in ("gif", "webp"):
        expected = encode_animation(frames, form, fps=12, scale=2)
        assert get(client, f"/v1/interpolate.{form}?{query}&scale=2") == expected


def test_walks(client: TestClient, faces: Generator) -> None:
    frames = list(faces.walk([3, 14, 15], frames=20, labels=BLUE, truncation=0.9))
    query = "seeds=3,14-15&frames=20&label=hair=blue&truncation=0.9"
    assert get(client, f"/v1/walk.webp?{query}&fps=10") == encode_animation(frames, "webp", fps=10)
    assert get(client, f"/v1/walk.gif?{query}") == encode_animation(frames, "gif")
    pytest.importorskip("av")
    assert get(client, "/v1/walk.mp4?seed=3&stops=2&frames=4")[4:8] == b"ftyp"


def test_edits(client: TestClient, faces: Generator) -> None:
    amounts = [-2.0, 0.0, 2.0]
    expected = faces.edit(5, 0, amounts, labels=BLUE, truncation=0.5)
    query = "seed=5&direction=0&range=-2:2&steps=3&label=hair=blue&truncation=0.5"
    assert np.array_equal(pixels(get(client, f"/v1/edit.png?{query}")), grid(expected, 3))
    everywhere = faces.edit(0, None, np.linspace(-3, 3, 7).tolist())
    assert np.array_equal(pixels(get(client, "/v1/edit.png")), grid(everywhere, 7))
    moved = pixels(get(client, "/v1/edit.png?seed=5&toward=9:0.5&range=0:1&steps=2"))
    assert np.array_equal(moved[:, :8], faces.image(5, toward=[(9, 0.5)]))
    assert client.get("/v1/edit.png?model=tiny").status_code == 422


def test_sheets(client: TestClient, faces: Generator) -> None:
    images = faces.sheet(3, rows="hair", columns="eyes", labels=None)
    expected = table(images, ["blonde", "blue", "red"], ["green", "grey"])
    assert np.array_equal(pixels(get(client, "/v1/sheet.png?rows=hair&columns=eyes&seed=3")), expected)
    of_seeds = table(faces.sheet(1, 2, rows="eyes", labels=BLUE), ["green", "grey"], [1, 2])
    assert np.array_equal(pixels(get(client, "/v1/sheet.png?rows=eyes&seeds=1,2&label=hair=blue")), of_seeds)
    assert client.get("/v1/sheet.png?rows=hair&model=tiny").status_code == 422


@pytest.mark.parametrize(
    ("address", "command"),
    [
        ("/v1/images/3.png?toward=9:0.25&move=0:1.5&label=hair=blue&truncation=0.8&scale=2", "image"),
        ("/v1/images/3.webp?toward=9:0.25&mode=lerp", "image"),
        ("/v1/grid.png?seeds=0-4&columns=2&captions=true&label=eyes=grey&scale=2", "sample"),
        ("/v1/interpolate.png?a=1&b=2&steps=3&label_b=hair=red&scale=2", "interpolate"),
        ("/v1/interpolate.gif?a=1&b=2&steps=3&scale=2&fps=9", "interpolate"),
        ("/v1/walk.webp?seed=3&stops=2&frames=4", "walk"),
        ("/v1/edit.png?seed=5&direction=0&range=-1:1&steps=3&scale=2", "edit"),
        ("/v1/edit.png?seed=5", "edit"),
        ("/v1/sheet.png?rows=hair&columns=eyes&seed=3&scale=2", "sheet"),
    ],
)
def test_a_downloaded_picture_tells_the_command_that_makes_it_again(
    address: str, command: str, client: TestClient, animegen: Run, conditional_model: Path, tmp_path: Path
) -> None:
    import shlex

    answer = client.get(f"{address}&download=true")
    disposition, form = answer.headers["content-disposition"], address.partition("?")[0].rpartition(".")[2]
    assert disposition.startswith('attachment; filename="')
    assert disposition.endswith(f'.{form}"')
    file = tmp_path / f"downloaded.{form}"
    file.write_bytes(answer.content)
    (tmp_path / "faces.onnx").write_bytes(conditional_model.read_bytes())
    assert read_metadata(file)["command"] == command
    again = json.loads(animegen("info", file, "--json").stdout)["again"]
    done = animegen(*shlex.split(again)[1:])
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / f"again.{form}") as made, Image.open(file) as downloaded:
        assert np.array_equal(np.asarray(made.convert("RGB")), np.asarray(downloaded.convert("RGB")))
        assert getattr(made, "n_frames", 1) == getattr(downloaded, "n_frames", 1)


def test_a_picture_that_no_command_makes_tells_none(client: TestClient, animegen: Run, tmp_path: Path) -> None:
    (tmp_path / "edit.png").write_bytes(get(client, "/v1/edit.png?seed=5&toward=9:0.5&download=true"))
    assert json.loads(animegen("info", "edit.png", "--json").stdout)["again"] is None


def post(client: TestClient, asked: dict[str, Any], accept: str = "application/json") -> Any:
    answer = client.post("/v1/sample", json=asked, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    return answer.json() if accept == "application/json" else io.BytesIO(answer.content)


def test_many_images_as_json(client: TestClient, faces: Generator) -> None:
    answer = post(client, {"n": 3, "seed": 5, "labels": BLUE, "truncation": 0.9, "format": "webp"})
    assert answer["seeds"] == [5, 6, 7]
    assert (answer["model"], answer["sha256"], answer["format"]) == ("faces", faces.sha256, "webp")
    expected = faces.sample(3, seed=5, labels=BLUE, truncation=0.9)
    pictures = [base64.b64decode(text) for text in answer["images"]]
    assert [np.array_equal(pixels(picture), image) for picture, image in zip(pictures, expected, strict=True)]
    assert pictures[0] == encode(expected[0], "webp")


def test_many_images_as_a_zip(client: TestClient, faces: Generator) -> None:
    asked = {"seeds": "5,9,5", "labels": {"eyes": {"green": 1, "grey": 3}}}
    with zipfile.ZipFile(post(client, asked, "application/zip")) as archive:
        assert archive.namelist() == ["seed00000005-eyes-green-1+grey-3.png", "seed00000009-eyes-green-1+grey-3.png"]
        made = pixels(archive.read(archive.namelist()[1]))
    assert np.array_equal(made, faces.image(9, labels={"eyes": {"green": 0.25, "grey": 0.75}}))


def test_many_images_as_an_npz(client: TestClient, faces: Generator) -> None:
    for accept in ("application/x-npz", "application/octet-stream"):
        arrays = np.load(post(client, {"seeds": [2, 4294967295]}, accept))
        assert arrays["seeds"].tolist() == [2, 4294967295]
        assert np.array_equal(arrays["images"], faces.sample(seeds=[2, 4294967295]))


def test_images_of_latents_and_of_points(client: TestClient, faces: Generator) -> None:
    z = faces.latents([3, 4], truncation=0.5)
    arrays = np.load(post(client, {"latents": (2 * z).tolist(), "truncation": 0.5}, "application/x-npz"))
    assert arrays.files == ["images"]
    assert np.array_equal(arrays["images"], faces(z))
    points = [{"seed": 3, "toward": [[9, 0.25]], "moves": {"0": 1.5}}, {"seed": 4}]
    images = np.load(post(client, {"points": points}, "application/x-npz"))["images"]
    assert np.array_equal(images, [faces.image(3, toward=[(9, 0.25)], moves={0: 1.5}), faces.image(4)])


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "one of them must be there"),
        ({"n": 1, "seeds": [1]}, "one of them must be there"),
        ({"seed": 1, "seeds": [1]}, "seed goes with n"),
        ({"seeds": []}, "from 1 to 256"),
        ({"n": 257}, "from 1 to 256"),
        ({"seeds": "0-4294967295"}, "from 1 to 256"),
        ({"seeds": "5-3"}, "upwards"),
        ({"latents": [[0.0] * 7]}, "must have 8"),
        ({"latents": [[1e39] * 8]}, "float32"),
        ({"points": [{"seed": 1, "moves": {"1": 1}}]}, "direction"),
        ({"points": [{"seed": 1, "toward": [[2, 1.5]]}]}, "points"),
        ({"n": 1, "labels": {"hair": "green"}}, "blonde, blue, red"),
        ({"n": 1, "colour": "blue"}, "colour"),
    ],
)
def test_a_wrong_sample_says_what_is_wrong(asked: dict[str, Any], words: str, client: TestClient) -> None:
    answer = client.post("/v1/sample", json=asked)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_accept_chooses(client: TestClient) -> None:
    def kind(accept: str) -> str:
        answer = client.post("/v1/sample", json={"n": 1}, headers={"Accept": accept})
        return answer.headers["content-type"] if answer.status_code == 200 else str(answer.status_code)

    assert kind("*/*") == kind("application/*") == kind("text/html, */*;q=0.1") == "application/json"
    assert kind("application/json;q=0.5, application/zip") == "application/zip"
    assert kind("application/json;q=0, application/*") == "application/zip"
    assert kind("text/html") == kind("application/zip;q=x") == "406"


def test_whoever_asks_beside_whom_gets_the_same_bytes(client: TestClient, faces: Generator) -> None:
    addresses = [f"/v1/images/{seed}.png?toward={seed + 1}:0.5" for seed in range(40)]
    addresses += ["/v1/images/3.png?model=tiny", "/v1/grid.png?n=40", "/v1/walk.gif?frames=40"] * 3
    alone = {address: get(client, address) for address in addresses}
    with ThreadPoolExecutor(16) as pool:
        together = pool.map(lambda address: (address, get(client, address)), addresses)
        assert all(data == alone[address] for address, data in together)
