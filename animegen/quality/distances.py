"""Distances between two sets of features: Fréchet (FID), its extrapolation to endless samples, and kernel (KID)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animegen.errors import DataError, UsageError
from animegen.quality.statistics import Floats, Statistics


@dataclass(frozen=True)
class Estimate:
    """A value and its spread."""

    value: float
    spread: float


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """‖μ₁ − μ₂‖² + Tr(Σ₁ + Σ₂ − 2·(Σ₁Σ₂)^½): Heusel et al. 2017 (arXiv 1706.08500), equation 6.

    The trace of the root is the sum of the singular values of Σ₁^½·Σ₂^½, whose squares are the eigenvalues of Σ₁Σ₂;
    both roots come from symmetric eigenvalues. So it is real, needs no matrix root of an unsymmetric product, and
    holds for singular covariances, which every set smaller than D + 1 has: no rounding error goes through a root.

    Raises:
        DataError: features of two lengths.
    """
    if a.mean.shape != b.mean.shape:
        raise DataError(
            f"features have {len(a.mean)} values on one side and {len(b.mean)} on the other, and must have as many"
        )
    return _distance(a, _root(a.covariance), b)


def _distance(a: Statistics, root: Floats, b: Statistics) -> float:
    """The distance, `root` being that of the first covariance."""
    shared = np.linalg.svd(root @ _root(b.covariance), compute_uv=False).sum()
    apart = a.mean - b.mean
    # Rounded covariances may have eigenvalues below 0, which no distance has.
    return max(0.0, float(apart @ apart + np.trace(a.covariance) + np.trace(b.covariance) - 2 * shared))


def _root(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    root: Floats = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return root


def frechet_infinity(
    real: Statistics, features: NDArray[Any], *, sizes: Sequence[int] | None = None, seed: int = 0
) -> float:
    """The Fréchet distance extrapolated to endlessly many generated images.

    The distance's bias is about linear in 1/N (Chong & Forsyth 2020, arXiv 1911.07023): a line is fitted over
    1/N at 15 sizes from N/10 to N, each of a random part of the features [N, D], and read off at 0.

    Raises:
        DataError: fewer than 20 features, too few for the sizes.
    """
    count = len(features)
    if count < 20:
        raise DataError(f"{count} images are too few to extrapolate from, which needs at least 20")
    chosen = sizes or np.linspace(max(10, count // 10), count, 15).astype(int).tolist()
    rng = np.random.default_rng(seed)
    root = _root(real.covariance)
    parts = (Statistics.of([features[rng.permutation(count)[:size]]]) for size in chosen)
    distances = [_distance(real, root, part) for part in parts]
    _slope, at_zero = np.polyfit(1 / np.array(chosen, float), distances, 1)
    return float(at_zero)


def kernel_distance(
    a: NDArray[Any], b: NDArray[Any], *, subsets: int = 100, size: int = 1000, seed: int = 0
) -> Estimate:
    """KID: the squared maximum mean discrepancy under k(x, y) = (x·y/D + 1)³, unbiased, over random subsets.

    Bińkowski et al. 2018 (arXiv 1801.01401), section 4; 100 subsets of 1,000 as torch-fidelity does. Features are
    [N, D] and [M, D]; the value is the mean over the subsets, the spread their standard deviation.

    Raises:
        DataError: features of two lengths, or fewer of them than 2.
        UsageError: fewer than one subset, or subsets of fewer than 2.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise DataError(f"features have the shapes {list(a.shape)} and {list(b.shape)} and must be [N, D] of one D")
    if min(len(a), len(b)) < 2:
        raise DataError(f"there are {len(a)} and {len(b)} images, and a kernel distance needs at least 2 on each side")
    if subsets < 1 or size < 2:
        raise UsageError(f"subsets is {subsets} and size is {size}, and they must be at least 1 and 2")
    m = min(size, len(a), len(b))
    rng = np.random.default_rng(seed)
    values = [
        _squared_discrepancy(
            np.asarray(a[rng.choice(len(a), m, replace=False)], np.float64),
            np.asarray(b[rng.choice(len(b), m, replace=False)], np.float64),
        )
        for _ in range(subsets)
    ]
    return Estimate(float(np.mean(values)), float(np.std(values)))


def _squared_discrepancy(x: Floats, y: Floats) -> float:
    """The unbiased estimator for two sets of one size m: Gretton et al. 2012, equation 3."""
    m = len(x)
    within_x, within_y, between = _kernel(x, x), _kernel(y, y), _kernel(x, y)
    within = within_x.sum() - np.trace(within_x) + within_y.sum() - np.trace(within_y)
    return float(within / (m * (m - 1)) - 2 * between.mean())


def _kernel(x: Floats, y: Floats) -> Floats:
    kernel: Floats = (x @ y.T / x.shape[1] + 1) ** 3
    return kernel
