"""Packed datasets and the batches drawn from them."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, assert_error, picture, picture_zip
from PIL import Image

pytest.importorskip("torch")

from animegen import DataError, OutputError
from train.data import Batches, Dataset, prepare


def test_prepare_packs_mixed_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    (folder / "deep").mkdir(parents=True)
    picture(0, (96, 96)).save(folder / "b.png")
    picture(1, (30, 50)).save(folder / "deep" / "a.jpg")
    picture(2, (16, 16)).save(folder / "c.webp", lossless=True)
    (folder / "d.png").write_bytes(b"broken")
    (folder / "list.txt").write_text("no picture")
    card = prepare(folder, tmp_path / "packed", size=16)
    assert (card.count, card.size, card.channels, card.broken, card.ignored) == (3, 16, 3, ["d.png"], 1)
    assert card.source == "mixed"
    dataset = Dataset.open(tmp_path / "packed")
    assert dataset.card == card
    assert dataset.images.shape == (3, 16, 16, 3)
    # In order of name: b.png, c.webp, deep/a.jpg. The one of the right size is untouched.
    np.testing.assert_array_equal(dataset.images[1], np.asarray(picture(2, (16, 16))))
    small = picture(0, (96, 96)).resize((16, 16), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(dataset.images[0], np.asarray(small))


def test_the_same_pictures_have_the_same_hash(tmp_path: Path) -> None:
    one = prepare(picture_zip(tmp_path / "a.zip", 5), tmp_path / "a", size=16)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path / "folder")
    other = prepare(tmp_path / "folder", tmp_path / "b", size=16)
    fewer = prepare(picture_zip(tmp_path / "c.zip", 4), tmp_path / "c", size=16)
    larger = prepare(tmp_path / "a.zip", tmp_path / "d", size=32)
    assert one.sha256 == other.sha256
    assert len({one.sha256, fewer.sha256, larger.sha256}) == 3


def test_sources_without_images(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("text")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_text("text")
    for name, words in (("empty", r"no images \(0"), ("text", r"no images \(1"), ("broken", "all 1 files are broken")):
        with pytest.raises(DataError, match=words):
            prepare(tmp_path / name, tmp_path / "packed", size=16)
    assert not (tmp_path / "packed").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_dataset_is_not_overwritten(tmp_path: Path, tiny_data: Path) -> None:
    packed = shutil.copytree(tiny_data, tmp_path / "packed")
    with pytest.raises(OutputError, match="already exists"):
        prepare(picture_zip(tmp_path / "a.zip", 3), packed, size=16)
    assert Dataset.open(packed).card.count == 50


def test_datasets_that_are_damaged(tmp_path: Path, tiny_data: Path) -> None:
    with pytest.raises(DataError, match="holds no packed dataset"):
        Dataset.open(tmp_path)
    packed = shutil.copytree(tiny_data, tmp_path / "packed")
    pixels = bytearray((packed / "images.npy").read_bytes())
    pixels[5000] ^= 1
    (packed / "images.npy").write_bytes(pixels)
    with pytest.raises(DataError, match="damaged"):
        Dataset.open(packed)
    (packed / "images.npy").write_bytes(pixels[: len(pixels) // 2])
    with pytest.raises(DataError, match="holds no packed dataset"):
        Dataset.open(packed)
    packed_again = shutil.copytree(tiny_data, tmp_path / "newer")
    card = json.loads((packed_again / "dataset.json").read_text())
    (packed_again / "dataset.json").write_text(json.dumps({**card, "format": 9}))
    with pytest.raises(DataError, match="format 9"):
        Dataset.open(packed_again)


def numbered(count: int) -> np.ndarray:
    """`count` images that tell their number in every pixel, and left from right in the last channel."""
    images = np.zeros((count, 2, 2, 3), np.uint8)
    images[..., 0] = np.arange(count)[:, None, None]
    images[:, :, 1, 2] = 1
    return images


def test_an_epoch_shows_every_image_once() -> None:
    batches = Batches(numbered(50), batch_size=8, seed=3, flip=False)
    drawn = np.concatenate([batches.batch(k)[:, 0, 0, 0] for k in range(25)])  # 200 images: 4 epochs
    for epoch in range(4):
        assert sorted(drawn[epoch * 50 : (epoch + 1) * 50]) == list(range(50))
    assert (drawn[:50] != drawn[50:100]).any()


def test_batch_k_is_the_same_in_any_order() -> None:
    one, other = (Batches(numbered(50), batch_size=8, seed=3, flip=True) for _ in range(2))
    forwards = [one.batch(k) for k in range(20)]
    for k in reversed(range(20)):
        np.testing.assert_array_equal(other.batch(k), forwards[k])
    differently = Batches(numbered(50), batch_size=8, seed=4, flip=True)
    assert (differently.batch(0) != forwards[0]).any()


def test_half_of_the_images_are_mirrored() -> None:
    batches = Batches(numbered(100), batch_size=100, seed=0, flip=True)
    left = np.concatenate([batches.batch(k)[:, 0, 0, 2] for k in range(10)])
    assert 400 < left.sum() < 600
    plain = Batches(numbered(100), batch_size=100, seed=0, flip=False)
    assert not plain.batch(0)[:, 0, 0, 2].any()


def test_a_batch_larger_than_the_dataset() -> None:
    with pytest.raises(DataError, match="10 images, fewer than a batch of 11"):
        Batches(numbered(10), batch_size=11, seed=0, flip=False)


def test_the_command(train: Run, tmp_path: Path) -> None:
    source = picture_zip(tmp_path / "faces.zip", 9)
    with zipfile.ZipFile(source, "a") as archive:
        for number in range(7):
            archive.writestr(f"broken/{number}.jpg", b"not a picture")
        archive.writestr("tags.tsv", b"text")
    done = train("prepare", source, "--size", 16, "--out", tmp_path / "packed")
    assert done.returncode == 0
    assert done.stdout == b""
    said = done.stderr.decode()
    for words in (
        "9 images of 16×16",
        "LANCZOS",
        Dataset.open(tmp_path / "packed").card.sha256,
        "1 files with another",
    ):
        assert words in said
    assert "7 broken files were skipped: broken/0.jpg, " in said
    assert "and 2 more" in said
    assert_error(train("prepare", source, "--size", 16, "--out", tmp_path / "packed"), 1, "already exists")
    assert_error(train("prepare", tmp_path / "no", "--out", tmp_path / "x"), 1, "does not exist")
    assert_error(train("prepare", source, "--size", 17, "--out", tmp_path / "x"), 2, "17")
    assert_error(train("prepare", source, "--out", tmp_path / "no" / "x"), 1, "make it first")
