"""What README and docs tell people to type does run."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from conftest import ROOT, picture_zip, write_celeba, write_mnist
from PIL import Image

from animegen.cli import main
from animegen.deploy.browser_runtime import BUILDS
from animegen.images.formats import STILLS

PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
# The README's two set-up commands are run by .ci/run and by newcomers; no container engine runs in tests.
NOT_HERE = ("python3 -m venv", "docker ", "animegen serve")


def blocks(page: str, language: str) -> list[str]:
    """The fenced code blocks of a language on a page."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def commands(page: str) -> list[str]:
    """The lines of a page that can be run here, in order."""
    return [line for block in blocks(page, "sh") for line in block.splitlines() if not line.startswith(NOT_HERE)]


def stand_ins(folder: Path) -> Path:
    """A folder with files of the names that a site's runtime has."""
    folder.mkdir()
    for build in BUILDS.values():
        for name in build:
            (folder / name).touch()
    return folder


# test_server_docs runs those of docs/serving.md, beside the server that it starts.
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page) and page != "docs/serving.md"])
def test_commands_run_in_order(page: str, tmp_path: Path) -> None:
    lines = commands(page)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    if any("train" in line for line in lines):
        pytest.importorskip("torch")
        picture_zip(tmp_path / "faces.zip", 70, (96, 96))
        write_mnist(tmp_path / "downloads", 3)
        write_celeba(tmp_path / "downloads", 3)
        (tmp_path / "data").mkdir()
        (tmp_path / "runs").mkdir()
        (tmp_path / "train").symlink_to(ROOT / "train")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "ANIMEGEN_TRAIN_FIT_STEPS": "1",  # a resumed run finds it done
        "ANIMEGEN_TRAIN_FIT_SET": "generator.width=4 critic.width=4",
        "ANIMEGEN_TRAIN_COMPARE_STEPS": "1",
        "ANIMEGEN_WEB_RUNTIME": str(stand_ins(tmp_path / "runtime")),  # nothing is fetched here
    }
    for line in lines:
        done = subprocess.run(
            line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    for name in re.findall(r"\S+\.(?:png|jpg|webp)", "\n".join(lines)):
        with Image.open(tmp_path / name) as picture:
            assert picture.format in {still.name for still in STILLS.values()}
            assert np.asarray(picture).std() > 5


# What takes hours or another machine stands in blocks of text.
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "text")])
def test_commands_that_take_too_long_are_ones_that_the_programs_know(page: str) -> None:
    forge = pytest.importorskip("train.cli").main
    from train.report.recipes import Comparison, Recipe

    for block in blocks(page, "text"):
        for line in block.replace("\\\n", "").splitlines():
            start, group = ("python -m train ", forge) if line.startswith("python") else ("animegen ", main)
            if not line.startswith(start):
                continue
            name, *arguments = shlex.split(line.removeprefix(start))
            while isinstance(command := group.commands[name], click.Group):
                group, (name, *arguments) = command, arguments
            context = command.make_context(name, arguments)  # a wrong option is a UsageError
            if name == "compare":
                recipes = tuple(map(Recipe.parse, context.params["presets"].split(",")))
                Comparison(recipes, settings=context.params["settings"])  # a recipe that doesn't fit is a ConfigError


# test_embedding runs the programs of docs/embedding.md.
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python") and page != "docs/embedding.md"])
def test_python_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), {"__name__": "a reader's program"})


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert (ROOT / page).parent.joinpath(target).exists(), target


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in main.commands if f"animegen {name}" not in readme] == []


@pytest.mark.parametrize(
    "module", ["animegen", "animegen.generator", "animegen.progress", "animegen.quality.extractors", "animegen.seeds"]
)
def test_docstring_examples(module: str) -> None:
    tested = doctest.testmod(importlib.import_module(module))
    assert tested.attempted
    assert not tested.failed
