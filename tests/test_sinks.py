"""Folders, zips and npz files of many images."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animegen import DataError, OutputError, UsageError, open_sink
from animegen.images.sinks import encode_ahead, picture_name
from animegen.images.stills import Images


def image(seed: int) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)


def pairs(seeds: list[int]) -> Iterator[tuple[int, Images]]:
    return ((seed, image(seed)) for seed in seeds)


def fill(path: Path, seeds: list[int], **options: object) -> list[int]:
    with open_sink(path, **options) as sink:  # type: ignore[arg-type]
        return list(sink.write(pairs(list(sink.missing(seeds)))))


def stored(path: Path) -> dict[str, Images]:
    """Every picture of a folder or zip, decoded."""
    if path.is_dir():
        data = {entry.name: entry.read_bytes() for entry in path.iterdir()}
    else:
        with zipfile.ZipFile(path) as archive:
            data = {name: archive.read(name) for name in archive.namelist()}
    return {name: np.asarray(Image.open(io.BytesIO(content))) for name, content in data.items()}


@pytest.mark.parametrize("name", ["faces", "faces.zip"])
def test_pictures_are_named_by_their_seeds(name: str, tmp_path: Path) -> None:
    seeds = [3, 2**32 - 1, 0]
    assert fill(tmp_path / name, seeds) == seeds
    found = stored(tmp_path / name)
    assert sorted(found) == ["seed00000000.png", "seed00000003.png", "seed4294967295.png"]
    for seed in seeds:
        np.testing.assert_array_equal(found[picture_name(seed)], image(seed))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["faces", "faces.zip"])
def test_what_exists_can_be_kept(name: str, tmp_path: Path) -> None:
    fill(tmp_path / name, [1, 2])
    assert fill(tmp_path / name, [1, 2, 3, 4], existing="skip") == [3, 4]
    assert sorted(stored(tmp_path / name)) == [picture_name(seed) for seed in (1, 2, 3, 4)]


def test_a_folder_refuses_what_it_has(tmp_path: Path) -> None:
    fill(tmp_path / "faces", [1])
    with pytest.raises(OutputError, match=r"seed00000001\.png is there already"):
        fill(tmp_path / "faces", [0, 1])
    assert sorted(stored(tmp_path / "faces")) == [picture_name(1)]
    with open_sink(tmp_path / "faces") as sink:  # seeds that come once are still all there
        assert list(sink.missing(iter([2, 0]))) == [2, 0]
    with open_sink(tmp_path / "faces") as sink, pytest.raises(OutputError, match="is there already"):
        sink.missing(iter([2, 1]))
    (tmp_path / "faces" / "seed00000000.jpg").touch()  # another format's picture is no hindrance
    assert fill(tmp_path / "faces", [0]) == [0]
    assert fill(tmp_path / "faces", [0, 1], existing="overwrite") == [0, 1]


def test_a_zip_is_reproducible_and_stores_a_seed_once(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        fill(tmp_path / name, [5, 6, 5])
    digests = {hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("a.zip", "b.zip")}
    assert len(digests) == 1
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == [picture_name(5), picture_name(6)]


def test_an_npz_keeps_order_and_repeats(tmp_path: Path) -> None:
    seeds = [9, 4, 9, 2**32 - 1]
    fill(tmp_path / "faces.npz", seeds)
    with np.load(tmp_path / "faces.npz", allow_pickle=False) as arrays:
        assert arrays["seeds"].dtype == np.uint32
        np.testing.assert_array_equal(arrays["seeds"], seeds)
        np.testing.assert_array_equal(arrays["images"], np.stack([image(seed) for seed in seeds]))
    assert [path.name for path in tmp_path.iterdir()] == ["faces.npz"]


@pytest.mark.parametrize("name", ["faces.zip", "faces.npz"])
def test_an_error_leaves_the_old_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"old")

    def breaks() -> Iterator[tuple[int, Images]]:
        yield from pairs(list(range(100)))
        raise ValueError("the model failed")

    with pytest.raises(ValueError, match="the model failed"), open_sink(tmp_path / name, existing="overwrite") as sink:
        list(sink.write(breaks()))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"old"


@pytest.mark.parametrize("name", ["faces", "faces.zip", "faces.npz"])
def test_what_exists_is_refused_if_nothing_is_said(name: str, tmp_path: Path) -> None:
    fill(tmp_path / name, [1, 2])
    before = (tmp_path / name).read_bytes() if name != "faces" else None
    with pytest.raises(OutputError, match=r"is there already: .*overwrite what exists, or name another"):
        fill(tmp_path / name, [2, 3])
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert before is None or (tmp_path / name).read_bytes() == before
    assert fill(tmp_path / name, [2, 3], existing="overwrite") == [2, 3]


@pytest.mark.parametrize("name", ["faces.zip", "faces.npz"])
def test_stopping_early_is_a_valid_smaller_file(name: str, tmp_path: Path) -> None:
    with open_sink(tmp_path / name) as sink:
        written = sink.write(pairs(list(range(100))))
        for seed in written:
            if seed == 10:
                break
    if name.endswith(".zip"):
        assert sorted(stored(tmp_path / name)) == [picture_name(seed) for seed in range(11)]
    else:
        with np.load(tmp_path / name) as arrays:
            assert len(arrays["images"]) == len(arrays["seeds"]) == 11


def test_nothing_made_is_an_empty_file(tmp_path: Path) -> None:
    for name in ("a.zip", "a.npz"):
        fill(tmp_path / name, [])
    with np.load(tmp_path / "a.npz") as arrays:
        assert len(arrays["images"]) == 0
    assert stored(tmp_path / "a.zip") == {}
    assert fill(tmp_path / "a.zip", [1], existing="skip") == [1]


def test_sinks_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "text.zip").write_text("text")
    with pytest.raises(OutputError, match="can't be made"):
        open_sink(tmp_path / "file")
    with pytest.raises(DataError, match="must be a zip file to be continued"):
        open_sink(tmp_path / "text.zip", existing="skip")
    assert (tmp_path / "text.zip").read_text() == "text"
    with pytest.raises(OutputError, match="make it first"):
        open_sink(tmp_path / "no" / "a.npz")
    with pytest.raises(UsageError, match="form is 'tga' and must be png, jpg, jpeg, webp"):
        open_sink(tmp_path / "faces", form="tga")
    with pytest.raises(UsageError, match="one go"):
        open_sink(tmp_path / "a.npz", existing="skip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "text.zip"]


def test_encoding_keeps_the_order_and_a_short_queue() -> None:
    drawn = []

    def count() -> Iterator[tuple[int, Images]]:
        for seed in range(1000):
            drawn.append(seed)
            yield seed, image(seed)

    encoded = encode_ahead(count(), "png", workers=2)
    for expected in range(50):
        seed, data = next(encoded)
        assert seed == expected
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), image(seed))
    assert len(drawn) <= 50 + 2 * 4 + 1
    encoded.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["faces.npz", "faces.zip"])
def test_memory_does_not_grow_with_the_number_of_images(name: str, tmp_path: Path) -> None:
    picture = np.zeros((64, 64, 3), np.uint8)

    def peak(count: int) -> int:
        tracemalloc.start()
        with open_sink(tmp_path / f"{count}-{name}") as sink:
            for _ in sink.write((seed, picture.copy()) for seed in range(count)):
                pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)  # what is imported and cached once
    few, many = peak(200), peak(2000)
    # 1,800 images more are 22 MB; a zip's directory and a list of seeds are allowed to grow by 1 kB an image.
    assert many - few < 1800 * 1024
