"""SIGTERM and SIGHUP do what Ctrl-C does, and a new run removes what a killed one left: the installed command."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import COMMAND, ROOT, Run, picture, picture_zip

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a command in the empty folder; it is ended with the test."""
    running: list[subprocess.Popen[str]] = []

    def begin(*words: object, program: tuple[str, ...] = (str(COMMAND),), **options: Any) -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [*program, *map(str, words)]
        options = {"cwd": tmp_path, "env": environment, "stderr": subprocess.PIPE, "text": True, **options}
        running.append(subprocess.Popen(command, **options))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def part(folder: Path) -> Path:
    """The part that a process begins in a folder."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in folder.glob(".*.part"):
            return path
        time.sleep(0.005)
    raise AssertionError("nothing was begun")


def walk(model: Path, out: str = "walk.mp4") -> list[object]:
    """A command without a loop of its own, which writes for a minute or so."""
    return ["walk", "--frames", 30_000, "--scale", 8, "--out", out, "--model", model, "--device", "cpu"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_without_a_loop_leaves_nothing(
    start: Start, tiny_model: Path, tmp_path: Path, number: signal.Signals
) -> None:
    pytest.importorskip("av")
    process = start(*walk(tiny_model))
    part(tmp_path)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "stopped\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_many_images_stop_where_all_is_whole(
    start: Start, tiny_model: Path, tmp_path: Path, number: signal.Signals
) -> None:
    process = start("sample", "--n", 10**6, "--out", "faces/", "--model", tiny_model, "--device", "cpu")
    while not (tmp_path / "faces" / "seed00000000.png").exists():
        time.sleep(0.005)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--skip-existing makes the rest" in said
    assert not list((tmp_path / "faces").glob(".*"))


def test_nohup_is_heard(start: Start, tiny_model: Path, tmp_path: Path) -> None:
    process = start(
        *("sample", "--n", 2000, "--out", "faces/", "--model", tiny_model, "--device", "cpu"),
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    while not (tmp_path / "faces" / "seed00000000.png").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGHUP)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert len(list((tmp_path / "faces").iterdir())) == 2000


def test_a_new_run_removes_what_a_killed_one_left(
    start: Start, animegen_process: Run, tiny_model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("av")
    killed, living = start(*walk(tiny_model)), start(*walk(tiny_model, "other.mp4"))
    while len(parts := sorted(tmp_path.glob(".*.part"))) < 2:
        time.sleep(0.005)
    killed.kill()
    killed.wait()
    kept, left = parts
    assert left.exists()
    assert animegen_process("sample", "--n", 1, "--out", "a.png", "--model", tiny_model).returncode == 0
    assert not left.exists()
    assert kept.exists()
    living.send_signal(signal.SIGTERM)
    living.communicate(timeout=60)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_the_forge_too(start: Start, train_process: Run, tmp_path: Path, number: signal.Signals) -> None:
    buffer = io.BytesIO()
    picture(0, (400, 400)).save(buffer, "PNG")
    faces = tmp_path / "faces.zip"
    with zipfile.ZipFile(faces, "w") as archive:
        for k in range(3000):
            archive.writestr(f"{k}.png", buffer.getvalue())
    forge = (sys.executable, "-m", "train")
    prepare = ("prepare", faces, "--size", 128, "--out", tmp_path / "packed")
    process = start(*prepare, program=forge, cwd=ROOT)
    left = part(tmp_path)
    process.send_signal(number)
    process.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert left.exists()
        few = picture_zip(tmp_path / "few.zip", 3)
        assert train_process("prepare", few, "--size", 8, "--out", tmp_path / "small").returncode == 0
        (tmp_path / "few.zip").unlink()
    else:
        assert process.returncode == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == (
        ["faces.zip", "small"] if number == signal.SIGKILL else ["faces.zip"]
    )
