"""A covariance in an eighth of its bytes, for statistics that travel inside the package.

Variances are kept in float32, and correlations, which lie between −1 and 1, in float16, each pair once. A distance of
some 2 moves by 0.00003.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animegen.errors import DataError

KEYS = ("variance", "correlation")


def pack(covariance: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """A covariance [D, D] as `variance` float32 [D] and `correlation` float16 [D (D − 1) / 2], row by row."""
    deviation = np.sqrt(np.diagonal(covariance))
    scale = np.where(deviation > 0, deviation, 1.0)  # what never varies has no covariance either
    correlation = covariance / np.outer(scale, scale)
    above = np.triu_indices(len(covariance), 1)
    return {
        "variance": np.diagonal(covariance).astype(np.float32),
        "correlation": correlation[above].astype(np.float16),
    }


def unpack(arrays: Mapping[str, NDArray[Any]], origin: str) -> NDArray[np.float64]:
    """The covariance [D, D] again; `origin` names the file in errors.

    Raises:
        DataError: arrays that are no variances and correlations of as many features.
    """
    variance, correlation = (arrays[key] for key in KEYS)
    pairs = len(variance) * (len(variance) - 1) // 2 if variance.ndim == 1 else -1
    floats = all(np.issubdtype(array.dtype, np.floating) for array in (variance, correlation))
    if correlation.shape != (pairs,) or not floats or (variance < 0).any():
        raise DataError(
            f"{origin} has variance {list(variance.shape)} and correlation {list(correlation.shape)}, which must be "
            "floats, [D] and [D (D − 1) / 2] of one D: make it again"
        )
    deviation = np.sqrt(variance.astype(np.float64))
    whole = np.diag(variance.astype(np.float64))
    rows, columns = np.triu_indices(len(variance), 1)
    whole[rows, columns] = whole[columns, rows] = correlation * deviation[rows] * deviation[columns]
    return whole
