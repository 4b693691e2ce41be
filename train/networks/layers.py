"""The layers that networks are built of, and how they start."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from train.networks.batch_norm import BatchNorm

STRIDE = 2
FLAT = 3  # the kernel of a convolution that keeps the side


class Residual(nn.Module):
    """x → activation(x + body(x)), of one shape; the body is convolution, norm, activation, convolution, norm.

    He et al. 2016. It starts as the identity before its activation: the last norm's weight is 0 (Goyal et al. 2017,
    arXiv 1706.02677, section 5.1), or without a norm the last convolution's (Zhang et al. 2019, arXiv 1901.09321).
    """

    def __init__(self, channels: int, norm: str, slope: float) -> None:
        super().__init__()
        bias = norm in {"none", "spectral"}
        first, last = (nn.Conv2d(channels, channels, FLAT, padding=FLAT // 2, bias=bias) for _ in range(2))
        self.body = nn.Sequential(first, norm_of(norm, channels), rectifier(slope), last, norm_of(norm, channels))
        self.activation = rectifier(slope)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        activated: Tensor = self.activation(x + self.body(x))
        return activated


def upward(before: int, after: int, kernel: int, ends: list[int], *, bias: bool) -> nn.ConvTranspose2d:
    """From one side to the next: 2(h−1) − 2p + k + output_padding."""
    padding = (kernel - 1) // 2
    missing = ends[1] - (STRIDE * (ends[0] - 1) - 2 * padding + kernel)
    return nn.ConvTranspose2d(before, after, kernel, STRIDE, padding=padding, output_padding=missing, bias=bias)


def norm_of(name: str, channels: int) -> nn.Module:
    """The norm of this name in a configuration, or none."""
    if name == "batch":
        return BatchNorm(channels)
    if name == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    return nn.Identity()


def rectifier(slope: float) -> nn.Module:
    """A LeakyReLU, or with a slope of 0 a ReLU."""
    return nn.LeakyReLU(slope) if slope else nn.ReLU()


@torch.no_grad()
def init_residuals(network: nn.Module) -> None:
    """Each block gives what it was given, until it has learnt better."""
    for block in network.modules():
        if isinstance(block, Residual):
            convolution, norm = block.body[-2], block.body[-1]
            last = convolution if isinstance(norm, nn.Identity) else norm
            assert isinstance(last.weight, Tensor)
            last.weight.zero_()


def init_generator(layer: nn.Module, *, normed: bool, slope: float) -> None:
    """Draw a generator's layer its first weights."""
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


@torch.no_grad()
def init_label_inputs(first: nn.Linear | nn.ConvTranspose2d, z_dim: int, groups: int) -> None:
    """Let the labels say as much as the latent at the start: a single 1 in each group beside z_dim normal values."""
    weight = first.weight if isinstance(first, nn.ConvTranspose2d) else first.weight.T  # inputs first
    weight[z_dim:].mul_(math.sqrt(z_dim / groups))


def init_critic(layer: nn.Module, *, normed: bool, slope: float) -> None:
    """Draw a critic's layer its first weights."""
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


def init_projection(layer: nn.Linear, inputs: int, groups: int, *, normed: bool, slope: float) -> None:
    """Draw a critic's projection weights of the size of those of its value, which has so many `inputs`.

    Each group of labels picks one of them for a channel.
    """
    std = 0.02 if normed else nn.init.calculate_gain("leaky_relu", slope) / math.sqrt(inputs)
    nn.init.normal_(layer.weight, std=std / math.sqrt(groups))
