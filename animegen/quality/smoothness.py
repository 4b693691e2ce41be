"""How evenly images change along an interpolation, in an extractor's features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animegen.errors import DataError


@dataclass(frozen=True)
class Smoothness:
    """Means over paths.

    Attributes:
        length: of a path in features; its steps' Euclidean lengths added up.
        detour: that length over the distance of the two ends: 1 is a straight line.
        jump: a path's largest step over its mean step: 1 is an even change, many is a sudden one.
        paths, steps: how many paths, of how many steps each.
    """

    length: float
    detour: float
    jump: float
    paths: int
    steps: int


def smoothness(features: NDArray[Any]) -> Smoothness:
    """Of the features [P, S + 1, D] of P interpolations in S steps.

    The idea is that of the perceptual path length (Karras et al. 2019, arXiv 1812.04948, section 4.1). That takes
    steps of 10⁻⁴, at which images rounded to grey levels don't differ; here the steps are an interpolation's own.

    Raises:
        DataError: another shape, fewer than 2 steps, or paths on which nothing changes.
    """
    if features.ndim != 3 or features.shape[1] < 3 or not len(features):
        raise DataError(f"features have the shape {list(features.shape)} and must be [P, S + 1, D] with S of 2 or more")
    values = np.asarray(features, np.float64)
    steps = np.linalg.norm(np.diff(values, axis=1), axis=2)
    ends = np.linalg.norm(values[:, -1] - values[:, 0], axis=1)
    lengths = steps.sum(axis=1)
    if not (ends > 0).all():
        raise DataError("a path ends where it began and must lead elsewhere: take other seeds")
    return Smoothness(
        length=float(lengths.mean()),
        detour=float((lengths / ends).mean()),
        jump=float((steps.max(axis=1) / steps.mean(axis=1)).mean()),
        paths=len(values),
        steps=steps.shape[1],
    )
