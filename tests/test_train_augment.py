"""DiffAugment: its ranges, what it does to each image, and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch")

import torch

from train.errors import ConfigError
from train.objective import augment
from train.objective.augment import NAMES, draw

Numbers = dict[str, NDArray[Any]]


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed, 21, 0])


def apply(x: torch.Tensor, numbers: Numbers) -> torch.Tensor:
    return augment.apply(x, {name: torch.from_numpy(values).to(x.device) for name, values in numbers.items()})


def images(n: int, channels: int = 3, side: int = 8, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return torch.rand(n, channels, side, side, dtype=dtype) * 2 - 1


def test_an_empty_policy_is_the_identity() -> None:
    x = images(3)
    assert apply(x, draw(generator(), 3, (), x.shape)) is x


def test_the_ranges_are_the_papers() -> None:
    numbers = draw(generator(), 20_000, NAMES, (20_000, 3, 64, 32))
    for column, low, high in zip(numbers["color"].T, (-0.5, 0, 0.5), (0.5, 2, 1.5), strict=True):
        assert low <= column.min() < low + 0.01
        assert high - 0.01 < column.max() <= high
        assert column.mean() == pytest.approx((low + high) / 2, abs=0.02)
    # An eighth of the side both ways, and cutout's centre anywhere from the first edge to the last.
    assert [set(column) for column in numbers["translation"].T] == [set(range(-8, 9)), set(range(-4, 5))]
    assert [set(column) for column in numbers["cutout"].T] == [set(range(65)), set(range(33))]


@pytest.mark.parametrize(("side", "farthest"), [(8, 1), (16, 2), (28, 4), (32, 4), (64, 8), (128, 16)])
def test_an_eighth_of_a_side_is_rounded_as_the_authors_do(side: int, farthest: int) -> None:
    assert farthest == int(side * 0.125 + 0.5)
    numbers = draw(generator(), 20_000, ["translation"], (side, side))
    assert set(numbers["translation"].ravel()) == set(range(-farthest, farthest + 1))


def test_a_hole_of_an_odd_side_has_its_centre_on_a_pixel() -> None:
    numbers = draw(generator(), 2000, ["cutout"], (14, 14))
    assert set(numbers["cutout"].ravel()) == set(range(14))


def test_the_order_of_the_policy_does_not_matter() -> None:
    x = images(4)
    one, other = (draw(generator(), 4, policy, x.shape) for policy in (NAMES, NAMES[::-1]))
    torch.testing.assert_close(apply(x, one), apply(x, other), rtol=0, atol=0)


def test_an_unknown_name() -> None:
    with pytest.raises(ConfigError, match="is 'colour' and must be one of color, translation, cutout"):
        draw(generator(), 4, ["color", "colour"], (8, 8))


def test_color_is_brightness_then_saturation_then_contrast() -> None:
    x = images(2)
    done = apply(x, {"color": np.array([[0.25, 0.5, 1.5], [-0.5, 2, 0.5]], np.float32)})
    for k, (brightness, saturation, contrast) in enumerate([(0.25, 0.5, 1.5), (-0.5, 2, 0.5)]):
        one = x[k] + brightness
        one = (one - one.mean(0)) * saturation + one.mean(0)
        one = (one - one.mean()) * contrast + one.mean()
        torch.testing.assert_close(done[k], one)


def test_saturation_leaves_a_grey_image_as_it_is() -> None:
    x = images(2, channels=1)
    torch.testing.assert_close(apply(x, {"color": np.array([[0, 2, 1], [0, 0, 1]], np.float32)}), x)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, -1), (-3, 3), (0, 4), (-8, 0)])
def test_translation_fills_with_zeros(down: int, right: int) -> None:
    x = images(2)
    done = apply(x, {"translation": np.array([[0, 0], [down, right]])})
    torch.testing.assert_close(done[0], x[0], rtol=0, atol=0)
    for row in range(8):
        for column in range(8):
            inside = 0 <= row - down < 8 and 0 <= column - right < 8
            expected = x[1, :, row - down, column - right] if inside else torch.zeros(3)
            torch.testing.assert_close(done[1, :, row, column], expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("centre", "rows", "columns"), [((4, 4), (2, 6), (2, 6)), ((0, 8), (0, 2), (6, 8)), ((5, 1), (3, 7), (0, 3))]
)
def test_cutout_is_half_the_side(centre: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]) -> None:
    x = images(1)
    expected = x.clone()
    expected[:, :, slice(*rows), slice(*columns)] = 0
    torch.testing.assert_close(apply(x, {"cutout": np.array([centre])}), expected, rtol=0, atol=0)


@pytest.mark.parametrize("policy", [*((name,) for name in NAMES), NAMES], ids="+".join)
@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_flow_to_the_images(policy: tuple[str, ...], channels: int) -> None:
    x = images(2, channels, dtype=torch.float64).requires_grad_()
    numbers = draw(generator(), 2, policy, x.shape)
    assert torch.autograd.gradcheck(lambda x: apply(x, numbers), x)
    # The penalty may be taken through the augmentation, and is then differentiated again.
    assert torch.autograd.gradgradcheck(lambda x: apply(x, numbers) ** 3, x, fast_mode=True)


def test_images_of_a_batch_do_not_mix() -> None:
    x = images(4, dtype=torch.float64).requires_grad_()
    numbers = draw(generator(), 4, NAMES, x.shape)
    (gradient,) = torch.autograd.grad(apply(x, numbers)[2].sum(), x)
    assert gradient[2].abs().sum() > 0
    assert not gradient[[0, 1, 3]].any()
    alone = {name: values[2:3] for name, values in numbers.items()}
    torch.testing.assert_close(apply(x[2:3], alone), apply(x, numbers)[2:3])


def test_images_are_augmented_differently() -> None:
    x = images(1).expand(16, -1, -1, -1)
    for name in NAMES:
        done = apply(x, draw(generator(), 16, [name], x.shape))
        assert len({image.numpy().tobytes() for image in done}) > 4, name


def test_the_same_seed_draws_the_same() -> None:
    x = images(4)
    one, same, other = (apply(x, draw(generator(seed), 4, NAMES, x.shape)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_type_and_memory_format_are_kept(dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    x = images(3).to(dtype).contiguous(memory_format=memory_format)
    done = apply(x, draw(generator(), 3, NAMES, x.shape))
    assert done.dtype == dtype
    assert done.shape == x.shape
    assert done.is_contiguous(memory_format=memory_format)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_cuda_gives_what_the_cpu_gives() -> None:
    x = images(8)
    numbers = draw(generator(), 8, NAMES, x.shape)
    torch.testing.assert_close(apply(x.cuda(), numbers).cpu(), apply(x, numbers))
