"""From seeds to latents, and the ways between two latents. Arrays in, arrays out; numpy only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from animegen.errors import UsageError

Latents = NDArray[np.float32]
Mode = Literal["slerp", "lerp"]

LARGEST_SEED = 2**32 - 1  # what numpy.random.RandomState takes
_PARALLEL = 1e-6  # angle in radians below which sin(ω) in float64 has too few digits left to divide by


def check_seed(seed: int) -> int:
    """Return `seed` if it can name an image: a whole number from 0 to 2³²−1.

    Raises:
        UsageError: it can't.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed <= LARGEST_SEED:
        raise UsageError(f"seed {seed!r} can't name an image: seeds are whole numbers from 0 to {LARGEST_SEED}")
    return int(seed)


def seed_range(seed: int, n: int) -> range:
    """The `n` seeds from `seed` on: image k of a sample is the image of seed + k.

    Raises:
        UsageError: `n` is below 1, or a seed would be out of range.
    """
    check_seed(seed)
    if n < 1:
        raise UsageError(f"n is {n}: ask for at least one image")
    if seed + n - 1 > LARGEST_SEED:
        raise UsageError(
            f"seed {seed} with n {n} would end at seed {seed + n - 1}, and the largest is {LARGEST_SEED}: "
            "take a smaller seed or fewer images"
        )
    return range(seed, seed + n)


def from_seeds(seeds: Iterable[int], z_dim: int) -> Latents:
    """Draw one standard normal latent a seed: float32 [len(seeds), z_dim].

    Row i depends on seeds[i] alone. The stream is that of `numpy.random.RandomState`, which numpy
    keeps frozen (NEP 19), so a seed names the same latent on every machine and in every version.

    Raises:
        UsageError: a seed is not a whole number from 0 to 2³²−1.
    """
    rows = [np.random.RandomState(check_seed(seed)).standard_normal(z_dim) for seed in seeds]
    return np.array(rows, dtype=np.float32).reshape(len(rows), z_dim)


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
    if steps < 2:
        raise UsageError(f"steps is {steps}: an interpolation has at least its 2 ends")
    t = np.linspace(0, 1, steps)
    if mode == "slerp":
        return slerp(a, b, t)
    if mode == "lerp":
        return lerp(a, b, t)
    raise UsageError(f"mode {mode!r} is unknown: slerp or lerp")
