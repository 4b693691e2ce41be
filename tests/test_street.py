"""The whole street on real faces: prepare → fit → export → sample."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, Run

pytest.importorskip("torch")

from animegen import Generator
from train.run.log import METRICS, read_rows

FACES = Path(os.environ.get("ANIMEGEN_FACES", ROOT.parent / "shared" / "data" / "anime-faces.zip"))


@pytest.fixture
def some_faces(tmp_path: Path) -> Path:
    """A zip of 1,500 of the faces: as many as this short a run looks at more than once."""
    with zipfile.ZipFile(FACES) as every, zipfile.ZipFile(tmp_path / "faces.zip", "w") as some:
        for name in every.namelist()[:1500]:
            some.writestr(name, every.read(name))
    return tmp_path / "faces.zip"


@pytest.mark.slow
@pytest.mark.faces
@pytest.mark.skipif(not FACES.exists(), reason="no faces: set ANIMEGEN_FACES to a zip of them")
def test_from_a_zip_of_faces_to_images(train: Run, some_faces: Path, tmp_path: Path) -> None:
    data, folder, model = tmp_path / "faces32", tmp_path / "run", tmp_path / "faces.onnx"
    small = ("size=32", "generator.width=8", "critic.width=8", "ema=0.98")
    quick = ("generator_optimiser.lr=1e-3", "critic_optimiser.lr=1e-3")
    settings = [part for setting in small + quick for part in ("--set", setting)]
    limits = ("--steps", 200, "--device", "cpu", "--threads", 1)
    for arguments in (
        ("prepare", some_faces, "--size", 32, "--out", data),
        ("fit", "--preset", "anime-pixels-64", *settings, *limits, "--data", data, "--out", folder),
        ("export", folder, "--out", model),
    ):
        done = train(*arguments)
        assert done.returncode == 0, done.stderr.decode()
    rows = read_rows(folder / METRICS)
    # The critic's estimate falls as the generator learns, and the penalty holds the gradient's norm near one.
    assert rows[-1]["wasserstein"] < 0.5 * max(row["wasserstein"] for row in rows)
    assert 0.7 < rows[-1]["gradient_norm"] < 1.5
    with Generator.load(model, device="cpu") as generator:
        images = generator.sample(16).astype(float)
    assert images.shape == (16, 32, 32, 3)
    # 200 steps make no beauty, but skin in the middle and images that differ.
    red, _, blue = images[:, 14:24, 11:21].mean(axis=(0, 1, 2))
    assert red > blue
    assert images.std(axis=0).mean() > 15
