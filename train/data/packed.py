"""The packed dataset: one uint8 array with a hash and a card, labels where there are any, and how it is made."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec
import numpy as np

from animegen.errors import DataError, UsageError
from animegen.files import replacing_folder
from animegen.images.decoding import fitted
from animegen.images.sets import DATASET_FORMAT, open_dataset, pixel_hash
from animegen.images.sources import Broken, readable
from animegen.images.stills import Images
from animegen.progress import track
from animegen.quality.extractors import Extractor
from train.data import filling as filler
from train.data import origins
from train.data.filling import Filling
from train.data.labels import RARE, DatasetGroup, DatasetLabels
from train.data.origins import Channels, Origin
from train.data.tags import LabelTable

logger = logging.getLogger(__name__)

CROP = "centre square crop"
RESIZE = "Pillow LANCZOS (antialiased)"
GREY = "grey (ITU-R 601 luma)"  # Pillow's conversion of RGB to L
_BROKEN_SHOWN = 5  # names in a warning, and reasons with one of their own; broken.tsv has them all


class DatasetCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`dataset.json`: what lies in `images.npy` and how it came there."""

    format: int
    count: int
    size: int
    channels: int
    resize: str  # the crop, the resampling and the conversion to grey, as far as there were any
    source: str  # the name of the folder, zip or published dataset, without its path
    sha256: str  # of the shape and the pixels, so the same pictures have the same hash wherever they lie
    broken: list[str]  # files that had a picture's extension and could not be decoded; broken.tsv says why
    ignored: int  # files with another extension, and copies that programs leave
    labels: tuple[DatasetGroup, ...] = ()
    labels_sha256: str = ""  # of the shape and the values of labels.npy
    labelled_by: str = ""  # the table's name, or the kind of the source's own labels
    filling: Filling | None = None


@dataclass(frozen=True)
class Dataset:
    """A packed dataset.

    Attributes:
        card: what it holds.
        images: uint8 [count, size, size, channels], mapped from the disk.
        labels: of each image; None where the dataset has none.
    """

    card: DatasetCard
    images: Images
    labels: DatasetLabels | None = None

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
        labels = None if packed.labels is None else DatasetLabels.checked(card.labels, packed.labels, path)
        return cls(card, packed.images, labels)


@dataclass(frozen=True)
class _Packed:
    """What became of an origin's files."""

    decoded: list[bool]  # each of them: whether it could be decoded
    broken: list[Broken]
    fits: bool  # no picture had to be cropped or resized


def prepare(
    source: Path,
    out: Path,
    *,
    size: int,
    channels: Channels | None = None,
    labels: Path | Literal["own", "none"] = "own",
    fill: Extractor | str | Path | None = None,
) -> DatasetCard:
    """Decode, crop and resize every picture of `source`, and write them and their labels to the new folder `out`.

    `source` is a folder, a zip or a published dataset, as `origins` tells; `channels` are by default its own. Labels
    are the source's own (class folders, or those of a published dataset), or those of a table; `fill` is an extractor
    that names those which are unknown, where it is sure. Memory stays constant, but for labels and for a published
    dataset that torchvision holds as a whole. The same pictures give the same hash, whatever the file system's order.
    It is tracked as the job `prepare`, a step a file, and then as `fill`.

    Raises:
        DataError: no source, or no picture in it that can be decoded; a table that can't be read or has no labels of
            these pictures; an extractor that names none of their classes.
        UsageError: a table for pictures without file names, or something to fill where there are no labels.
        MissingPackageError: a published dataset that needs torchvision.
        ModelError, DeviceError: as `Extractor.load`.
        OutputError: `out` already holds something or can't be written; nothing is left behind.
    """
    origin = origins.find(source)
    if not origin.count:
        ignored = sum(origin.left_out.values())
        raise DataError(f"{source} holds no images ({ignored} other files): name a folder or a zip of images")
    channels = channels or origin.channels
    named, labelled_by = _named(origin, source, labels)
    extractor = _filler(fill, named, source)
    with replacing_folder(out) as folder:
        packed = _pack(origin, source, folder / "images.npy", size, channels)
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        numbered = DatasetLabels.of({group: list(compress(names, packed.decoded)) for group, names in named.items()})
        if numbered is None and isinstance(labels, Path):
            raise DataError(f"{labels} gives these pictures no group with two classes of two images or more: add rows")
        filling = None
        if numbered is not None and extractor is not None:
            numbered, filling = filler.fill(numbered, images, extractor)
        card = DatasetCard(
            format=DATASET_FORMAT,
            count=len(images),
            size=size,
            channels=channels,
            resize=_rule(origin, size, channels, fits=packed.fits),
            source=origin.name,
            sha256=pixel_hash(images),
            broken=[broken.name for broken in packed.broken],
            ignored=sum(origin.left_out.values()),
            labels=numbered.groups if numbered else (),
            labels_sha256=numbered.sha256() if numbered else "",
            labelled_by=labelled_by if numbered else "",
            filling=filling,
        )
        if numbered is not None:
            numbered.save(folder)
        if packed.broken:
            rows = "".join(f"{broken.name}\t{broken.why}\n" for broken in packed.broken)
            (folder / "broken.tsv").write_text(f"file\twhy\n{rows}", encoding="utf-8", newline="\n")
        (folder / "dataset.json").write_bytes(msgspec.json.format(msgspec.json.encode(card)) + b"\n")
    _report_files(origin, packed.broken)
    _report(card)
    return card


def _named(
    origin: Origin, source: Path, labels: Path | Literal["own", "none"]
) -> tuple[Mapping[str, Sequence[str]], str]:
    """For each group the class of each file of the origin, and who says so."""
    if labels == "own":
        return origin.labels, origin.labelled_by
    if labels == "none":
        return {}, ""
    if not origin.names:
        raise UsageError(
            f"{source} has no file names to look up in {labels}: leave --labels out, it has its own labels"
        )
    return LabelTable.read(labels).look_up(origin.names), readable(labels.name)


def _filler(fill: Extractor | str | Path | None, named: Mapping[str, Sequence[str]], source: Path) -> Extractor | None:
    """The extractor that is asked for; before hours of decoding it is sure that it has something to name."""
    if fill is None:
        return None
    if not named:
        raise UsageError(f"{source} has no labels, so there are no classes to fill: name a table with --labels")
    extractor = Extractor.of(fill)
    filler.check(extractor, {group: set(names) for group, names in named.items()})
    return extractor


def _pack(origin: Origin, source: Path, out: Path, size: int, channels: Channels) -> _Packed:
    """Write the pixels of every picture that can be decoded, one after the other."""
    decoded: list[bool] = []
    broken: list[Broken] = []
    fits = True
    advance = track("prepare", origin.count)
    with out.open("wb") as file:
        _write_header(file, (0, size, size, channels))
        for picture in origin.read():
            decoded.append(not isinstance(picture, Broken))
            if isinstance(picture, Broken):
                broken.append(picture)
            else:
                fits = fits and picture.size == (size, size)
                file.write(fitted(picture, size, "L" if channels == 1 else "RGB").tobytes())
            advance()
        if not any(decoded):
            raise DataError(
                f"{source} holds no image that can be decoded: all {len(broken)} files are broken, such as "
                f"{broken[0].name} ({broken[0].why})"
            )
        # numpy leaves room in the header for the first axis to grow, so the pixels stay where they are.
        file.seek(0)
        _write_header(file, (sum(decoded), size, size, channels))
        file.flush()
        os.fsync(file.fileno())
    return _Packed(decoded, broken, fits)


def _report_files(origin: Origin, broken: Sequence[Broken]) -> None:
    """Log which files aren't in the dataset, and why: what is broken by its reason, the most frequent first."""
    for what, count in origin.left_out.items():
        logger.info("%d files %s were left out", count, what)
    reasons = Counter(each.why for each in broken).most_common()
    for why, count in reasons[:_BROKEN_SHOWN]:
        shown = ", ".join([each.name for each in broken if each.why == why][:_BROKEN_SHOWN])
        more = f" and {count - _BROKEN_SHOWN} more" if count > _BROKEN_SHOWN else ""
        logger.warning("%d broken files were skipped: %s%s (%s)", count, shown, more, why)
    if rest := sum(count for _, count in reasons[_BROKEN_SHOWN:]):
        logger.warning("%d more broken files were skipped, for other reasons: broken.tsv names them", rest)


def _report(card: DatasetCard) -> None:
    """Log what a person should know of a new dataset's labels."""
    if rare := {group.name: names for group in card.labels if (names := group.rare())}:
        words = "; ".join(f"{name}: {', '.join(names)}" for name, names in rare.items())
        logger.info("rare, with fewer than %d images: %s", RARE, words)
    if card.filling is not None:
        words = ", ".join(f"{group.name} {group.filled / card.count:.1%}" for group in card.labels)
        logger.info("filled by %s, of all images: %s", card.filling.extractor, words)


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
