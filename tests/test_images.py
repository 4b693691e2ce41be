"""Grids and picture files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from animegen import OutputError, UsageError
from animegen.images import stills as images

PIXELS = np.random.default_rng(0).integers(0, 255, (7, 5, 6, 3), np.uint8)  # 255 is the paper's


@given(n=st.integers(1, 7), columns=st.one_of(st.none(), st.integers(1, 9)), channels=st.sampled_from([1, 3]))
def test_every_image_stands_in_its_cell(n: int, columns: int | None, channels: int) -> None:
    batch = PIXELS[:n, ..., :channels]
    sheet = images.grid(batch, columns)
    across = min(columns or images.columns_for(n), n)
    down = -(-n // across)
    assert sheet.shape == (down * 7 - 2, across * 8 - 2, channels)
    covered = np.zeros(sheet.shape, bool)
    for k in range(n):
        cell = np.s_[k // across * 7 : k // across * 7 + 5, k % across * 8 : k % across * 8 + 6]
        np.testing.assert_array_equal(sheet[cell], batch[k])
        covered[cell] = True
    assert (sheet[~covered] == 255).all()


@given(st.integers(1, 10_000))
def test_a_grid_is_nearly_square_and_never_taller_than_wide(n: int) -> None:
    columns = images.columns_for(n)
    assert -(-n // columns) <= columns
    assert (columns - 1) ** 2 < n <= columns**2


def test_grids_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="at least one image"):
        images.grid(PIXELS[:0])
    with pytest.raises(UsageError, match="columns is 0"):
        images.grid(PIXELS, 0)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_keeps_every_pixel(channels: int, tmp_path: Path) -> None:
    image = PIXELS[0, ..., :channels]
    images.save(image, tmp_path / "a.PNG")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.PNG"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.PNG")).reshape(image.shape), image)


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_other_formats_come_close(form: str) -> None:
    smooth = np.asarray(Image.fromarray(PIXELS[0]).resize((64, 64), Image.Resampling.BICUBIC))
    decoded = Image.open(io.BytesIO(images.encode(smooth, form)))
    assert decoded.format == form
    assert np.abs(np.asarray(decoded).astype(int) - smooth).mean() < 4


@pytest.mark.parametrize(("name", "words"), [("a.bmp", r"\.bmp"), ("a", "without an extension"), ("a.png.exe", ".exe")])
def test_unknown_extensions(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        images.save(PIXELS[0], tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="make it first"):
        images.save(PIXELS[0], tmp_path / "no" / "a.png")
    assert not list(tmp_path.iterdir())


def test_labels_stand_under_their_images() -> None:
    tall = np.zeros((3, 64, 64, 3), np.uint8)
    marked = images.labelled(tall, ["0", "4294967295", "77"])
    assert marked.shape == (3, 76, 64, 3)
    np.testing.assert_array_equal(marked[:, :64], tall)
    strips = marked[:, 64:]
    assert (strips.min(axis=(1, 2, 3)) < 100).all()  # there is ink
    assert (strips[:, :, [0, -1]] == 255).all()  # and it is not cut off at the sides
    assert (strips[0] != strips[1]).any()
    ink = (strips < 128).sum(axis=(1, 2, 3))
    assert ink[0] < ink[2] < ink[1]


@pytest.mark.parametrize(
    ("n", "columns", "form", "fits"),
    [(20_000, None, "PNG", True), (30_000, None, "PNG", False), (10**9, None, "PNG", False), (300, 300, "WEBP", False),
     (200, 200, "WEBP", True), (1000, 1000, "JPEG", False), (1000, 1000, "PNG", True)],
)  # fmt: skip
def test_a_grid_that_no_viewer_could_show_is_refused(n: int, columns: int | None, form: str, fits: bool) -> None:
    if fits:
        images.check_sheet(n, columns, (3, 64, 64), form)
    else:
        with pytest.raises(UsageError, match=rf"{form} grid of {n} images would have [\d,]+×[\d,]+ pixels"):
            images.check_sheet(n, columns, (3, 64, 64), form)
