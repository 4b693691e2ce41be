"""Mean and covariance of features, gathered batch by batch in float64; memory is D², whatever the count."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animegen.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Statistics:
    """What the Fréchet distance needs of a set of features.

    Attributes:
        count: images.
        mean: float64 [D].
        covariance: float64 [D, D], divided by count − 1 as `numpy.cov` and pytorch-fid do.
    """

    count: int
    mean: Floats
    covariance: Floats

    @classmethod
    def of(cls, batches: Iterable[NDArray[Any]]) -> Statistics:
        """Of features that come in batches [N, D]; the result doesn't depend on how they are cut.

        Raises:
            DataError: fewer than 2 images, another shape, or a value that is not finite.
        """
        gathered = Gatherer()
        for batch in batches:
            gathered.add(batch)
        return gathered.finish()


class Gatherer:
    """Adds batches to a mean and a scatter matrix, by the pairwise update of Chan, Golub & LeVeque 1979."""

    def __init__(self) -> None:
        self._count = 0
        self._mean: Floats = np.zeros(0)
        self._scatter: Floats = np.zeros((0, 0))

    def add(self, features: NDArray[Any]) -> None:
        """Take in a batch [N, D].

        Raises:
            DataError: another shape, or a value that is not finite.
        """
        batch = np.asarray(features, np.float64)
        if batch.ndim != 2 or (self._count and batch.shape[1] != len(self._mean)):
            wanted = f"[N, {len(self._mean)}]" if self._count else "[N, D]"
            raise DataError(f"features have the shape {list(batch.shape)} and must be {wanted}")
        if not np.isfinite(batch).all():
            raise DataError("features must be finite, and some are not: look for broken images or a broken extractor")
        if not len(batch):
            return
        if not self._count:
            self._mean, self._scatter = np.zeros(batch.shape[1]), np.zeros((batch.shape[1], batch.shape[1]))
        mean = batch.mean(axis=0)
        centred = batch - mean
        apart = mean - self._mean
        total = self._count + len(batch)
        self._scatter += centred.T @ centred + np.outer(apart, apart) * (self._count * len(batch) / total)
        self._mean = self._mean + apart * (len(batch) / total)
        self._count = total

    def finish(self) -> Statistics:
        """The statistics of everything that was added.

        Raises:
            DataError: fewer than 2 images.
        """
        if self._count < 2:
            raise DataError(f"{self._count} images have no covariance: at least 2 are needed, and thousands for a FID")
        covariance = self._scatter / (self._count - 1)
        return Statistics(self._count, self._mean, (covariance + covariance.T) / 2)
