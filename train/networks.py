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

from train.config import Config, sides
from train.convolution import Convolution, TransposedConvolution
from train.features import file as features
from train.features.lens import CHANNELS, split
from train.features.network import POOLED
from train.processes import BatchNorm

STRIDE = 2
FLAT = 3  # the kernel of a convolution that keeps the side


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
        self.first_norm = _norm(own.norm, widths[0])
        self.first_activation = _rectifier(own.slope)
        self.stages = nn.ModuleList(
            nn.Sequential(
                _upward(widths[k], widths[k + 1], own.kernel, stages[k : k + 2], bias=bias),
                _norm(own.norm, widths[k + 1]),
                _rectifier(own.slope),
                *(Residual(widths[k + 1], own.norm, own.slope) for _ in range(own.blocks)),
            )
            for k in range(len(widths) - 1)
        )
        self.last: nn.Conv2d | nn.ConvTranspose2d
        if own.full_size:
            self.last = nn.Conv2d(widths[-1], config.channels, FLAT, padding=FLAT // 2)
        else:
            self.last = _upward(widths[-1], config.channels, own.kernel, stages[-2:], bias=True)
        self.output = nn.Tanh() if own.output == "tanh" else Sigmoid()
        for layer in self.modules():
            _init_generator(layer, normed=own.norm == "batch", slope=own.slope)
        _init_residuals(self)

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


class Residual(nn.Module):
    """x → activation(x + body(x)), of one shape; the body is convolution, norm, activation, convolution, norm.

    He et al. 2016. It starts as the identity before its activation: the last norm's weight is 0 (Goyal et al. 2017,
    arXiv 1706.02677, section 5.1), or without a norm the last convolution's (Zhang et al. 2019, arXiv 1901.09321).
    """

    def __init__(self, channels: int, norm: str, slope: float) -> None:
        super().__init__()
        bias = norm in {"none", "spectral"}
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, FLAT, padding=FLAT // 2, bias=bias),
            _norm(norm, channels),
            _rectifier(slope),
            nn.Conv2d(channels, channels, FLAT, padding=FLAT // 2, bias=bias),
            _norm(norm, channels),
        )
        self.activation = _rectifier(slope)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        activated: Tensor = self.activation(x + self.body(x))
        return activated


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
    """

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
                layers.append(_norm(own.norm, after))
            layers.append(nn.LeakyReLU(own.slope))
        if own.last == "dense":
            layers += [nn.Flatten(), nn.Linear(widths[-1] * own.smallest**2, 1)]
        else:
            layers.append(nn.Conv2d(widths[-1], 1, own.smallest))
        super().__init__(*layers, nn.Flatten(0))
        for layer in list(self.modules()):
            _init_critic(layer, normed=own.norm == "batch", slope=own.slope)
        if own.norm == "spectral":  # which has no use for a weight of 0
            for layer in list(self.modules()):
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    spectral_norm(layer)
        else:
            _init_residuals(self)
        self.batched = own.norm == "batch"

    def view(self, images: Tensor) -> Tensor:
        """What it values: the pixels themselves."""
        return images


class FeatureCritic(nn.Module):
    """The vectors that its lens makes of images → one unbounded value each: [N].

    A convolution on the small images, then strided ones down to the coarsest of the features' maps, each joined by the
    features' own map there, and beside them a perceptron on the pooled values. The lens is frozen.
    """

    batched = False

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
                _init_critic(layer, normed=False, slope=own.slope)

    def view(self, images: Tensor) -> Tensor:
        """What it values, and where its slope is bounded: [N, LENGTH]."""
        vectors: Tensor = self.lens(images)
        return vectors

    def forward(self, vectors: Tensor) -> Tensor:
        """The values, from what `view` gave."""
        (small, *others), pooled = split(vectors)
        x = self.first(small)
        for stage, own in zip(self.stages, others, strict=True):
            x = torch.cat([stage(x), own], 1)
        value: Tensor = self.last(x.flatten(1)) + self.pooled(pooled)
        return value.flatten()


def parameter_count(network: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in network.parameters())


def initial_networks(config: Config) -> tuple[Generator, Critic | FeatureCritic]:
    """Generator and critic with the weights that `config.seed` names, on the CPU; the global random state is kept."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(config.seed)
        return Generator(config), (FeatureCritic(config) if config.critic.features else Critic(config))


def _upward(before: int, after: int, kernel: int, ends: list[int], *, bias: bool) -> TransposedConvolution:
    """From one side to the next: 2(h−1) − 2p + k + output_padding."""
    padding = (kernel - 1) // 2
    missing = ends[1] - (STRIDE * (ends[0] - 1) - 2 * padding + kernel)
    return TransposedConvolution(before, after, kernel, STRIDE, padding=padding, output_padding=missing, bias=bias)


def _norm(name: str, channels: int) -> nn.Module:
    if name == "batch":
        return BatchNorm(channels)
    if name == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    return nn.Identity()


def _rectifier(slope: float) -> nn.Module:
    return nn.LeakyReLU(slope) if slope else nn.ReLU()


@torch.no_grad()
def _init_residuals(network: nn.Module) -> None:
    """Each block gives what it was given, until it has learnt better."""
    for block in network.modules():
        if isinstance(block, Residual):
            convolution, norm = block.body[-2], block.body[-1]
            last = convolution if isinstance(norm, nn.Identity) else norm
            assert isinstance(last.weight, Tensor)
            last.weight.zero_()


def _init_generator(layer: nn.Module, *, normed: bool, slope: float) -> None:
    if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        if normed:  # Radford et al. 2016, section 4
            std = 0.02
        elif isinstance(layer, nn.Conv2d):
            std = nn.init.calculate_gain("leaky_relu", slope) / math.sqrt(layer.in_channels * FLAT**2)
        else:
            # He et al. 2015: without a norm the signal must keep its size. A value of a transposed convolution
            # sums (kernel/stride)² of its taps of each input channel.
            taps = 1.0 if isinstance(layer, nn.Linear) else max(1.0, (layer.kernel_size[0] / STRIDE) ** 2)
            inputs = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
            if isinstance(layer, nn.ConvTranspose2d) and layer.stride[0] == 1:
                taps = 1.0
            std = nn.init.calculate_gain("leaky_relu", slope) / math.sqrt(inputs * taps)
        nn.init.normal_(layer.weight, std=std)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.BatchNorm2d):  # as in the code of Radford et al.
        nn.init.normal_(layer.weight, mean=1, std=0.02)
        nn.init.zeros_(layer.bias)


def _init_critic(layer: nn.Module, *, normed: bool, slope: float) -> None:
    if isinstance(layer, nn.Linear | nn.Conv2d):
        if normed:
            nn.init.normal_(layer.weight, std=0.02)
        else:  # He et al. 2015: without BatchNorm, weights of 0.02 would shrink the signal at every layer
            nn.init.kaiming_normal_(layer.weight, a=slope)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, mean=1, std=0.02)
        nn.init.zeros_(layer.bias)
