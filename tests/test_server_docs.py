"""The commands of docs/serving.md, asked of the server that the page starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_docs import blocks
from test_server_process import serving

from animegen import Generator


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_what_the_page_on_serving_asks_for_is_answered(tmp_path: Path) -> None:
    lines = [line for block in blocks("docs/serving.md", "sh") for line in block.splitlines()]
    starts = [line for line in lines if line.startswith("animegen serve ")]
    asks = [line for line in lines if line.startswith("curl ")]
    assert (len(starts), len(asks)) == (1, 6)
    assert starts[0].split()[2:] == ["--port", "8720"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with serving("--grace", "0") as server:
        server.until("/readyz")
        for line in asks:
            here = line.replace(":8720/", f":{server.port}/").replace("curl -s", "curl -sS --fail-with-body")
            done = subprocess.run(here, shell=True, cwd=tmp_path, env=environment, capture_output=True, check=False)
            assert done.returncode == 0, (line, done.stderr, done.stdout)
    with Generator.load() as generator, Image.open(tmp_path / "face.png") as face:
        assert np.array_equal(np.asarray(face), generator.image(42))
    with Image.open(tmp_path / "large.png") as large, Image.open(tmp_path / "walk.webp") as walk:
        assert large.size == (256, 256)
        assert getattr(walk, "n_frames", 1) == 24
    with zipfile.ZipFile(tmp_path / "faces.zip") as archive:
        assert len(archive.namelist()) == 5
    assert np.load(tmp_path / "faces.npz")["images"].shape == (16, 64, 64, 3)
    assert len(json.loads((tmp_path / "points.json").read_text())["images"]) == 1
