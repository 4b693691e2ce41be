"""The packed dataset: one uint8 array with a hash and a card, and how it is made."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from PIL import Image, ImageOps

from animegen.errors import DataError
from animegen.files import replacing_folder
from animegen.images.sets import DATASET_FORMAT, open_dataset, pixel_hash
from animegen.images.sources import Broken
from animegen.images.stills import Images
from animegen.progress import track
from train.data import origins
from train.data.labels import LabelGroup, Labels
from train.data.origins import Channels, Origin

logger = logging.getLogger(__name__)

CROP = "centre square crop"
RESIZE = "Pillow LANCZOS (antialiased)"
GREY = "grey (ITU-R 601 luma)"  # Pillow's conversion of RGB to L
_BROKEN_SHOWN = 5  # names in the warning; dataset.json has them all


class DatasetCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`dataset.json`: what lies in `images.npy` and how it came there."""

    format: int
    count: int
    size: int
    channels: int
    resize: str  # the crop, the resampling and the conversion to grey, as far as there were any
    source: str  # the name of the folder, zip or published dataset, without its path
    sha256: str  # of the shape and the pixels, so the same pictures have the same hash wherever they lie
    broken: list[str]  # files that had a picture's extension and could not be decoded
    ignored: int  # files with another extension
    labels: tuple[LabelGroup, ...] = ()
    labels_sha256: str = ""  # of the shape and the values of labels.npy


@dataclass(frozen=True)
class Dataset:
    """A packed dataset: its card, uint8 images [count, size, size, channels] mapped from the disk, and labels, if any."""

    card: DatasetCard
    images: Images
    labels: Labels | None = None

    @classmethod
    def open(cls, path: Path) -> Dataset:
        """Map a folder that `prepare` wrote, and check it against its card.

        Raises:
            DataError: no dataset, or one whose pixels or labels are not those that its card speaks of.
        """
        packed = open_dataset(path)
        try:
            card = msgspec.convert(packed.card, DatasetCard)
        except msgspec.ValidationError as error:
            raise DataError(f"{path} has a dataset.json that can't be read ({error}): prepare it again") from error
        labels = Labels.open(path, card.labels, card.labels_sha256) if card.labels else None
        if labels is not None and len(labels.values) != card.count:
            raise DataError(
                f"{path} is damaged: it has {card.count} images and {len(labels.values)} labels; prepare it again"
            )
        return cls(card, packed.images, labels)


def prepare(source: Path, out: Path, *, size: int, channels: Channels | None = None) -> DatasetCard:
    """Decode, crop and resize every picture of `source`, and write them to the new folder `out`.

    `source` is a folder, a zip or a published dataset, as `origins` tells; `channels` are by default its own.
    Memory stays constant, but for a published dataset that torchvision holds as a whole. The same pictures give the
    same hash, whatever the file system's order. It is tracked as the job `prepare`, a step a file.

    Raises:
        DataError: no source, or no picture in it that can be decoded.
        MissingPackageError: a published dataset that needs torchvision.
        OutputError: `out` already holds something or can't be written; nothing is left behind.
    """
    origin = origins.find(source)
    if not origin.count:
        raise DataError(f"{source} holds no images ({origin.ignored} other files): name a folder or a zip of images")
    channels = channels or origin.channels
    broken: list[str] = []
    count = 0
    fits = True  # no picture had to be cropped or resized
    advance = track("prepare", origin.count)
    with replacing_folder(out) as folder:
        with (folder / "images.npy").open("wb") as file:
            _write_header(file, (0, size, size, channels))
            for picture in origin.read():
                if isinstance(picture, Broken):
                    broken.append(picture.name)
                else:
                    fits = fits and picture.size == (size, size)
                    converted = picture.convert("L" if channels == 1 else "RGB")
                    square = ImageOps.fit(converted, (size, size), Image.Resampling.LANCZOS)
                    file.write(square.tobytes())
                    count += 1
                advance()
            if count == 0:
                raise DataError(f"{source} holds no image that can be decoded: all {len(broken)} files are broken")
            # numpy leaves room in the header for the first axis to grow, so the pixels stay where they are.
            file.seek(0)
            _write_header(file, (count, size, size, channels))
            file.flush()
            os.fsync(file.fileno())
        card = DatasetCard(
            format=DATASET_FORMAT,
            count=count,
            size=size,
            channels=channels,
            resize=_rule(origin, size, channels, fits=fits),
            source=origin.name,
            sha256=pixel_hash(np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)),
            broken=broken,
            ignored=origin.ignored,
        )
        (folder / "dataset.json").write_bytes(msgspec.json.format(msgspec.json.encode(card)) + b"\n")
    if card.ignored:
        logger.info("%d files with another extension were left out", card.ignored)
    if broken:
        more = f" and {len(broken) - _BROKEN_SHOWN} more" if len(broken) > _BROKEN_SHOWN else ""
        logger.warning("%d broken files were skipped: %s%s", len(broken), ", ".join(broken[:_BROKEN_SHOWN]), more)
    return card


def _rule(origin: Origin, size: int, channels: Channels, *, fits: bool) -> str:
    """What was done to the pictures, in the card's words."""
    if fits:
        parts = [origin.crop or "", f"no resize: every picture was {size}×{size}"]
    else:
        parts = [origin.crop or CROP, RESIZE]
    if channels < origin.channels:
        parts.append(GREY)
    return ", ".join(part for part in parts if part)


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
