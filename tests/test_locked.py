"""A path that may not be looked at is one line, of the class of errors that the caller foresees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run, assert_error

from animegen import (
    AnimegenError,
    DataError,
    Extractor,
    ModelError,
    OutputError,
    fid,
    find_model,
    open_images,
    open_sink,
)
from animegen.files import is_file, is_folder, status
from animegen.model import fetch
from animegen.quality import report
from animegen.runtime import Session

WHY = r"can't be (read|written|made).*Permission denied"
Case = tuple[Callable[[Path], Any], type[AnimegenError]]

IMAGES = np.zeros((4, 16, 16, 3), np.uint8)

LIBRARY: dict[str, Case] = {
    "status": (status, DataError),
    "a reference": (lambda path: fid(IMAGES, path / "reference.npz"), DataError),
    "a reference's images": (lambda path: fid(IMAGES, path / "faces"), DataError),
    "images": (lambda path: open_images(path / "faces.npz"), DataError),
    "an extractor": (lambda path: Extractor.load(path / "extractor.onnx"), ModelError),
    "a model": (lambda path: find_model(path / "model.onnx"), ModelError),
    "a session": (lambda path: Session(path / "model.onnx"), ModelError),
    "a report": (lambda path: report.check_folder(path / "report"), OutputError),
    "a sink": (lambda path: open_sink(path / "faces.zip", existing="skip"), AnimegenError),
}


@pytest.fixture
def closed(tmp_path: Path, locked: Callable[[Path], None]) -> Path:
    """A folder that may not be entered."""
    folder = tmp_path / "closed"
    folder.mkdir()
    locked(folder)
    return folder


@pytest.mark.parametrize("case", LIBRARY)
def test_the_library_says_it(case: str, closed: Path) -> None:
    look, wrong = LIBRARY[case]
    with pytest.raises(wrong, match=WHY):
        look(closed / "deeper")


def test_the_forge_says_it(closed: Path) -> None:
    pytest.importorskip("torch")
    from train.config import load_config
    from train.errors import ConfigError
    from train.extractors.inception import find_weights
    from train.report.figures import History
    from train.run.log import drop_rows_after, read_rows
    from train.run.open import check_run_folder

    cases: list[Case] = [
        (lambda path: load_config(str(path / "preset.toml")), ConfigError),
        (find_weights, ModelError),
        (History.read, DataError),
        (read_rows, DataError),
        (lambda path: drop_rows_after(path, 1), DataError),
        (check_run_folder, OutputError),
    ]
    for look, wrong in cases:
        with pytest.raises(wrong, match=WHY):
            look(closed / "run")


def test_a_cache_that_may_not_be_read(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANIMEGEN_CACHE", str(closed / "cache"))
    with pytest.raises(ModelError, match=WHY):
        fetch.fetch(fetch.parse("https://models.invalid/face.onnx"))
    with pytest.raises(ModelError, match=WHY):
        Extractor.load("inception")


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "--n", 1, "--out", "{}/face.png"],
        ["sample", "--n", 1, "--out", "{}/faces"],
        ["sample", "--n", 1, "--out", "{}/faces.zip", "--skip-existing"],
        ["fid", "--n", 64, "--reference", "{}/reference.npz"],
        ["info", "--model", "{}/model.onnx"],
    ],
)
def test_the_command_line_says_it(animegen: Run, closed: Path, arguments: list[Any]) -> None:
    given = [str(word).format(closed / "deeper") for word in arguments]
    assert_error(animegen(*given), 1, "closed", "Permission denied")


def test_what_is_at_a_path(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert (is_file(file), is_folder(file)) == (True, False)
    assert (is_file(tmp_path), is_folder(tmp_path)) == (False, True)
    for nothing in (tmp_path / "none", file / "below", tmp_path / "zero\0byte"):
        assert status(nothing) is None
        assert (is_file(nothing), is_folder(nothing)) == (False, False)
