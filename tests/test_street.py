"""The whole street on real faces: prepare → fit → export → sample."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Run
from PIL import Image

FACES = Path(os.environ.get("ANIMEGEN_FACES", ROOT.parent / "shared" / "data" / "anime-faces.zip"))


@pytest.mark.faces
@pytest.mark.skipif(not FACES.exists(), reason="no faces: set ANIMEGEN_FACES to a zip of them")
def test_from_a_zip_of_faces_to_a_grid(train: Run, animegen: Run, tmp_path: Path) -> None:
    data, folder, model = tmp_path / "faces32", tmp_path / "run", tmp_path / "faces.onnx"
    small = ("size=32", "generator.width=16", "critic.width=16", "ema=0.98")
    settings = [part for setting in small for part in ("--set", setting)]
    limits = ("--steps", 300, "--device", "cpu")
    for arguments in (
        ("prepare", FACES, "--size", 32, "--out", data),
        ("fit", "--preset", "anime-pixels-64", *settings, *limits, "--data", data, "--out", folder),
        ("export", folder, "--out", model),
    ):
        done = train(*arguments)
        assert done.returncode == 0, done.stderr.decode()
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    # The critic's estimate falls as the generator learns, and the penalty holds the gradient's norm near one.
    assert rows[-1]["wasserstein"] < 0.5 * rows[2]["wasserstein"]
    assert 0.7 < rows[-1]["gradient_norm"] < 1.5
    done = animegen("sample", "--model", model, "--n", 16, "--out", "grid.png")
    assert done.returncode == 0, done.stderr.decode()
    with Image.open(tmp_path / "grid.png") as picture:
        sheet = np.asarray(picture)
    assert sheet.shape == (134, 134, 3)
    # 300 steps make no beauty, but skin in the middle and images that differ.
    cells = np.stack([sheet[y : y + 32, x : x + 32] for y in range(0, 134, 34) for x in range(0, 134, 34)]).astype(
        float
    )
    middle = cells[:, 14:24, 11:21].mean(axis=(0, 1, 2))
    assert middle[0] > middle[2]
    assert cells.std(axis=0).mean() > 15
