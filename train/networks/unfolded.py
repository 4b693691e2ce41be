"""A served generator's weights, back in the network that training takes: the inverse of what export folds away."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from train.networks.generator import GeneratorNetwork
from train.networks.layers import Residual

_LINEAR = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


@torch.no_grad()
def unfold(generator: GeneratorNetwork, weights: Sequence[Tensor], biases: Sequence[Tensor], inputs: Tensor) -> None:
    """Give the generator the weights and biases of its served layers, from the latent to the image.

    A served layer has its BatchNorm's statistics in its weights. The BatchNorm after it starts as what leaves the
    activations of these `inputs`, latents and labels float [N, z_dim + L], as they are: its scale is their standard
    deviation, and its shift their mean.

    Raises:
        ValueError: other layers, or layers of other shapes.
    """
    layers = sum(isinstance(layer, _LINEAR) for layer in generator.modules())
    if not layers == len(weights) == len(biases):
        raise ValueError(f"{len(weights)} layers where this generator has {layers}")
    first, *others = generator.layers()
    arrays = zip(weights, biases, strict=True)
    generator.eval()
    _fill([_Opening(first, generator.shape), *others], inputs, arrays)
    generator.train()


def with_labels(opening: Tensor, shifts: Tensor) -> Tensor:
    """The weight of a served first layer, [z_dim, C, H, W], for L labels beside the latent: [z_dim + L, C, H, W].

    A class acts as a shift of the latent does, one of `shifts` [L, z_dim]. Where the shifts of an image's classes add
    up to the length of a latent, the layer's answers keep their size, so that the images are as good as before.
    """
    flat = opening.flatten(1)
    return (torch.cat([flat, shifts @ flat]) / math.sqrt(2)).reshape(-1, *opening.shape[1:])


class _Opening(nn.Module):
    """The first layer, from latents [N, inputs] to the smallest stage [N, C, H, W]."""

    def __init__(self, layer: nn.Module, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.layer, self.shape = layer, shape

    def forward(self, x: Tensor) -> Tensor:
        """The smallest stage."""
        if isinstance(self.layer, nn.Linear):
            opened: Tensor = self.layer(x).unflatten(1, self.shape)
        else:
            opened = self.layer(x[:, :, None, None])
        return opened


def _fill(layers: Sequence[nn.Module], x: Tensor, arrays: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
    """Fill the chain from its start on; what it makes of x."""
    for layer, after in zip(layers, [*layers[1:], nn.Identity()], strict=True):
        if isinstance(layer, Residual):
            x = layer.activation(x + _fill(list(layer.body), x, arrays))
            continue
        inner = layer.layer if isinstance(layer, _Opening) else layer
        if not isinstance(inner, _LINEAR):
            x = layer(x)
            continue
        weight, bias = next(arrays)
        _take(inner, weight)
        if isinstance(after, nn.BatchNorm2d):
            x = layer(x)
            _pass_on(after, x, bias)
        else:
            assert inner.bias is not None
            # One of the first layer has a value at each place where that layer is dense.
            inner.bias.copy_(bias.flatten())
            x = layer(x)
    return x


def _take(layer: nn.Module, weight: Tensor) -> None:
    """Copy the weight of a served layer."""
    target = layer.weight
    assert isinstance(target, Tensor)
    if isinstance(layer, nn.Linear):  # served as a transposed convolution from 1×1: [inputs, C, H, W]
        weight = weight.flatten(1).T
    if weight.shape != target.shape:
        raise ValueError(f"a layer of {tuple(weight.shape)} where this generator has {tuple(target.shape)}")
    target.copy_(weight)


def _pass_on(norm: nn.BatchNorm2d, x: Tensor, bias: Tensor) -> None:
    """Make the norm add `bias` to activations such as x [N, C, H, W], and nothing else."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(mean + bias)
