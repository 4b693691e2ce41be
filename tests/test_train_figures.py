"""Pictures of runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, assert_error
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from animegen import DataError, UsageError
from animegen.images.stills import grid
from train.report import figures


def test_a_grid_is_taken_apart_again() -> None:
    batch = np.random.default_rng(0).integers(0, 255, (6, 5, 5, 3), np.uint8)
    np.testing.assert_array_equal(figures.cells(grid(batch, 3), 5), batch)


def test_the_running_mean_by_hand() -> None:
    np.testing.assert_allclose(figures.running_mean(np.array([1.0, 3, 5, 9]), reach=1), [2, 3, 17 / 3, 7])


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".webp"])
def test_curves_of_two_runs(tiny_run: Path, tmp_path: Path, suffix: str) -> None:
    other = shutil.copytree(tiny_run, tmp_path / "other")
    out = tmp_path / f"curves{suffix}"
    figures.plot_curves([tiny_run, other], out)
    data = out.read_bytes()
    assert data.startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF", ".webp": b"RIFF"}[suffix])
    if suffix == ".png":
        with Image.open(out) as picture:
            colours = {colour for _, colour in picture.convert("RGB").getcolors(2**20) or ()}
        assert {(31, 119, 180), (255, 127, 14)} <= colours  # both runs' lines


def test_fids_of_two_measurements_are_two_curves(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    rows = [
        {"step": step, "images_seen": 16 * step, "fid": 50 - step, "count": count, "extractor": extractor}
        | {"extractor_sha256": extractor * 9, "reference": "faces", "reference_sha256": "f" * 64}
        for step, count, extractor in ((1, 50, "anime"), (2, 50, "anime"), (3, 50, "imagenet"), (4, 2000, "imagenet"))
    ]
    (run / "fid.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    drawn: list[Figure] = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, *_: drawn.append(figure))
    figures.plot_curves([run, tiny_run], tmp_path / "curves.png")
    last = drawn[0].axes[-1]
    assert [np.asarray(line.get_xdata()).tolist() for line in last.lines] == [[16, 32], [48], [64]]
    assert len({str(line.get_linestyle()) for line in last.lines}) == 3
    legend = last.get_legend()
    assert legend
    assert [text.get_text() for text in legend.get_texts()] == [
        "anime animeani, 50 images to faces ffffffff",
        "imagenet imagenet, 50 images to faces ffffffff",
        "imagenet imagenet, 2,000 images to faces ffffffff",
    ]
    (run / "fid.jsonl").write_text(json.dumps(rows[0]))
    figures.plot_curves([run, tiny_run], tmp_path / "curves.png")
    assert drawn[1].axes[-1].get_legend() is None


def test_growth_as_a_sheet_and_as_an_animation(tiny_run: Path, tmp_path: Path) -> None:
    figures.draw_growth(tiny_run, tmp_path / "growth.png")
    with Image.open(tmp_path / "growth.png") as sheet, Image.open(tiny_run / "samples" / "step00000006.png") as last:
        assert sheet.size == (8 * 18 - 2, 2 * 18 - 2)  # two grids were made
        np.testing.assert_array_equal(np.asarray(sheet)[18:34], np.asarray(last)[:16])
    figures.draw_growth(tiny_run, tmp_path / "growth.gif")
    with Image.open(tmp_path / "growth.gif") as animation:
        assert getattr(animation, "n_frames", 1) == 2


def test_figures_that_cannot_be(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no metrics\.jsonl"):
        figures.plot_curves([tmp_path], tmp_path / "a.png")
    (tmp_path / "metrics.jsonl").write_text('{"step": 2, "cu')
    with pytest.raises(DataError, match="no rows yet"):
        figures.plot_curves([tmp_path], tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"\.svg"):
        figures.plot_curves([tiny_run], tmp_path / "a.bmp")
    with pytest.raises(DataError, match="no sample grids"):
        figures.draw_growth(tmp_path, tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_the_command(train: Run, train_process: Run, tiny_run: Path, tmp_path: Path) -> None:
    done = train_process("plot", tiny_run, "--out", tmp_path / "a.png", "--growth", tmp_path / "b.webp")
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.webp"]
    assert_error(train("plot", tmp_path, "--out", tmp_path / "c.png"), 1, "metrics.jsonl")
    (tmp_path / "folder.png").mkdir()
    for growth, words in (
        ("c.png", "is the file of the curves and must be another"),
        ("d.xyz", "'.xyz'"),
        ("none/d.gif", "make it first"),
        ("folder.png", "is a folder: name a file"),
    ):
        done = train("plot", tiny_run, "--out", tmp_path / "c.png", "--growth", tmp_path / growth)
        assert done.returncode in {1, 2}
        assert words in done.stderr.decode()
        assert not (tmp_path / "c.png").exists()  # before anything is drawn
