"""The features' statistics of a set of images with the protocol they were measured by, as one npz file.

pytorch-fid reads `mu` and `sigma`; what stands beside them keeps a number from being compared with a wrong one.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from animegen.errors import DataError, OutputError
from animegen.files import check_parent, replacing
from animegen.images.sets import ImageSet, PixelHash
from animegen.images.stills import Images
from animegen.quality.distances import frechet_distance
from animegen.quality.extractors import Extractor
from animegen.quality.statistics import Gatherer, Statistics
from animegen.runtime.machine import check_memory

SAMPLE = 10_000  # features that are kept: enough for the kernel distance's subsets and the neighbours' balls
_STREAM_SAMPLE = 41
_DAY_ONE = (1980, 1, 1, 0, 0, 0)  # a fixed date in the zip, as numpy's: the same statistics make the same bytes


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

    def save(self, path: Path) -> None:
        """Write the npz; on an error nothing is left there. The same statistics make the same bytes.

        Raises:
            OutputError: `path` has another extension or can't be written.
        """
        check_target(path)
        arrays: dict[str, NDArray[Any]] = {
            "mu": self.statistics.mean,
            "sigma": self.statistics.covariance,
            "count": np.array(self.statistics.count),
            "features": _small(self.sample),
            "rows": self.rows,
            **{key: np.array(value) for key, value in asdict(self.protocol).items()},
        }
        with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for key, array in arrays.items():
                entry = zipfile.ZipInfo(f"{key}.npy", _DAY_ONE)
                entry.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(entry, "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asarray(array, order="C"), allow_pickle=False)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the npz that `save` wrote, and check it.

        Raises:
            DataError: no such file, one without statistics or protocol, or values that can't be.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in archive.files}
        except FileNotFoundError as error:
            raise DataError(f"{path} does not exist: animegen stats makes reference statistics") from error
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{path} is no npz of statistics ({_first_line(error)}): make it again") from error
        missing = {"mu", "sigma"} - arrays.keys()
        if missing:
            raise DataError(f"{path} has no {' and no '.join(sorted(missing))}: animegen stats makes such a file")
        silent = ({"count", "features", "rows"} | {entry.name for entry in fields(Protocol)}) - arrays.keys()
        if silent:
            raise DataError(
                f"{path} has mu and sigma and doesn't say by which extractor, of how many images or how resized "
                f"({', '.join(sorted(silent))} missing): animegen stats makes a file that does"
            )
        _check(arrays, path)
        protocol = Protocol(**{entry.name: str(arrays[entry.name]) for entry in fields(Protocol)})
        statistics = Statistics(
            int(arrays["count"]), arrays["mu"].astype(np.float64), arrays["sigma"].astype(np.float64)
        )
        return cls(statistics, arrays["features"], arrays["rows"].astype(np.int64), protocol)


def measure(
    images: ImageSet,
    extractor: Extractor,
    *,
    against: Reference | None = None,
    sample: int = SAMPLE,
    batch_size: int | None = None,
    each: Callable[[Images], None] = lambda _: None,
) -> Reference:
    """Run the extractor over all images, in memory that doesn't grow with them; `each` is told of every batch.

    The features of `sample` of them, chosen by a fixed seed, are kept in the order of the images. With `against` the
    first batch already shows whether a distance to that will be refused.

    Raises:
        DataError: fewer than 2 images, images that can't be measured or compared, or too little memory.
    """
    kept_bytes, square = 4 * min(sample, images.count) * extractor.dimensions, 8 * extractor.dimensions**2
    check_memory(kept_bytes + 4 * square, f"the features of {min(sample, images.count):,} images")
    rng = np.random.default_rng([_STREAM_SAMPLE, images.count])
    kept = np.sort(rng.choice(images.count, min(sample, images.count), replace=False))
    features = np.empty((len(kept), extractor.dimensions), np.float32)
    gatherer, pixels, done = Gatherer(), PixelHash(images.count), 0
    protocol = Protocol(
        extractor=extractor.name,
        extractor_sha256=extractor.sha256,
        weights_sha256=extractor.weights_sha256,
        resize=extractor.resize,
        preparation=images.rule,
        image_size="",
        source=images.source,
        data_sha256="",
    )
    for batch in images.read():
        if not done:
            protocol = replace(protocol, image_size=f"{batch.shape[2]}×{batch.shape[1]}")
            if against is not None:
                against.protocol.check_comparable(protocol)
        found = extractor(batch, batch_size=batch_size)
        gatherer.add(found)
        pixels.add(batch)
        first, last = np.searchsorted(kept, [done, done + len(batch)])
        features[first:last] = found[kept[first:last] - done]
        done += len(batch)
        each(batch)
    if done != images.count:
        raise DataError(f"{images.source} gave {done} images, and {images.count} were expected: did it change?")
    return Reference(gatherer.finish(), features, kept, replace(protocol, data_sha256=pixels.hex()))


def check_target(path: Path) -> None:
    """Refuse, before any work, a file of statistics that can't be written.

    Raises:
        OutputError: another extension, or a folder that isn't there.
    """
    if path.suffix.lower() != ".npz":
        raise OutputError(f"{path} has the extension {path.suffix!r}: statistics are an .npz")
    check_parent(path)


def _check(arrays: dict[str, NDArray[Any]], path: Path) -> None:
    mu, sigma, features = arrays["mu"], arrays["sigma"], arrays["features"]
    shapes = f"mu {list(mu.shape)}, sigma {list(sigma.shape)}, features {list(features.shape)}"
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)) or features.ndim != 2 or features.shape[1] != len(mu):
        raise DataError(f"{path} has {shapes}: they must be [D], [D, D] and [M, D] of one D; make it again")
    if not all(np.issubdtype(array.dtype, np.floating) for array in (mu, sigma, features)):
        raise DataError(f"{path} has mu, sigma or features that are no floats: make it again")
    if not all(np.isfinite(array).all() for array in (mu, sigma, features)):
        raise DataError(f"{path} has values that are not finite (NaN) in mu, sigma or features: make it again")
    count = arrays["count"]
    if count.ndim or not np.issubdtype(count.dtype, np.integer) or count < max(2, len(features)):
        raise DataError(f"{path} says that it is of {count} images, which can't be: make it again")
    rows = arrays["rows"]
    if rows.shape != (len(features),) or not np.issubdtype(rows.dtype, np.integer):
        raise DataError(f"{path} has {len(features)} features and doesn't say of which images: make it again")
    scale = float(np.abs(sigma).max(initial=0))
    if not np.allclose(sigma, sigma.T, rtol=0, atol=1e-6 * scale) or (np.diagonal(sigma) < -1e-9 * scale).any():
        raise DataError(f"{path} has a sigma that is no covariance, as it is not symmetric or negative: make it again")


def _small(features: NDArray[Any]) -> NDArray[Any]:
    """In half the bytes where the values' size allows it: distances between features lie far above such rounding."""
    largest = np.abs(features).max(initial=0)
    return features.astype(np.float16) if largest < np.finfo(np.float16).max else features


def _named(protocol: Protocol) -> str:
    return f"{protocol.extractor} (sha256 {protocol.extractor_sha256[:12]})"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
