"""The gradient penalty: its formula, and its two forms."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from train.config import load_config
from train.networks import Critic, initial_networks
from train.networks.layers import Residual
from train.objective import penalty


def critic_of(features: list[nn.Module], value: list[nn.Module]) -> Critic:
    """A critic of these layers."""
    critic = Critic(load_config("wgan-gp-64", ["critic.width=1"]))
    critic.features, critic.value = nn.Sequential(*features), nn.Sequential(*value)
    return critic


def test_the_penalty_of_a_linear_critic_is_known() -> None:
    linear = nn.Linear(12, 1)
    critic = critic_of([], [nn.Flatten(), linear, nn.Flatten(0)])
    gradient = penalty.input_gradient(critic, torch.randn(5, 3, 2, 2))
    norm = linear.weight.norm()
    value, mean_norm = penalty.gradient_penalty(gradient)
    torch.testing.assert_close(mean_norm, norm.detach())
    torch.testing.assert_close(value, (norm - 1) ** 2)


def test_the_norm_is_over_all_values_of_one_image() -> None:
    # Two images of the same gradient norm each. Known wrong: the norm over channels alone, or over the batch.
    gradient = torch.zeros(2, 3, 4, 4)
    gradient[0, 0, 0, 0], gradient[0, 2, 3, 1] = 3, 4
    gradient[1, 1] = 5 / 4
    value, mean_norm = penalty.gradient_penalty(gradient)
    assert value == pytest.approx(16)
    assert mean_norm == pytest.approx(5)
    over_channels = ((gradient.norm(dim=1) - 1) ** 2).mean()
    over_batch = (gradient.norm() - 1) ** 2
    assert abs(over_channels - 16) > 1
    assert abs(over_batch - 16) > 1


def test_the_norm_is_taken_in_fp32() -> None:
    gradient = torch.full((1, 3, 64, 64), 300.0, dtype=torch.float16)  # its square overflows fp16
    value, mean_norm = penalty.gradient_penalty(gradient)
    assert value.dtype == mean_norm.dtype == torch.float32
    assert mean_norm == pytest.approx(300 * (3 * 64 * 64) ** 0.5)


def test_interpolates_take_one_epsilon_an_image() -> None:
    x_real, x_fake = torch.randn(2, 4, 3, 5, 5)
    epsilon = torch.tensor([0.0, 1.0, 0.25, 0.5])
    x_hat = penalty.interpolates(x_real, x_fake, epsilon)
    for k in range(4):
        torch.testing.assert_close(x_hat[k], epsilon[k] * x_real[k] + (1 - epsilon[k]) * x_fake[k])


def _critic(*settings: str, preset: str = "wgan-gp-64", classes: tuple[int, ...] = ()) -> Critic:
    return initial_networks(load_config(preset, ["critic.width=6", *settings]), classes)[1]


def _with_blocks(classes: tuple[int, ...] = ()) -> Critic:
    """A critic with residual blocks that do something: at their start they are the identity."""
    critic = _critic("critic.width=4", "critic.kernel=4", "critic.blocks=2", "critic.full_size=true", classes=classes)
    for parameter in critic.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return critic


CRITICS: dict[str, Callable[[], Critic]] = {
    "residual blocks": _with_blocks,
    "kernel 4": lambda: _critic("critic.kernel=4"),
    "kernel 5": _critic,
    "kernel 3": lambda: _critic("critic.kernel=3"),
    "odd sizes, ReLU, groups, dilation": lambda: critic_of(
        [
            nn.Conv2d(3, 6, 3, stride=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(6, 4, 3, stride=2, groups=2, dilation=2),
            nn.LeakyReLU(0.3),
        ],
        [nn.Flatten(), nn.Linear(4 * 9 * 9, 7), nn.LeakyReLU(0.1), nn.Linear(7, 1), nn.Flatten(0)],
    ),
    "labels, kernel 3": lambda: _critic("critic.kernel=3", classes=(3, 4)),
    "labels, kernel 4": lambda: _critic("critic.kernel=4", classes=(3, 4)),
    "labels, kernel 5": lambda: _critic(classes=(3, 4)),
    "labels, residual blocks": lambda: _with_blocks(classes=(3, 4)),
    "labels, odd sizes": lambda: _critic("size=60", "critic.smallest=8", classes=(3, 4)),
    "labels, a classifier": lambda: _critic("labels=['*']", "class_critic=1", classes=(3, 4)),
    "labels, a convolution last": lambda: _critic("critic.last='convolution'", classes=(3, 4)),
}
SIZES = {"labels, odd sizes": 60}
# Of three images: both groups known, one of them, none.
LABELS = [[0, 1, 0, 0, 0, 0, 1], [0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", CRITICS)
def test_the_closed_form_equals_double_backward(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    critic = CRITICS[name]().to(dtype)
    assert penalty.form_for(critic) == "closed form"
    size = SIZES.get(name, 64)
    x = torch.rand(3, 3, size, size, dtype=dtype) * 2 - 1
    labels = torch.tensor(LABELS, dtype=dtype) if critic.projection is not None else None
    results: list[list[Tensor]] = []
    for form in (penalty.double_backward, penalty.closed_form):
        critic.zero_grad()
        gradient = form(critic, x, labels)
        (((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()).backward()
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in critic.parameters()]
        results.append([gradient.detach(), *(grad.clone() for grad in grads)])
    tolerance = 1e-10 if dtype == torch.float64 else 2e-5
    assert results[0][1].abs().max() > 0
    if critic.projection is not None:
        names = [name for name, _ in critic.named_parameters()]
        trained = results[0][1 + names.index("projection.weight")]
        assert trained.abs().max() > 0  # the penalty trains it too
    for reference, closed in zip(*results, strict=True):
        assert (reference - closed).norm() <= tolerance * reference.norm() + 1e-12


@pytest.mark.parametrize(
    "layer",
    [
        Residual(3, "instance", 0.2),
        nn.BatchNorm2d(3),
        nn.InstanceNorm2d(3),
        nn.Tanh(),
        nn.Conv2d(3, 3, 3, padding="same"),
        nn.Dropout(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_other_layers_take_the_reference(layer: nn.Module) -> None:
    critic = critic_of([layer], [nn.Flatten(), nn.LazyLinear(1), nn.Flatten(0)])
    assert penalty.form_for(critic) == "double backward"
    assert penalty.input_gradient(critic, torch.randn(4, 3, 8, 8)).requires_grad
