"""The real side of a step: which images it draws, and where they lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from animegen.images.stills import Images
from train.config import Config
from train.data import Batches
from train.step.cuda_graph import Tensors


class RealImages:
    """The images of a run, drawn in batches that are a function of the seed and a counter."""

    def __init__(self, images: Images, config: Config, *, device: torch.device, resident: bool) -> None:
        """With `resident` the whole dataset lies in the GPU's memory, where it takes a quarter of what is free at most.

        Raises:
            DataError: fewer images than a batch.
        """
        self._batches = Batches(images, batch_size=config.batch_size, seed=config.seed, flip=config.flip)
        self._repeats = config.batch_repeats
        self._resident = _on_device(images, device) if resident else None

    def draw(self, k: int) -> dict[str, NDArray[Any]]:
        """Critic step `k`'s real images, a row each: themselves, or where they lie on the device."""
        batch = k // self._repeats
        if self._resident is None:
            return {"real": self._batches.batch(batch)}
        rows, mirrored = self._batches.draw(batch)
        return {"rows": rows, "mirrored": mirrored}

    def images(self, inputs: Tensors) -> Tensor:
        """What was drawn, as float [N, C, H, W] in [−1, 1]."""
        if self._resident is None:
            return to_float(inputs["real"])
        images = self._resident[inputs["rows"]]
        return shown(images, inputs["mirrored"])


def to_float(images: Tensor) -> Tensor:
    """uint8 [N, H, W, C] → float [N, C, H, W] in [−1, 1], channels last in memory."""
    return images.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def shown(images: Tensor, mirrored: Tensor) -> Tensor:
    """uint8 [N, H, W, C] and bool [N] → as `to_float`, those images mirrored that are to be."""
    return to_float(torch.where(mirrored.view(-1, 1, 1, 1), images.flip(2), images))


def _on_device(images: Images, device: torch.device) -> Tensor | None:
    free, _ = torch.cuda.mem_get_info(device)
    return torch.from_numpy(np.array(images)).to(device) if images.nbytes <= free / 4 else None
