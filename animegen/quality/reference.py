"""The features' statistics of a set of images with the protocol they were measured by, as one npz file.

pytorch-fid reads `mu` and `sigma`; what stands beside them keeps a number from being compared with a wrong one. A
compact file, which travels inside the package, has another form of `sigma`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from animegen.errors import DataError, OutputError, UsageError
from animegen.files import check_file, read_npz, write_npz
from animegen.quality.compact import KEYS, pack, unpack
from animegen.quality.distances import frechet_distance
from animegen.quality.statistics import Statistics
from animegen.seeds import whole_number

# What a user may state of statistics that another tool measured: at least the first two.
_STATABLE = ("extractor", "count", "size", "resize", "preparation", "source")
_NOT_STATED = "not stated"

# A protocol that is stated: extractor=inception,count=50000, or the same as a mapping.
StatedProtocol = str | Mapping[str, str | int]


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
        stated: whether the protocol is what a user says of another tool's statistics.
    """

    statistics: Statistics
    sample: NDArray[Any]
    rows: NDArray[np.int64]
    protocol: Protocol
    stated: bool = False

    def distance(self, other: Reference) -> float:
        """The Fréchet distance of two sets that were measured in one way.

        Raises:
            DataError: they were not.
        """
        self.check_comparable(other.protocol)
        return frechet_distance(self.statistics, other.statistics)

    def check_comparable(self, measured: Protocol) -> None:
        """As `Protocol.check_comparable`; of a stated protocol what was stated has to fit.

        Raises:
            DataError: another extractor, or images of another size; both sides are named.
        """
        mine = self.protocol
        if not self.stated:
            mine.check_comparable(measured)
        elif mine.extractor != measured.extractor:
            raise DataError(
                f"{mine.source} is stated to be measured by {mine.extractor}, and {measured.source} was measured by "
                f"{measured.extractor}: a distance needs one extractor on both sides"
            )
        elif mine.image_size not in {_NOT_STATED, measured.image_size}:
            raise DataError(
                f"{mine.source} is stated to be measured at {mine.image_size}, and {measured.source} was measured at "
                f"{measured.image_size}: say --size for pictures"
            )

    def save(self, path: str | Path, *, compact: bool = False) -> None:
        """Write the npz; on an error nothing is left there. The same statistics make the same bytes.

        A compact file has the covariance in an eighth of the bytes (`animegen.quality.compact`) and the mean in half of
        them; pytorch-fid doesn't read it.

        Raises:
            OutputError: `path` has another extension or can't be written, or the protocol is only stated.
        """
        path = Path(path)
        check_target(path)
        if self.stated:
            raise OutputError(f"{path} would hold a protocol that was stated and not measured: keep the file as it is")
        arrays: dict[str, ArrayLike] = {
            **self._moments(compact),
            "count": self.statistics.count,
            "features": _small(self.sample),
            "rows": self.rows,
            **asdict(self.protocol),
        }
        write_npz(path, arrays, compress=True)

    def _moments(self, compact: bool) -> dict[str, ArrayLike]:
        mean, covariance = self.statistics.mean, self.statistics.covariance
        if not compact:
            return {"mu": mean, "sigma": covariance}
        return {"mu": mean.astype(np.float32), **pack(covariance)}

    @classmethod
    def load(cls, path: str | Path, *, protocol: StatedProtocol | None = None) -> Self:
        """Read the npz that `save` wrote, and check it; or that of another tool, of which `protocol` states how.

        Such a file has `mu` and `sigma`, or the two as `arr_0` and `arr_1`. The protocol is a text such as
        `extractor=inception,count=50000` or a mapping: `extractor` and `count`, and maybe `size`, `resize`,
        `preparation` and `source`.

        Raises:
            DataError: no such file, one without statistics or protocol, or values that can't be.
            UsageError: a protocol of another form, or one for a file that has its own.
        """
        return cls.from_arrays(read_npz(Path(path)), str(path), protocol)

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], origin: str, protocol: StatedProtocol | None = None
    ) -> Self:
        """Check the arrays of such a file; `origin` names it in errors.

        Raises:
            DataError, UsageError: as `load`.
        """
        if protocol is not None:
            return cls._stated(arrays, origin, protocol)
        if {"mu", *KEYS} <= arrays.keys():
            arrays = {**arrays, "sigma": unpack(arrays, origin)}
        missing = {"mu", "sigma"} - arrays.keys()
        if missing:
            raise DataError(f"{origin} has no {' and no '.join(sorted(missing))}: animegen stats makes such a file")
        silent = ({"count", "features", "rows"} | {entry.name for entry in fields(Protocol)}) - arrays.keys()
        if silent:
            raise DataError(
                f"{origin} has mu and sigma and doesn't say by which extractor, of how many images or how resized "
                f"({', '.join(sorted(silent))} missing): animegen stats makes a file that does, or state it with "
                "--reference-protocol"
            )
        return cls._of(arrays, origin, Protocol(**{entry.name: str(arrays[entry.name]) for entry in fields(Protocol)}))

    @classmethod
    def _stated(cls, arrays: Mapping[str, NDArray[Any]], origin: str, protocol: StatedProtocol) -> Self:
        if "extractor_sha256" in arrays:
            raise UsageError(f"{origin} says itself how it was measured: leave --reference-protocol out")
        stated, count = _read_stated(protocol, origin)
        mu, sigma = _stated_moments(arrays, origin)
        features, rows = np.zeros((0, mu.shape[-1] if mu.ndim else 0), mu.dtype), np.zeros(0, np.int64)
        whole = {"mu": mu, "sigma": sigma, "count": np.array(count), "features": features, "rows": rows}
        return cls._of(whole, origin, stated, stated=True)

    @classmethod
    def _of(cls, arrays: Mapping[str, NDArray[Any]], origin: str, protocol: Protocol, *, stated: bool = False) -> Self:
        _check(arrays, origin)
        statistics = Statistics(
            int(arrays["count"]), arrays["mu"].astype(np.float64), arrays["sigma"].astype(np.float64)
        )
        return cls(statistics, arrays["features"], arrays["rows"].astype(np.int64), protocol, stated)


def _stated_moments(arrays: Mapping[str, NDArray[Any]], origin: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """The mean and covariance by their names, or as the two arrays that `numpy.savez` was given without names."""
    if {"mu", "sigma"} <= arrays.keys():
        return arrays["mu"], arrays["sigma"]
    pair = [arrays[name] for name in ("arr_0", "arr_1") if name in arrays]
    if [array.ndim for array in pair] not in ([1, 2], [2, 1]):
        raise DataError(f"{origin} holds {', '.join(arrays) or 'nothing'} and must hold mu and sigma")
    mu, sigma = sorted(pair, key=lambda array: array.ndim)
    return mu, sigma


def _read_stated(protocol: StatedProtocol, origin: str) -> tuple[Protocol, int]:
    """What a user states, with "not stated" for the rest, and the number of images."""
    rule = f"must be {_STATABLE[0]}=…,{_STATABLE[1]}=… and maybe {', '.join(_STATABLE[2:])}"
    if isinstance(protocol, str):
        pairs = [part.partition("=") for part in protocol.split(",")]
        values: dict[str, str | int] = {key.strip(): value.strip() for key, _, value in pairs}
        if len(values) < len(pairs) or not all(key.strip() and value.strip() for key, _, value in pairs):
            raise UsageError(
                f"the reference's protocol is {protocol!r} and {rule}, as in extractor=inception,count=50000"
            )
    else:
        values = dict(protocol)
    if not set(_STATABLE[:2]) <= values.keys() <= set(_STATABLE):
        raise UsageError(f"the reference's protocol has {', '.join(values) or 'nothing'} and {rule}")
    digits = values["count"]
    if isinstance(digits, str) and re.fullmatch(r"\d{1,12}", digits, re.ASCII):
        digits = int(digits)
    count = whole_number("count of the reference's protocol", digits, 2)  # type: ignore[arg-type]
    return (
        Protocol(
            extractor=str(values["extractor"]),
            extractor_sha256=_NOT_STATED,
            weights_sha256=_NOT_STATED,
            resize=str(values.get("resize", _NOT_STATED)),
            preparation=str(values.get("preparation", _NOT_STATED)),
            image_size=_size(values["size"]) if "size" in values else _NOT_STATED,
            source=str(values.get("source", Path(origin).name)),
            data_sha256=_NOT_STATED,
        ),
        count,
    )


def _size(text: str | int) -> str:
    """As a measured protocol says it: 64 or 64x48 is 64×64 or 64×48."""
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", str(text), re.ASCII)
    if match is None:
        raise UsageError(f"size of the reference's protocol is {text!r} and must be as in 64 or 64x48")
    return f"{match[1]}×{match[2] or match[1]}"


def check_target(path: Path) -> None:
    """Refuse, before any work, a file of statistics that can't be written.

    Raises:
        OutputError: another extension, a folder, or one that isn't there to hold it.
    """
    if path.suffix.lower() != ".npz":
        raise OutputError(f"{path} has the extension {path.suffix!r}: statistics are an .npz")
    check_file(path)


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
