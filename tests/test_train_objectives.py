"""The objectives against the papers' formulas, written out once more with numpy and probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("torch")

import torch

from train.config import ObjectiveName
from train.objective import losses as objectives

Values = NDArray[np.float64]
Formula = Callable[[Values, Values], float]


def sigmoid(x: Values) -> Values:
    return 1 / (1 + np.exp(-x))


def log(x: Values) -> Values:
    return np.log(x)


def average_critic(r: Values, f: Values) -> float:  # Jolicoeur-Martineau 2019, equation 8, halved
    return float(-log(sigmoid(r - f.mean())).mean() - log(1 - sigmoid(f - r.mean())).mean()) / 2


def average_hinge_critic(r: Values, f: Values) -> float:
    return float(np.maximum(0, 1 - (r - f.mean())).mean() + np.maximum(0, 1 + (f - r.mean())).mean()) / 2


FORMULAS: dict[str, tuple[Formula, Formula]] = {
    "wgan": (lambda r, f: f.mean() - r.mean(), lambda _, f: -f.mean()),
    "wgan-gp": (lambda r, f: f.mean() - r.mean(), lambda _, f: -f.mean()),
    "dcgan": (
        lambda r, f: -log(sigmoid(r)).mean() - log(1 - sigmoid(f)).mean(),
        lambda _, f: -log(sigmoid(f)).mean(),
    ),
    "hinge": (
        lambda r, f: np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean(),
        lambda _, f: -f.mean(),
    ),
    "rgan": (lambda r, f: -log(sigmoid(r - f)).mean(), lambda r, f: -log(sigmoid(f - r)).mean()),
    "rgan-hinge": (lambda r, f: np.maximum(0, 1 - r + f).mean(), lambda r, f: np.maximum(0, 1 - f + r).mean()),
    "ragan": (average_critic, lambda r, f: average_critic(f, r)),
    "ragan-hinge": (average_hinge_critic, lambda r, f: average_hinge_critic(f, r)),
}

numbers = st.lists(st.floats(-8, 8), min_size=4, max_size=4)


def test_every_objective_has_its_formula() -> None:
    assert set(FORMULAS) == set(objectives.OBJECTIVES) == set(get_args(ObjectiveName))


@pytest.mark.parametrize("name", sorted(FORMULAS))
@given(real=numbers, fake=numbers)
def test_the_losses_are_the_papers(name: str, real: list[float], fake: list[float]) -> None:
    objective = objectives.OBJECTIVES[name]  # type: ignore[index]
    c_real, c_fake = torch.tensor(real, dtype=torch.float64), torch.tensor(fake, dtype=torch.float64)
    for loss, formula in zip((objective.critic, objective.generator), FORMULAS[name], strict=True):
        assert loss(c_real, c_fake).item() == pytest.approx(formula(np.array(real), np.array(fake)), abs=1e-9)


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_each_side_s_gradient_points_its_way(name: str) -> None:
    # Where all values are small the critic wants real up and generated down, the generator the reverse.
    objective = objectives.OBJECTIVES[name]  # type: ignore[index]
    c_real, c_fake = (torch.tensor([0.1, -0.2, 0.3], requires_grad=True) for _ in range(2))
    up, down = torch.autograd.grad(objective.critic(c_real, c_fake), (c_real, c_fake))
    assert (up < 0).all()
    assert (down > 0).all()
    (toward,) = torch.autograd.grad(objective.generator(c_real, c_fake), c_fake)
    assert (toward < 0).all()


@pytest.mark.parametrize("name", ["rgan", "rgan-hinge", "ragan", "ragan-hinge"])
def test_a_relativistic_loss_knows_differences_only(name: str) -> None:
    objective = objectives.OBJECTIVES[name]  # type: ignore[index]
    assert objective.relativistic
    c_real, c_fake = torch.tensor([1.0, 2.0]), torch.tensor([0.5, -1.0])
    for loss in (objective.critic, objective.generator):
        torch.testing.assert_close(loss(c_real, c_fake), loss(c_real + 5, c_fake + 5))


def test_large_values_stay_finite() -> None:
    c_real, c_fake = torch.tensor([-1e4, 1e4]), torch.tensor([1e4, -1e4])
    for objective in objectives.OBJECTIVES.values():
        assert objective.critic(c_real, c_fake).isfinite()
        assert objective.generator(c_real, c_fake).isfinite()


def test_the_wasserstein_estimate() -> None:
    assert objectives.wasserstein_estimate(torch.tensor([3.0, 5.0]), torch.tensor([1.0, 2.0])) == 2.5
