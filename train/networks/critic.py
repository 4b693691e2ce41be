"""One DCGAN-family critic, built by a loop over stages. Size, width, kernel, norm and depth are data.

Radford et al. 2016 (arXiv 1511.06434), with the norms and depths of its successors.
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from train.config import Config, sides
from train.networks.layers import FLAT, STRIDE, Residual, init_critic, init_residuals, norm_of


class Critic(nn.Sequential):
    """Images float [N, channels, size, size] in [−1, 1] → one unbounded value each: [N].

    Strided convolutions with LeakyReLU, then one linear value; a sigmoid, where an objective has one, is in its loss.
    It is a plain chain, which the closed form in `penalty` walks backwards where nothing is normalised.

    Attributes:
        batched: whether the images of a batch see one another. Then real and generated ones must not share a pass.
    """

    def __init__(self, config: Config) -> None:
        settings = config.critic
        stages = sides(config.size, settings.smallest)
        widths = [settings.width * 2**stage for stage in range(len(stages) - (not settings.full_size))]
        layers: list[nn.Module] = []
        if settings.full_size:
            layers += [nn.Conv2d(config.channels, widths[0], FLAT, padding=FLAT // 2), nn.LeakyReLU(settings.slope)]
        else:
            widths = [config.channels, *widths]
        for before, after in pairwise(widths):
            if layers:
                layers += [Residual(before, settings.norm, settings.slope) for _ in range(settings.blocks)]
            # Radford et al. 2016: the first layer isn't normalised; the spectral norm is for every layer.
            normed = settings.norm in {"batch", "instance"} and bool(layers)
            padding = (settings.kernel - 1) // 2
            layers.append(nn.Conv2d(before, after, settings.kernel, STRIDE, padding, bias=not normed))
            if normed:
                layers.append(norm_of(settings.norm, after))
            layers.append(nn.LeakyReLU(settings.slope))
        if settings.last == "dense":
            layers += [nn.Flatten(), nn.Linear(widths[-1] * settings.smallest**2, 1)]
        else:
            layers.append(nn.Conv2d(widths[-1], 1, settings.smallest))
        super().__init__(*layers, nn.Flatten(0))
        for layer in list(self.modules()):
            init_critic(layer, normed=settings.norm == "batch", slope=settings.slope)
        if settings.norm == "spectral":  # which has no use for a weight of 0
            for layer in list(self.modules()):
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    spectral_norm(layer)
        else:
            init_residuals(self)
        self.batched = settings.norm == "batch"
