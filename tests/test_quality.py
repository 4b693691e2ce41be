"""Distances and neighbours, against cases whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from test_structure import imports_of

from animegen import DataError, UsageError
from animegen.quality import neighbours
from animegen.quality.distances import frechet_distance, frechet_infinity, kernel_distance
from animegen.quality.neighbours import manifold, nearest
from animegen.quality.smoothness import smoothness
from animegen.quality.statistics import Statistics

RNG = np.random.default_rng(0)
ARITHMETIC = ("statistics", "distances", "neighbours", "smoothness")


@pytest.mark.parametrize("room", ARITHMETIC)
def test_arithmetic_knows_no_images_sessions_or_files(room: str) -> None:
    imported = imports_of(ROOT / "animegen" / "quality" / f"{room}.py")
    ours = {name for name in imported if name.startswith("animegen")}
    assert all(name.startswith(("animegen.errors", "animegen.quality.statistics")) for name in ours), ours
    assert not {name.partition(".")[0] for name in imported} & {"pathlib", "io", "os", "PIL", "onnxruntime", "json"}


def normal(count: int, dimensions: int, seed: int = 0, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, scale, (count, dimensions))


def exact(mean: np.ndarray, covariance: np.ndarray) -> Statistics:
    return Statistics(1000, np.asarray(mean, float), np.asarray(covariance, float))


def random_covariance(dimensions: int, rank: int, seed: int) -> np.ndarray:
    half = np.random.default_rng(seed).normal(size=(dimensions, rank))
    return half @ half.T / rank


# --- statistics ---


@settings(deadline=None)
@given(st.integers(2, 60), st.lists(st.integers(1, 20), max_size=6), st.floats(-1e4, 1e4))
def test_statistics_do_not_depend_on_the_batches(count: int, cuts: list[int], shift: float) -> None:
    features = normal(count, 5, seed=count, shift=shift)
    parts = np.split(features, np.unique(np.clip(np.cumsum(cuts), 0, count)).astype(int)) if cuts else [features]
    statistics = Statistics.of(parts)
    assert statistics.count == count
    np.testing.assert_allclose(statistics.mean, features.mean(axis=0), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(statistics.covariance, np.cov(features, rowvar=False), rtol=1e-6, atol=1e-8)


def test_float32_features_far_from_zero_keep_their_digits() -> None:
    features = normal(5000, 3, shift=1000.0).astype(np.float32)
    statistics = Statistics.of(np.array_split(features, 50))
    np.testing.assert_allclose(statistics.covariance, np.cov(features.astype(np.float64), rowvar=False), rtol=1e-9)
    # Known wrong: E[xxᵀ] − E[x]E[x]ᵀ in float32 has lost them.
    naive = (features.T @ features / np.float32(5000)) - np.outer(features.mean(0), features.mean(0))
    assert np.abs(naive - statistics.covariance).max() > 0.01


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        ([], "0 images"),
        ([np.ones((1, 3))], "1 images"),
        ([np.ones((2, 3)), np.ones((2, 4))], r"\[N, 3\]"),
        ([np.ones(3)], r"\[N, D\]"),
        ([np.full((2, 3), np.nan)], "must be finite"),
    ],
)
def test_features_that_cannot_be(batches: list[np.ndarray], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Statistics.of(batches)


# --- Fréchet ---


def test_a_set_is_at_no_distance_from_itself() -> None:
    for count in (10, 500):  # singular and not
        statistics = Statistics.of([normal(count, 64)])
        assert frechet_distance(statistics, statistics) == pytest.approx(0, abs=1e-9)


def test_equal_covariances_leave_the_means() -> None:
    covariance = random_covariance(16, 40, 1)
    a, b = exact(np.zeros(16), covariance), exact(np.arange(16), covariance)
    assert frechet_distance(a, b) == pytest.approx(sum(k**2 for k in range(16)))


def test_the_distance_of_diagonal_covariances_is_known() -> None:
    a, b = exact(np.zeros(3), np.diag([1.0, 4, 9])), exact(np.ones(3), np.diag([4.0, 4, 0]))
    # Σ (√λ₁ − √λ₂)² = 1 + 0 + 9, and 3 for the means.
    assert frechet_distance(a, b) == pytest.approx(13)
    # Known wrong: the root of each covariance apart, elementwise, without the product.
    c = exact(np.zeros(2), np.array([[2.0, 1], [1, 2]]))
    d = exact(np.zeros(2), np.array([[2.0, -1], [-1, 2]]))
    right = 8 - 2 * 2 * np.sqrt(3)  # eigenvalues 1 and 3 along swapped axes: Tr (ΣΣ')^½ = 2·√3
    assert frechet_distance(c, d) == pytest.approx(right)
    wrong = 8 - 2 * np.sqrt(np.abs(c.covariance * d.covariance)).trace()
    assert abs(wrong - right) > 0.5


@pytest.mark.parametrize(("rank_a", "rank_b"), [(40, 40), (5, 40), (5, 3)])
def test_it_is_symmetric_and_agrees_with_the_eigenvalues_of_the_product(rank_a: int, rank_b: int) -> None:
    a = exact(RNG.normal(size=20), random_covariance(20, rank_a, 1))
    b = exact(RNG.normal(size=20), random_covariance(20, rank_b, 2))
    distance = frechet_distance(a, b)
    assert frechet_distance(b, a) == pytest.approx(distance, rel=1e-7)
    eigenvalues = np.linalg.eigvals(a.covariance @ b.covariance).astype(complex)
    expected = (
        ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance) - 2 * np.sqrt(eigenvalues).sum().real
    )
    assert distance == pytest.approx(expected, rel=1e-5)


def test_features_of_two_lengths() -> None:
    with pytest.raises(DataError, match="3 values on one side and 4"):
        frechet_distance(exact(np.zeros(3), np.eye(3)), exact(np.zeros(4), np.eye(4)))


def test_the_extrapolation_takes_the_bias_off() -> None:
    real = Statistics.of([normal(200_000, 16, seed=1)])
    generated = normal(2000, 16, seed=2, shift=0.1)
    plain, endless = frechet_distance(real, Statistics.of([generated])), frechet_infinity(real, generated)
    right = 16 * 0.1**2
    assert plain > right
    assert abs(endless - right) < 0.5 * abs(plain - right)
    with pytest.raises(DataError, match="at least 20"):
        frechet_infinity(real, generated[:19])


# --- kernel ---


def test_the_kernel_distance_has_no_bias_and_grows() -> None:
    real = normal(2000, 8, seed=1)
    same = kernel_distance(real, normal(2000, 8, seed=2), subsets=30, size=200)
    assert abs(same.value) < 3 * same.spread / np.sqrt(30) + 2e-3
    shifted = [normal(2000, 8, seed=3, shift=shift) for shift in (0.2, 0.5, 1.0)]
    distances = [kernel_distance(real, other, subsets=30, size=200).value for other in shifted]
    assert same.value < distances[0] < distances[1] < distances[2]
    again = [kernel_distance(real, real + 1, subsets=3, size=50, seed=5) for _ in range(2)]
    assert again[0] == again[1]


def test_the_kernel_distance_by_hand() -> None:
    x, y = np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])
    # k(a, b) = (ab + 1)³. Within: k(0,1) = 1 and k(2,3) = 343. Between: 1, 1, 27, 64, mean 93/4.
    distance = kernel_distance(x, y, subsets=1, size=2)
    assert distance.value == pytest.approx(1 + 343 - 2 * 93 / 4)
    assert distance.spread == 0
    # Known wrong: with the diagonal left in, the estimate is biased.
    assert distance.value != pytest.approx((1 + 1 + 1 + 8 + 125 + 1000 + 2 * 343) / 4 - 2 * 93 / 4)


def test_kernel_distances_that_cannot_be() -> None:
    x = np.ones((3, 2))
    with pytest.raises(DataError, match="one D"):
        kernel_distance(x, np.ones((3, 4)))
    with pytest.raises(DataError, match="at least 2"):
        kernel_distance(x, x[:1])
    with pytest.raises(UsageError, match="at least 1"):
        kernel_distance(x, x, subsets=0)


# --- neighbours ---


def test_a_collapsed_generator_is_precise_and_recalls_nothing() -> None:
    real = normal(500, 4, seed=1)
    collapsed = real[:1] + normal(500, 4, seed=2, scale=1e-3)
    cover = manifold(real, collapsed)
    assert cover.precision > 0.95
    assert cover.recall < 0.05
    assert cover.coverage < 0.05
    # Swapped, which a sign error would not show on symmetric data.
    scattered = manifold(collapsed, real)
    assert scattered.precision < 0.05
    assert scattered.recall > 0.95


def test_equal_sets_cover_one_another_and_distant_ones_do_not() -> None:
    real, same, far = normal(1000, 4, seed=1), normal(1000, 4, seed=2), normal(1000, 4, seed=3, shift=50)
    cover = manifold(real, same)
    assert min(cover.precision, cover.recall, cover.coverage) > 0.85
    assert cover.density == pytest.approx(1, abs=0.1)
    apart = manifold(real, far)
    assert (apart.precision, apart.recall, apart.density, apart.coverage) == (0, 0, 0, 0)


def test_neighbourhoods_by_hand() -> None:
    real, generated = np.array([[0.0], [1], [2], [10]]), np.array([[0.5], [4], [30], [31]])
    # k = 1. Real balls: 1, 1, 1, 8 wide. 0.5 is in those of 0 and 1; 4 is in that of 10; 30 and 31 in none.
    # Generated balls: 3.5, 3.5, 1, 1 wide: 0, 1 and 2 are in that of 0.5, and 10 in none.
    cover = manifold(real, generated, k=1)
    assert (cover.precision, cover.recall, cover.density, cover.coverage) == (0.5, 0.75, 3 / 4, 0.75)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = normal(101, 6, seed=1), normal(77, 6, seed=2, shift=0.5)
    whole = manifold(real, generated), nearest(generated, real)
    monkeypatch.setattr(neighbours, "_BLOCK", 10)
    assert manifold(real, generated) == whole[0]
    np.testing.assert_array_equal(nearest(generated, real)[0], whole[1][0])


def test_the_nearest_is_the_nearest() -> None:
    queries, pool = normal(40, 5, seed=1), normal(60, 5, seed=2)
    rows, distances = nearest(queries, pool)
    slow = np.linalg.norm(queries[:, None] - pool[None], axis=2)
    np.testing.assert_array_equal(rows, slow.argmin(axis=1))
    np.testing.assert_allclose(distances, slow.min(axis=1), rtol=1e-6)
    rows, distances = nearest(pool[:7], pool)
    np.testing.assert_array_equal(rows, np.arange(7))
    np.testing.assert_allclose(distances, 0, atol=1e-6)


def test_neighbours_that_cannot_be() -> None:
    with pytest.raises(DataError, match="more than k = 5"):
        manifold(normal(5, 3), normal(100, 3))
    with pytest.raises(UsageError, match="k is 0"):
        manifold(normal(5, 3), normal(5, 3), k=0)
    with pytest.raises(DataError, match="one D"):
        manifold(normal(9, 3), normal(9, 4))
    with pytest.raises(DataError, match="the pool is empty"):
        nearest(normal(3, 2), np.zeros((0, 2)))


# --- against other people's code ---


@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")  # of SciPy, to pytorch-fid
@pytest.mark.parametrize(("count_a", "count_b", "dimensions"), [(400, 300, 12), (60, 400, 40), (2000, 2000, 100)])
def test_the_distance_is_that_of_pytorch_fid_and_torch_fidelity(count_a: int, count_b: int, dimensions: int) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("pytorch_fid")
    pytest.importorskip("torch_fidelity")
    import scipy
    from pytorch_fid.fid_score import calculate_frechet_distance
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

    mix = np.random.default_rng(9).normal(size=(dimensions, dimensions)) / np.sqrt(dimensions)
    sides = [
        np.abs(normal(count_a, dimensions, 1) @ mix),
        np.abs(normal(count_b, dimensions, 2, shift=0.3, scale=1.2) @ mix),
    ]
    ours = frechet_distance(*(Statistics.of([side]) for side in sides))
    mu_a, sigma_a, mu_b, sigma_b = (
        value for side in sides for value in (side.mean(axis=0), np.cov(side, rowvar=False))
    )
    theirs = fid_statistics_to_metric({"mu": mu_a, "sigma": sigma_a}, {"mu": mu_b, "sigma": sigma_b}, False)
    assert ours == pytest.approx(theirs[KEY_METRIC_FID], rel=1e-6)
    # pytorch-fid 0.3.0 calls sqrtm with an argument that SciPy 1.18 took away.
    if tuple(map(int, scipy.__version__.split(".")[:2])) < (1, 18):
        assert ours == pytest.approx(calculate_frechet_distance(mu_a, sigma_a, mu_b, sigma_b), rel=1e-6)


def test_a_singular_covariance_is_right_where_others_fail() -> None:
    # Ten images in 64 dimensions lie in a plane of nine; moved by a vector they are at its squared length.
    features = normal(10, 64, 1)
    moved = features + np.full(64, 0.5)
    assert frechet_distance(Statistics.of([features]), Statistics.of([moved])) == pytest.approx(16, rel=1e-9)


def test_kernel_distance_and_manifold_are_those_of_torch_fidelity() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch_fidelity")
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    real, generated = normal(300, 6, 1).astype(np.float32), normal(300, 6, 2, shift=0.4, scale=0.7).astype(np.float32)
    ours = kernel_distance(real, generated, subsets=1, size=300)  # the whole sets, so no draw of subsets
    theirs = kid_features_to_metric(
        torch.from_numpy(real), torch.from_numpy(generated), kid_subsets=1, kid_subset_size=300, verbose=False
    )
    assert ours.value == pytest.approx(theirs[KEY_METRIC_KID_MEAN], rel=1e-4)
    cover = manifold(real, generated, k=3)
    precision, recall = calculate_precision_recall_full(torch.from_numpy(generated), torch.from_numpy(real), 3)
    assert (cover.precision, cover.recall) == pytest.approx((precision, recall), abs=1e-6)
    assert abs(cover.precision - cover.recall) > 0.1  # so swapped ones would show


# --- smoothness ---


def test_smoothness_of_known_paths() -> None:
    straight = np.linspace([0.0, 0], [3, 4], 6)
    path = smoothness(straight[None])
    assert (path.length, path.detour, path.jump) == pytest.approx((5, 1, 1))
    assert (path.paths, path.steps) == (1, 5)
    corner = np.array([[0.0, 0], [1, 0], [2, 0], [2, 1], [2, 2]])
    assert smoothness(corner[None]).detour == pytest.approx(4 / np.sqrt(8))
    sudden = np.array([[0.0], [0], [0], [0], [8]])
    assert smoothness(sudden[None]).jump == pytest.approx(4)
    both = smoothness(np.stack([straight[:5], corner]))
    assert both.length == pytest.approx((4 + 4) / 2)


def test_paths_that_cannot_be() -> None:
    with pytest.raises(DataError, match="2 or more"):
        smoothness(np.zeros((3, 2, 4)))
    with pytest.raises(DataError, match="must lead elsewhere"):
        smoothness(np.zeros((3, 5, 4)))
