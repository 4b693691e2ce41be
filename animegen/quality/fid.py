"""The Fréchet distance of a generator or a set of images from a reference, with all that it takes to get it again."""

from __future__ import annotations

import statistics as plain
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from animegen.model import catalog
from animegen.quality.extractors import INCEPTION, Extractor
from animegen.quality.measure import Measurable, N, check_size, image_sets, measure_set, opened
from animegen.quality.opening import open_extractor, open_reference
from animegen.quality.reference import Protocol, Reference, StatedProtocol
from animegen.quality.statistics import Statistics
from animegen.runtime import Device

# Inception's features are 2,048: with fewer images their covariance is singular, and below it the bias is what is
# mostly measured, whatever the extractor (Chong & Forsyth 2020).
FEW = 2048


@dataclass(frozen=True, kw_only=True)
class Score:
    """A Fréchet distance and its protocol.

    Attributes:
        value: the distance; the mean where there are several.
        values: of each draw.
        count, reference_count: images on either side, of one draw.
        dimensions: features of an image.
        rank: of the images' covariance; below `dimensions` it is singular.
        device: where the extractor ran.
        measured, reference: the protocols of both sides; for several draws that of the first.
        stated: whether the reference's protocol was stated by the user and not measured.
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
    stated: bool = False

    @classmethod
    def of(cls, reference: Reference, draws: Sequence[Reference], device: str) -> Self:
        """Of draws, at least one, that are measured already.

        Raises:
            DataError: they can't be compared.
        """
        values = tuple(reference.distance(draw) for draw in draws)
        first = draws[0]
        return cls(
            value=plain.fmean(values),
            values=values,
            count=first.statistics.count,
            reference_count=reference.statistics.count,
            dimensions=len(first.statistics.mean),
            rank=_rank(first.statistics),
            device=device,
            measured=first.protocol,
            reference=reference.protocol,
            stated=reference.stated,
        )

    @property
    def spread(self) -> float | None:
        """The standard deviation of the draws; None of a single one."""
        return plain.stdev(self.values) if len(self.values) > 1 else None

    @property
    def warnings(self) -> list[str]:
        """What a reader has to know before the number."""
        lines = []
        fewer = min(self.count, self.reference_count)
        if fewer < FEW:
            lines.append(
                f"only {fewer:,} images: below {FEW:,} the distance is mostly its own bias, upwards (the images' "
                f"covariance has rank {self.rank} of {self.dimensions}); compare it only at equal numbers of images"
            )
        if self.stated:
            lines.append(
                "the reference's protocol was stated and not measured: the distance holds if its extractor, resize and "
                "preparation were the same as here"
            )
        if self.measured.extractor != INCEPTION:
            lines.append(
                f"in the features of {self.measured.extractor}: not comparable with published FIDs, which are of "
                "Inception's features"
            )
        return lines

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
            "reference_stated": self.stated,
        }

    def rows(self) -> list[tuple[str, str]]:
        """The number and its protocol for people, as pairs of a word and a text."""
        spread = f" ± {self.spread:.4g} over {len(self.values)} draws" if self.spread is not None else ""
        return [
            ("FID", f"{self.value:.4g}{spread}"),
            ("images", _side(self.count, self.measured)),
            ("reference", _side(self.reference_count, self.reference, stated=self.stated)),
            ("extractor", f"{self.measured.extractor}, sha256 {self.measured.extractor_sha256}, on {self.device}"),
            ("resize", self.measured.resize),
            ("covariance", f"rank {self.rank} of {self.dimensions}"),
        ]


def fid(
    images: Measurable = catalog.DEFAULT,
    reference: str | Path | Reference | None = None,
    *,
    extractor: Extractor | str | Path | None = None,
    protocol: StatedProtocol | None = None,
    n: int = N,
    seed: int = 0,
    repeats: int = 1,
    size: int | None = None,
    truncation: float = 1.0,
    batch_size: int | None = None,
    device: Device = "auto",
    threads: int | None = None,
) -> Score:
    """The Fréchet distance of images from a reference.

    Args:
        images: a generator, a set, an array, or what `open_images` takes; a model also by its name or address.
        reference: a shipped name, a file of statistics, images to be measured now, or a measured `Reference`; by
            default the shipped one that a model's card names, else `anime-faces`.
        extractor: `anime`, `imagenet`, `inception`, an .onnx file's path, or a loaded one. By default, or `auto`, the
            one that measured the reference; where that is images, `anime` for models of anime faces, and `imagenet`
            for all else.
        protocol: of a reference that another tool measured, how it did, as with `Reference.load`.
        n: images of a draw of a generator.
        seed: the first of its seeds.
        repeats: of a generator, how many draws, each of seeds of its own; more than one give a spread.
        size: of pictures, on both sides, the side that they are cropped and resized to.
        truncation: of a generator, as with `Generator.sample`.
        batch_size: images in one call of a network.
        device: of networks that are loaded by name, as with `Generator.load`.
        threads: likewise.

    Example:
        >>> from animegen import Generator, fid
        >>> with Generator.load(device="cpu") as generator:
        ...     score = fid(generator, n=64, device="cpu")
        >>> score.count, score.spread
        (64, None)

    Raises:
        UsageError: `repeats` of what is not a generator, a size where there are no pictures, an extractor that must be
            named, or a protocol of another form or for a reference that has its own.
        DataError: no such reference, images that can't be measured, or sides that can't be compared.
        ModelError, DeviceError, MissingPackageError: as with `Generator.load`.
    """
    with opened(images, size=size, device=device, threads=threads) as whose:
        against = open_reference(reference, whose, extractor, protocol=protocol, size=size)
        check_size(size, whose, against)
        extractor = open_extractor(extractor, whose, against, device=device, threads=threads)
        draws = image_sets(whose, n=n, seed=seed, repeats=repeats, truncation=truncation, batch_size=batch_size)
        if not isinstance(against, Reference):
            against = measure_set(against, extractor, sample=0)
        measured = [measure_set(draw, extractor, against=against, sample=0, batch_size=batch_size) for draw in draws]
    return Score.of(against, measured, extractor.device)


def _rank(statistics: Statistics) -> int:
    """Of the covariance: at most count − 1, and less where features never vary."""
    return min(int(np.linalg.matrix_rank(statistics.covariance, hermitian=True)), statistics.count - 1)


def _side(count: int, protocol: Protocol, *, stated: bool = False) -> str:
    of = f"{count:,} of {protocol.source}"
    if stated:
        return (
            f"{of}, stated, not measured: extractor {protocol.extractor}, size {protocol.image_size}, preparation "
            f"{protocol.preparation}, resize {protocol.resize}"
        )
    return f"{of}, {protocol.image_size}, {protocol.preparation}, sha256 {protocol.data_sha256}"
