"""DiffAugment: Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training" (arXiv 2006.10738).

The critic sees real and generated images only through the same random augmentations, and the generator's gradient
goes back through them (the paper's equations 4 and 5). So the critic can't learn a small dataset by heart, and the
augmentations don't leak into what is generated. Ranges are those of the authors' code
(github.com/mit-han-lab/data-efficient-gans, DiffAugment_pytorch.py), which the paper's section 4 names.

Drawing and applying are apart: the numbers come from a numpy generator that the caller seeds, on any device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from train.errors import ConfigError

NAMES = ("color", "translation", "cutout")  # the paper's names, and the order in which they are applied


def draw(rng: np.random.Generator, n: int, policy: Sequence[str], size: Sequence[int]) -> dict[str, NDArray[Any]]:
    """The numbers of each augmentation in `policy`, a row for each of `n` images of `size`, height and width last.

    color        float32 [n, 3]: brightness added; factors of saturation and of contrast
    translation  int64 [n, 2]: pixels down and to the right
    cutout       int64 [n, 2]: the centre's row and column

    The order of the names in `policy` doesn't matter.

    Raises:
        ConfigError: a name that is none of `NAMES`.
    """
    if unknown := [name for name in policy if name not in NAMES]:
        raise ConfigError(f"an augmentation is {unknown[0]!r} and must be one of {', '.join(NAMES)}")
    sides = np.array(size[-2:])
    numbers: dict[str, NDArray[Any]] = {}
    if "color" in policy:
        # Brightness is in units of [−1, 1].
        numbers["color"] = rng.uniform([-0.5, 0.0, 0.5], [0.5, 2.0, 1.5], (n, 3)).astype(np.float32)
    if "translation" in policy:
        farthest = (sides + 4) // 8  # an eighth, rounded
        numbers["translation"] = rng.integers(-farthest, farthest, (n, 2), endpoint=True)
    if "cutout" in policy:
        # A hole of an even side has its centre between two pixels, so it can also lie on the far edge.
        numbers["cutout"] = rng.integers(0, sides + (1 - sides // 2 % 2), (n, 2))
    return numbers


def apply(x: Tensor, numbers: Mapping[str, Tensor]) -> Tensor:
    """Augment float images [N, C, H, W] in [−1, 1], each by its own row of `numbers`: what `draw` gave, on x's device.

    Differentiable in `x`, twice as well; the memory format is kept. Brightness and contrast can leave [−1, 1], as
    in the paper.
    """
    if "color" in numbers:
        x = _color(x, numbers["color"])
    if "translation" in numbers:
        x = _translate(x, numbers["translation"])
    if "cutout" in numbers:
        x = _cut_out(x, numbers["cutout"])
    return x


def _color(x: Tensor, numbers: Tensor) -> Tensor:
    brightness, saturation, contrast = numbers.to(x).view(-1, 3, 1, 1, 1).unbind(1)
    x = x + brightness
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * saturation + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * contrast + mean


def _translate(x: Tensor, pixels: Tensor) -> Tensor:
    """Move each image, and fill what it leaves with zeros."""
    height, width = x.shape[2:]
    down, right = pixels.view(-1, 2, 1, 1).unbind(1)
    image, row, column = _grid(x)
    # One line of zeros around the image stands for all that lies outside.
    row = (row - down + 1).clamp(0, height + 1)
    column = (column - right + 1).clamp(0, width + 1)
    # Indexing writes the channels last; an image that came otherwise goes back as it came.
    moved = F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)[image, row, column].permute(0, 3, 1, 2)
    return moved.contiguous() if x.is_contiguous() else moved


def _cut_out(x: Tensor, centres: Tensor) -> Tensor:
    """Set a rectangle of half the height and width to zero, mid-grey; what of it lies outside is lost."""
    height, width = x.shape[2] // 2, x.shape[3] // 2
    row_centre, column_centre = centres.view(-1, 2, 1, 1).unbind(1)
    top, left = row_centre - height // 2, column_centre - width // 2
    _, row, column = _grid(x)
    hole = (row >= top) & (row < top + height) & (column >= left) & (column < left + width)
    return x * ~hole.unsqueeze(1)


def _grid(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The numbers of images, rows and columns, shaped to broadcast to [N, H, W]."""
    n, _, height, width = x.shape
    image, row, column = (torch.arange(length, device=x.device) for length in (n, height, width))
    return image.view(-1, 1, 1), row.view(1, -1, 1), column.view(1, 1, -1)
