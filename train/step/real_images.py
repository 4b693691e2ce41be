"""The real images of a step, read for each batch or kept on the GPU as a whole, and their labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from animegen.errors import DataError
from animegen.images.stills import Images
from train.data import DatasetLabels
from train.step.draws import Arrays
from train.step.pixels import to_float

_PLACES = ("rows", "mirrored")  # of `draws`


class RealImages:
    """The images of a dataset, of which each step takes the `rows` that it draws, some of them mirrored."""

    def __init__(
        self,
        images: Images,
        batch_size: int,
        device: torch.device,
        *,
        resident: bool,
        labels: DatasetLabels | None = None,
    ) -> None:
        """With `resident` all images lie in the GPU's memory, if they take a quarter of what is free at most.

        Raises:
            DataError: fewer images than a batch.
        """
        if batch_size > len(images):
            raise DataError(
                f"the dataset has {len(images)} images and must have at least a batch of {batch_size}: "
                "use more images or a smaller batch_size"
            )
        self._images = images
        self._labels = labels
        self._on_device = _on_device(images, device) if resident else None

    def __len__(self) -> int:
        return len(self._images)

    def load(self, arrays: Arrays) -> Arrays:
        """What a step draws, with the images themselves as `real` in place of their rows if the device lacks them.

        Where the dataset's labels are taken, those of the rows are there as `labels`: float32 [N, L].
        """
        if self._labels is not None:
            others = {name: value for name, value in arrays.items() if name != "label_rows"}
            rows = arrays["rows"] if "rows" in arrays else arrays["label_rows"]
            arrays = {**others, "labels": self._labels.one_hot(rows)}
        if self._on_device is not None or "rows" not in arrays:
            return arrays
        rows, mirrored = arrays["rows"], arrays["mirrored"]
        real = self._images[rows]
        real[mirrored] = real[mirrored, :, ::-1]
        return {"real": np.asarray(real), **{name: value for name, value in arrays.items() if name not in _PLACES}}

    def images(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The real images of a step, from what `load` gave: float [N, C, H, W] in [−1, 1]."""
        if self._on_device is None:
            return to_float(inputs["real"])
        real = self._on_device[inputs["rows"]]
        return to_float(torch.where(inputs["mirrored"].view(-1, 1, 1, 1), real.flip(2), real))


def _on_device(images: Images, device: torch.device) -> Tensor | None:
    free, _ = torch.cuda.mem_get_info(device)
    return torch.from_numpy(np.array(images)).to(device) if images.nbytes <= free / 4 else None
