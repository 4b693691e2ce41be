"""The distance of a generator in training from its reference statistics: the seam to `animegen.quality`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animegen.errors import DataError
from animegen.images.sets import ImageSet
from animegen.quality.extractors import Extractor
from animegen.quality.measure import measure
from animegen.quality.reference import Reference
from train.data import DatasetGroup
from train.networks import GeneratorNetwork
from train.run.samples import generated


def protocol_of(score: Mapping[str, Any]) -> tuple[Any, ...]:
    """How a score was measured: only FIDs of one protocol can be compared."""
    return tuple(score.get(key) for key in ("extractor_sha256", "count", "reference_sha256", "reference_count"))


@dataclass(frozen=True)
class Monitor:
    """Measures generators with the extractor that made the reference statistics, against these."""

    reference: Reference
    extractor: Extractor
    count: int  # images of a measurement

    @classmethod
    def open(cls, reference: Path, *, count: int, threads: int | None = None) -> Monitor:
        """Read the statistics and load their extractor, on so many CPU threads or on all.

        Raises:
            DataError: no statistics.
            ModelError: their extractor isn't here.
        """
        statistics = Reference.load(reference)
        extractor = Extractor.load(statistics.protocol.extractor, device="cpu", threads=threads)
        return cls(statistics, extractor, count)

    def check_size(self, size: int) -> None:
        """Refuse, before hours of training, images that can't be compared with the reference.

        Raises:
            DataError: the reference is of another size.
        """
        measured_at, wanted = self.reference.protocol.image_size, f"{size}×{size}"
        if measured_at != wanted:
            raise DataError(
                f"the reference {self.reference.protocol.source} was measured at {measured_at} and must be of "
                f"{wanted}, as the run's images: make one of that size with animegen stats"
            )

    def measure(self, generator: GeneratorNetwork, groups: Sequence[DatasetGroup] = ()) -> Reference:
        """The statistics of the images of seeds 0 to count − 1; `groups` are those of the labels that it takes.

        Raises:
            DataError: the reference was measured otherwise.
        """
        images = ImageSet(
            source="the generator in training",
            count=self.count,
            rule="as generated",
            names=(),
            read=lambda: generated(generator, self.count, groups),
        )
        return measure(images, self.extractor, against=self.reference)

    def score(self, generator: GeneratorNetwork, groups: Sequence[DatasetGroup] = ()) -> dict[str, Any]:
        """The FID of the images that `measure` measures, with its protocol.

        Raises:
            DataError: as `measure`.
        """
        protocol = self.reference.protocol
        return {
            "fid": self.reference.distance(self.measure(generator, groups)),
            "count": self.count,
            "extractor": protocol.extractor,
            "extractor_sha256": protocol.extractor_sha256,
            "reference": protocol.source,
            "reference_sha256": protocol.data_sha256,
            "reference_count": self.reference.statistics.count,
        }
