"""One DCGAN-family generator, built by a loop over stages. Size, width, kernel, norm and depth are data.

Radford et al. 2016 (arXiv 1511.06434). Between the smallest stage and the image each stage doubles the side with a
stride of 2. With `blocks`, residual blocks (He et al. 2016, arXiv 1512.03385) work at each side in between, as in the
deeper networks of Gulrajani et al. 2017 (appendix F). Labels are more inputs beside the latent (Mirza & Osindero
2014, arXiv 1411.1784).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from train.config import Config, sides
from train.networks.layers import (
    FLAT,
    Residual,
    init_generator,
    init_label_inputs,
    init_residuals,
    norm_of,
    rectifier,
    upward,
)


class GeneratorNetwork(nn.Module):
    """Latents float [N, z_dim], and labels float [N, L] → images float [N, channels, size, size] in [−1, 1].

    A dense layer or a transposed convolution to the smallest stage, then transposed convolutions; a norm and a
    ReLU after each but the last, which ends in tanh or in 2σ − 1.

    Attributes:
        z_dim: values of a latent.
        label_size: L, the classes of all groups; 0 for a generator without labels.
        shape: channels, height and width of the smallest stage.
    """

    def __init__(self, config: Config, classes: Sequence[int] = ()) -> None:
        """Draw the weights; `classes` are those of each group of labels."""
        super().__init__()
        settings = config.generator
        stages = sides(config.size, settings.smallest)[::-1]
        widths = [settings.width * 2**stage for stage in range(len(stages) - (not settings.full_size))][::-1]
        bias = settings.norm == "none"  # BatchNorm subtracts the mean, so a bias before it would do nothing
        self.z_dim = settings.z_dim
        self.label_size = sum(classes)
        inputs = self.z_dim + self.label_size
        self.shape = (widths[0], settings.smallest, settings.smallest)
        self.first: nn.Linear | nn.ConvTranspose2d
        if settings.first == "dense":
            self.first = nn.Linear(inputs, math.prod(self.shape), bias=bias)
        else:
            self.first = nn.ConvTranspose2d(inputs, widths[0], settings.smallest, bias=bias)
        self.first_norm = norm_of(settings.norm, widths[0])
        self.first_activation = rectifier(settings.slope)
        self.stages = nn.ModuleList(
            nn.Sequential(
                upward(widths[k], widths[k + 1], settings.kernel, stages[k : k + 2], bias=bias),
                norm_of(settings.norm, widths[k + 1]),
                rectifier(settings.slope),
                *(Residual(widths[k + 1], settings.norm, settings.slope) for _ in range(settings.blocks)),
            )
            for k in range(len(widths) - 1)
        )
        self.last: nn.Conv2d | nn.ConvTranspose2d
        if settings.full_size:
            self.last = nn.Conv2d(widths[-1], config.channels, FLAT, padding=FLAT // 2)
        else:
            self.last = upward(widths[-1], config.channels, settings.kernel, stages[-2:], bias=True)
        self.output = nn.Tanh() if settings.output == "tanh" else Sigmoid()
        for layer in self.modules():
            init_generator(layer, normed=settings.norm == "batch", slope=settings.slope)
        init_residuals(self)
        if classes:
            init_label_inputs(self.first, self.z_dim, len(classes))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images in [−1, 1]. A group of labels is one-hot, or zeros where the class is unknown."""
        if labels is not None:
            z = torch.cat([z, labels], 1)
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

    def layers(self) -> list[nn.Module]:
        """All its layers, each after the one before it."""
        stages = [layer for stage in self.stages for layer in stage.children()]
        return [self.first, self.first_norm, self.first_activation, *stages, self.last, self.output]


class Sigmoid(nn.Module):
    """2σ(x) − 1: the sigmoid of a generator of images in [0, 1], in this house's range of [−1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, in [−1, 1]."""
        return torch.sigmoid(x) * 2 - 1
