"""The distance of a generator in training from its reference statistics: the seam to `animegen.quality`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from animegen import latents
from animegen.errors import DataError
from animegen.images.sets import ImageSet
from animegen.images.stills import Images
from animegen.quality.extractors import Extractor
from animegen.quality.reference import Reference, measure
from train.step.trainer import to_uint8

_BATCH = 64


@dataclass(frozen=True)
class Referee:
    """Measures generators with the extractor that made the reference statistics, against these."""

    reference: Reference
    extractor: Extractor
    count: int  # images of a measurement

    @classmethod
    def open(cls, reference: Path, *, count: int) -> Referee:
        """Read the statistics and load their extractor.

        Raises:
            DataError: no statistics.
            ModelError: their extractor isn't here.
        """
        read = Reference.load(reference)
        return cls(read, Extractor.load(read.protocol.extractor, device="cpu"), count)

    def check_size(self, size: int) -> None:
        """Refuse, before hours of training, images that can't be compared with the reference.

        Raises:
            DataError: the reference is of another size.
        """
        measured_at, wanted = self.reference.protocol.image_size, f"{size}×{size}"
        if measured_at != wanted:
            raise DataError(
                f"the reference {self.reference.protocol.source} was measured at {measured_at}, and the run makes "
                f"{wanted}: make one of that size with animegen stats"
            )

    def measured(self, generator: nn.Module, z_dim: int, device: torch.device) -> Reference:
        """The statistics of the images of seeds 0 to count − 1.

        Raises:
            DataError: the reference was measured otherwise.
        """
        images = ImageSet(
            source="the generator in training",
            count=self.count,
            rule="as generated",
            names=(),
            read=lambda: generated(generator, z_dim, self.count, device),
        )
        return measure(images, self.extractor, against=self.reference)

    def score(self, generator: nn.Module, z_dim: int, device: torch.device) -> dict[str, Any]:
        """The FID of the images of seeds 0 to count − 1, with its protocol.

        Raises:
            DataError: as `measured`.
        """
        protocol = self.reference.protocol
        return {
            "fid": self.reference.distance(self.measured(generator, z_dim, device)),
            "count": self.count,
            "extractor": protocol.extractor,
            "extractor_sha256": protocol.extractor_sha256,
            "reference": protocol.source,
            "reference_sha256": protocol.data_sha256,
            "reference_count": self.reference.statistics.count,
        }


@torch.no_grad()
def generated(generator: nn.Module, z_dim: int, count: int, device: torch.device) -> Iterator[Images]:
    """The images of seeds 0 to count − 1 in batches: uint8 [N, H, W, C]."""
    for start in range(0, count, _BATCH):
        z = torch.from_numpy(latents.from_seeds(range(start, min(start + _BATCH, count)), z_dim))
        yield to_uint8(generator(z.to(device)))
