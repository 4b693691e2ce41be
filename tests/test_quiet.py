"""The package talks to nobody: no telemetry of ONNX Runtime, no files that nobody asked for, no thread that lingers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import COMMAND, ROOT

SWITCH = "ORT_DISABLE_TELEMETRY"
# One thread for each library, so that any other one is somebody's own.
ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@pytest.fixture
def user(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who never heard of the switch, with an empty home and folder of temporary files."""
    folders = {"HOME": tmp_path / "home", "TMPDIR": tmp_path / "tmp", "XDG_CACHE_HOME": tmp_path / "cache"}
    for folder in folders.values():
        folder.mkdir()
    plain = {key: value for key, value in os.environ.items() if key != SWITCH}
    return {**plain, **ALONE, **{key: str(folder) for key, folder in folders.items()}}


def left_behind(user: dict[str, str]) -> list[Path]:
    return [path for key in ("HOME", "TMPDIR", "XDG_CACHE_HOME") for path in Path(user[key]).rglob("*")]


def process(
    *command: str | Path, user: dict[str, str], cwd: Path = ROOT, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run to the end in the user's environment, which is not this test's own."""
    words = [str(part) for part in command]
    return subprocess.run(words, env=user, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)


def program(lines: str, user: dict[str, str]) -> str:
    """What a program prints that has a generator."""
    start = "import os, sys\nfrom animegen import Generator\ngenerator = Generator.load(device='cpu', threads=1)\n"
    done = process(sys.executable, "-c", start + "generator.sample(1)\n" + lines, user=user)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_sample_leaves_home_and_temporary_files_as_they_were(user: dict[str, str], tmp_path: Path) -> None:
    done = process(COMMAND, "sample", "--out", tmp_path / "face.png", "--device", "cpu", user=user)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "face.png").is_file()
    assert left_behind(user) == []


def test_a_user_without_a_home_sees_our_lines_alone(user: dict[str, str], tmp_path: Path) -> None:
    """`docker run --user` gives `/` for a home, where such a user may not write."""
    (tmp_path / "file").touch()
    nowhere = {"HOME": str(tmp_path / "file"), "XDG_CACHE_HOME": str(tmp_path / "file")}
    done = process(COMMAND, "sample", "--out", tmp_path / "face.png", "--device", "cpu", user={**user, **nowhere})
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"{tmp_path / 'face.png'}: 64 images in ")


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc")
def test_a_generator_has_no_thread_of_its_own(user: dict[str, str]) -> None:
    """Telemetry is a thread that waits until it sends."""
    assert program("print(len(os.listdir('/proc/self/task')))", user) == "1\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_ends(user: dict[str, str]) -> None:
    """Telemetry waits at a normal exit for its thread, which no child has."""
    # An alarm's default action ends a process; the parent then prints its number.
    fork = "import signal\nchild = os.fork()\nif not child:\n    signal.alarm(20)\n    sys.exit(0)\n"
    assert program(fork + "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))", user) == "0\n"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace")
def test_nothing_opens_a_socket(user: dict[str, str], tmp_path: Path) -> None:
    """Telemetry asked for a host some nine seconds after the start, whether there was a network or not."""
    script = (
        "import time\nfrom animegen import Generator\n"
        "generator = Generator.load(device='cpu')\ngenerator.sample(1)\ntime.sleep(12)"
    )
    log = tmp_path / "sockets"
    done = process("strace", "-f", "-qq", "-e", "trace=socket", "-o", log, sys.executable, "-c", script, user=user)
    if not log.is_file() or "ptrace" in done.stderr:
        pytest.skip(f"strace may not look: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert "socket(" not in log.read_text(encoding="utf-8")


def test_whoever_set_the_switch_keeps_it(user: dict[str, str]) -> None:
    assert program(f"print(os.environ[{SWITCH!r}])", user) == "1\n"
    assert program(f"print(os.environ[{SWITCH!r}])", {**user, SWITCH: "true"}) == "true\n"


def test_training_leaves_nothing_either(user: dict[str, str], tiny_run: Path, tmp_path: Path) -> None:
    """Export proves its graph with ONNX Runtime."""
    command = (sys.executable, "-m", "train", "export", tiny_run, "--out", tmp_path / "tiny.onnx")
    done = process(*command, user=user, timeout=300)
    assert done.returncode == 0, done.stderr
    assert left_behind(user) == []
