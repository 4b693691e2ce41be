"""Seeds, latents and the ways between them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from animegen import UsageError, latents, seeds

SEEDS = st.integers(0, seeds.LARGEST)
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
def test_a_row_depends_on_its_seed_alone(drawn: list[int], z_dim: int) -> None:
    together = latents.from_seeds(drawn, z_dim)
    assert together.shape == (len(drawn), z_dim)
    for row, seed in zip(together, drawn, strict=True):
        np.testing.assert_array_equal(row, latents.from_seeds([seed], z_dim)[0])


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
    with pytest.raises(UsageError, match="steps is 1 and must be at least 2"):
        latents.interpolate(a, b, 1)
    with pytest.raises(UsageError, match="mode is 'cubic' and must be slerp or lerp"):
        latents.interpolate(a, b, 3, "cubic")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="1 stops and must have at least 2"):
        latents.through(a[None], 3)


@given(st.integers(2, 5), st.integers(2, 6), st.sampled_from(["slerp", "lerp"]))
def test_a_way_passes_its_stops(n: int, steps: int, mode: latents.Mode) -> None:
    stops = latents.from_seeds(range(n), 16)
    way = latents.through(stops, steps, mode)
    np.testing.assert_array_equal(way[:: steps - 1], stops)
    for k, leg in enumerate(pairwise(stops)):
        np.testing.assert_array_equal(way[k * (steps - 1) :][:steps], latents.interpolate(*leg, steps, mode))


@given(arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 3)), elements=st.floats(-4, 4, width=32)))
def test_there_and_back_never_jumps(path: latents.Latents) -> None:
    ring = latents.there_and_back(path)
    assert len(ring) == max(1, 2 * len(path) - 2)
    np.testing.assert_array_equal(ring[: len(path)], path)
    # From any point the same way leads back: turned and reversed it is the same ring.
    np.testing.assert_array_equal(np.roll(ring[::-1], 1, axis=0), ring)


@given(st.integers(2, 6), st.integers(0, 30), st.integers(0, 1000))
def test_a_loop_passes_its_stops_and_closes_without_a_jerk(n: int, more: int, seed: int) -> None:
    stops = latents.from_seeds(range(seed, seed + n), 32)
    path = latents.loop(stops, n * (1 + more)).astype(np.float64)
    assert path.shape == (n * (1 + more), 32)
    np.testing.assert_allclose(path[:: 1 + more], stops, rtol=1e-5, atol=1e-5)
    # Whichever stop comes first, it is the same ring: nothing is special about the seam.
    turned = latents.loop(np.roll(stops, -1, axis=0), n * (1 + more))
    np.testing.assert_allclose(np.roll(path, -(1 + more), axis=0), turned, rtol=1e-4, atol=1e-4)


def test_a_loop_moves_smoothly_on_the_shell() -> None:
    stops = latents.from_seeds(range(5), 128)
    path = latents.loop(stops, 500).astype(np.float64)
    steps = np.roll(path, -1, axis=0) - path
    turns = np.linalg.norm(np.roll(steps, -1, axis=0) - steps, axis=1)
    assert turns.max() < 0.1 * np.linalg.norm(steps, axis=1).mean()
    lengths = np.linalg.norm(path, axis=1)
    assert lengths.min() > 0.9 * np.linalg.norm(stops, axis=1).min()


def test_loops_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="1 stops and must have at least 2"):
        latents.loop(latents.from_seeds([1], 4), 10)
    with pytest.raises(UsageError, match="frames is 2 and must be at least 3, one for each stop"):
        latents.loop(latents.from_seeds([1, 2, 3], 4), 2)


def test_a_sheet_has_its_corners() -> None:
    corners = latents.from_seeds([1, 2, 3, 4], 16)
    sheet = latents.bilinear(corners, 3, 5).reshape(3, 5, 16)
    np.testing.assert_array_equal(sheet[[0, 0, -1, -1], [0, -1, 0, -1]], corners)
    np.testing.assert_array_equal(sheet[0], latents.interpolate(corners[0], corners[1], 5))
    with pytest.raises(UsageError, match="3 corners and must have 4"):
        latents.bilinear(corners[:3], 3, 3)
    with pytest.raises(UsageError, match="steps is 1"):
        latents.bilinear(corners, 1, 3)


def test_truncation_scales() -> None:
    z = latents.from_seeds([1], 16)
    np.testing.assert_array_equal(latents.truncate(z, 1), z)
    np.testing.assert_allclose(latents.truncate(z, 0.5), z / 2)
    assert not latents.truncate(z, 0).any()
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match="must be from 0"):
            latents.truncate(z, wrong)
