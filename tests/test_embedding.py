"""The programs of docs/embedding.md: a web application, a window and a batch job."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from animegen import Generator

PROGRAMS: list[str] = re.findall(
    r"^```python\n(.*?)^```$", (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)


def program(word: str) -> str:
    """The one program on the page that holds this word."""
    (found,) = (text for text in PROGRAMS if word in text)
    return found


def names(word: str) -> dict[str, Any]:
    """What a program defines, as if it were imported."""
    defined: dict[str, Any] = {"__name__": "embedded"}
    exec(compile(program(word), "docs/embedding.md", "exec"), defined)  # our own page, not a user's
    return defined


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    with Generator.load(device="cpu") as generator:
        return generator.sample(3, seed=40)


def test_the_web_application(expected: np.ndarray) -> None:
    pytest.importorskip("starlette")
    pytest.importorskip("httpx2")
    from starlette.testclient import TestClient

    with TestClient(names("starlette")["app"]) as client:
        for k in range(3):
            answer = client.get(f"/faces/{40 + k}.png")
            assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
            assert "immutable" in answer.headers["cache-control"]
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), expected[k])
        answer = client.get(f"/faces/{2**32}.png")
        assert answer.status_code == 400
        assert "4294967295" in answer.text
        assert client.get("/faces/one.png").status_code == 404


def test_the_window(tmp_path: Path) -> None:
    # The page's program with a user at its slider, in a process of its own, as Qt wants.
    script = (
        ("try:\n    from PySide6 import QtWidgets\nexcept ImportError:\n    raise SystemExit(77)\n")
        + program("PySide6").partition('if __name__ == "__main__":')[0]
        + (
            "application = QApplication([])\n"
            "with Generator.load(device='cpu') as generator:\n"
            "    window = Faces(generator, 40, 41, 11)\n"
            "    window.show()\n"
            "    for step in (0, 5, 10):\n"
            "        window.slider.setValue(step)\n"
            "        application.processEvents()\n"
            f"        window.picture.pixmap().scaled(64, 64).save({str(tmp_path)!r} + f'/{{step}}.png')\n"
        )
    )
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("PySide6, or a system library that it needs, is not here")
    assert done.returncode == 0, done.stderr
    with Generator.load(device="cpu") as generator:
        row = generator.interpolate(40, 41, steps=11)
    for step in (0, 5, 10):
        with Image.open(tmp_path / f"{step}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), row[step])


def test_the_batch_job(expected: np.ndarray, tmp_path: Path) -> None:
    command = [sys.executable, "-c", program("def job"), "faces", "40-41"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "2 images made\n"
    assert names("def job")["job"](tmp_path / "faces", "40-42") == 1
    for k in range(3):
        with Image.open(tmp_path / "faces" / f"seed000000{40 + k}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), expected[k])
