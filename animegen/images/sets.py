"""Sets of images to be measured: a folder or zip of pictures, a packed dataset, or an npz. In batches, of one size."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from animegen.errors import DataError
from animegen.images.sources import Broken, Source
from animegen.images.stills import Images

FIT = "centre square crop, Pillow LANCZOS (antialiased)"
AS_STORED = "as stored"
_BATCH = 64  # images read at once: some megabytes


@dataclass(frozen=True)
class ImageSet:
    """Images that can be read several times, in an order that never changes.

    Attributes:
        source: the name of what they come from, without the way to it.
        count: images.
        rule: what was done to each picture before it is measured.
        names: the pictures' names in order; empty where they have none.
        read: yields them anew as uint8 [≤ 64, H, W, C], all of one size.
    """

    source: str
    count: int
    rule: str
    names: tuple[str, ...]
    read: Callable[[], Iterator[Images]]


class PixelHash:
    """The sha256 of a set's shape and pixels: the same images have the same hash wherever they lie.

    It is the hash that `python -m train prepare` writes into `dataset.json`.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._digest = hashlib.sha256()
        self._begun = False

    def add(self, images: Images) -> None:
        """Take in the next images [N, H, W, C]."""
        if not self._begun:
            shape = (self._count, *images.shape[1:])
            self._digest.update(f"uint8 {'×'.join(map(str, shape))}\n".encode())
            self._begun = True
        self._digest.update(np.ascontiguousarray(images).data)

    def hex(self) -> str:
        """The hash of everything that was added."""
        return self._digest.hexdigest()


def open_images(path: Path, *, size: int | None = None) -> ImageSet:
    """The images under a path, which is a folder or zip of pictures, a packed dataset, or an npz with `images`.

    With `size` pictures are cropped to their central square and resized, as `prepare` does it; without it they
    must be of one size. Arrays are taken as they are.

    Raises:
        DataError: nothing there, no images, or images that have another size than was asked for.
    """
    if (path / "dataset.json").is_file():
        return _of_array(path, _packed(path), _rule(path), size)
    if path.suffix.lower() == ".npz" and path.is_file():
        return _of_array(path, _npz(path), AS_STORED, size)
    source = Source(path)
    if not source:
        raise DataError(f"{path} holds no images ({source.ignored} other files): name a folder or a zip of images")
    rule = f"{FIT} to {size}×{size}" if size else AS_STORED
    return ImageSet(path.resolve().name, len(source), rule, tuple(source.names), lambda: _decoded(source, size))


def _decoded(source: Source, size: int | None) -> Iterator[Images]:
    """Batches of pictures; one that is broken or of another size ends it, as a measure must say what it measured."""
    batch: list[Images] = []
    first: tuple[str, tuple[int, int]] | None = None
    for name, picture in zip(source.names, source.read(), strict=True):
        if isinstance(picture, Broken):
            raise DataError(
                f"{source.path} holds {name}, which can't be decoded ({picture.why}): remove it, or pack the pictures "
                "with python -m train prepare, which leaves such files out"
            )
        if size:
            picture = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)  # noqa: PLW2901
        first = first or (name, picture.size)
        if picture.size != first[1]:
            raise DataError(
                f"{source.path} holds images of mixed sizes, {first[0]} of {_across(first[1])} and {name} of "
                f"{_across(picture.size)}: say with --size to which size all are cropped and resized"
            )
        batch.append(np.asarray(picture))
        if len(batch) == _BATCH:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def _of_array(path: Path, images: Images, rule: str, size: int | None) -> ImageSet:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in {1, 3}:
        raise DataError(f"{path} holds {images.dtype} {list(images.shape)}: images are uint8 [N, H, W, 1 or 3]")
    if not len(images):
        raise DataError(f"{path} holds no images")
    height, width = images.shape[1:3]
    if size and (height, width) != (size, size):
        raise DataError(
            f"{path} holds images of {width}×{height}, and --size {size} is for pictures: leave it out, or name the "
            "folder or zip that it was made from"
        )

    def read() -> Iterator[Images]:
        return (np.asarray(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH))

    return ImageSet(path.resolve().name, len(images), rule, (), read)


def _packed(path: Path) -> Images:
    try:
        images: Images = np.load(path / "images.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} holds no packed dataset ({error}): make one with python -m train prepare") from error
    return images


def _rule(path: Path) -> str:
    """What a packed dataset's card says of how its pictures were resized."""
    try:
        card = json.loads((path / "dataset.json").read_text(encoding="utf-8"))
        return f"{card['resize']} to {card['size']}×{card['size']}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} has a dataset.json that can't be read ({error}): prepare it again") from error


def _npz(path: Path) -> Images:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if "images" not in archive:
                raise DataError(f"{path} holds {', '.join(archive.files) or 'nothing'}: an npz of images has `images`")
            images: Images = archive["images"]
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path} is no npz of images ({error}): make one with animegen sample --out NAME.npz"
        ) from error
    return images


def _across(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


def picked(images: ImageSet, rows: NDArray[np.int64]) -> Images:
    """The images of some rows, in the rows' order: uint8 [len(rows), H, W, C]. The set is read once."""
    found: dict[int, Images] = {}
    start = 0
    for batch in images.read():
        found |= {int(row): batch[row - start] for row in rows if start <= row < start + len(batch)}
        start += len(batch)
    return np.stack([found[int(row)] for row in rows])


def stacked(batches: Iterable[Images], count: int) -> Images:
    """All images of some batches in one array [count, H, W, C]."""
    images: Images | None = None
    done = 0
    for batch in batches:
        if images is None:
            images = np.empty((count, *batch.shape[1:]), np.uint8)
        images[done : done + len(batch)] = batch
        done += len(batch)
    if images is None or done != count:
        raise DataError(f"{done} images were read, and {count} were expected")
    return images
