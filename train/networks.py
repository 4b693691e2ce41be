"""One DCGAN-family generator and critic, built by a loop over stages. Size, width, kernel, norm and depth are data.

Radford et al. 2016 (arXiv 1511.06434). Between the smallest stage and the image each stage doubles the side with a
stride of 2. With `blocks`, residual blocks (He et al. 2016, arXiv 1512.03385) work at each side in between, as in the
deeper networks of Gulrajani et al. 2017 (appendix F).
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from train import codes
from train.codes import CodeCritic, CodeGenerator
from train.config import Config, sides
from train.convolution import Convolution
from train.features import file as features
from train.features.lens import CHANNELS, split
from train.features.network import POOLED
from train.layers import (
    FLAT,
    STRIDE,
    Residual,
    init_critic,
    init_generator,
    init_residuals,
    norm_of,
    rectifier,
    upward,
)


class Generator(nn.Module):
    """Latents float [N, z_dim] → images float [N, channels, size, size] in [−1, 1].

    A dense layer or a transposed convolution to the smallest stage, then transposed convolutions; a norm and a
    ReLU after each but the last, which ends in tanh or in 2σ − 1.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        own = config.generator
        stages = sides(config.size, own.smallest)[::-1]
        widths = [own.width * 2**stage for stage in range(len(stages) - (not own.full_size))][::-1]
        bias = own.norm == "none"  # BatchNorm subtracts the mean, so a bias before it would do nothing
        self.z_dim = own.z_dim
        self.shape = (widths[0], own.smallest, own.smallest)
        self.first: nn.Linear | nn.ConvTranspose2d
        if own.first == "dense":
            self.first = nn.Linear(own.z_dim, math.prod(self.shape), bias=bias)
        else:
            self.first = nn.ConvTranspose2d(own.z_dim, widths[0], own.smallest, bias=bias)
        self.first_norm = norm_of(own.norm, widths[0])
        self.first_activation = rectifier(own.slope)
        self.stages = nn.ModuleList(
            nn.Sequential(
                upward(widths[k], widths[k + 1], own.kernel, stages[k : k + 2], bias=bias),
                norm_of(own.norm, widths[k + 1]),
                rectifier(own.slope),
                *(Residual(widths[k + 1], own.norm, own.slope) for _ in range(own.blocks)),
            )
            for k in range(len(widths) - 1)
        )
        self.last: nn.Conv2d | nn.ConvTranspose2d
        if own.full_size:
            self.last = nn.Conv2d(widths[-1], config.channels, FLAT, padding=FLAT // 2)
        else:
            self.last = upward(widths[-1], config.channels, own.kernel, stages[-2:], bias=True)
        self.output = nn.Tanh() if own.output == "tanh" else Sigmoid()
        for layer in self.modules():
            init_generator(layer, normed=own.norm == "batch", slope=own.slope)
        init_residuals(self)

    def forward(self, z: Tensor) -> Tensor:
        """Images in [−1, 1] from latents."""
        x = (
            self.first(z).unflatten(1, self.shape)
            if isinstance(self.first, nn.Linear)
            else self.first(z[:, :, None, None])
        )
        x = self.first_activation(self.first_norm(x))
        for stage in self.stages:
            x = stage(x)
        images: Tensor = self.output(self.last(x))
        return images

    def judged(self, z: Tensor) -> Tensor:
        """What its critic is shown: the images."""
        images: Tensor = self(z)
        return images

    def layers(self) -> list[nn.Module]:
        """All its layers, each after the one before it."""
        stages = [layer for stage in self.stages for layer in stage.children()]
        return [self.first, self.first_norm, self.first_activation, *stages, self.last, self.output]


class Sigmoid(nn.Module):
    """2σ(x) − 1: the sigmoid of a generator of images in [0, 1], in this house's range of [−1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, in [−1, 1]."""
        return torch.sigmoid(x) * 2 - 1


class Critic(nn.Sequential):
    """Images float [N, channels, size, size] in [−1, 1] → one unbounded value each: [N].

    Strided convolutions with LeakyReLU, then one linear value; a sigmoid, where an objective has one, is in its loss.
    It is a plain chain, which the closed form in `penalty` walks backwards where nothing is normalised.

    Attributes:
        batched: whether the images of a batch see one another. Then real and generated ones must not share a pass.
        remembers: whether its views of the real images are few enough to be kept.
    """

    remembers = False

    def __init__(self, config: Config) -> None:
        own = config.critic
        stages = sides(config.size, own.smallest)
        widths = [own.width * 2**stage for stage in range(len(stages) - (not own.full_size))]
        layers: list[nn.Module] = []
        if own.full_size:
            layers += [nn.Conv2d(config.channels, widths[0], FLAT, padding=FLAT // 2), nn.LeakyReLU(own.slope)]
        else:
            widths = [config.channels, *widths]
        for before, after in pairwise(widths):
            if layers:
                layers += [Residual(before, own.norm, own.slope) for _ in range(own.blocks)]
            # Radford et al. 2016: the first layer isn't normalised; the spectral norm is for every layer.
            normed = own.norm in {"batch", "instance"} and bool(layers)
            padding = (own.kernel - 1) // 2
            layers.append(Convolution(before, after, own.kernel, STRIDE, padding, bias=not normed))
            if normed:
                layers.append(norm_of(own.norm, after))
            layers.append(nn.LeakyReLU(own.slope))
        if own.last == "dense":
            layers += [nn.Flatten(), nn.Linear(widths[-1] * own.smallest**2, 1)]
        else:
            layers.append(nn.Conv2d(widths[-1], 1, own.smallest))
        super().__init__(*layers, nn.Flatten(0))
        for layer in list(self.modules()):
            init_critic(layer, normed=own.norm == "batch", slope=own.slope)
        if own.norm == "spectral":  # which has no use for a weight of 0
            for layer in list(self.modules()):
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    spectral_norm(layer)
        else:
            init_residuals(self)
        self.batched = own.norm == "batch"

    def view(self, images: Tensor) -> Tensor:
        """What it values: the pixels themselves."""
        return images

    see = view


class FeatureCritic(nn.Module):
    """The vectors that its lens makes of images → one unbounded value each: [N].

    A convolution on the small images, then strided ones down to the coarsest of the features' maps, each joined by the
    features' own map there, and beside them a perceptron on the pooled values. The lens is frozen.
    """

    batched = False
    remembers = False

    def __init__(self, config: Config) -> None:
        super().__init__()
        own = config.critic
        self.lens, _ = features.read(Path(own.features))
        self.first = nn.Sequential(nn.Conv2d(config.channels, own.width, FLAT, padding=1), nn.LeakyReLU(own.slope))
        widths = [own.width * 2**stage for stage in range(len(CHANNELS))]
        before = [own.width, *(width + given for width, given in zip(widths, CHANNELS, strict=True))]
        self.stages = nn.ModuleList(
            nn.Sequential(Convolution(inputs, width, own.kernel, STRIDE, 1), nn.LeakyReLU(own.slope))
            for inputs, width in zip(before, widths, strict=False)
        )
        self.last = nn.Linear(before[-1] * own.smallest**2, 1)
        hidden = 8 * own.width
        self.pooled = nn.Sequential(
            nn.Linear(POOLED, hidden),
            nn.LeakyReLU(own.slope),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(own.slope),
            nn.Linear(hidden, 1),
        )
        for part in (self.first, self.stages, self.last, self.pooled):
            for layer in part.modules():
                init_critic(layer, normed=False, slope=own.slope)

    def view(self, images: Tensor) -> Tensor:
        """What it values, and where its slope is bounded: [N, LENGTH]."""
        vectors: Tensor = self.lens(images)
        return vectors

    see = view

    def forward(self, vectors: Tensor) -> Tensor:
        """The values, from what `view` gave."""
        (small, *others), pooled = split(vectors)
        x = self.first(small)
        for stage, own in zip(self.stages, others, strict=True):
            x = torch.cat([stage(x), own], 1)
        value: Tensor = self.last(x.flatten(1)) + self.pooled(pooled)
        return value.flatten()


AnyGenerator = Generator | CodeGenerator
AnyCritic = Critic | FeatureCritic | CodeCritic


def parameter_count(network: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in network.parameters())


def generator_of(config: Config) -> AnyGenerator:
    """A generator of this configuration; one of codes has yet to be given its decoder."""
    return CodeGenerator(config) if config.autoencoder else Generator(config)


def initial_networks(config: Config) -> tuple[AnyGenerator, AnyCritic]:
    """Generator and critic with the weights that `config.seed` names, on the CPU; the global random state is kept.

    Raises:
        ConfigError: a file that the configuration names holds no autoencoder or no features.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(config.seed)
        generator = generator_of(config)
        if isinstance(generator, CodeGenerator):
            valuing = CodeCritic(config)
            codes.give(config, generator, valuing)
            return generator, valuing
        return generator, (FeatureCritic(config) if config.critic.features else Critic(config))
