"""Grids and picture files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from animegen import OutputError, UsageError, encode, grid, save_image
from animegen.images.formats import STILLS
from animegen.images.stills import Images, check_grid, grid_shape

PIXELS = np.random.default_rng(0).integers(0, 255, (7, 5, 6, 3), np.uint8)  # 255 is the paper's


@given(n=st.integers(1, 7), columns=st.one_of(st.none(), st.integers(1, 9)), channels=st.sampled_from([1, 3]))
def test_every_image_stands_in_its_cell(n: int, columns: int | None, channels: int) -> None:
    batch = PIXELS[:n, ..., :channels]
    sheet = grid(batch, columns)
    assert sheet.shape == grid_shape(n, columns, batch.shape[1:])
    across = (sheet.shape[1] + 2) // 8
    if columns is not None:
        assert across == min(columns, n)
    covered = np.zeros(sheet.shape, bool)
    for k in range(n):
        cell = np.s_[k // across * 7 : k // across * 7 + 5, k % across * 8 : k % across * 8 + 6]
        np.testing.assert_array_equal(sheet[cell], batch[k])
        covered[cell] = True
    assert (sheet[~covered] == 255).all()


@given(st.integers(1, 10_000))
def test_a_grid_is_nearly_square_and_never_taller_than_wide(n: int) -> None:
    height, width, _ = grid_shape(n, None, (1, 1, 1))
    rows, columns = (height + 2) // 3, (width + 2) // 3
    assert rows <= columns
    assert (columns - 1) ** 2 < n <= rows * columns <= columns**2


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.array])
def test_columns_are_an_integer_of_any_kind(kind: Any) -> None:
    images = np.resize(PIXELS, (9, 100, 100, 3))
    np.testing.assert_array_equal(grid(images, columns=kind(4)), grid(images, columns=4))


def test_labels_stand_under_their_images() -> None:
    tall = np.zeros((3, 64, 64, 3), np.uint8)
    labels = [0, 4294967295, "77"]
    sheet = grid(tall, 1, labels)
    assert sheet.shape == grid_shape(3, 1, tall.shape[1:], labels=True)
    cells = np.stack([sheet[top : top + 76] for top in (0, 78, 156)])
    np.testing.assert_array_equal(cells[:, :64], tall)
    strips = cells[:, 64:]
    assert (strips.min(axis=(1, 2, 3)) < 100).all()  # there is ink
    assert (strips[:, :, [0, -1]] == 255).all()  # and it is not cut off at the sides
    ink = (strips < 128).sum(axis=(1, 2, 3))
    assert ink[0] < ink[2] < ink[1]
    with pytest.raises(UsageError, match="2 labels stand for 3 images and must be one for each"):
        grid(tall, 1, labels[:2])


@pytest.mark.parametrize(
    ("images", "columns", "words"),
    [
        (PIXELS[:0], None, "0 images and must have at least one"),
        (PIXELS, 0, "columns is 0 and must be at least 1"),
        (PIXELS.astype(np.float32), None, r"float32 \[7, 5, 6, 3\] and must be uint8 \[N, H, W, 1, 3 or 4\]"),
        (PIXELS[0], None, r"\[5, 6, 3\] and must be"),
        (PIXELS[..., :2], None, r"\[7, 5, 6, 2\] and must be"),
        (np.broadcast_to(np.uint8(0), (30_000, 64, 64, 3)), None, "at most 256 MiB: ask for fewer"),
    ],
)
def test_a_grid_states_its_rules(images: Images, columns: int | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        grid(images, columns)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_keeps_every_pixel(channels: int, tmp_path: Path) -> None:
    image = PIXELS[0, ..., :channels]
    save_image(image, tmp_path / "a.PNG")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.PNG"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.PNG")).reshape(image.shape), image)


@pytest.mark.parametrize(("form", "name"), [("JPEG", "JPEG"), ("jpg", "JPEG"), ("webp", "WEBP"), ("png", "PNG")])
def test_formats_are_named_as_people_do_and_come_close(form: str, name: str) -> None:
    smooth = np.asarray(Image.fromarray(PIXELS[0]).resize((64, 64), Image.Resampling.BICUBIC))
    decoded = Image.open(io.BytesIO(encode(smooth, form)))
    assert decoded.format == name
    assert np.abs(np.asarray(decoded).astype(int) - smooth).mean() < 4


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_the_longest_side_of_a_format_is_what_its_encoder_takes(suffix: str, tmp_path: Path) -> None:
    longest = STILLS[suffix].side
    save_image(np.zeros((1, longest, 3), np.uint8), tmp_path / f"wide{suffix}")
    with Image.open(tmp_path / f"wide{suffix}") as picture:
        assert picture.width == longest
    for shape in ((1, longest + 1, 3), (longest + 1, 1, 3)):
        with pytest.raises(UsageError, match=f"must have at most {longest:,} on a side"):
            save_image(np.zeros(shape, np.uint8), tmp_path / f"wider{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == [f"wide{suffix}"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.bmp", r"the extension '\.bmp', and a picture must be one of \.png"),
        ("a", "without an extension"),
        ("a.png.exe", ".exe"),
    ],
)
def test_unknown_extensions(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        save_image(PIXELS[0], tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("image", [PIXELS, PIXELS[0, ..., 0], PIXELS[0, :0], PIXELS[0] / 255])
def test_an_array_that_is_no_image(image: Images) -> None:
    with pytest.raises(UsageError, match=r"must be uint8 \[H, W, 1, 3 or 4\]"):
        encode(image)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="make it first"):
        save_image(PIXELS[0], tmp_path / "no" / "a.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("n", "columns", "form", "fits"),
    [
        (20_000, None, "PNG", True),
        (30_000, None, "PNG", False),
        (10**9, None, "PNG", False),
        (300, 300, "WEBP", False),
        (200, 200, "webp", True),
        (1000, 1000, "JPEG", False),
        (1000, 1000, "PNG", True),
        (249, 1, "webp", False),
    ],
)
def test_a_grid_is_refused_before_it_is_made(n: int, columns: int | None, form: str, fits: bool) -> None:
    if fits:
        check_grid(n, columns, (64, 64, 3), form)
    else:
        with pytest.raises(UsageError, match=rf"the grid of {n:,} images is [\d,]+×[\d,]+ pixels and must"):
            check_grid(n, columns, (64, 64, 3), form)


def test_labels_count_in_the_size_of_a_grid() -> None:
    check_grid(220, 1, (64, 64, 3), "webp")
    with pytest.raises(UsageError, match=r"64×17,158 pixels"):
        check_grid(220, 1, (64, 64, 3), "webp", labels=True)


def test_transparency_is_kept_where_the_format_has_it(tmp_path: Path) -> None:
    image = np.dstack([PIXELS[0], np.linspace(0, 255, 30).astype(np.uint8).reshape(5, 6)])
    for form in ("png", "webp"):
        save_image(image, tmp_path / f"a.{form}")
        with Image.open(tmp_path / f"a.{form}") as picture:
            assert picture.mode == "RGBA"
            np.testing.assert_array_equal(np.asarray(picture), image)
    save_image(np.full((8, 8, 4), [0, 0, 0, 0], np.uint8), tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as picture:
        assert picture.mode == "RGB"
        assert (np.asarray(picture) == 255).all()
    sheet = grid(np.zeros((3, 8, 8, 4), np.uint8), 2, labels=[1, 2, 3])
    assert (sheet[:8, 8:10] == 255).all()  # gaps and labels can't be seen through
    assert (sheet[8:20, :8, 3] == 255).all()
    assert (sheet[8:20, :8, :3] < 128).any()
