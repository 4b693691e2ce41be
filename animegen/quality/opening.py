"""What images are compared with, and which extractor measures them: names and paths → statistics, or images to measure.

What is not named follows from what is: a reference from the model's card, the extractor from the reference.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from animegen.errors import DataError, UsageError
from animegen.files import is_file, read_npz, status
from animegen.generator import Generator
from animegen.images.sets import ImageSet, holds_images, images_in, open_images
from animegen.model import catalog
from animegen.quality.extractors import AUTO, IMAGENET, NAMES, Extractor
from animegen.quality.reference import Reference, StatedProtocol
from animegen.runtime import Device

logger = logging.getLogger(__name__)

REFERENCE = "anime-faces"  # the shipped one, for what has none of its own


def own_reference(images: Generator | ImageSet) -> str | None:
    """The shipped statistics of the pictures that a model learnt from or was measured against, by its card's hashes."""
    if not isinstance(images, Generator):
        return None
    card = images.card
    hashes = {card.quality.get("reference_sha256"), card.data.get("sha256")}
    shipped = sorted(catalog.references().items())  # NAME before NAME-EXTRACTOR, which is of the same pictures
    return next((name for name, path in shipped if _stored(path, "data_sha256") in hashes), None)


def open_reference(
    reference: str | Path | Reference | None,
    images: Generator | ImageSet,
    extractor: Extractor | str | Path | None = None,
    *,
    protocol: StatedProtocol | None = None,
    size: int | None = None,
) -> Reference | ImageSet:
    """What `images` are compared with: statistics, or other images that are to be measured.

    Without `reference` it is the model's own, else that of the anime faces. Of a shipped one the statistics by the
    extractor that is asked for are taken where there are such.

    Raises:
        UsageError: a protocol of another form, or one for a reference that has its own.
        DataError: no such reference, or one that can't be read.
    """
    if isinstance(reference, Reference):
        if protocol is not None:
            raise UsageError("the reference has a protocol already: leave protocol out")
        return reference
    own = own_reference(images) if reference is None else None
    if reference is None and own is None and isinstance(images, Generator):
        logger.warning(
            "%s names no statistics of its own: it is compared with %s; --reference names others",
            images.card.name,
            REFERENCE,
        )
    name = reference if reference is not None else own or REFERENCE
    shipped = catalog.references()
    asked = extractor.name if isinstance(extractor, Extractor) else extractor
    path = shipped.get(f"{name}-{asked}") or shipped.get(str(name)) or Path(name)
    if not status(path):
        known = f"the shipped ones are {', '.join(shipped)}" if shipped else "none is shipped with this installation"
        raise DataError(f"no reference {str(name)!r}: {known}, or give the path of statistics or of images")
    arrays = read_npz(path) if path.suffix.lower() == ".npz" and is_file(path) else None
    if arrays is not None and (protocol is not None or not holds_images(arrays)):
        return Reference.from_arrays(arrays, str(path), protocol)
    if protocol is not None:
        raise UsageError(f"{path} holds images, which are measured now: leave --reference-protocol out")
    return open_images(path, size=size) if arrays is None else images_in(path, arrays, size=size)


def open_extractor(
    extractor: Extractor | str | Path | None,
    images: Generator | ImageSet,
    against: Reference | ImageSet | None = None,
    *,
    device: Device = "auto",
    threads: int | None = None,
) -> Extractor:
    """The extractor to measure `images` with.

    That is the one asked for. Where it is `auto` or None it is the one that measured the statistics they are compared
    with; without such, the one that measured a model's own reference, so `anime` for models of anime faces; and
    `imagenet` for other models and for pictures.

    Raises:
        UsageError: the statistics were measured with a file, which must be named.
        DataError: statistics of another number of features than is stated of them.
        ModelError, DeviceError, MissingPackageError: as with `Extractor.load`.
    """
    statistics = against if isinstance(against, Reference) else None
    if extractor is None or extractor == AUTO:
        extractor = _extractor_of(images) if statistics is None else statistics.protocol.extractor
        if statistics is not None and extractor not in NAMES:
            raise UsageError(
                f"{statistics.protocol.source} was measured with {extractor}: name that file with --extractor"
            )
    extractor = Extractor.of(extractor, device=device, threads=threads)
    if statistics is not None and statistics.stated:
        length = len(statistics.statistics.mean)
        if statistics.protocol.extractor != extractor.name or length != extractor.dimensions:
            raise DataError(
                f"{statistics.protocol.source} is stated to be measured by {statistics.protocol.extractor} and holds "
                f"{length} features of an image, and {extractor.name} gives {extractor.dimensions}: both must be the "
                "same"
            )
    return extractor


def _extractor_of(images: Generator | ImageSet) -> str:
    own = own_reference(images)
    return _stored(catalog.references()[own], "extractor") if own else IMAGENET


def _stored(path: Path, key: str) -> str:
    """One text of a shipped file of statistics, without its large arrays."""
    with np.load(path, allow_pickle=False) as archive:
        return str(archive[key])
