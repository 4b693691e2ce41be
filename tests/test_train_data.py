"""Packed datasets, and what they are packed from."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import Run, assert_error, picture, picture_zip, write_celeba, write_mnist
from PIL import Image

pytest.importorskip("torch")

from animegen import DataError, MissingPackageError, OutputError
from animegen.progress import Progress, report_progress
from train.cli import main
from train.data import Dataset, DatasetGroup, prepare


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


def test_deep_greys_are_packed_as_their_eight_bits(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 16).astype(np.uint8)[None].repeat(16, 0)
    kinds: dict[str, np.ndarray] = {"plain": ramp, "deep": ramp.astype(np.uint16) * 257}
    kinds["float"] = (ramp / 255).astype(np.float32)
    for name, values in kinds.items():
        (tmp_path / name).mkdir()
        Image.fromarray(values).save(tmp_path / name / "1.tif")
    hashes = {prepare(tmp_path / name, tmp_path / f"{name}.packed", size=16).sha256 for name in kinds}
    assert len(hashes) == 1
    np.testing.assert_array_equal(Dataset.open(tmp_path / "deep.packed").images[0, ..., 0], ramp)


def test_what_was_left_out_is_named_with_its_reason(
    train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    folder = tmp_path / "faces"
    (folder / "@eaDir" / "1.png").mkdir(parents=True)
    picture(0).save(folder / "1.png")
    picture(0).save(folder / "@eaDir" / "1.png" / "SYNOPHOTO_THUMB_M.jpg")
    picture(0).save(folder / "2.jfif", "JPEG")
    (folder / "tags.tsv").write_text("text")
    contents = {"page.png": b"<html>", "lost.png": b"<html>", "empty.png": b"", "text.png": b"text"}
    contents |= {
        "phone.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "link.png": b"version https://git-lfs",
        "z.png": b"%PDF",
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    (folder / "locked.png").symlink_to("gone")
    done = train("prepare", folder, "--size", 16, "--out", tmp_path / "packed")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.decode().splitlines()
    assert "1 files in @eaDir (Synology's thumbnails) were left out" in lines
    assert "1 files with another extension were left out" in lines
    assert "warning: 2 broken files were skipped: lost.png, page.png (it is a web page)" in lines
    assert "warning: 1 broken files were skipped: empty.png (it is empty)" in lines
    assert "warning: 2 more broken files were skipped, for other reasons: broken.tsv names them" in lines
    card = Dataset.open(tmp_path / "packed").card
    assert (card.count, card.ignored) == (2, 2)
    rows = [line.split("\t") for line in (tmp_path / "packed" / "broken.tsv").read_text().splitlines()]
    assert rows[0] == ["file", "why"]
    assert [name for name, _ in rows[1:]] == card.broken == sorted([*contents, "locked.png"])
    assert dict(rows)["locked.png"] == "No such file or directory"
    assert "pip install pillow-heif" in dict(rows)["phone.heic"]


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


def test_the_command(train: Run, tmp_path: Path) -> None:
    source = picture_zip(tmp_path / "faces.zip", 9)
    with zipfile.ZipFile(source, "a") as archive:
        for number in range(7):
            archive.writestr(f"broken/{number}.jpg", b"not a picture")
        archive.writestr("tags.tsv", b"text")
    done = train("prepare", source, "--size", 16, "--out", tmp_path / "packed")
    assert done.returncode == 0
    assert done.stdout == b""
    messages = done.stderr.decode()
    for words in (
        "9 images of 16×16",
        "LANCZOS",
        Dataset.open(tmp_path / "packed").card.sha256,
        "1 files with another",
    ):
        assert words in messages
    assert "7 broken files were skipped: broken/0.jpg, " in messages
    assert "and 2 more" in messages
    assert_error(train("prepare", source, "--size", 16, "--out", tmp_path / "packed"), 1, "already exists")
    assert_error(train("prepare", tmp_path / "no", "--out", tmp_path / "x"), 1, "does not exist")
    assert_error(train("prepare", source, "--size", 17, "--out", tmp_path / "x"), 2, "17")
    assert_error(train("prepare", source, "--out", tmp_path / "no" / "x"), 1, "make it first")


def write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """CIFAR-10's files in their own format, with 2 images each; the training images [10, 32, 32, 3].

    torchvision opens only files of the published md5, so these are patched.
    """
    datasets = pytest.importorskip("torchvision.datasets")
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    images = np.random.default_rng(1).integers(0, 256, (12, 32, 32, 3), np.uint8)

    def write(name: str, table: dict[str, object]) -> str:
        data = pickle.dumps(table, protocol=2)
        (folder / name).write_bytes(data)
        return hashlib.md5(data, usedforsecurity=False).hexdigest()

    md5s = []
    for k, name in enumerate([*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]):
        planes = images[2 * k : 2 * k + 2].transpose(0, 3, 1, 2).reshape(2, 3072)
        md5s.append([name, write(name, {"data": planes, "labels": [0, 1]})])
    meta = {**datasets.CIFAR10.meta, "md5": write("batches.meta", {"label_names": ["cat", "dog"]})}
    monkeypatch.setattr(datasets.CIFAR10, "train_list", md5s[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", md5s[5:])
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    return images[:10]


def test_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_cifar10(tmp_path / "downloads", monkeypatch)
    source, out = f"cifar10:{tmp_path / 'downloads'}", tmp_path / "packed"
    # In this process, as the published md5s are patched in it.
    done = CliRunner().invoke(main, ["prepare", source, "--size", "32", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "10 images of 32×32×3, no resize: every picture was 32×32" in done.stderr
    dataset = Dataset.open(out)
    np.testing.assert_array_equal(dataset.images, images)
    assert dataset.card.source == "CIFAR-10, training images"
    assert dataset.card.labels == (DatasetGroup(name="class", classes=("cat", "dog"), counts=(5, 5), unknown=0),)
    assert dataset.labels is not None
    assert dataset.labels.values.ravel().tolist() == [0, 1] * 5

    grey = prepare(Path(source), tmp_path / "grey", size=16, channels=1)
    assert (grey.channels, grey.size, grey.count) == (1, 16, 10)
    assert grey.resize == "centre square crop, Pillow LANCZOS (antialiased), grey (ITU-R 601 luma)"
    luma = Image.fromarray(images[3]).convert("L").resize((16, 16), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(Dataset.open(tmp_path / "grey").images[3, ..., 0], np.asarray(luma))

    batch = tmp_path / "downloads" / "cifar-10-batches-py" / "data_batch_3"
    batch.write_bytes(batch.read_bytes()[:-1])
    done = CliRunner().invoke(main, ["prepare", source, "--size", "32", "--out", str(tmp_path / "no")])
    assert done.exit_code == 1
    assert "damaged: unpack cifar-10-python.tar.gz" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_file_that_is_not_the_published_one_is_never_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar10(tmp_path, monkeypatch)

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match="damaged"):
        prepare(Path(f"cifar10:{tmp_path}"), tmp_path / "packed", size=32)
    assert not (tmp_path / "sprung").exists()


def test_mnist(train: Run, tmp_path: Path) -> None:
    images = write_mnist(tmp_path / "downloads", 7)
    source = f"mnist:{tmp_path / 'downloads'}"
    done = train("prepare", source, "--size", 28, "--out", tmp_path / "packed")
    assert done.returncode == 0, done.stderr
    dataset = Dataset.open(tmp_path / "packed")
    assert (dataset.card.channels, dataset.card.source) == (1, "MNIST, training images")
    assert dataset.card.resize == "no resize: every picture was 28×28"
    np.testing.assert_array_equal(dataset.images, images[..., None])

    colour = prepare(Path(source), tmp_path / "colour", size=28, channels=3)
    assert colour.channels == 3
    np.testing.assert_array_equal(Dataset.open(tmp_path / "colour").images, np.repeat(images[..., None], 3, axis=3))

    labels = tmp_path / "downloads" / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    labels.unlink()
    with pytest.raises(DataError, match=r"MNIST in .*raw is incomplete or damaged: put the four files .*gunzip"):
        prepare(Path(source), tmp_path / "no", size=28)
    labels.write_bytes(b"cut")
    with pytest.raises(DataError, match="damaged"):
        prepare(Path(source), tmp_path / "no", size=28)


@pytest.mark.parametrize("place", ["folder", "zip", "itself"])
def test_celeba(place: str, train: Run, tmp_path: Path) -> None:
    faces = write_celeba(tmp_path, 3)
    folder = tmp_path / "celeba" / "img_align_celeba"
    (folder / "000002.jpg").write_bytes(b"broken")
    root = tmp_path
    if place == "zip":
        shutil.make_archive(str(tmp_path / "img_align_celeba"), "zip", tmp_path / "celeba", "img_align_celeba")
        shutil.rmtree(tmp_path / "celeba")
    elif place == "itself":
        root = folder
    done = train("prepare", f"celeba:{root}", "--size", 32, "--out", tmp_path / "packed")
    assert done.returncode == 0, done.stderr
    dataset = Dataset.open(tmp_path / "packed")
    assert dataset.card.source == "CelebA, aligned, all images"
    assert dataset.card.resize.startswith("centre 108×108 of the aligned 178×218 (as DCGAN-tensorflow), Pillow LANCZOS")
    assert len(dataset.card.broken) == 1
    assert dataset.card.broken[0].endswith("000002.jpg")
    # DCGAN-tensorflow's center_crop: j = round((218 - 108) / 2) rows and i = round((178 - 108) / 2) columns.
    crop = Image.fromarray(np.asarray(faces[2])[55 : 55 + 108, 35 : 35 + 108])
    np.testing.assert_array_equal(dataset.images[1], np.asarray(crop.resize((32, 32), Image.Resampling.LANCZOS)))


def test_published_datasets_that_are_not_there(train: Run, tmp_path: Path) -> None:
    for kind, *words in (
        ("cifar10", "cifar-10-batches-py", "cifar-10-python.tar.gz"),
        ("mnist", "MNIST/raw", "ossci-datasets"),
        ("celeba", "celeba/img_align_celeba and", "mmlab.ie.cuhk.edu.hk"),
    ):
        done = train("prepare", f"{kind}:{tmp_path}", "--out", tmp_path / "packed")
        assert_error(done, 1, str(tmp_path), "not there", *words)
    assert_error(train("prepare", "lsun:data", "--out", tmp_path / "packed"), 1, "lsun:data does not exist", "mnist:")


def test_a_celeba_of_other_pictures(tmp_path: Path) -> None:
    (tmp_path / "img_align_celeba").mkdir()
    picture(0).save(tmp_path / "img_align_celeba" / "000001.png")
    with pytest.raises(DataError, match=r"000001.png in .* is 20×20, and every aligned face of CelebA is 178×218"):
        prepare(Path(f"celeba:{tmp_path}"), tmp_path / "packed", size=32)
    assert not (tmp_path / "packed").exists()


def test_without_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path, 2)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingPackageError, match="pip install"):
        prepare(Path(f"mnist:{tmp_path}"), tmp_path / "packed", size=28)


def test_a_folder_of_a_published_name_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mnist:mine").mkdir()
    picture(0).save(Path("mnist:mine") / "0.png")
    card = prepare(Path("mnist:mine"), tmp_path / "packed", size=16)
    assert (card.count, card.channels, card.source) == (1, 3, "mnist:mine")


def test_a_grey_dataset_of_pictures(train: Run, tmp_path: Path) -> None:
    source = picture_zip(tmp_path / "faces.zip", 3, (16, 16))
    assert train("prepare", source, "--size", 16, "--channels", 1, "--out", tmp_path / "packed").returncode == 0
    dataset = Dataset.open(tmp_path / "packed")
    assert dataset.card.resize == "no resize: every picture was 16×16, grey (ITU-R 601 luma)"
    for number in range(3):
        np.testing.assert_array_equal(
            dataset.images[number, ..., 0], np.asarray(picture(number, (16, 16)).convert("L"))
        )


def test_progress_counts_every_file(tmp_path: Path) -> None:
    reports: list[Progress] = []
    source = picture_zip(tmp_path / "faces.zip", 2)
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr("broken.jpg", b"not a picture")
    with report_progress(reports.append):
        prepare(source, tmp_path / "packed", size=16)
    assert reports == [Progress("prepare", done, 3) for done in range(4)]


def test_the_hash_of_known_pictures_never_changes(tmp_path: Path) -> None:
    # As packed by the first version: datasets that were prepared then keep fitting their runs.
    card = prepare(picture_zip(tmp_path / "faces.zip", 3, (16, 16)), tmp_path / "packed", size=16)
    assert card.sha256 == "d2c2d916f42e702ac02873899ad3b51f658acb64b6d909db87290a628a857596"
