"""Pictures from folders and zips: which files they are, and what is said of the others."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import picture, picture_zip
from PIL import Image

from animegen import DataError
from animegen.images.decoding import flat
from animegen.images.sets import open_images
from animegen.images.sources import Broken, Source, readable


def png(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


def write_files(folder: Path, *names: str) -> Path:
    """A folder with a whole picture under each name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png())
    return folder


def broken_in(path: Path) -> dict[str, str]:
    """What can't be read in a source, and why."""
    return {each.name: each.why for each in Source(path).read() if isinstance(each, Broken)}


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


def test_what_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        Source(tmp_path / "no")
    whole = picture_zip(tmp_path / "whole.zip", 3).read_bytes()
    directory = whole.rindex(b"PK\x01\x02")
    (tmp_path / "damaged.zip").write_bytes(whole[:directory] + b"PK\x07\x07" + whole[directory + 4 :])
    with pytest.raises(DataError, match="damaged zip file"):
        Source(tmp_path / "damaged.zip")
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        Source(tmp_path / "a.txt")
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        Source(tmp_path / "pipe.zip")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04 and a half", "is cut off: it begins as a zip file, and its end is missing; get a whole copy"),
        (b"\n <!DOCTYPE html><title>404</title>", "is a web page and no zip file, so the download gave an error"),
        (b"<html>404</html>", "is a web page"),
        (b"", "is empty: get a whole copy"),
        (b"Rar!\x1a\x07", "is a RAR archive and must be a folder or a zip file of images: unpack it"),
        (bytes(257) + b"ustar" + bytes(250), "is a tar archive and must be"),
        (b"version https://git-lfs.github.com/spec/v1", "is a Git LFS pointer, neither a folder nor a zip file"),
        (b"text", "is neither a folder nor a zip file of images"),
    ],
)
def test_what_is_called_a_zip_and_is_none(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "faces.zip").write_bytes(data)
    with pytest.raises(DataError, match=words):
        Source(tmp_path / "faces.zip")


def test_a_zip_is_cut_in_half(tmp_path: Path) -> None:
    whole = picture_zip(tmp_path / "whole.zip", 3).read_bytes()
    (tmp_path / "half.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"half\.zip is cut off"):
        Source(tmp_path / "half.zip")


def test_members_that_are_damaged_or_encrypted_are_broken(tmp_path: Path) -> None:
    # Noise doesn't shrink, so a member's data are where its name ends.
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8))
    buffer = io.BytesIO()
    noise.save(buffer, "BMP")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.bmp", "b.bmp", "c.bmp", "d.bmp"):
            archive.writestr(name, buffer.getvalue())
        offsets = [member.header_offset for member in archive.infolist()]
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[offsets[1] + 35] ^= 0xFF  # the first byte of its data: zlib finds no block of that kind
    for start, place in (
        (data.index(b"PK\x03\x04", offsets[2]), 6),
        (data.index(b"c.bmp", data.index(b"PK\x01\x02")) - 46, 8),
    ):
        data[start + place] |= 1  # encrypted
    data[data.index(b"d.bmp", data.index(b"PK\x01\x02")) - 46 + 10] = 99  # compressed by an unknown method
    (tmp_path / "a.zip").write_bytes(data)
    assert broken_in(tmp_path / "a.zip") == {
        "b.bmp": "it is damaged in the zip file",
        "c.bmp": "it is encrypted",
        "d.bmp": "it is compressed in an unknown way",
    }


def test_why_a_file_is_broken(tmp_path: Path) -> None:
    whole = png()
    for name, data in {
        "cut.png": whole[:-30],
        "empty.png": b"",
        "link.png": b"version https://git-lfs.github.com/spec/v1\noid sha256:00",
        "page.jpg": b"<html>404</html>",
        "text.jpg": b"hello",
    }.items():
        (tmp_path / name).write_bytes(data)
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(2**28 + 1)
    reasons = broken_in(tmp_path)
    assert "truncated" in reasons.pop("cut.png")
    assert reasons == {
        "empty.png": "it is empty",
        "huge.png": "it is larger than 256 MiB",
        "link.png": "it is a Git LFS pointer",
        "page.jpg": "it is a web page",
        "text.jpg": "it is no picture of a known format",
    }


# --- names ---


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    broken = folder / os.fsdecode(b"br\xf6ken.png")
    broken.write_bytes(b"no picture")
    for name in (b"good.png", b"new\nline\t.png"):
        (folder / os.fsdecode(name)).write_bytes(png())
    assert Source(tmp_path).names == [
        r"caf\xe9/br\xf6ken.png",
        r"caf\xe9/good.png",
        r"caf\xe9/new\x0aline\x09.png",
    ]
    assert broken_in(tmp_path) == {r"caf\xe9/br\xf6ken.png": "it is no picture of a known format"}
    broken.unlink()
    images = open_images(folder)
    assert images.source == r"caf\xe9"
    assert [len(batch) for batch in images.read()] == [2]


def test_a_zip_whose_names_are_no_utf8(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("caf\u00e9.png", png())  # which has the flag of UTF-8
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace("\u00e9".encode(), b"\xe9\xe9"))
    with pytest.raises(DataError, match="names that are no UTF-8 and say they are: pack it again"):
        Source(tmp_path / "a.zip")


def test_two_members_of_one_name_are_both_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", png("red"))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", png("blue"))
    read = [each for each in Source(tmp_path / "a.zip").read() if isinstance(each, Image.Image)]
    assert [each.getpixel((0, 0)) for each in read] == [(255, 0, 0), (0, 0, 255)]


def test_readable_names_stay_as_they_are() -> None:
    for name in ("a.png", "\u732b/\u3000\u306d\u3053.png", "back\\slash.png"):
        assert readable(name) == name


# --- folders ---


def test_linked_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    write_files(tmp_path / "elsewhere", "cats/1.png", "cats/more/2.png", "dogs/3.png", "beside.png")
    faces = write_files(tmp_path / "faces", "a/1.png", "b/own.png")
    (faces / "0cats").symlink_to(tmp_path / "elsewhere" / "cats")
    (faces / "again").symlink_to(tmp_path / "elsewhere" / "cats")
    (faces / "0b").symlink_to("b")
    (faces / "a" / "up").symlink_to("..")
    (faces / "a" / "itself").symlink_to("itself")
    (faces / "a" / "linked.png").symlink_to("1.png")
    (tmp_path / "elsewhere" / "cats" / "loop").symlink_to(tmp_path)
    (tmp_path / "elsewhere" / "cats" / "dogs").symlink_to("../dogs")
    source = Source(faces)
    assert [name for name in source.names if not name.endswith("/")] == [
        "0cats/1.png",
        "0cats/dogs/3.png",
        "0cats/more/2.png",
        "a/1.png",
        "a/linked.png",
        "b/own.png",
    ]
    assert [each.name for each in source.unread] == ["a/itself/"]


def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    write_files(tmp_path, "1.png")
    for name in ("2.png", "cats", "notes.txt"):
        (tmp_path / name).symlink_to("gone")
    os.mkfifo(tmp_path / "3.png")
    assert broken_in(tmp_path) == {
        "2.png": "No such file or directory",
        "3.png": "it is neither a file nor a folder",
        "cats/": "the link leads nowhere: No such file or directory",
    }
    assert Source(tmp_path).left_out == {"with another extension": 1}


def test_folders_that_cannot_be_read_are_named(tmp_path: Path, locked: Callable[[Path], None]) -> None:
    faces = write_files(tmp_path / "faces", "a/1.png", "b/deep/2.png", "c.png", "@eaDir/3.png")
    locked(faces / "b")
    locked(faces / "@eaDir")
    source = Source(faces)
    assert source.names == ["a/1.png", "b/", "c.png"]
    assert broken_in(faces) == {"b/": "the folder can't be read: Permission denied"}
    with pytest.raises(DataError, match=r"faces holds b/, and the folder can't be read: Permission denied: mend it"):
        open_images(faces)
    locked(faces)
    for path in (faces, faces / "inside.zip"):
        for read in (Source, open_images):
            with pytest.raises(DataError, match=r"can't be read \(Permission denied\): make it readable"):
                read(path)


def test_a_file_that_cannot_be_read_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, "1.png")

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert broken_in(tmp_path) == {"1.png": "Permission denied"}


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    for name, words in {"a" * 300: "can't be read .File name too long", "a\0b": "does not exist"}.items():
        with pytest.raises(DataError, match=words):
            open_images(tmp_path / name)


@pytest.mark.parametrize("packed", [False, True])
def test_copies_that_programs_leave_are_no_pictures(packed: bool, tmp_path: Path) -> None:
    copies = {
        "a/.ipynb_checkpoints/1-checkpoint.png": "in .ipynb_checkpoints (Jupyter's copies)",
        "__MACOSX/a/1.png": "in __MACOSX (a Mac's resource forks)",
        "a/.AppleDouble/1.png": "in .AppleDouble (a Mac's resource forks)",
        "a/._1.png": "called ._* (a Mac's resource forks)",
        ".thumbnails/1.png": "in .thumbnails (thumbnails)",
        "a/@eaDir/1.png/SYNOPHOTO_THUMB_XL.jpg": "in @eaDir (Synology's thumbnails)",
        "a/.@__thumb/s1001.png": "in .@__thumb (QNAP's thumbnails)",
        "a/.picasaoriginals/1.png": "in .picasaoriginals (Picasa's originals of what was edited)",
        ".Trash-1000/files/1.png": "in .Trash-1000 (deleted files)",
        "$RECYCLE.BIN/1.png": "in $RECYCLE.BIN (deleted files)",
        "Thumbs.db": "with another extension",
    }
    source = write_files(tmp_path / "faces", "a/1.png", ".hidden/2.png", *copies)
    if packed:
        source = tmp_path / "faces.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for name in ("a/1.png", ".hidden/2.png", *copies):
                archive.writestr(name, png())
    found = Source(source)
    assert found.names == [".hidden/2.png", "a/1.png"]
    assert found.left_out == dict.fromkeys(copies.values(), 1)
    assert found.ignored == len(copies)


# --- formats ---


def test_more_extensions_are_read(tmp_path: Path) -> None:
    forms = {"jfif": "JPEG", "jpe": "JPEG", "JPEG": "JPEG", "tga": "TGA"}
    forms |= {"avif": "AVIF"} if ".avif" in Image.registered_extensions() else {}
    for extension, form in forms.items():
        picture(0).save(tmp_path / f"1.{extension}", form)
    (tmp_path / "2.heic").write_bytes(png())  # what is in a file decides
    (tmp_path / "3.heif").write_bytes(png())
    source = Source(tmp_path)
    assert len(source) == len(forms) + 2
    for each in source.read():
        assert isinstance(each, Image.Image)


BOX = bytes([0, 0, 0, 24]) + b"ftyp"
HEIC, AVIF = BOX + b"heic\0\0\0\0mif1heic", BOX + b"mif1\0\0\0\0avifmif1"


def test_what_to_install_for_heic_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for name in ("1.heic", "2.jpg"):
        (tmp_path / name).write_bytes(HEIC)
    why = "HEIC is read by pillow-heif: pip install pillow-heif"
    assert broken_in(tmp_path) == {"1.heic": why, "2.jpg": why}


def test_heic_is_read_where_its_library_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(file: Any, name: Any) -> Image.Image:
        assert file.read() == HEIC
        return Image.new("RGB", (4, 4), "red")

    library = ModuleType("pillow_heif")
    library.register_heif_opener = lambda: Image.register_open("HEIF", opened)  # type: ignore[attr-defined, arg-type]
    monkeypatch.setitem(sys.modules, "pillow_heif", library)
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    (tmp_path / "1.heic").write_bytes(HEIC)
    (only,) = Source(tmp_path).read()
    assert isinstance(only, Image.Image)
    assert only.getpixel((0, 0)) == (255, 0, 0)


def test_the_real_library_of_heic(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")  # tests/requirements.txt names it
    heif.from_pillow(picture(0)).save(tmp_path / "1.heic")
    (only,) = Source(tmp_path).read()
    assert isinstance(only, Image.Image)
    assert abs(np.asarray(flat(only), int) - np.asarray(picture(0), int)).mean() < 16


def test_which_pillow_reads_avif_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "registered_extensions", dict)
    (tmp_path / "1.avif").write_bytes(AVIF)
    assert broken_in(tmp_path) == {"1.avif": "AVIF is read by Pillow from 11.3 on: pip install --upgrade pillow"}
