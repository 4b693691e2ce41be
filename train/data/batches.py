"""Batches of real images, each a function of the seed and its number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from animegen.errors import DataError
from animegen.images.stills import Images

_STREAM_ORDER, _STREAM_FLIP = 1, 2


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
        rows, mirrored = self.draw(k)
        images = self._images[rows]
        images[mirrored] = images[mirrored, :, ::-1]
        return np.asarray(images)

    def draw(self, k: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Which images batch number `k` holds, and which of them are mirrored: [batch_size] each."""
        count = len(self._images)
        position = np.arange(k * self._batch_size, (k + 1) * self._batch_size)
        rows = np.concatenate(
            [self._epoch(epoch)[position[position // count == epoch] % count] for epoch in np.unique(position // count)]
        )
        if not self._flip:
            return rows, np.zeros(self._batch_size, bool)
        return rows, np.random.default_rng([self._seed, _STREAM_FLIP, k]).random(self._batch_size) < 0.5

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        if self._order[0] != epoch:
            rng = np.random.default_rng([self._seed, _STREAM_ORDER, epoch])
            self._order = (epoch, rng.permutation(len(self._images)))
        return self._order[1]
