"""What is shipped: the wheel, the container's recipe, the CI script."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT
from PIL import Image


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built with the installed backend, so that no network is needed."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_product_and_its_model(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"animegen/__init__.py", "animegen/py.typed", "animegen/models/anime-face-64.onnx"} <= names
    assert "animegen/models/anime-pixels-64.onnx" in names
    shipped = {"animegen/models/extractors/anime-tagger.onnx", "animegen/models/references/anime-faces.npz"}
    assert shipped <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"animegen"}  # no train/, no tests/


def test_the_installed_wheel_samples_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    target, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run([str(part) for part in command], check=True)
    # The checkout is out of reach, and so is the network: a socket can't even be made.
    script = (
        "import socket, sys\n"
        "def refuse(*_, **__): raise OSError('no network in this test')\n"
        "socket.socket = refuse\n"
        f"sys.path.insert(0, {str(target)!r})\n"
        "import animegen\n"
        f"assert animegen.__file__.startswith({str(target)!r})\n"
        "from animegen.cli import main\n"
        # A plain [cpu] install has none of these.
        "sys.modules.update(dict.fromkeys(['torch', 'onnx', 'scipy', 'pooch', 'pytorch_fid']))\n"
        "main(['fid', '--n', '32'], prog_name='animegen', standalone_mode=False)\n"
        "main(['sample', '--n', '4', '--out', 'grid.png'], prog_name='animegen')"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=empty, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "FID" in done.stdout
    assert "30,104 of anime-faces.zip" in done.stdout
    with Image.open(empty / "grid.png") as picture:
        assert picture.size == (130, 130)


def test_the_dockerfile_is_clean() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint has no wheel for this machine")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout == ""


def test_the_dockerfile_keeps_its_promises() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    stages = [line.split()[-1] for line in lines if line.startswith("FROM ")]
    assert stages == ["build", "runtime", "gpu", "cpu"]
    for target in ("gpu", "cpu"):
        start = next(i for i, line in enumerate(lines) if line.endswith(f" AS {target}"))
        stage = lines[start : start + 9]
        assert "USER 10001" in stage
        assert 'ENTRYPOINT ["animegen"]' in stage
        assert any(f"[{target}]" in line for line in stage)
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(line for line in ignored if not line.startswith("#")) == "*"
    allowed = {line.removeprefix("!").removesuffix("/**") for line in ignored if line.startswith("!")}
    assert allowed == set(copied)


def test_torch_and_torchvision_are_a_pair() -> None:
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")  # a torchvision of another torch fails right here
    kept = torchvision.ops.nms(torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8]]), torch.tensor([0.9, 0.8]), 0.5)
    assert kept.tolist() == [0]


def test_ci_runs_the_readme_s_own_command() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    awk = next(line for line in script.splitlines() if line.startswith("command=$("))
    printed = subprocess.run(
        ["bash", "-c", f'{awk}\nprintf "%s" "$command"'], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert printed.startswith("python3 -m venv .venv && ")
    assert printed.endswith("-m pytest")
    assert printed in (ROOT / "README.md").read_text(encoding="utf-8")
