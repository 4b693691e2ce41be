"""Sets of images: what is read, in which order, and what is refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import picture, picture_zip, write_dataset
from PIL import Image

from animegen import DataError, UsageError
from animegen.images.sets import PixelHash, open_dataset, open_images, picked, stacked


def folder_of(path: Path, sizes: list[tuple[int, int]]) -> Path:
    path.mkdir()
    for number, size in enumerate(sizes):
        picture(number, size).save(path / f"{number}.png")
    return path


def noise(count: int, size: int = 8) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), np.uint8)


def test_a_folder_and_a_zip_are_read_alike(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "faces", [(20, 20)] * 70)
    archive = picture_zip(tmp_path / "faces.zip", 70)
    one, other = open_images(folder), open_images(archive)
    assert one.count == other.count == 70
    assert [len(batch) for batch in one.read()] == [64, 6]
    np.testing.assert_array_equal(stacked(one.read(), 70), stacked(other.read(), 70))
    np.testing.assert_array_equal(stacked(one.read(), 70)[0], np.asarray(picture(0)))
    assert one.names[:3] == ("0.png", "1.png", "10.png")


def test_deep_greys_are_measured_as_their_eight_bits(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 16).astype(np.uint8)[None].repeat(16, 0)
    Image.fromarray(ramp).save(tmp_path / "1.png")
    Image.fromarray(ramp.astype(np.uint16) * 257).save(tmp_path / "2.png")
    for size in (None, 8):
        plain, deep = stacked(open_images(tmp_path, size=size).read(), 2)
        np.testing.assert_array_equal(plain, deep)


def test_the_hash_is_that_of_prepare(tiny_data: Path, tmp_path: Path) -> None:
    wanted = json.loads((tiny_data / "dataset.json").read_text())["sha256"]
    archive = picture_zip(tmp_path / "faces.zip", 50)
    for images in (open_images(tiny_data), open_images(archive, size=16)):
        digest = PixelHash(images.count)
        for batch in images.read():
            digest.add(batch)
        assert digest.hex() == wanted
        assert "LANCZOS" in images.rule
        assert "16×16" in images.rule


def test_an_npz_is_taken_as_it_is(tmp_path: Path) -> None:
    images = noise(5)
    np.savez(tmp_path / "drawn.npz", images=images)
    np.testing.assert_array_equal(stacked(open_images(tmp_path / "drawn.npz").read(), 5), images)
    with pytest.raises(DataError, match="8×8"):
        open_images(tmp_path / "drawn.npz", size=16)


def test_rows_are_picked_in_their_order(tmp_path: Path) -> None:
    images = open_images(picture_zip(tmp_path / "faces.zip", 70))
    rows = np.array([65, 3, 65, 0])
    np.testing.assert_array_equal(picked(images, rows), stacked(images.read(), 70)[rows])


def test_mixed_sizes_are_one_line_or_one_size(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "faces", [(20, 20), (20, 20), (30, 20)])
    with pytest.raises(DataError, match=r"0\.png of 20×20 and 2\.png of 30×20.*--size"):
        list(open_images(folder).read())
    assert stacked(open_images(folder, size=10).read(), 3).shape == (3, 10, 10, 3)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.array])
def test_a_size_is_an_integer_of_any_kind(kind: Any, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "faces", [(20, 20), (30, 20)])
    asked = open_images(folder, size=kind(200))
    assert asked.rule == open_images(folder, size=200).rule
    assert stacked(asked.read(), 2).shape == (2, 200, 200, 3)


@pytest.mark.parametrize("value", [0, -1, 64.0, True, 4097])
def test_sizes_that_no_picture_is_made(value: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "drawn.npz", images=noise(2))
    for source in (folder_of(tmp_path / "faces", [(20, 20)]), tmp_path / "drawn.npz"):
        with pytest.raises(UsageError, match=r"size is .* and must be .*from 1 to 4096"):
            open_images(source, size=value)


def test_sources_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "words.npz").write_bytes(b"words")
    np.savez(tmp_path / "other.npz", numbers=np.zeros(3))
    np.savez(tmp_path / "floats.npz", images=np.zeros((2, 8, 8, 3)))
    np.savez(tmp_path / "none.npz", images=np.zeros((0, 8, 8, 3), np.uint8))
    for name, words in {
        "empty": "holds no images",
        "missing": "does not exist",
        "words.npz": "can't be read as an npz",
        "other.npz": "must hold `images`",
        "floats.npz": "float64",
        "none.npz": "holds no images",
    }.items():
        with pytest.raises(DataError, match=words):
            open_images(tmp_path / name)


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(picture_zip(tmp_path / "faces.zip", 2), "a") as archive:
        archive.writestr("faces/9.png", b"no picture")
    with pytest.raises(DataError, match=r"faces/9\.png.*can't be decoded"):
        list(open_images(tmp_path / "faces.zip").read())


def test_a_packed_dataset_is_mapped_with_its_card(tmp_path: Path) -> None:
    images = noise(70)
    dataset = open_dataset(write_dataset(tmp_path / "packed", images))
    np.testing.assert_array_equal(dataset.images, images)
    assert isinstance(dataset.images, np.memmap)
    assert dataset.card == json.loads((tmp_path / "packed" / "dataset.json").read_text())
    assert open_images(tmp_path / "packed").count == 70


def test_a_dataset_whose_pixels_changed_is_refused(tmp_path: Path) -> None:
    images = noise(70)
    packed = write_dataset(tmp_path / "packed", images)
    images[66, 3, 3, 0] ^= 1
    for changed in (images, noise(70).astype(np.int8), images[:-1]):
        np.save(packed / "images.npy", changed)
        with pytest.raises(DataError, match=r"packed is damaged: .* prepare it again"):
            open_images(packed)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"count": 49}, r"damaged: images\.npy is uint8 50×8×8×3, and dataset\.json says 49×8×8×3"),
        ({"sha256": "0" * 64}, "damaged: its pixels"),
        ({"format": 2}, "dataset format 2 and must have 1"),
        ({"size": "8"}, r"dataset\.json with size '8'"),
        ({"count": None}, r"dataset\.json with count None"),
    ],
)
def test_a_card_of_other_images_is_refused(facts: dict[str, object], words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        open_images(write_dataset(tmp_path / "other", noise(50), **facts))


def test_folders_that_are_no_dataset(tmp_path: Path) -> None:
    for text, words in {"{": "no packed dataset", "[]": "no table", "{}": "without channels, count"}.items():
        (tmp_path / "dataset.json").write_text(text)
        with pytest.raises(DataError, match=words):
            open_images(tmp_path)
    packed = write_dataset(tmp_path / "packed", noise(2))
    for damage in (lambda: (packed / "images.npy").write_bytes(b"words"), (packed / "images.npy").unlink):
        damage()
        with pytest.raises(DataError, match="holds no packed dataset"):
            open_images(packed)
    with pytest.raises(DataError, match="holds no packed dataset"):
        open_dataset(tmp_path / "missing")
