"""One round of training: what each value of the configuration does to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from animegen import DataError, UsageError
from train.config import load_config
from train.data import Dataset
from train.objective import penalty
from train.step import draws
from train.step.cuda_graph import Figures
from train.step.processes import ALONE, Group
from train.step.real_images import RealImages
from train.step.trainer import Trainer

SMALL = [
    *("size=16", "batch_size=8", "n_critic=1", "generator.width=4", "generator.z_dim=8", "critic.width=4"),
    *("generator.kernel=4", "critic.kernel=4"),
]


def trainer(data: Path, *settings: str, preset: str = "wgan-gp-64", group: Group = ALONE) -> Trainer:
    config = load_config(preset, [*SMALL, *settings])
    return Trainer(config, Dataset.open(data).images, device=torch.device("cpu"), precision="fp32", group=group)


def gradients(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def test_a_round_is_so_many_steps_of_each_side(tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tested = trainer(tiny_data, "n_critic=3", "n_generator=2")
    done: list[tuple[str, int]] = []

    def noting(side: str, step: Callable[[int], Figures]) -> Callable[[int], Figures]:
        def noted(k: int) -> Figures:
            done.append((side, k))
            return step(k)

        return noted

    for side in ("critic", "generator"):
        monkeypatch.setattr(tested, f"{side}_step", noting(side, getattr(tested, f"{side}_step")))
    tested.train_step()
    tested.train_step()
    rounds = [
        [*(("critic", 3 * k + i) for i in range(3)), *(("generator", 2 * k + i) for i in range(2))] for k in (0, 1)
    ]
    assert done == rounds[0] + rounds[1]
    assert tested.images_seen == 2 * 3 * 8


def test_weights_are_clipped(tiny_data: Path) -> None:
    tested = trainer(tiny_data, "clip=0.02", preset="wgan-anime64")
    figures = tested.train_step()
    assert max(p.abs().max().item() for p in tested.critic.parameters()) == pytest.approx(0.02)
    assert figures.keys() & {"penalty", "gradient_norm"} == set()


def test_a_flipped_label_is_the_other_side_of_the_cross_entropy(tiny_data: Path) -> None:
    clean, noisy = (trainer(tiny_data, f"label_noise={share}", preset="dcgan-anime64") for share in (0.0, 1.0))
    for tested in (clean, noisy):
        tested.critic_step(0)
    assert gradients(noisy.critic) @ gradients(clean.critic) < 0


def test_learning_rates_fall_in_a_line_at_the_end(tiny_data: Path) -> None:
    tested = trainer(tiny_data, "steps=10", "lr_decay=0.5", "critic_optimiser.lr=4e-4")
    rates = []
    for _ in range(11):
        tested.train_step()
        rates.append(tested.critic_optimiser.param_groups[0]["lr"])
    assert rates[:6] == [4e-4] * 6
    assert rates[6:] == pytest.approx([4e-4 * share for share in (0.8, 0.6, 0.4, 0.2, 0.0)])


def test_a_penalty_every_few_steps_weighs_as_much(tiny_data: Path) -> None:
    every, lazy, plain = (
        trainer(tiny_data, "critic_optimiser.lr=1e-12", *settings)
        for settings in ([], ["penalty_every=4"], ["lambda_gp=0"])
    )
    for tested in (every, lazy, plain):
        assert "penalty" in tested.critic_step(0)
    penalty_part = gradients(every.critic) - gradients(plain.critic)
    torch.testing.assert_close(gradients(lazy.critic) - gradients(plain.critic), 4 * penalty_part, rtol=1e-3, atol=1e-5)
    assert "penalty" not in lazy.critic_step(1)


def test_a_share_of_the_batch_estimates_the_same_penalty(tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[torch.Tensor] = []
    measure = penalty.gradient_penalty

    def note(gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        norms.append(gradient.detach().flatten(1).norm(dim=1))
        return measure(gradient)

    monkeypatch.setattr(penalty, "gradient_penalty", note)
    whole, half = (trainer(tiny_data, f"penalty_share={share}").critic_step(0) for share in (1.0, 0.5))
    assert [len(part) for part in norms] == [8, 4]
    torch.testing.assert_close(norms[1], norms[0][:4])
    assert float(half["penalty"]) == pytest.approx(float(((norms[0][:4] - 1) ** 2).mean()))
    assert float(whole["penalty"]) == pytest.approx(float(((norms[0] - 1) ** 2).mean()))


def test_r1_and_r2_are_the_paper_s(tiny_data: Path) -> None:
    tested, plain = (trainer(tiny_data, f"gamma={gamma}", preset="r3gan-64") for gamma in (3.0, 0.0))
    images = Dataset.open(tiny_data).images
    real_images = RealImages(images, 8, torch.device("cpu"), resident=False)
    arrays = real_images.load(draws.critic_step(tested.config, 0, len(images)))
    inputs = {name: torch.from_numpy(values) for name, values in arrays.items()}
    x_real, x_fake = real_images.images(inputs), tested.generator(inputs["z"])
    expected = sum(
        float((penalty.double_backward(tested.critic, image[None]) ** 2).sum().detach()) / len(side)
        for side in (x_real, x_fake)
        for image in side
    )
    with_it, without = tested.critic_step(0), plain.critic_step(0)
    assert float(with_it["penalty"]) == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(with_it["critic_loss"], without["critic_loss"] + 3 / 2 * with_it["penalty"])


@pytest.mark.parametrize("share", ["1.0", "0.3", "0.1"])
@pytest.mark.parametrize("preset", ["wgan-gp-64", "r3gan-64", "rgan-anime64"])
def test_parts_of_a_batch_add_up_to_the_whole(tiny_data: Path, preset: str, share: str) -> None:
    # BatchNorm sees a part only, so it is left out here.
    settings = ("generator.norm=none", "critic.norm=none", "augment=['translation']", f"penalty_share={share}")
    whole = trainer(tiny_data, *settings, preset=preset)
    parts = trainer(tiny_data, *settings, "accumulate=4", preset=preset)
    one, other = whole.critic_step(0), parts.critic_step(0)
    torch.testing.assert_close(gradients(whole.critic), gradients(parts.critic), rtol=1e-4, atol=1e-6)
    assert one.keys() == other.keys()
    for name in one.keys() & {"critic_loss", "penalty", "gradient_norm"}:
        torch.testing.assert_close(one[name], other[name])
    whole.generator_step(0)
    parts.generator_step(0)
    torch.testing.assert_close(gradients(whole.generator), gradients(parts.generator), rtol=1e-3, atol=1e-7)


def test_a_generator_step_leaves_the_critic_alone(tiny_data: Path) -> None:
    tested = trainer(tiny_data, preset="ragan-anime64")
    before = [p.detach().clone() for p in tested.critic.parameters()]
    tested.generator_step(0)
    assert all(torch.equal(old, new) for old, new in zip(before, tested.critic.parameters(), strict=True))
    assert all(p.requires_grad and p.grad is None for p in tested.critic.parameters())


def test_augmentation_is_for_both_sides_and_both_steps(tiny_data: Path) -> None:
    plain, augmented = trainer(tiny_data), trainer(tiny_data, "augment=['color', 'translation', 'cutout']")
    again = trainer(tiny_data, "augment=['color', 'translation', 'cutout']")
    figures = [tested.critic_step(0) | tested.generator_step(0) for tested in (plain, augmented, again)]
    for name in ("critic_loss", "generator_loss"):
        values = [row[name].item() for row in figures]
        assert values[0] != values[1] == values[2]


def test_drawing_ahead_changes_nothing(tiny_data: Path) -> None:
    plain, ahead = (trainer(tiny_data, "n_critic=2", preset="ragan-anime64") for _ in range(2))
    ahead.captures = True  # as on a GPU, which computes while the next step is drawn
    for _ in range(3):
        assert ahead.train_step() == plain.train_step()


def test_a_batch_that_can_t_be_divided(tiny_data: Path) -> None:
    for group, settings in ((Group(0, 3), []), (Group(0, 2), ["accumulate=4"])):
        with pytest.raises(UsageError, match="batch_size is 8 and must be"):
            trainer(tiny_data, *settings, group=group)


def test_a_batch_larger_than_the_dataset(tiny_data: Path) -> None:
    with pytest.raises(DataError, match="has 50 images and must have at least a batch of 51"):
        trainer(tiny_data, "batch_size=51")


def test_compiling_is_for_one_gpu(tiny_data: Path) -> None:
    config = load_config("wgan-gp-64", SMALL)
    images = Dataset.open(tiny_data).images
    with pytest.raises(UsageError, match="--compile is for one process on a GPU"):
        Trainer(config, images, device=torch.device("cpu"), precision="fp32", compiled=True)


def test_figures_are_of_the_values(tiny_data: Path) -> None:
    figures = trainer(tiny_data, "lambda_gp=10.0").train_step()
    assert 0 < figures["real_probability"] < 1
    assert 0 < figures["fake_probability"] < 1
    assert figures["spread"] > 0
    assert figures["critic_gradient"] > 0
    assert figures["generator_gradient"] > 0
    assert all(np.isfinite(value) for value in figures.values())
