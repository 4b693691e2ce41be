"""Pictures packed once into one uint8 array with a hash, and the batches drawn from it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from animegen.errors import DataError
from animegen.files import replacing_folder
from animegen.images import Images
from animegen.sources import Broken, Source

FORMAT = 1
RESIZE = "centre square crop, Pillow LANCZOS (antialiased)"

_STREAM_ORDER, _STREAM_FLIP = 1, 2


class DatasetCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`dataset.json`: what lies in `images.npy` and how it came there."""

    format: int
    count: int
    size: int
    channels: int
    resize: str
    source: str  # the name of the folder or zip, without the way to it
    sha256: str  # of the shape and the pixels, so the same pictures have the same hash wherever they lie
    broken: list[str]  # files that had a picture's extension and could not be decoded
    ignored: int  # files with another extension


@dataclass(frozen=True)
class Dataset:
    """A packed dataset: its card, and uint8 images [count, size, size, channels] mapped from the disk."""

    card: DatasetCard
    images: Images

    @classmethod
    def open(cls, path: Path) -> Dataset:
        """Map a folder that `prepare` wrote, and check it against its card.

        Raises:
            DataError: no dataset, or one whose pixels are not those that its card speaks of.
        """
        try:
            card = msgspec.json.decode((path / "dataset.json").read_bytes(), type=DatasetCard)
            images = np.load(path / "images.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise DataError(
                f"{path} holds no packed dataset ({error}): make one with python -m train prepare"
            ) from error
        if card.format != FORMAT:
            raise DataError(
                f"{path} has dataset format {card.format}, and this version reads {FORMAT}: prepare it again"
            )
        shape = (card.count, card.size, card.size, card.channels)
        if images.dtype != np.uint8 or images.shape != shape or _hash(images) != card.sha256:
            raise DataError(f"{path} is damaged: its pixels don't match its dataset.json; prepare it again")
        return cls(card, images)


def prepare(
    source: Path, out: Path, *, size: int, each: Callable[[Image.Image | Broken], None] = lambda _: None
) -> DatasetCard:
    """Decode, crop and resize every picture of `source`, and write them to the new folder `out`.

    Memory stays constant; `each` is told of every file, for a progress bar. The same pictures give the
    same hash, whatever the file system's order.

    Raises:
        DataError: no source, or no picture in it that can be decoded.
        OutputError: `out` already holds something or can't be written; nothing is left behind.
    """
    pictures = Source(source)
    if not pictures:
        raise DataError(f"{source} holds no images ({pictures.ignored} other files): name a folder or a zip of images")
    broken: list[str] = []
    count = 0
    with replacing_folder(out) as folder:
        with (folder / "images.npy").open("wb") as file:
            _write_header(file, (0, size, size, 3))
            for picture in pictures.read():
                if isinstance(picture, Broken):
                    broken.append(picture.name)
                else:
                    square = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
                    file.write(square.tobytes())
                    count += 1
                each(picture)
            if count == 0:
                raise DataError(f"{source} holds no image that can be decoded: all {len(broken)} files are broken")
            # numpy leaves room in the header for the first axis to grow, so the pixels stay where they are.
            file.seek(0)
            _write_header(file, (count, size, size, 3))
            file.flush()
            os.fsync(file.fileno())
        card = DatasetCard(
            format=FORMAT,
            count=count,
            size=size,
            channels=3,
            resize=RESIZE,
            source=source.resolve().name,
            sha256=_hash(np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)),
            broken=broken,
            ignored=pictures.ignored,
        )
        (folder / "dataset.json").write_bytes(msgspec.json.format(msgspec.json.encode(card)) + b"\n")
    return card


class Batches:
    """Real images in an order that is a function of the seed alone: batch k is the same in every process.

    Every image comes once an epoch; a batch may span two. With `flip`, half of the images are mirrored.
    """

    def __init__(self, images: Images, *, batch_size: int, seed: int, flip: bool) -> None:
        if batch_size > len(images):
            raise DataError(
                f"the dataset has {len(images)} images, fewer than a batch of {batch_size}: "
                "use more images or a smaller batch_size"
            )
        self._images = images
        self._batch_size = batch_size
        self._seed = seed
        self._flip = flip
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def batch(self, k: int) -> Images:
        """Batch number `k`, counted from 0: uint8 [batch_size, H, W, C]."""
        count = len(self._images)
        position = np.arange(k * self._batch_size, (k + 1) * self._batch_size)
        rows = np.concatenate(
            [self._epoch(epoch)[position[position // count == epoch] % count] for epoch in np.unique(position // count)]
        )
        images = self._images[rows]
        if self._flip:
            mirrored = np.random.default_rng([self._seed, _STREAM_FLIP, k]).random(self._batch_size) < 0.5
            images[mirrored] = images[mirrored, :, ::-1]
        return np.asarray(images)

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        if self._order[0] != epoch:
            rng = np.random.default_rng([self._seed, _STREAM_ORDER, epoch])
            self._order = (epoch, rng.permutation(len(self._images)))
        return self._order[1]


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _hash(images: Images) -> str:
    digest = hashlib.sha256(f"uint8 {'×'.join(map(str, images.shape))}\n".encode())
    for start in range(0, len(images), 1024):
        digest.update(images[start : start + 1024].tobytes())
    return digest.hexdigest()
