"""What README and docs tell people to type does run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import COMMAND, ROOT, picture_zip, write_celeba, write_mnist
from PIL import Image

from animegen.images.formats import STILLS

PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
# The README's two set-up commands are run by .ci/run and by newcomers; no container engine runs in tests.
NOT_HERE = ("python3 -m venv", "docker ")


def blocks(page: str, language: str) -> list[str]:
    """The fenced code blocks of a language on a page."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def commands(page: str) -> list[str]:
    """The lines of a page that can be run here, in order."""
    return [line for block in blocks(page, "sh") for line in block.splitlines() if not line.startswith(NOT_HERE)]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)])
def test_commands_run_in_order(page: str, tmp_path: Path) -> None:
    lines = commands(page)
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
        "ANIMEGEN_TRAIN_FIT_STEPS": "1",  # of the real networks; a resumed run finds it done
        "ANIMEGEN_TRAIN_COMPARE_STEPS": "1",
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


# test_embedding runs the programs of docs/embedding.md.
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python") and page != "docs/embedding.md"])
def test_python_runs(page: str, tmp_path: Path) -> None:
    for block in blocks(page, "python"):
        done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert (ROOT / page).parent.joinpath(target).exists(), target


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = subprocess.run([COMMAND, "--help"], capture_output=True, text=True, check=True).stdout
    for line in listed.partition("Commands:")[2].splitlines():
        if line.strip():
            assert f"animegen {line.split()[0]}" in readme


@pytest.mark.parametrize("module", ["animegen", "animegen.generator", "animegen.quality.extractors"])
def test_docstring_examples(module: str) -> None:
    script = f"import doctest, {module} as m; failed, tried = doctest.testmod(m); assert tried and not failed"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
