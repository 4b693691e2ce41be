"""The networks' shapes, against the papers."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from train.config import Config, load_config
from train.networks import GeneratorNetwork, initial_networks
from train.networks.layers import Residual


@pytest.mark.parametrize("size", [8, 16, 32, 64, 128])
@pytest.mark.parametrize("kernel", [3, 4, 5])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_and_kernel(size: int, kernel: int, channels: int) -> None:
    settings = [f"size={size}", f"channels={channels}", "generator.width=2", "critic.width=2"]
    config = load_config("wgan-gp-64", [*settings, f"generator.kernel={kernel}", f"critic.kernel={kernel}"])
    generator, critic = initial_networks(config)
    images = generator(torch.randn(3, 128))
    assert images.shape == (3, channels, size, size)
    assert images.abs().max() <= 1
    assert critic(images).shape == (3,)


@pytest.mark.parametrize("blocks", [0, 1, 2])
@pytest.mark.parametrize("full_size", ["true", "false"])
@pytest.mark.parametrize("norm", ["none", "batch", "instance", "spectral"])
def test_depth_is_data(blocks: int, full_size: str, norm: str) -> None:
    own_norm = "batch" if norm == "batch" else "none"
    settings = [f"generator.norm={own_norm}", f"critic.norm={norm}", "generator.width=4", "critic.width=4", "size=32"]
    for side in ("generator", "critic"):
        settings += [f"{side}.blocks={blocks}", f"{side}.full_size={full_size}"]
    generator, critic = initial_networks(load_config("wgan-gp-64", settings))
    images = generator(torch.randn(3, 128))
    assert images.shape == (3, 3, 32, 32)
    assert critic(images).shape == (3,)
    # 4 → 8 → 16 (→ 32): one stage more at the image's own size, and blocks at each side but the smallest.
    stages = 3 if full_size == "true" else 2
    for network in (generator, critic):
        residuals = [module for module in network.modules() if isinstance(module, Residual)]
        assert len(residuals) == blocks * stages
        sizes = {block.body[0].in_channels for block in residuals}
        assert sizes == ({4 * 2**stage for stage in range(stages)} if blocks else set())
    (images.sum() + critic(images).sum()).backward()
    assert all(p.grad is not None for network in (generator, critic) for p in network.parameters())


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_block_starts_as_the_identity(norm: str) -> None:
    deep, flat = (
        initial_networks(load_config("wgan-gp-64", [f"generator.norm={norm}", "generator.width=4", *more]))[0]
        for more in (["generator.blocks=2"], [])
    )
    flat.load_state_dict(deep.state_dict(), strict=False)
    z = torch.randn(5, 128)
    torch.testing.assert_close(deep(z), flat(z))


@pytest.mark.parametrize("norm", ["none", "instance", "spectral"])
@pytest.mark.parametrize("last", ["dense", "convolution"])
def test_a_critic_under_a_penalty_sees_each_image_alone_and_is_unbounded(norm: str, last: str) -> None:
    _, critic = initial_networks(load_config("wgan-gp-64", [f"critic.norm={norm}", f"critic.last={last}"]))
    assert not critic.batched
    critic.eval()  # a spectral norm moves its estimate at each pass of training
    x = torch.randn(4, 3, 64, 64)
    together = critic(x)
    torch.testing.assert_close(together, torch.cat([critic(image[None]) for image in x]), rtol=1e-4, atol=1e-4)
    if norm != "instance":  # which takes the scale out
        assert critic(1000 * x).abs().max() > 1


def test_batchnorm_ties_the_images_of_a_batch() -> None:
    _, critic = initial_networks(load_config("dcgan-anime64", ["critic.width=4"]))
    assert critic.batched
    x = torch.randn(4, 3, 64, 64)
    assert not torch.allclose(critic(x)[:2], critic(x[:2]))


@pytest.mark.parametrize("size", [28, 56])
def test_odd_sides_are_halved_and_doubled(size: int) -> None:
    settings = [f"size={size}", "generator.smallest=2", "generator.width=2", "critic.width=2"]
    generator, critic = initial_networks(load_config("wgan-gp-mnist28", settings))
    images = generator(torch.randn(3, 128))
    assert images.shape == (3, 1, size, size)
    assert critic(images).shape == (3,)


def test_a_spectral_norm_bounds_every_layer() -> None:
    _, critic = initial_networks(load_config("sngan-64", ["critic.width=8"]))
    for _ in range(20):
        critic(torch.randn(2, 3, 64, 64))
    for layer in critic.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.1)


def test_the_sigmoid_is_a_tanh_of_half() -> None:
    config = load_config("wgan-gp-mnist28")
    x = torch.linspace(-5, 5, 11)
    torch.testing.assert_close(initial_networks(config)[0].output(x), torch.tanh(x / 2))


@pytest.mark.parametrize("slope", [0, 0.2])
def test_without_a_norm_the_signal_keeps_its_size(slope: float) -> None:
    generator = GeneratorNetwork(load_config("r3gan-64", [f"generator.slope={slope}"]))
    spreads: list[float] = []
    for stage in generator.stages:
        stage.register_forward_hook(lambda _module, _inputs, output: spreads.append(output.std().item()))
    images = generator(torch.randn(8, 128))
    assert all(0.3 < value < 3 for value in spreads), spreads
    assert 0.1 < images.std() < 0.95


def test_the_seed_names_the_first_weights() -> None:
    def weights(config: Config) -> torch.Tensor:
        return torch.cat([p.flatten() for network in initial_networks(config) for p in network.parameters()])

    before = torch.random.get_rng_state()
    first = weights(load_config("wgan-gp-64", ["generator.width=4", "critic.width=4"]))
    torch.testing.assert_close(
        first, weights(load_config("wgan-gp-64", ["generator.width=4", "critic.width=4"])), rtol=0, atol=0
    )
    other = weights(load_config("wgan-gp-64", ["generator.width=4", "critic.width=4", "seed=1"]))
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_first_images_are_neither_flat_nor_saturated() -> None:
    generator = GeneratorNetwork(load_config("anime-pixels-64"))
    images = generator(torch.randn(8, 128))
    assert 0.005 < images.std() < 0.9
