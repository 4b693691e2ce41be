"""What the neighbours say: precision and recall, density and coverage, and the nearest real image of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animegen.errors import DataError, UsageError
from animegen.quality.statistics import Floats

_BLOCK = 1024  # rows of a distance matrix at once: 1024 × 50,000 of float64 are 400 MB


@dataclass(frozen=True)
class Manifold:
    """How two sets of features cover one another, each from 0 (but density, which has no upper end) to 1.

    Attributes:
        precision: the share of generated images within the real ones' neighbourhoods (fidelity).
        recall: the share of real images within the generated ones' neighbourhoods (variety).
        density: how many real neighbourhoods a generated image lies in, over k; 1 is expected of equal sets.
        coverage: the share of real images whose neighbourhood holds a generated one.
        k: the neighbours that make a neighbourhood.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    k: int


NEIGHBOURS = 5  # the usual k


def manifold(real: NDArray[Any], generated: NDArray[Any], *, k: int = NEIGHBOURS) -> Manifold:
    """Compare features [N, D] and [M, D] by balls around each point that reach to its k-th neighbour.

    Precision and recall: Kynkäänniemi et al. 2019 (arXiv 1904.06991), equation 2. Density and coverage: Naeem et
    al. 2020 (arXiv 2002.09797), equations 3 and 5. A point is not its own neighbour.

    Raises:
        DataError: features of two lengths, or k or fewer of them.
        UsageError: k below 1.
    """
    if k < 1:
        raise UsageError(f"k is {k} and must be at least 1")
    real, generated = _checked(real, generated)
    if min(len(real), len(generated)) <= k:
        raise DataError(
            f"there are {len(real)} real and {len(generated)} generated images, and more than k = {k} are needed on "
            "each side"
        )
    real_radii, generated_radii = _radii(real, k), _radii(generated, k)
    inside_real = np.zeros(len(generated), np.int64)  # real balls that hold a generated point
    covered = np.zeros(len(real), bool)  # real balls that hold any generated point
    recalled = np.zeros(len(real), bool)  # real points in any generated ball
    for start, distances in _distances(generated, real):
        rows = slice(start, start + len(distances))
        within = distances <= real_radii
        inside_real[rows] = within.sum(axis=1)
        covered |= within.any(axis=0)
        recalled |= (distances <= generated_radii[rows, None]).any(axis=0)
    return Manifold(
        precision=float((inside_real > 0).mean()),
        recall=float(recalled.mean()),
        density=float(inside_real.mean() / k),
        coverage=float(covered.mean()),
        k=k,
    )


def nearest(queries: NDArray[Any], pool: NDArray[Any]) -> tuple[NDArray[np.int64], Floats]:
    """For each query [N, D] the row of its nearest neighbour in the pool [M, D], and their Euclidean distance.

    Raises:
        DataError: features of two lengths, or an empty pool.
    """
    queries, pool = _checked(queries, pool)
    if not len(pool):
        raise DataError("the pool is empty and must hold at least 1 image to look for neighbours in")
    rows, values = np.empty(len(queries), np.int64), np.empty(len(queries))
    for start, distances in _distances(queries, pool):
        part = slice(start, start + len(distances))
        rows[part] = distances.argmin(axis=1)
        values[part] = np.sqrt(distances[np.arange(len(distances)), rows[part]])
    return rows, values


def _checked(a: NDArray[Any], b: NDArray[Any]) -> tuple[Floats, Floats]:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise DataError(f"features have the shapes {list(a.shape)} and {list(b.shape)} and must be [N, D] of one D")
    return np.asarray(a, np.float64), np.asarray(b, np.float64)


def _radii(points: Floats, k: int) -> Floats:
    """The squared distance of each point to its k-th neighbour; row 0 of the order is the point itself."""
    radii = np.empty(len(points))
    for start, distances in _distances(points, points):
        places = np.arange(len(distances))
        distances[places, start + places] = 0  # rounding must not make a point its own neighbour
        radii[start : start + len(distances)] = np.partition(distances, k, axis=1)[:, k]
    return radii


def _distances(a: Floats, b: Floats) -> Iterator[tuple[int, Floats]]:
    """Squared Euclidean distances, in blocks of rows."""
    squares = (b**2).sum(axis=1)
    for start in range(0, len(a), _BLOCK):
        block = a[start : start + _BLOCK]
        distances = (block**2).sum(axis=1)[:, None] - 2 * block @ b.T + squares
        yield start, np.clip(distances, 0, None, out=distances)
