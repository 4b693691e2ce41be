"""What is shipped: the wheel, the sdist, the requirement files, the container's recipe, the CI script."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from container import stages
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

import animegen

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
LICENCES = ["LICENSE", "models/LICENSE"]


def build(source: Path, out: Path, *kinds: str) -> None:
    """Build with the installed backend, so that no network is needed."""
    command = [sys.executable, "-m", "build", *kinds, "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the tree."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder, "--wheel")
    (built,) = folder.glob("*.whl")
    return built


def contents(wheel: Path) -> dict[str, int]:
    """The checksum of each file in a wheel, by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {member.filename: member.CRC for member in archive.infolist()}


def shipped_models() -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / "models").rglob("*") if path.is_file()}


def test_the_wheel_holds_the_package_and_the_models(wheel: Path) -> None:
    names = set(contents(wheel))
    assert {"animegen/__init__.py", "animegen/py.typed"} <= names
    assert {f"animegen/{name}" for name in shipped_models()} <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"animegen"}  # no train/, no tests/
    assert not [name for name in names if "__pycache__" in name]
    assert wheel.stat().st_size < 40e6


def test_the_wheel_names_both_licences_and_only_the_extras_of_users(wheel: Path) -> None:
    folder = f"animegen-{animegen.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata: Message = Parser().parsestr(archive.read(f"{folder}/METADATA").decode())
        texts = {name: archive.read(f"{folder}/licenses/{name}") for name in LICENCES}
    assert metadata["License-Expression"] == "MIT AND LicenseRef-animegen-models AND Apache-2.0 AND CC-BY-SA-3.0"
    assert metadata.get_all("License-File") == LICENCES
    assert texts == {name: (ROOT / name).read_bytes() for name in LICENCES}
    assert b"LicenseRef-animegen-models" in texts["models/LICENSE"]
    assert b"Apache License\n                           Version 2.0" in texts["models/LICENSE"]
    assert not [value for value in metadata.get_all("Classifier", []) if value.startswith("License ::")]
    assert sorted(metadata.get_all("Provides-Extra", [])) == ["cpu", "fetch", "gpu", "mp4", "openvino", "ray", "serve"]


@pytest.mark.slow
def test_the_sdist_builds_the_same_wheel_and_carries_no_more(wheel: Path, tmp_path: Path) -> None:
    build(ROOT, tmp_path)  # the sdist, and from it a wheel
    (rebuilt,) = tmp_path.glob("*.whl")
    assert rebuilt.name == wheel.name
    assert contents(rebuilt) == contents(wheel)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    beside = {name for name in names if not name.startswith(("animegen/", "models/"))}
    # .gitignore comes from hatchling, which needs it to choose the same files again.
    assert beside == {".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}


@pytest.mark.slow
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


def requirements(file: Path) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line]


DEPENDENCIES = [Requirement(line) for line in [*PROJECT["dependencies"], *EXTRAS["cpu"]]]
TRAIN = requirements(ROOT / "train" / "requirements.txt")
TESTS = requirements(ROOT / "tests" / "requirements.txt")


def imports(folder: Path) -> Iterator[str]:
    """The packages that a folder's modules import at all, by the names that are imported."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


@pytest.mark.parametrize(
    ("folder", "listed"), [("train", TRAIN), ("tests", TRAIN + TESTS), ("benchmarks", [*TRAIN, *TESTS])]
)
def test_the_requirement_files_name_all_that_a_folder_imports(folder: str, listed: list[Requirement]) -> None:
    names = {canonicalize_name(requirement.name) for requirement in [*DEPENDENCIES, *listed]} | {"animegen"}
    packages = importlib.metadata.packages_distributions()  # of what is installed: PIL is pillow's
    unlisted = {
        name
        for name in set(imports(ROOT / folder)) & packages.keys()
        if not names & {canonicalize_name(package) for package in packages[name]}
    }
    assert not unlisted


def test_a_package_has_one_floor_wherever_it_is_named() -> None:
    floors: dict[str, set[str]] = {}
    extras = [Requirement(line) for extra in EXTRAS.values() for line in extra]
    for requirement in [*DEPENDENCIES, *extras, *TRAIN, *TESTS]:
        floors.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement.specifier))
    assert {name: found for name, found in floors.items() if len(found) > 1} == {}
    assert all(re.fullmatch(r">=[\d.]+", "".join(found)) for found in floors.values())


def test_the_citation_is_of_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    entries = dict(re.findall(r"^([a-z-]+): *(.*)$", text, re.MULTILINE))
    assert {"cff-version", "message", "title", "authors"} <= entries.keys()  # what the format asks for
    assert entries["version"] == animegen.__version__


def instructions(stage: str) -> list[str]:
    """The Dockerfile's instructions from one stage, each on one line."""
    return stages((ROOT / "Dockerfile").read_text(encoding="utf-8"))[stage]


def copied(stage: str) -> list[str]:
    """What a stage takes from the checkout."""
    words = [line.split()[1:-1] for line in instructions(stage) if line.startswith("COPY ")]
    return [word for line in words for word in line if not word.startswith("--")]


def test_the_dockerfile_is_clean() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint has no wheel for this machine")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout == ""


def starting(target: str) -> list[str]:
    """The instructions of a target's stage that say what its containers do, without the health check."""
    kinds = ("USER ", "WORKDIR ", "EXPOSE ", "ENTRYPOINT ", "CMD ")
    return [line for line in instructions(target) if line.startswith(kinds)]


@pytest.mark.parametrize("target", ["cpu", "gpu", "train"])
def test_an_image_has_layers_of_dependencies_models_and_code(target: str, tmp_path: Path) -> None:
    base, dependencies, models, code, *_ = instructions(target)
    # What moves the first layer is the list of dependencies and nothing else.
    lists = {"train": ["cpu", "train"]}.get(target, [target])
    assert dependencies.endswith(f"pip install {' '.join(f'--requirement /{name}.txt' for name in lists)}")
    assert f"from=requirements,source=/src/{lists[0]}.txt" in dependencies
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (extraction,) = (line for line in instructions("requirements") if line.startswith("RUN "))
    command = extraction.removeprefix("RUN ").replace("python ", f"{sys.executable} ", 1)
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    assert requirements(tmp_path / f"{lists[0]}.txt") == [
        Requirement(line) for line in [*PROJECT["dependencies"], *EXTRAS[lists[0]], *EXTRAS["serve"]]
    ]
    # The second holds the models where a wheel would: in the package of the image's own Python.
    assert base == f"FROM runtime AS {target}"
    (version,) = re.findall(r"FROM python:(3\.\d+)-slim", instructions("runtime")[0])
    assert models.endswith(f" models /usr/local/lib/python{version}/site-packages/animegen/models")
    assert "from=build,source=/dist" in code
    assert code.endswith("pip install --no-deps --no-index /dist/*.whl")


def test_what_containers_do() -> None:
    serving = ["USER 10001", "WORKDIR /work", "EXPOSE 8720", 'ENTRYPOINT ["animegen"]']
    assert starting("cpu") == starting("gpu") == [*serving, 'CMD ["serve", "--host", "0.0.0.0"]']
    assert starting("train") == [
        "USER 10001",
        "WORKDIR /work",
        'ENTRYPOINT ["python", "-m", "train"]',
        'CMD ["--help"]',
    ]
    assert copied("train") == ["models", "train"]


def test_the_image_s_layers_make_up_the_wheel(wheel: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "dist"
    for name in copied("build"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, source / name)
    build(source, out, "--wheel")
    (code,) = out.glob("*.whl")
    names = set(contents(code))
    assert {name for name in names if name.startswith("animegen/models/")} == {"animegen/models/LICENSE"}
    assert names | {f"animegen/{name}" for name in shipped_models()} == set(contents(wheel))


def test_nothing_else_goes_into_the_container() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(line for line in ignored if not line.startswith("#")) == "*"
    allowed = {line.removeprefix("!").removesuffix("/**") for line in ignored if line.startswith("!")}
    wanted = {name for stage in ("requirements", "build", "runtime", "gpu", "train", "cpu") for name in copied(stage)}
    assert allowed == {name.partition("/")[0] for name in wanted}


def test_torch_and_torchvision_are_a_pair() -> None:
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")  # a torchvision of another torch fails right here
    kept = torchvision.ops.nms(torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8]]), torch.tensor([0.9, 0.8]), 0.5)
    assert kept.tolist() == [0]


def test_ci_runs_the_readme_s_own_commands() -> None:
    command = ["bash", str(ROOT / ".ci" / "run"), "commands"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    pictures, tests = done.stdout.splitlines()
    assert pictures.startswith("python3 -m venv .venv && .venv/bin/pip install '.[cpu]' && .venv/bin/animegen sample ")
    files = [word for word in tests.split() if word.endswith("requirements.txt")]
    assert files == ["train/requirements.txt", "tests/requirements.txt"]
    assert tests.endswith(" && .venv/bin/python -m pytest -n auto")
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert pictures in readme
    assert tests in readme
