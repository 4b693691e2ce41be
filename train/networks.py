"""One DCGAN-family generator and critic, built by a loop over stages. Size, width and kernel are data.

Radford et al. 2016 (arXiv 1511.06434). The first stage is 4×4; each of the log₂(size/4) others doubles or
halves the side with a stride of 2.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from train.config import Config

FIRST = 4  # side of the smallest stage
STRIDE = 2


class Generator(nn.Module):
    """Latents float [N, z_dim] → images float [N, channels, size, size] in [−1, 1].

    Linear to 4×4, then transposed convolutions; BatchNorm and ReLU after each but the last, which ends in tanh.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        kernel, widths = config.generator.kernel, _widths(config.size, config.generator.width)[::-1]
        self.shape = (widths[0], FIRST, FIRST)
        self.z_dim = config.generator.z_dim
        # BatchNorm subtracts the mean, so a bias before it would do nothing.
        self.first = nn.Linear(self.z_dim, math.prod(self.shape), bias=False)
        self.first_norm = nn.BatchNorm2d(widths[0])
        self.stages = nn.ModuleList(
            nn.Sequential(_upward(before, after, kernel, bias=False), nn.BatchNorm2d(after), nn.ReLU())
            for before, after in pairwise(widths)
        )
        self.last = _upward(widths[-1], config.channels, kernel, bias=True)
        self.apply(_init_generator)

    def forward(self, z: Tensor) -> Tensor:
        """Images in [−1, 1] from latents."""
        x = torch.relu(self.first_norm(self.first(z).unflatten(1, self.shape)))
        for stage in self.stages:
            x = stage(x)
        return torch.tanh(self.last(x))


class Critic(nn.Sequential):
    """Images float [N, channels, size, size] in [−1, 1] → one unbounded value each: [N].

    Strided convolutions with LeakyReLU, then one linear value. No BatchNorm, which would tie the images of a
    batch together and make a penalty on each one's gradient meaningless (Gulrajani et al. 2017, section 4),
    and no sigmoid. It is a plain chain, which the closed form in `penalty` walks backwards.
    """

    def __init__(self, config: Config) -> None:
        kernel, slope = config.critic.kernel, config.critic.slope
        layers: list[nn.Module] = []
        before: int = config.channels
        for after in _widths(config.size, config.critic.width):
            convolution = nn.Conv2d(before, after, kernel, STRIDE, padding=(kernel - 1) // 2)
            layers += [convolution, nn.LeakyReLU(slope)]
            before = after
        super().__init__(*layers, nn.Flatten(), nn.Linear(before * FIRST * FIRST, 1), nn.Flatten(0))
        self.apply(lambda module: _init_critic(module, slope))


def parameter_count(network: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in network.parameters())


def _widths(size: int, width: int) -> list[int]:
    """Channels of the stages from the image towards 4×4: width, and twice as many at each further stage."""
    stages = int(math.log2(size // FIRST))
    return [width * 2**stage for stage in range(stages)]


def _upward(before: int, after: int, kernel: int, *, bias: bool) -> nn.ConvTranspose2d:
    """Twice the side exactly: 2(h−1) − 2p + k + output_padding = 2h."""
    return nn.ConvTranspose2d(
        before, after, kernel, STRIDE, padding=(kernel - 1) // 2, output_padding=kernel % 2, bias=bias
    )


def _init_generator(module: nn.Module) -> None:
    # Radford et al. 2016, section 4; the scale of BatchNorm as in the authors' code.
    if isinstance(module, nn.Linear | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, mean=1, std=0.02)
        nn.init.zeros_(module.bias)


def _init_critic(module: nn.Module, slope: float) -> None:
    # He et al. 2015: without normalisation, weights of 0.02 would shrink the signal at every layer.
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, a=slope)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def initial_networks(config: Config) -> tuple[Generator, Critic]:
    """Generator and critic with the weights that `config.seed` names, on the CPU; the global random state is kept."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(config.seed)
        return Generator(config), Critic(config)
