"""The features' statistics of a set of images with the protocol they were measured by, as one npz file.

pytorch-fid reads `mu` and `sigma`; what stands beside them keeps a number from being compared with a wrong one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from animegen.errors import DataError, OutputError
from animegen.files import check_parent, read_npz, write_npz
from animegen.quality.distances import frechet_distance
from animegen.quality.statistics import Statistics


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a set of images was measured.

    Attributes:
        extractor: its name.
        extractor_sha256: of its file.
        weights_sha256: of the weights that file was exported from, or empty.
        resize: what the extractor's graph does to an image.
        preparation: what was done to the images before.
        image_size: width×height as the extractor was given them.
        source: where the images come from.
        data_sha256: of their shape and pixels.
    """

    extractor: str
    extractor_sha256: str
    weights_sha256: str
    resize: str
    preparation: str
    image_size: str
    source: str
    data_sha256: str

    def check_comparable(self, other: Protocol) -> None:
        """Refuse a distance between what was measured in two ways.

        An exported extractor is the same if its weights and its resize are, whatever torch wrote the file.

        Raises:
            DataError: another extractor, or images of another size; both sides are named.
        """
        same_file = self.extractor_sha256 == other.extractor_sha256
        same_weights = self.weights_sha256 == other.weights_sha256 != ""
        if not (same_file or (same_weights and self.resize == other.resize)):
            raise DataError(
                f"{self.source} was measured by {_named(self)} and {other.source} by {_named(other)}: a distance "
                "needs one extractor on both sides; measure one of them again"
            )
        if self.image_size != other.image_size:
            raise DataError(
                f"{self.source} was measured at {self.image_size} and {other.source} at {other.image_size}: measure "
                "one of them again, with --size for pictures"
            )


@dataclass(frozen=True)
class Reference:
    """Statistics with their protocol.

    Attributes:
        statistics: count, mean and covariance of all images.
        sample: the features of some of them, [≤ 10,000, D] in float16 or float32, chosen by a fixed seed.
        rows: int64 [len(sample)], the places of those among all images, in order.
        protocol: how it was measured.
    """

    statistics: Statistics
    sample: NDArray[Any]
    rows: NDArray[np.int64]
    protocol: Protocol

    def distance(self, other: Reference) -> float:
        """The Fréchet distance of two sets that were measured in one way.

        Raises:
            DataError: they were not.
        """
        self.protocol.check_comparable(other.protocol)
        return frechet_distance(self.statistics, other.statistics)

    def save(self, path: str | Path) -> None:
        """Write the npz; on an error nothing is left there. The same statistics make the same bytes.

        Raises:
            OutputError: `path` has another extension or can't be written.
        """
        path = Path(path)
        check_target(path)
        arrays: dict[str, ArrayLike] = {
            "mu": self.statistics.mean,
            "sigma": self.statistics.covariance,
            "count": self.statistics.count,
            "features": _small(self.sample),
            "rows": self.rows,
            **asdict(self.protocol),
        }
        write_npz(path, arrays, compress=True)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read the npz that `save` wrote, and check it.

        Raises:
            DataError: no such file, one without statistics or protocol, or values that can't be.
        """
        return cls.from_arrays(read_npz(Path(path)), str(path))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], origin: str) -> Self:
        """Check the arrays of such a file; `origin` names it in errors.

        Raises:
            DataError: no statistics, no protocol, or values that can't be.
        """
        missing = {"mu", "sigma"} - arrays.keys()
        if missing:
            raise DataError(f"{origin} has no {' and no '.join(sorted(missing))}: animegen stats makes such a file")
        silent = ({"count", "features", "rows"} | {entry.name for entry in fields(Protocol)}) - arrays.keys()
        if silent:
            raise DataError(
                f"{origin} has mu and sigma and doesn't say by which extractor, of how many images or how resized "
                f"({', '.join(sorted(silent))} missing): animegen stats makes a file that does"
            )
        _check(arrays, origin)
        protocol = Protocol(**{entry.name: str(arrays[entry.name]) for entry in fields(Protocol)})
        statistics = Statistics(
            int(arrays["count"]), arrays["mu"].astype(np.float64), arrays["sigma"].astype(np.float64)
        )
        return cls(statistics, arrays["features"], arrays["rows"].astype(np.int64), protocol)


def check_target(path: Path) -> None:
    """Refuse, before any work, a file of statistics that can't be written.

    Raises:
        OutputError: another extension, or a folder that isn't there.
    """
    if path.suffix.lower() != ".npz":
        raise OutputError(f"{path} has the extension {path.suffix!r}: statistics are an .npz")
    check_parent(path)


def _check(arrays: Mapping[str, NDArray[Any]], origin: str) -> None:
    mu, sigma, features = arrays["mu"], arrays["sigma"], arrays["features"]
    shapes = f"mu {list(mu.shape)}, sigma {list(sigma.shape)}, features {list(features.shape)}"
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)) or features.ndim != 2 or features.shape[1] != len(mu):
        raise DataError(f"{origin} has {shapes}, which must be [D], [D, D] and [M, D] of one D: make it again")
    if not all(np.issubdtype(array.dtype, np.floating) for array in (mu, sigma, features)):
        raise DataError(f"{origin} has mu, sigma and features that must all be floats: make it again")
    if not all(np.isfinite(array).all() for array in (mu, sigma, features)):
        raise DataError(f"{origin} has mu, sigma and features that must be finite, and some are NaN: make it again")
    count, rows = arrays["count"], arrays["rows"]
    least = max(2, len(features))
    if count.ndim or not np.issubdtype(count.dtype, np.integer) or count < least:
        raise DataError(f"{origin} has the count {count} and must be of at least {least} images: make it again")
    if rows.shape != (len(features),) or not np.issubdtype(rows.dtype, np.integer):
        raise DataError(f"{origin} has {len(features)} features and must say of which images: make it again")
    scale = float(np.abs(sigma).max(initial=0))
    if not np.allclose(sigma, sigma.T, rtol=0, atol=1e-6 * scale) or (np.diagonal(sigma) < -1e-9 * scale).any():
        raise DataError(
            f"{origin} has a sigma that must be a covariance, symmetric and with no negative variance: make it again"
        )


def _small(features: NDArray[Any]) -> NDArray[Any]:
    """In half the bytes where the values' size allows it: distances between features lie far above such rounding."""
    largest = np.abs(features).max(initial=0)
    return features.astype(np.float16) if largest < np.finfo(np.float16).max else features


def _named(protocol: Protocol) -> str:
    return f"{protocol.extractor} (sha256 {protocol.extractor_sha256[:12]})"
