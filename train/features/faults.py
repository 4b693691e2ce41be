"""Faces spoilt in one place, as a bad generator spoils them, and where."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

KINDS = 8  # the first is none
CELL = 4  # pixels a side of what is told spoilt or not
_WHOLE = 0.3  # of the bent and blurred ones, those that are so from edge to edge
_SEEN = 0.02  # a mean difference below which a cell counts as it was


def spoil(x: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Images float [N, 3, H, W] in [−1, 1] → the same with faults, and how much of each cell is at fault.

    In a soft ellipse of its own each image is left alone, or is another face, bent, blurred, moved, mixed with another
    face, mirrored or noisy. The shares are float [N, 1, H/4, W/4] from 0 to 1.
    """
    count, _, height, width = x.shape
    kind = rng.integers(KINDS, size=count)
    others = x.roll(1, 0)
    mix = _column(rng.uniform(0.35, 0.75, count))
    noise = torch.from_numpy(rng.standard_normal(x.shape, np.float32)) * _column(rng.uniform(0.05, 0.25, count))
    move = [int(way * by) for way, by in zip(rng.choice((-1, 1), 2), rng.integers(4, 13, 2), strict=True)]
    versions = [
        x,
        others,
        _bent(x, rng),
        torch.where(_column(rng.random(count)) < 0.5, _blurred(x, 5), _blurred(x, 9)),
        x.roll(move, (2, 3)),
        x * (1 - mix) + others * mix,
        x.flip(3),
        (x + noise).clamp(-1, 1),
    ]
    instead = torch.stack(versions)[torch.from_numpy(kind), torch.arange(count)]
    whole = np.isin(kind, (2, 3)) & (rng.random(count) < _WHOLE)
    mask = torch.where(_column(whole) > 0, 1.0, _ellipses(count, height, width, rng))
    spoilt = torch.lerp(x, instead, mask)
    seen = F.avg_pool2d((spoilt - x).abs().mean(1, keepdim=True), CELL) >= _SEEN
    return spoilt.contiguous(memory_format=torch.channels_last), F.avg_pool2d(mask, CELL) * seen


def _column(values: np.ndarray) -> Tensor:
    """A value an image, to go with [N, C, H, W]."""
    return torch.from_numpy(values.astype(np.float32))[:, None, None, None]


def _ellipses(count: int, height: int, width: int, rng: np.random.Generator) -> Tensor:
    """[N, 1, H, W]: 1 inside and 0 outside of an ellipse with a soft edge, from a sixteenth to a third of the side."""
    rows = (torch.arange(height) + 0.5).view(1, 1, -1, 1) / height
    columns = (torch.arange(width) + 0.5).view(1, 1, 1, -1) / width
    centre = rng.uniform(1 / 8, 7 / 8, (2, count))
    radius = 1 / 16 + rng.random((2, count)) ** 1.5 / 4
    away = ((rows - _column(centre[0])) / _column(radius[0])) ** 2
    away = away + ((columns - _column(centre[1])) / _column(radius[1])) ** 2
    return torch.sigmoid((1 - away) / _column(rng.uniform(0.05, 0.35, count)))


def _bent(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Each image moved by a smooth random field."""
    count = len(x)
    field = torch.from_numpy(rng.standard_normal((count, 2, 8, 8), np.float32)) * _column(
        rng.uniform(0.05, 0.17, count)
    )
    field = F.interpolate(field, size=x.shape[2:], mode="bicubic").permute(0, 2, 3, 1)
    still = F.affine_grid(torch.eye(2, 3).expand(count, 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, still + field, padding_mode="reflection", align_corners=False)


def _blurred(x: Tensor, side: int) -> Tensor:
    return F.avg_pool2d(F.pad(x, (side // 2,) * 4, mode="reflect"), side, 1)
