"""A picture says where it comes from, and how it is made again."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run, assert_error, tiny_card, write_model
from PIL import Image

from animegen import (
    DataError,
    OutputError,
    UsageError,
    __version__,
    encode,
    open_images,
    open_sink,
    read_metadata,
    save_animation,
    save_image,
)
from animegen.images.formats import ANIMATIONS, STILLS
from animegen.images.sinks import Existing

NOISE = np.random.default_rng(0).integers(0, 256, (6, 7, 3), np.uint8)
SAID = {"model": "×→ model", "options": {"seed": 5, "truncation": 0.7, "label": ["a=b", "c"]}}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


# --- the library ---


@pytest.mark.parametrize("suffix", STILLS)
def test_a_picture_gives_its_metadata_back_and_keeps_its_pixels(suffix: str, tmp_path: Path) -> None:
    save_image(NOISE, tmp_path / f"a{suffix}", metadata=SAID)
    save_image(NOISE, tmp_path / f"b{suffix}")
    assert read_metadata(tmp_path / f"a{suffix}") == SAID
    np.testing.assert_array_equal(pixels(tmp_path / f"a{suffix}"), pixels(tmp_path / f"b{suffix}"))
    assert encode(NOISE, suffix[1:], metadata=SAID) == (tmp_path / f"a{suffix}").read_bytes()
    with pytest.raises(DataError, match="says nothing of where it comes from"):
        read_metadata(tmp_path / f"b{suffix}")


@pytest.mark.parametrize("suffix", ANIMATIONS)
def test_an_animation_too(suffix: str, tmp_path: Path) -> None:
    if suffix == ".mp4":
        pytest.importorskip("av")
    frames = [NOISE[:, k:] if k else NOISE for k in (0, 0, 0)]
    save_animation(frames, tmp_path / f"a{suffix}", metadata=SAID)
    assert read_metadata(tmp_path / f"a{suffix}") == SAID


def test_what_can_not_be_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UsageError, match="metadata is list and must be a table"):
        encode(NOISE, metadata=[1, 2])  # type: ignore[arg-type]
    for wrong in ({"a": float("nan")}, {"a": {1, 2}}):
        with pytest.raises(UsageError, match="must be texts, finite numbers, lists and tables"):
            encode(NOISE, metadata=wrong)
    save_image(NOISE, tmp_path / "a.jpg", metadata={"seeds": "1," * 40_000})
    assert "80,013 bytes and a JPEG holds 65,000" in caplog.text
    save_image(NOISE, tmp_path / "a.webp", metadata={"seeds": "1," * 40_000})
    assert len(read_metadata(tmp_path / "a.webp")["seeds"]) == 80_000


@pytest.mark.parametrize("text", ["words", "[1]", "[" * 100_000, '{"a": ', ""])
def test_texts_of_others(text: str, tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    chunks.add_text("animegen", text)
    Image.fromarray(NOISE).save(tmp_path / "a.png", pnginfo=chunks)
    with pytest.raises(DataError, match="says nothing"):
        read_metadata(tmp_path / "a.png")


def test_files_that_are_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"words")
    (tmp_path / "a.mp4").write_bytes(b"words")
    with pytest.raises(DataError, match="it is no picture"):
        read_metadata(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"can't be read|says nothing"):
        read_metadata(tmp_path / "a.mp4")
    with pytest.raises(DataError, match="does not exist"):
        read_metadata(tmp_path / "b.png")
    with pytest.raises(DataError, match="Is a directory"):
        read_metadata(tmp_path)


# --- what exists, and how it was made ---


def fill(path: Path, seeds: list[int], existing: Existing = "refuse", **facts: Any) -> list[int]:
    said = {"software": f"animegen {__version__}", "model_sha256": "ab", "options": {"truncation": 1.0}, **facts}
    with open_sink(path, existing=existing, metadata=lambda seed: {**said, "seed": seed}) as sink:
        return list(sink.write((seed, NOISE) for seed in sink.missing(seeds)))


def test_skipping_sees_that_a_picture_is_whole(tmp_path: Path) -> None:
    fill(tmp_path / "faces", [1, 2, 3, 4])
    names = sorted((tmp_path / "faces").iterdir())
    whole = [name.read_bytes() for name in names]
    names[0].write_bytes(whole[0][:-20])
    names[1].write_bytes(b"")
    names[2].write_bytes(whole[2][:70] + b"\0" + whole[2][71:])
    assert fill(tmp_path / "faces", [1, 2, 3, 4], "skip") == [1, 2, 3]
    assert [name.read_bytes() for name in names] == whole


@pytest.mark.parametrize("name", ["faces", "faces.zip"])
def test_skipping_sees_of_which_model_and_options_a_picture_is(name: str, tmp_path: Path) -> None:
    fill(tmp_path / name, [1, 2])
    assert fill(tmp_path / name, [1, 2, 3], "skip", software="animegen 9", model="renamed") == [3]
    for change in ({"model_sha256": "cd"}, {"options": {"truncation": 0.5}}):
        with pytest.raises(OutputError, match=rf"seed00000001\.png.* was made otherwise \({next(iter(change))} is "):
            fill(tmp_path / name, [1, 2, 3], "skip", **change)
    fill(tmp_path / "silent", [])
    save_image(NOISE, tmp_path / "silent" / "seed00000001.png")  # what says nothing is taken as it is
    assert fill(tmp_path / "silent", [1, 2], "skip") == [2]


def test_an_npz_says_it_once_and_is_read_as_before(tmp_path: Path) -> None:
    fill(tmp_path / "faces.npz", [7, 8])
    with np.load(tmp_path / "faces.npz", allow_pickle=False) as arrays:
        assert list(arrays) == ["images", "seeds", "metadata"]
        assert arrays["seeds"].tolist() == [7, 8]
        assert json.loads(str(arrays["metadata"]))["model_sha256"] == "ab"
    assert open_images(tmp_path / "faces.npz").count == 2


# --- the commands ---

COMMANDS = {
    "grid.png": ["sample", "--seeds", "3,8-9", "--grid", "2x2", "--truncation", "0.5", "--labels"],
    "grid.webp": ["sample", "--n", "5", "--seed", "7"],
    "row.png": ["interpolate", "--seed-a", "1", "--seed-b", "2", "--seed-a", "3", "--seed-b", "4", "--mode", "lerp"],
    "sheet.png": ["interpolate", "--corners", "1,2,3,4", "--steps", "3"],
    "edit.png": ["edit", "--seed", "5", "--direction", "1", "--range", "-2:2", "--steps", "5"],
    "walk.gif": ["walk", "--seed", "3", "--stops", "3", "--frames", "9", "--fps", "10", "--scale", "2"],
}


@pytest.fixture(scope="module")
def named_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    vectors = tuple(map(tuple, np.eye(8)[:2].tolist()))
    return write_model(tmp_path_factory.mktemp("named") / "tiny.onnx", tiny_card(directions=vectors))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_picture_is_made_again_from_what_it_says(animegen: Run, named_model: Path, tmp_path: Path, name: str) -> None:
    assert animegen(*COMMANDS[name], "--model", named_model, "--out", name, "--batch-size", 2).returncode == 0
    said = json.loads(animegen("info", name, "--json").stdout)
    assert said["model"] == "tiny"
    assert said["model_sha256"] == hashlib.sha256(named_model.read_bytes()).hexdigest()
    assert said["software"] == f"animegen {__version__}"
    assert str(named_model.parent) not in json.dumps(said)
    (tmp_path / "tiny.onnx").write_bytes(named_model.read_bytes())  # the name that the line gives the model
    program, *words = shlex.split(said["again"])
    assert program == "animegen"
    assert animegen(*words).returncode == 0
    again = tmp_path / f"again{Path(name).suffix}"
    assert words[-1] == again.name
    assert again.read_bytes() == (tmp_path / name).read_bytes()


def test_info_prints_it(animegen: Run, tiny_model: Path) -> None:
    animegen("sample", "--seeds", "3,8-9", "--model", tiny_model, "--out", "a.jpg")
    rows = dict(line.split(maxsplit=1) for line in animegen("info", "a.jpg").stdout.decode().splitlines())
    assert (rows["model"], rows["seeds"], rows["truncation"]) == ("tiny", "3,8-9", "1.0")
    assert rows["again"] == ("animegen sample --model tiny.onnx --seeds 3,8-9 --truncation 1.0 --out again.jpg")
    assert json.loads(animegen("info", tiny_model, "--json").stdout)["z_dim"] == 8
    assert_error(animegen("info", "a.jpg", "--markdown"), 2, "--markdown")
    assert_error(animegen("info", "none.png"), 1, "none.png does not exist")


def test_a_shipped_model_is_named(animegen: Run) -> None:
    assert animegen("sample", "--n", 1, "--out", "a.png", "--device", "cpu").returncode == 0
    again = json.loads(animegen("info", "a.png", "--json").stdout)["again"]
    assert again == "animegen sample --model anime-face-64 --seeds 0 --truncation 1.0 --out again.png"


def test_each_picture_of_many_is_made_again_alone(animegen: Run, tiny_model: Path, tmp_path: Path) -> None:
    for out in ("faces/", "faces.zip", "faces.npz"):
        options = ("--n", 3, "--seed", 5, "--truncation", 0.5, "--model", tiny_model, "--out", out)
        assert animegen("sample", *options).returncode == 0
    (tmp_path / "tiny.onnx").write_bytes(tiny_model.read_bytes())
    said = json.loads(animegen("info", "faces/seed00000006.png", "--json").stdout)
    assert said["options"] == {"seeds": "6", "truncation": 0.5}
    assert animegen(*shlex.split(said["again"])[1:]).returncode == 0
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "faces" / "seed00000006.png").read_bytes()
    with np.load(tmp_path / "faces.npz") as arrays:
        assert json.loads(str(arrays["metadata"]))["options"]["seeds"] == "5-7"
    told = animegen("info", "faces.npz")
    assert b"again.npz" in told.stdout
    assert b"tiny.onnx stands for the model's file" in told.stderr
    piped = animegen("sample", "--model", tiny_model, "--out", "-", "--format", "webp").stdout
    (tmp_path / "piped").write_bytes(piped)
    assert json.loads(animegen("info", "piped", "--json").stdout)["again"].endswith("again.webp")
    other = animegen("sample", "--n", 4, "--seed", 5, "--model", tiny_model, "--out", "faces", "--skip-existing")
    assert_error(other, 1, "seed00000005.png was made otherwise (options is ")


def test_a_picture_says_the_same_however_its_command_is_typed(
    animegen: Run, conditional_model: Path, tmp_path: Path
) -> None:
    ways = [
        ["--seeds", "3-5", "--truncation", "0.5", "--label", "hair=blue:.5+red:.5", "--label", "eyes=grey"],
        ["--label", "eyes=grey:1", "--scale", "1", "--label", "hair=red:0.5+blue:0.50", "--n", "3", "--seed", "3",
         "--truncation", ".50"],
    ]  # fmt: skip
    for name, way in zip(("a", "b"), ways, strict=True):
        for out in (f"{name}.png", f"{name}/", f"{name}.npz"):
            assert animegen("sample", "--model", conditional_model, "--out", out, *way).returncode == 0
    for first in (tmp_path / "a.png", tmp_path / "a.npz", *(tmp_path / "a").iterdir()):
        second = tmp_path / ("b" if first.parent != tmp_path else "") / first.name.replace("a.", "b.")
        assert first.read_bytes() == second.read_bytes()
    rest = animegen("sample", "--model", conditional_model, "--out", "b/", *ways[0], "--skip-existing")
    assert b"0 images" in rest.stderr


def test_the_same_command_makes_the_same_bytes_and_none_of_them_of_this_machine(
    animegen: Run, tiny_model: Path, tmp_path: Path
) -> None:
    for name in ("a.png", "b.png"):
        animegen("sample", "--n", 2, "--model", tiny_model, "--out", name, env={"HOME": name})
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    for part in (tmp_path.name, tiny_model.parent.name, os.uname().nodename):
        assert part.encode() not in (tmp_path / "a.png").read_bytes()


@pytest.mark.parametrize("name", COMMANDS)
def test_without_metadata_a_picture_says_nothing(animegen: Run, named_model: Path, tmp_path: Path, name: str) -> None:
    for option in ("--metadata", "--no-metadata"):
        out = f"{option.strip('-')}{Path(name).suffix}"
        assert animegen(*COMMANDS[name], "--model", named_model, "--out", out, option).returncode == 0
    silent = tmp_path / f"no-metadata{Path(name).suffix}"
    assert_error(animegen("info", silent), 1, "says nothing")
    np.testing.assert_array_equal(pixels(silent), pixels(tmp_path / f"metadata{Path(name).suffix}"))
    with Image.open(silent) as picture:
        assert not {"animegen", "exif"} & picture.info.keys()


def test_a_command_that_a_picture_brings_is_never_trusted(animegen: Run, tmp_path: Path) -> None:
    for wrong in (
        {"command": "sample; rm -rf /", "options": {}},
        {"command": "doctor", "options": {}},
        {"command": "sample", "options": {"seeds; rm": "1"}},
        {"command": "sample", "options": ["seeds"]},
    ):
        save_image(NOISE, tmp_path / "a.png", metadata={"model": "m", **wrong})
        assert json.loads(animegen("info", "a.png", "--json").stdout)["again"] is None
    said = {"command": "sample", "model": "$(id)\x1b[2J", "options": {"seeds": "1; id", "grid": "--debug"}}
    save_image(NOISE, tmp_path / "a.png", metadata=said)
    text = animegen("info", "a.png").stdout.decode()
    assert "\x1b" not in text
    again = text.splitlines()[-1].split(maxsplit=1)[1]
    assert "--model '$(id)\\x1b[2J.onnx' --seeds '1; id' --grid=--debug" in again
    echoed = subprocess.run(["sh", "-c", f"printf '%s\\n' {again}"], capture_output=True, text=True, check=True)
    assert "uid=" not in echoed.stdout


def test_stdout_has_it_too(animegen: Run, tiny_model: Path, tmp_path: Path) -> None:
    data = animegen("sample", "--n", 2, "--out", "-", "--model", tiny_model).stdout
    (tmp_path / "a.png").write_bytes(data)
    assert read_metadata(tmp_path / "a.png")["options"]["seeds"] == "0-1"
    Image.open(io.BytesIO(data)).load()
