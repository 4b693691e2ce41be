"""From seeds to latents, and the paths between latents. Arrays in, arrays out; numpy only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from animegen.errors import UsageError
from animegen.seeds import check_seed, whole_number

Latents = NDArray[np.float32]
Mode = Literal["slerp", "lerp"]

_streams = threading.local()
_PARALLEL = 1e-6  # angle in radians below which sin(ω) in float64 has too few digits left to divide by


def from_seeds(seeds: Iterable[int], z_dim: int) -> Latents:
    """Draw one standard normal latent a seed: float32 [len(seeds), z_dim].

    Row i depends on seeds[i] alone. The stream is that of `numpy.random.RandomState`, which numpy
    keeps frozen (NEP 19), so a seed names the same latent on every machine and in every version.

    Raises:
        UsageError: a seed is not a whole number from 0 to 2³²−1, or `z_dim` is below 1.
    """
    z_dim = whole_number("z_dim", z_dim)
    numbers = list(map(check_seed, seeds))
    z = np.empty((len(numbers), z_dim), np.float32)
    for row, seed in zip(z, numbers, strict=True):
        row[:] = stream(seed).standard_normal(z_dim)
    return z


def stream(seed: int) -> np.random.RandomState:
    """The stream of a checked seed, at its beginning, to be drawn from before this thread calls again.

    A thread has one `RandomState`, which is seeded anew: that takes 5 µs where making one takes 120.
    """
    if not hasattr(_streams, "own"):
        _streams.own = np.random.RandomState(0)
    own: np.random.RandomState = _streams.own
    own.seed(seed)
    return own


def lerp(a: Latents, b: Latents, t: NDArray[np.float64]) -> Latents:
    """The straight line from `a` to `b`, both float32 [z_dim], at each of `t` in [0, 1]: [len(t), z_dim].

    Half-way points lie nearer the origin than the latents that a generator was trained on; see `slerp`.
    """
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    return ((1 - t)[:, None] * a64 + t[:, None] * b64).astype(np.float32)


def slerp(a: Latents, b: Latents, t: NDArray[np.float64]) -> Latents:
    """The great arc from `a` to `b`, both float32 [z_dim], at each of `t` in [0, 1]: [len(t), z_dim].

    Shoemake 1985, for GANs White 2016 (arXiv 1609.04468): it keeps to the shell on which normal latents
    lie. Lengths are blended linearly. Equal directions give a straight line; opposite ones, between which
    no arc is the shortest, go by the coordinate axis that is most perpendicular to `a`.
    """
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    length_a, length_b = np.linalg.norm(a64), np.linalg.norm(b64)
    if length_a == 0 or length_b == 0:
        return lerp(a, b, t)
    unit_a, unit_b = a64 / length_a, b64 / length_b
    # Half-angle form: arccos(a·b) loses half of the digits where the two are nearly parallel.
    omega = 2 * np.arctan2(np.linalg.norm(unit_a - unit_b), np.linalg.norm(unit_a + unit_b))
    if omega < _PARALLEL:
        return lerp(a, b, t)
    if np.pi - omega < _PARALLEL:
        if a.size == 1:
            return lerp(a, b, t)  # on a line there is no way round
        axis = np.zeros_like(unit_a)
        axis[np.argmin(np.abs(unit_a))] = 1
        side = axis - (axis @ unit_a) * unit_a
        side /= np.linalg.norm(side)
        arc = np.cos(np.pi * t)[:, None] * unit_a + np.sin(np.pi * t)[:, None] * side
    else:
        arc = (np.sin((1 - t) * omega)[:, None] * unit_a + np.sin(t * omega)[:, None] * unit_b) / np.sin(omega)
    path = ((1 - t) * length_a + t * length_b)[:, None] * arc
    # The ends are the very latents that were given, so that an interpolation starts at its seed's image.
    path[t == 0] = a64
    path[t == 1] = b64
    return np.asarray(path, np.float32)


def interpolate(a: Latents, b: Latents, steps: int, mode: Mode = "slerp") -> Latents:
    """`steps` latents from `a` to `b`, both ends included: float32 [steps, z_dim].

    Raises:
        UsageError: fewer than 2 steps, or an unknown mode.
    """
    steps = whole_number("steps", steps, 2, why=": an interpolation includes its ends")
    return _way(mode)(a, b, np.linspace(0, 1, steps))


def toward(z: Latents, other: Latents, t: float, mode: Mode = "slerp") -> Latents:
    """The latent at `t` in [0, 1] between `z` and `other`, all float32 [z_dim]: on the great arc, or the straight line.

    Raises:
        UsageError: an unknown mode.
    """
    return np.asarray(_way(mode)(z, other, np.array([t], np.float64))[0])


def _way(mode: Mode) -> Callable[[Latents, Latents, NDArray[np.float64]], Latents]:
    ways = {"slerp": slerp, "lerp": lerp}
    if mode not in ways:
        raise UsageError(f"mode is {mode!r} and must be slerp or lerp")
    return ways[mode]


def through(stops: Latents, steps: int, mode: Mode = "slerp") -> Latents:
    """From stop to stop [≥ 2, z_dim], each pair in `steps` latents with its ends: [(stops − 1)·(steps − 1) + 1, z_dim].

    Raises:
        UsageError: fewer than 2 stops or steps, or an unknown mode.
    """
    if len(stops) < 2:
        raise UsageError(f"an interpolation has {len(stops)} stops and must have at least 2")
    legs = [interpolate(a, b, steps, mode)[1:] for a, b in pairwise(stops)]
    return np.concatenate([stops[:1], *legs])


def there_and_back(path: Latents) -> Latents:
    """A path [steps, …] and its way back without the ends, so that its repeats don't jump: [2·steps − 2, …]."""
    return np.concatenate([path, path[-2:0:-1]])


def loop(stops: Latents, frames: int) -> Latents:
    """`frames` latents on a closed, smooth path through `stops` [≥ 2, z_dim] and back to the first.

    A periodic Catmull-Rom spline (Catmull & Rom 1974), whose speed is continuous at every stop and over the seam,
    with each point brought to the length that the same spline gives to the stops' lengths, so that the path keeps
    to the shell of the latents. The frame after the last is the first one: float32 [frames, z_dim].

    Raises:
        UsageError: fewer than 2 stops, or fewer frames than stops.
    """
    n = len(stops)
    if n < 2:
        raise UsageError(f"a loop has {n} stops and must have at least 2")
    frames = whole_number("frames", frames, n, why=", one for each stop")
    points = stops.astype(np.float64)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    position = np.arange(frames) * n / frames
    k, t = np.divmod(position, 1.0)
    around = (k.astype(int)[:, None] + np.arange(-1, 3)) % n  # the four stops about each frame: [frames, 4]
    t2, t3 = t * t, t * t * t
    weights = np.stack([-t3 + 2 * t2 - t, 3 * t3 - 5 * t2 + 2, -3 * t3 + 4 * t2 + t, t3 - t2], axis=1) / 2
    path = np.einsum("fk,fkz->fz", weights, points[around])
    wanted = np.einsum("fk,fkz->fz", weights, lengths[around])
    actual = np.linalg.norm(path, axis=1, keepdims=True)
    return np.asarray(path * np.divide(wanted, actual, out=np.ones_like(actual), where=actual > 0), np.float32)


def bilinear(corners: Latents, rows: int, columns: int, mode: Mode = "slerp") -> Latents:
    """A sheet between 4 latents (top left, top right, bottom left, bottom right): [rows·columns, z_dim], row by row.

    Great arcs, or with `lerp` straight lines, down the two sides, and between those across.

    Raises:
        UsageError: not 4 corners, or fewer than 2 rows or columns.
    """
    if len(corners) != 4:
        raise UsageError(f"a sheet has {len(corners)} corners and must have 4")
    left = interpolate(corners[0], corners[2], rows, mode)
    right = interpolate(corners[1], corners[3], rows, mode)
    return np.concatenate([interpolate(a, b, columns, mode) for a, b in zip(left, right, strict=True)])


def truncate(z: Latents, truncation: float) -> Latents:
    """Latents scaled towards the origin by ψ: 1 leaves them, 0 would make every image the same one.

    Karras et al. 2019, section 2.2, there on w; here on z, as these generators have no mapping network. Smaller values
    give less varied images, and more typical ones only where the generator has learnt from latents so short: normal
    ones of many dimensions all have nearly the same length. docs/metrics.md has what it does to the shipped models.

    Raises:
        UsageError: as `check_truncation`.
    """
    check_truncation(truncation)
    return z if truncation == 1 else np.asarray(z * np.float32(truncation), np.float32)


def check_truncation(truncation: float) -> None:
    """Refuse a ψ that is no share of a latent's length.

    Raises:
        UsageError: ψ outside of 0 … 1.
    """
    if not 0 <= truncation <= 1:
        raise UsageError(f"truncation is {truncation} and must be from 0 (one image for all) to 1 (none)")
