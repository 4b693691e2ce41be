"""What goes to stdout arrives whole or is an error: real processes with the stdout that users give them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import COMMAND, ROOT, Run, picture_zip
from PIL import Image

from animegen import Generator, grid

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these files and pipes are POSIX")

IO_FAILED, READER_GONE = 74, 141


def start(*arguments: object, program: tuple[str, ...] = (str(COMMAND),), **options: Any) -> Any:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
    words = [*program, *map(str, arguments)]
    return subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, **options)


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """The exit status and what was said, without the line of the device."""
    _, said = process.communicate(timeout=120)
    return process.returncode, "".join(x for x in said.decode().splitlines(True) if not x.startswith("device: "))


@pytest.fixture
def picture(tiny_model: Path) -> list[object]:
    """A command whose picture is larger than a pipe holds."""
    return ["sample", "--n", 1000, "--out", "-", "--model", tiny_model, "--device", "cpu"]


@pytest.fixture(scope="module")
def pixels(tiny_model: Path) -> np.ndarray:
    with Generator.load(tiny_model, device="cpu") as generator:
        return grid(generator.sample(1000))


def read_slowly(end: int) -> bytes:
    with os.fdopen(end, "rb", buffering=0) as reader:
        return b"".join(iter(lambda: reader.read(10_000), b""))


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("blocks", [True, False])
def test_a_pipe_gets_every_byte(picture: list[object], pixels: np.ndarray, unbuffered: str, blocks: bool) -> None:
    read, write = os.pipe()
    os.set_blocking(write, blocks)
    process = start(*picture, stdout=write, env={"PYTHONUNBUFFERED": unbuffered})
    os.close(write)
    data = read_slowly(read)
    assert finish(process) == (0, "")
    assert len(data) > 2**16
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)


def test_long_text_too(animegen_process: Run, tiny_model: Path) -> None:
    """A pipe that doesn't block, and a card of more than it holds."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    process = start("search", "--help", stdout=write, env={"PYTHONUNBUFFERED": "1", "COLUMNS": "100"})
    os.close(write)
    text = read_slowly(read).decode()
    assert finish(process) == (0, "")
    assert text.rstrip().endswith("Show this message and exit.")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_file_that_may_not_grow_is_an_error(picture: list[object], tmp_path: Path, unbuffered: str) -> None:
    import resource

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    with (tmp_path / "out.png").open("wb") as file:
        process = start(*picture, stdout=file, env={"PYTHONUNBUFFERED": unbuffered}, preexec_fn=small)
        assert finish(process) == (IO_FAILED, "error: stdout can't be written: File too large\n")


full = Path("/dev/full")
needs_full = pytest.mark.skipif(not full.exists(), reason="no /dev/full")


@needs_full
@pytest.mark.parametrize("command", [["info"], ["info", "--json"], ["--help"], ["--version"], ["sample", "--help"]])
def test_a_full_disk_is_one_line(command: list[str], tiny_model: Path) -> None:
    model = {"ANIMEGEN_INFO_MODEL": str(tiny_model)}
    with full.open("wb") as file:
        assert finish(start(*command, stdout=file, env=model)) == (
            IO_FAILED,
            "error: stdout can't be written: No space left on device\n",
        )


@needs_full
def test_a_full_disk_is_not_a_distance_above_the_largest(tiny_extractor_file: Path, tmp_path: Path) -> None:
    faces = picture_zip(tmp_path / "faces.zip", 30, (16, 16))
    fid = ["fid", faces, "--reference", faces, "--extractor", tiny_extractor_file, "--max", 1000, "--device", "cpu"]
    with full.open("wb") as file:
        status, said = finish(start(*fid, stdout=file))
    assert status == IO_FAILED, said
    assert said.splitlines()[-1] == "error: stdout can't be written: No space left on device"


@needs_full
def test_the_forge_too() -> None:
    pytest.importorskip("torch")
    forge = (sys.executable, "-m", "train")
    for command in (["presets"], ["--help"]):
        with full.open("wb") as file:
            status, said = finish(start(*command, program=forge, cwd=ROOT, stdout=file))
        assert (status, said) == (IO_FAILED, "error: stdout can't be written: No space left on device\n")


def closing(number: int) -> Callable[[], None]:
    return lambda: os.close(number)


def test_a_closed_stdout(picture: list[object], tiny_model: Path, tmp_path: Path) -> None:
    for command in (picture, ["info", "--model", tiny_model], ["--version"]):
        status, said = finish(start(*command, preexec_fn=closing(1)))
        assert (status, said) == (IO_FAILED, "error: stdout can't be written: it is closed\n")
    # What says nothing on stdout needs none, and no file of its own takes the place of stdout.
    options = ("--n", 4, "--model", tiny_model, "--device", "cpu", "--out", "a.png")
    status, said = finish(start("sample", *options, preexec_fn=closing(1), cwd=tmp_path))
    assert status == 0, said
    Image.open(tmp_path / "a.png").load()


@pytest.mark.parametrize("stderr", ["closed", "full"])
def test_talk_that_nobody_hears_harms_nothing(tiny_model: Path, tmp_path: Path, stderr: str) -> None:
    command = [str(COMMAND), "sample", "--n", "4", "--model", str(tiny_model), "--json"]
    if stderr == "closed":
        done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, preexec_fn=closing(2), check=False)
    elif full.exists():
        with full.open("wb") as file:
            done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=file, check=False)
    else:
        pytest.skip("no /dev/full")
    assert done.returncode == 0
    assert json.loads(done.stdout)["images"] == 4


def test_a_reader_that_goes_away_ends_the_command_quietly(picture: list[object]) -> None:
    for command in (picture, ["--help"]):
        read, write = os.pipe()
        os.close(read)
        process = start(*command, stdout=write)
        os.close(write)
        assert finish(process) == (READER_GONE, "")


ENCODINGS = ["cp1252", "cp437", "ascii"]  # Windows' of western Europe and of its console, and a system's without any


@pytest.fixture(scope="module")
def signs_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from conftest import tiny_card, write_model

    card = tiny_card(name="×→∞±é雪", provenance="e\u0301 \N{GRINNING FACE}")
    return write_model(tmp_path_factory.mktemp("signs") / "signs.onnx", card)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_arrives_in_any_encoding(signs_model: Path, encoding: str) -> None:
    environment = {"PYTHONIOENCODING": encoding}
    for options in ([], ["--json"]):
        process = start("info", "--model", signs_model, *options, stdout=subprocess.PIPE, env=environment)
        data, said = process.communicate(timeout=120)
        assert (process.returncode, said) == (0, b"")
        text = data.decode("utf-8" if encoding == "ascii" else encoding)
        if options == ["--json"]:
            card = json.loads(data.decode(encoding))
            assert card["name"] == "×→∞±é雪"
            assert card["provenance"] == "e\u0301 \N{GRINNING FACE}"
        else:
            assert "image_shape" in text


@pytest.mark.parametrize("encoding", ["cp1251", "ascii"])
def test_help_arrives_in_any_encoding(encoding: str) -> None:
    for command in ("evaluate", "fid"):
        process = start(command, "--help", stdout=subprocess.PIPE, env={"PYTHONIOENCODING": encoding})
        data, said = process.communicate(timeout=120)
        assert (process.returncode, said) == (0, b"")
        assert b"Show this message and exit." in data


def test_an_animation_needs_no_temporary_folder(tiny_model: Path, tmp_path: Path) -> None:
    command = ["walk", "--frames", 12, "--out", "-", "--format", "webp", "--model", tiny_model, "--device", "cpu"]
    missing = str(tmp_path / "missing")
    script = (
        "import tempfile, sys; folder = sys.argv.pop(1); tempfile._candidate_tempdir_list = lambda: [folder]; "
        "from animegen.cli import main; main(prog_name='animegen')"
    )
    process = start(missing, *command, program=(sys.executable, "-c", script), cwd=tmp_path, stdout=subprocess.PIPE)
    data, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (0, b"")
    assert Image.open(io.BytesIO(data)).n_frames == 12  # type: ignore[attr-defined]


ODD = os.fsdecode(b"caf\xe9")  # as an old zip or a Latin-1 share leaves names


@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 there")
@pytest.mark.parametrize("out", ["{}.png", "{}/", "{}.zip", "{}.npz", "{}.gif", "{}.mp4"])
def test_names_that_are_no_utf8(tiny_model: Path, tmp_path: Path, out: str) -> None:
    name = out.format(ODD)
    moves = out.endswith(("gif", "mp4"))
    if out.endswith("mp4"):
        pytest.importorskip("av")
    command = ["walk", "--frames", 6] if moves else ["sample", "--n", 2]
    options = ("--model", tiny_model, "--device", "cpu", "--out", name)
    process = start(*command, *options, "--json", cwd=tmp_path, stdout=subprocess.PIPE)
    data, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (0, b"")
    assert json.loads(data.decode())["out"] == name
    assert (tmp_path / name.rstrip("/")).exists()
    status, talk = finish(start(*command, *options, cwd=tmp_path))
    assert "Traceback" not in talk
    assert status == (1 if out in {"{}/", "{}.zip", "{}.npz"} else 0)  # what is there is refused
    assert r"caf\xe9" in talk


@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 there")
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_such_a_name_is_told_by_its_bytes(tmp_path: Path, encoding: str) -> None:
    """As `prepare` writes it down."""
    process = start("info", f"雪{ODD}.png", cwd=tmp_path, env={"PYTHONIOENCODING": encoding})
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert b"caf\\xe9.png does not exist" in said
    assert ("雪".encode() if encoding == "utf-8" else b"\\u96ea") in said
