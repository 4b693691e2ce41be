"""The Fréchet distance of a generator or a set of images from a reference, with all that it takes to get it again."""

from __future__ import annotations

import statistics as plain
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from animegen.errors import DataError, UsageError
from animegen.generator import Generator
from animegen.images.sets import ImageSet, open_images
from animegen.images.stills import Images
from animegen.model import catalog, fetch
from animegen.quality.extractors import INCEPTION, Extractor
from animegen.quality.reference import Protocol, Reference, measure
from animegen.quality.statistics import Statistics
from animegen.seeds import Seeds

REFERENCE = "anime-faces"  # the shipped one
# Inception's features are 2,048: with fewer images their covariance is singular, and below it the bias is what is
# mostly measured, whatever the extractor (Chong & Forsyth 2020).
FEW = 2048


@dataclass(frozen=True, kw_only=True)
class Score:
    """A Fréchet distance and its protocol.

    Attributes:
        value: the distance; the mean where there are several.
        values: each draw's own.
        count, reference_count: images on either side, of one draw.
        dimensions: features of an image.
        rank: of the images' covariance; below `dimensions` it is singular.
        device: where the extractor ran.
        measured, reference: the protocols of both sides; for several draws that of the first.
    """

    value: float
    values: tuple[float, ...]
    count: int
    reference_count: int
    dimensions: int
    rank: int
    device: str
    measured: Protocol
    reference: Protocol

    @property
    def spread(self) -> float | None:
        """The standard deviation of the draws; None of a single one."""
        return plain.stdev(self.values) if len(self.values) > 1 else None

    @property
    def warnings(self) -> list[str]:
        """What a reader has to know before the number."""
        found = []
        fewer = min(self.count, self.reference_count)
        if fewer < FEW:
            found.append(
                f"only {fewer:,} images: below {FEW:,} the distance is mostly its own bias, upwards (the images' "
                f"covariance has rank {self.rank} of {self.dimensions}); compare it only at equal numbers of images"
            )
        if self.measured.extractor != INCEPTION:
            found.append(
                f"in the features of {self.measured.extractor}: not comparable with published FIDs, which are of "
                "Inception's features"
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "fid": self.value,
            "spread": self.spread,
            "values": list(self.values),
            "count": self.count,
            "reference_count": self.reference_count,
            "dimensions": self.dimensions,
            "rank": self.rank,
            "device": self.device,
            "warnings": self.warnings,
            "measured": asdict(self.measured),
            "reference": asdict(self.reference),
        }

    def rows(self) -> list[tuple[str, str]]:
        """The number and its protocol for people, as pairs of a word and a text."""
        spread = f" ± {self.spread:.4g} over {len(self.values)} draws" if self.spread is not None else ""
        return [
            ("FID", f"{self.value:.4g}{spread}"),
            ("images", _side(self.count, self.measured)),
            ("reference", _side(self.reference_count, self.reference)),
            ("extractor", f"{self.measured.extractor}, sha256 {self.measured.extractor_sha256}, on {self.device}"),
            ("resize", self.measured.resize),
            ("covariance", f"rank {self.rank} of {self.dimensions}"),
        ]


def images_of(
    generator: Generator, seeds: Seeds, *, truncation: float = 1.0, batch_size: int | None = None
) -> ImageSet:
    """A generator's images of some seeds, as a set that is made anew each time it is read."""
    rule = f"as generated, seeds {seeds}, truncation {truncation:g}"
    return ImageSet(
        generator.card.name,
        len(seeds),
        rule,
        (),
        lambda: generator.stream(seeds, truncation=truncation, batch_size=batch_size),
    )


def reference_file(name: str | Path) -> Path:
    """The file or folder of a reference that is named by a shipped name or a path.

    Raises:
        DataError: neither; the shipped names are listed.
    """
    shipped = catalog.references()
    if str(name) in shipped:
        return shipped[str(name)]
    path = Path(name)
    if path.exists():
        return path
    known = f"the shipped ones are {', '.join(shipped)}" if shipped else "none is shipped with this installation"
    raise DataError(f"no reference {str(name)!r}: {known}, or give the path of statistics or of images")


def is_model(source: str) -> bool:
    """Whether a source of images is a model: a shipped name, an address, or an .onnx file."""
    return source in catalog.shipped_models() or fetch.is_address(source) or source.lower().endswith(".onnx")


def is_statistics(path: Path) -> bool:
    """Whether a path is meant as a file of statistics: an npz without images."""
    if path.suffix.lower() != ".npz" or not path.is_file():
        return False
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return "images" not in archive
    except Exception:  # whatever is wrong with it, Reference.load will say
        return True


def open_reference(
    name: str | Path, extractor: Extractor, *, size: int | None = None, each: Callable[[Images], None] = lambda _: None
) -> Reference:
    """Statistics from a file of them, or of the images under a path, which are measured now.

    Raises:
        DataError: no such reference, or one that can't be read or measured.
    """
    path = reference_file(name)
    if is_statistics(path):
        return Reference.load(path)
    return measure(open_images(path, size=size), extractor, each=each)


def score(
    reference: Reference,
    draws: Sequence[ImageSet],
    extractor: Extractor,
    *,
    batch_size: int | None = None,
    each: Callable[[Images], None] = lambda _: None,
) -> Score:
    """The distance of each draw from the reference.

    Raises:
        DataError: they can't be compared, or can't be measured.
        UsageError: no draws.
    """
    if not draws:
        raise UsageError("a score needs at least one draw of images")
    measured = [
        measure(images, extractor, against=reference, sample=0, batch_size=batch_size, each=each) for images in draws
    ]
    return score_of(reference, measured, extractor.device)


def score_of(reference: Reference, measured: Sequence[Reference], device: str) -> Score:
    """The score of draws that are measured already.

    Raises:
        DataError: they can't be compared.
    """
    values = tuple(reference.distance(one) for one in measured)
    first = measured[0]
    return Score(
        value=plain.fmean(values),
        values=values,
        count=first.statistics.count,
        reference_count=reference.statistics.count,
        dimensions=len(first.statistics.mean),
        rank=rank(first.statistics),
        device=device,
        measured=first.protocol,
        reference=reference.protocol,
    )


def rank(statistics: Statistics) -> int:
    """Of the covariance: at most count − 1, and less where features never vary."""
    return min(int(np.linalg.matrix_rank(statistics.covariance, hermitian=True)), statistics.count - 1)


def _side(count: int, protocol: Protocol) -> str:
    return (
        f"{count:,} of {protocol.source}, {protocol.image_size}, {protocol.preparation}, sha256 {protocol.data_sha256}"
    )
