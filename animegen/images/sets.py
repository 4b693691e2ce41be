"""Sets of images to be measured: a folder or zip of pictures, a packed dataset, or an npz. In batches, of one size."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from animegen.errors import DataError
from animegen.files import is_file, read_npz, status
from animegen.images.decoding import fitted, flat
from animegen.images.sources import Broken, Source, readable
from animegen.images.stills import Images
from animegen.seeds import whole_number

FIT = "centre square crop, Pillow LANCZOS (antialiased)"
AS_STORED = "as stored"
DATASET_FORMAT = 1
LABELS_FILE = "labels.npy"  # of a packed dataset, beside its images
LARGEST_SIDE = 4096  # that pictures are resized to: a batch of larger ones takes more than 3 GB
_BATCH = 64  # images read at once: some megabytes
_HASHED = 1024  # images hashed at once


@dataclass(frozen=True)
class SetGroup:
    """A group of a set's labels, such as `hair`: its classes, and how many images an extractor named the class of."""

    name: str
    classes: tuple[str, ...]
    filled: int


@dataclass(frozen=True)
class SetLabels:
    """What the images of a set are called. `values` int16 [count, groups] are numbers of classes, −1 for unknown."""

    groups: tuple[SetGroup, ...]
    values: NDArray[np.int16]


@dataclass(frozen=True)
class ImageSet:
    """Images that can be read several times, in an order that never changes: what is measured.

    Attributes:
        source: the name of what they come from, without the way to it; of a packed dataset what it was made from.
        count: images.
        rule: what was done to each picture before it is measured.
        names: the pictures' names in order; empty where they have none.
        read: yields them anew as uint8 [≤ 64, H, W, C], all of one size.
        labels: what they are called, in a packed dataset that has labels.
    """

    source: str
    count: int
    rule: str
    names: tuple[str, ...]
    read: Callable[[], Iterator[Images]]
    labels: SetLabels | None = field(default=None, compare=False)

    @classmethod
    def of(cls, images: Images, *, source: str = "an array", rule: str = AS_STORED) -> Self:
        """Of an array uint8 [N, H, W, 1 or 3].

        Raises:
            DataError: no images, or an array of another kind.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in {1, 3}:
            raise DataError(f"{source} is {images.dtype} {list(images.shape)} and must be uint8 [N, H, W, 1 or 3]")
        if not len(images):
            raise DataError(f"{source} holds no images: name one with at least one")

        def read() -> Iterator[Images]:
            return (np.asarray(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH))

        return cls(source, len(images), rule, (), read)


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


def pixel_hash(images: Images) -> str:
    """The `PixelHash` of images [N, H, W, C], which may be mapped from the disk."""
    pixels = PixelHash(len(images))
    for start in range(0, len(images), _HASHED):
        pixels.add(images[start : start + _HASHED])
    return pixels.hex()


def label_hash(values: NDArray[np.int16]) -> str:
    """The sha256 of labels' shape and values [count, groups]."""
    values = np.ascontiguousarray(values, "<i2")
    return hashlib.sha256(f"int16 {'×'.join(map(str, values.shape))}\n".encode() + values.tobytes()).hexdigest()


@dataclass(frozen=True)
class PackedDataset:
    """What `python -m train prepare` packed.

    Attributes:
        card: the facts in `dataset.json`.
        images: uint8 [count, size, size, channels], mapped from the disk.
        labels: the number of each image's class in each group, int16 [count, groups]; None where it has none.
    """

    card: Mapping[str, Any]
    images: Images
    labels: NDArray[np.int16] | None = None


def open_dataset(path: Path) -> PackedDataset:
    """Map a packed dataset from the disk, and check its pixels and labels against its card.

    Raises:
        DataError: no dataset, one of another format, or one whose pixels or labels are not those that its card speaks
            of.
    """
    try:
        card = _checked_card(json.loads((path / "dataset.json").read_text(encoding="utf-8")), path)
        images: Images = np.load(path / "images.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} holds no packed dataset ({error}): make one with python -m train prepare") from error
    shape = (card["count"], card["size"], card["size"], card["channels"])
    if images.dtype != np.uint8 or images.shape != shape:
        raise DataError(
            f"{path} is damaged: images.npy is {images.dtype} {_times(images.shape)}, and dataset.json says "
            f"{_times(shape)}; prepare it again"
        )
    if pixel_hash(images) != card["sha256"]:
        raise DataError(f"{path} is damaged: its pixels don't have the sha256 in its dataset.json; prepare it again")
    return PackedDataset(card, images, _checked_labels(card, path) if card.get("labels") else None)


def _checked_labels(card: Mapping[str, Any], path: Path) -> NDArray[np.int16]:
    try:
        values: NDArray[np.int16] = np.load(path / LABELS_FILE, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is damaged: {LABELS_FILE} can't be read ({error}); prepare it again") from error
    if values.dtype != np.int16 or values.ndim != 2 or label_hash(values) != card.get("labels_sha256"):
        raise DataError(f"{path} is damaged: {LABELS_FILE} isn't what dataset.json has the sha256 of; prepare it again")
    if len(values) != card["count"]:
        raise DataError(f"{path} is damaged: it has {card['count']} images and {len(values)} labels; prepare it again")
    return values


def _checked_card(card: Any, path: Path) -> dict[str, Any]:
    kinds = {"format": int, "count": int, "size": int, "channels": int, "resize": str, "sha256": str}
    if not isinstance(card, dict):
        raise DataError(f"{path} has a dataset.json that is no table: prepare it again")
    if missing := kinds.keys() - card.keys():
        raise DataError(f"{path} has a dataset.json without {', '.join(sorted(missing))}: prepare it again")
    if card["format"] != DATASET_FORMAT:
        raise DataError(f"{path} has dataset format {card['format']} and must have {DATASET_FORMAT}: prepare it again")
    if wrong := [f"{key} {card[key]!r}" for key, kind in kinds.items() if not isinstance(card[key], kind)]:
        raise DataError(f"{path} has a dataset.json with {', '.join(wrong)}: prepare it again")
    return card


def open_images(path: str | Path, *, size: int | None = None) -> ImageSet:
    """The images under a path, which is a folder or zip of pictures, a packed dataset, or an npz with `images`.

    With `size` pictures are cropped to their central square and resized, as `prepare` does it; without it they
    must be of one size. Arrays are taken as they are.

    Raises:
        DataError: nothing there, no images, a damaged dataset, or images that have another size than was asked for.
        UsageError: a size that is no whole number from 1 to 4,096.
    """
    path = Path(path)
    size = None if size is None else whole_number("size", size, 1, LARGEST_SIDE)
    if status(path) and status(path / "dataset.json"):
        dataset = open_dataset(path)
        side = dataset.card["size"]
        images = _of_array(path, dataset.images, f"{dataset.card['resize']} to {side}×{side}", size)
        named = readable(str(dataset.card.get("source") or images.source))
        return replace(images, source=named, labels=_labels_of(path, dataset))
    if path.suffix.lower() == ".npz" and is_file(path):
        return images_in(path, read_npz(path), size=size)
    source = Source(path)
    if not source:
        raise DataError(f"{path} holds no images ({source.ignored} other files): name a folder or a zip of images")
    if source.unread:
        raise DataError(
            f"{path} holds {source.unread[0].name}, and {source.unread[0].why}: mend it or remove it, or pack the rest "
            "with python -m train prepare"
        )
    rule = f"{FIT} to {size}×{size}" if size else AS_STORED
    return ImageSet(
        readable(path.resolve().name), len(source), rule, tuple(source.names), lambda: _decoded(source, size)
    )


def _labels_of(path: Path, dataset: PackedDataset) -> SetLabels | None:
    """What a packed dataset's images are called."""
    if dataset.labels is None:
        return None
    try:
        groups = tuple(
            SetGroup(group["name"], tuple(group["classes"]), group.get("filled", 0)) for group in dataset.card["labels"]
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path} is damaged: its labels can't be read ({error}); prepare it again") from error
    numbers = [len(group.classes) for group in groups]
    if dataset.labels.shape[1] != len(groups) or (dataset.labels >= numbers).any():
        raise DataError(f"{path} is damaged: {LABELS_FILE} is not what its dataset.json speaks of; prepare it again")
    return SetLabels(groups, dataset.labels)


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
        finished = fitted(picture, size) if size else flat(picture)
        first = first or (name, finished.size)
        if finished.size != first[1]:
            raise DataError(
                f"{source.path} holds images of mixed sizes, {first[0]} of {_times(first[1])} and {name} of "
                f"{_times(finished.size)}: say with --size to which size all are cropped and resized"
            )
        batch.append(np.asarray(finished))
        if len(batch) == _BATCH:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def holds_images(arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Whether an npz holds images: as `animegen sample` names them, or as `numpy.savez` does if nobody named them."""
    return "images" in arrays or ("arr_0" in arrays and arrays["arr_0"].ndim == 4)


def images_in(path: Path, arrays: Mapping[str, NDArray[Any]], *, size: int | None = None) -> ImageSet:
    """The `images` among the arrays of the npz at `path`, as `animegen sample --out NAME.npz` writes them, or `arr_0`.

    Raises:
        DataError: there are none, or they have another size than was asked for.
    """
    if not holds_images(arrays):
        raise DataError(
            f"{path} holds {', '.join(arrays) or 'nothing'} and must hold `images`: an npz of animegen sample"
        )
    return _of_array(path, arrays["images" if "images" in arrays else "arr_0"], AS_STORED, size)


def _of_array(path: Path, images: Images, rule: str, size: int | None) -> ImageSet:
    size = None if size is None else whole_number("size", size, 1, LARGEST_SIDE)
    taken = ImageSet.of(images, source=str(path), rule=rule)
    if size and images.shape[1:3] != (size, size):
        raise DataError(
            f"{path} holds images of {_times(images.shape[2:0:-1])}, and --size {size} is for pictures: leave it out, "
            "or name the folder or zip that it was made from"
        )
    return replace(taken, source=readable(path.resolve().name))


def picked(images: ImageSet, rows: NDArray[np.int64]) -> Images:
    """The images of some rows, in the rows' order: uint8 [len(rows), H, W, C]. The set is read once."""
    wanted: dict[int, Images] = {}
    start = 0
    for batch in images.read():
        wanted |= {int(row): batch[row - start] for row in rows if start <= row < start + len(batch)}
        start += len(batch)
    return np.stack([wanted[int(row)] for row in rows])


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


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
