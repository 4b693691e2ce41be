"""Pictures from folders and zips."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import picture, picture_zip
from PIL import Image

from animegen import DataError
from animegen.images.sources import Broken, Source


def test_a_folder_and_a_zip_of_it_read_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep" / "er").mkdir(parents=True)
    for number, name in enumerate(["z.png", "deep/b.JPG", "deep/er/a.webp", "a.bmp"]):
        picture(number).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    (folder / "._a.png").write_bytes(b"a Mac's shadow of a picture")
    archive = tmp_path / "pictures.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.rglob("*"), reverse=True):
            packed.write(path, path.relative_to(folder))
    one, other = Source(folder), Source(archive)
    assert one.names == other.names == ["a.bmp", "deep/b.JPG", "deep/er/a.webp", "z.png"]
    assert one.ignored == other.ignored == 2
    for left, right in zip(one.read(), other.read(), strict=True):
        assert isinstance(left, Image.Image)
        assert isinstance(right, Image.Image)
        assert left.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right))


def test_broken_files_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    whole = picture_zip(tmp_path / "whole.zip", 1)
    with zipfile.ZipFile(whole) as archive:
        data = archive.read("faces/0.png")
    for name, content in {"cut.png": data[: len(data) // 2], "empty.png": b"", "text.jpg": b"hello"}.items():
        (tmp_path / name).write_bytes(content)
    picture(0).save(tmp_path / "good.png")
    read = dict(zip(Source(tmp_path).names, Source(tmp_path).read(), strict=True))
    assert isinstance(read["good.png"], Image.Image)
    for name in ("cut.png", "empty.png", "text.jpg"):
        broken = read[name]
        assert isinstance(broken, Broken)
        assert broken.name == name
        assert broken.why


def test_modes_transparency_and_rotation_become_upright_rgb(tmp_path: Path) -> None:
    Image.new("L", (4, 4), 77).save(tmp_path / "grey.png")
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("P", (4, 4), 3).save(tmp_path / "palette.png")
    turned = Image.new("RGB", (4, 2), "blue")
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turned by 90°
    turned.save(tmp_path / "turned.jpg", exif=exif)
    read = dict(zip(Source(tmp_path).names, Source(tmp_path).read(), strict=True))
    assert all(isinstance(image, Image.Image) and image.mode == "RGB" for image in read.values())
    assert read["grey.png"].getpixel((0, 0)) == (77, 77, 77)  # type: ignore[union-attr]
    assert read["clear.png"].getpixel((0, 0)) == (255, 255, 255)  # type: ignore[union-attr]
    assert read["turned.jpg"].size == (2, 4)  # type: ignore[union-attr]


def test_what_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        Source(tmp_path / "no")
    whole = picture_zip(tmp_path / "whole.zip", 3).read_bytes()
    directory = whole.rindex(b"PK\x01\x02")
    (tmp_path / "damaged.zip").write_bytes(whole[:directory] + b"PK\x07\x07" + whole[directory + 4 :])
    with pytest.raises(DataError, match="damaged zip file"):
        Source(tmp_path / "damaged.zip")
    (tmp_path / "half.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        Source(tmp_path / "half.zip")
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        Source(tmp_path / "a.txt")
