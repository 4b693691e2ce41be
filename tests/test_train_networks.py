"""The networks' shapes, against the papers."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from train.config import Config, load_config, preset_names
from train.networks import Generator, initial_networks, parameter_count


def convolutions(network: nn.Module) -> list[tuple[int, int, int]]:
    """Input channels, output channels and kernel of each convolution, in order."""
    return [
        (layer.in_channels, layer.out_channels, layer.kernel_size[0])
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    ]


def test_the_published_networks() -> None:
    generator, critic = initial_networks(load_config("wgan-gp-64"))
    assert (generator.first.in_features, generator.shape) == (128, (512, 4, 4))
    assert convolutions(generator) == [(512, 256, 5), (256, 128, 5), (128, 64, 5), (64, 3, 5)]
    assert convolutions(critic) == [(3, 64, 5), (64, 128, 5), (128, 256, 5), (256, 512, 5)]
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in generator.modules()) == 4


def test_the_shipped_networks() -> None:
    generator, critic = initial_networks(load_config("anime-face-64"))
    assert convolutions(generator) == [(512, 256, 4), (256, 128, 4), (128, 64, 4), (64, 3, 4)]
    assert convolutions(critic) == [(3, 32, 4), (32, 64, 4), (64, 128, 4), (128, 256, 4)]
    assert parameter_count(generator) == 3_806_083


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


@pytest.mark.parametrize("name", preset_names())
def test_no_critic_normalises_over_the_batch_or_ends_in_a_sigmoid(name: str) -> None:
    _, critic = initial_networks(load_config(name))
    assert not any(isinstance(layer, nn.modules.batchnorm._BatchNorm | nn.Sigmoid) for layer in critic.modules())
    x = torch.randn(4, 3, 64, 64)
    together = critic(x)
    torch.testing.assert_close(together, torch.cat([critic(image[None]) for image in x]), rtol=1e-4, atol=1e-4)
    assert critic(1000 * x).abs().max() > 1  # unbounded


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
    generator = Generator(load_config("anime-face-64"))
    images = generator(torch.randn(8, 128))
    assert 0.005 < images.std() < 0.9
