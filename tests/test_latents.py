"""Seeds, latents and the ways between them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from animegen import UsageError, latents

SEEDS = st.integers(0, latents.LARGEST_SEED)
UNIT = np.linspace(0, 1, 9)
VECTORS = arrays(np.float32, 16, elements=st.floats(-4, 4, width=32).filter(lambda v: v == 0 or abs(v) > 1e-3)).filter(
    lambda v: np.linalg.norm(v) > 0.1
)


def test_the_stream_is_frozen() -> None:
    # numpy promises this stream for ever (NEP 19). If this fails, every shared seed has changed its image.
    expected = np.array([1.7640524, 0.4001572, 0.978738, 2.2408931], np.float32)
    np.testing.assert_array_equal(latents.from_seeds([0], 4)[0], expected)
    z = latents.from_seeds([2**32 - 1], 2)
    assert z.dtype == np.float32
    assert np.isfinite(z).all()


@given(st.lists(SEEDS, min_size=1, max_size=5), st.integers(1, 200))
def test_a_row_depends_on_its_seed_alone(seeds: list[int], z_dim: int) -> None:
    together = latents.from_seeds(seeds, z_dim)
    assert together.shape == (len(seeds), z_dim)
    for row, seed in zip(together, seeds, strict=True):
        np.testing.assert_array_equal(row, latents.from_seeds([seed], z_dim)[0])


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, "7", True, None])
def test_what_is_no_seed(seed: object) -> None:
    with pytest.raises(UsageError, match="from 0 to 4294967295"):
        latents.from_seeds([seed], 4)  # type: ignore[list-item]


@pytest.mark.parametrize(("seed", "n", "words"), [(0, 0, "at least one"), (2**32 - 1, 2, "4294967296"), (-1, 1, "-1")])
def test_ranges_that_cannot_be(seed: int, n: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        latents.seed_range(seed, n)


def test_the_last_range() -> None:
    assert list(latents.seed_range(2**32 - 2, 2)) == [2**32 - 2, 2**32 - 1]


@given(VECTORS, VECTORS)
def test_slerp_starts_and_ends_at_the_given_latents(a: latents.Latents, b: latents.Latents) -> None:
    path = latents.slerp(a, b, UNIT)
    assert path.dtype == np.float32
    np.testing.assert_array_equal(path[0], a)
    np.testing.assert_array_equal(path[-1], b)


@given(VECTORS, VECTORS)
def test_slerp_keeps_between_the_two_lengths_and_moves_evenly(a: latents.Latents, b: latents.Latents) -> None:
    path = latents.slerp(a, b, UNIT).astype(np.float64)
    lengths = np.linalg.norm(path, axis=1)
    expected = (1 - UNIT) * np.linalg.norm(a) + UNIT * np.linalg.norm(b)
    np.testing.assert_allclose(lengths, expected, rtol=1e-3)
    unit = path / lengths[:, None]
    angles = 2 * np.arctan2(np.linalg.norm(unit[1:] - unit[:-1], axis=1), np.linalg.norm(unit[1:] + unit[:-1], axis=1))
    np.testing.assert_allclose(angles, angles.mean(), atol=2e-3)


@given(VECTORS)
def test_slerp_between_equal_and_opposite_latents(a: latents.Latents) -> None:
    np.testing.assert_allclose(latents.slerp(a, a, UNIT), np.tile(a, (9, 1)), rtol=1e-6)
    half_way = latents.slerp(a, -a, UNIT)[4]
    # On the shell and square to both ends: not at the origin, where a straight line would be.
    assert np.linalg.norm(half_way) == pytest.approx(np.linalg.norm(a), rel=1e-4)
    assert abs(half_way @ a) < 1e-3 * (a @ a)


def test_lerp_is_straight_and_slerp_is_not() -> None:
    a, b = latents.from_seeds([1, 2], 128)
    np.testing.assert_allclose(latents.lerp(a, b, UNIT)[4], (a + b) / 2, rtol=1e-6, atol=1e-7)
    assert np.linalg.norm(latents.interpolate(a, b, 3, "lerp")[1]) < 0.85 * np.linalg.norm(
        latents.interpolate(a, b, 3)[1]
    )


def test_interpolations_that_cannot_be() -> None:
    a, b = latents.from_seeds([1, 2], 4)
    with pytest.raises(UsageError, match="2 ends"):
        latents.interpolate(a, b, 1)
    with pytest.raises(UsageError, match="slerp or lerp"):
        latents.interpolate(a, b, 3, "cubic")  # type: ignore[arg-type]
