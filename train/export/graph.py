"""A trained generator as it is served: its BatchNorms folded away, uint8 images out."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from train.networks import GeneratorNetwork
from train.networks.layers import Residual

DIRECTIONS = 16


class ExportGraph(nn.Module):
    """The generator as it is served: latents float32 [N, z_dim], and labels float32 [N, L] → uint8 [N, C, H, W].

    The first layer is a transposed convolution from 1×1, which is the same sum as the linear layer: its
    BatchNorm folds like the others', and ONNX Runtime computes it image by image, so that an image's bits can't
    depend on its batch. (Its matrix product picks another kernel for another number of rows.)
    """

    def __init__(self, generator: GeneratorNetwork) -> None:
        super().__init__()
        self.z_dim, self.label_size = generator.z_dim, generator.label_size
        first, *others = copy.deepcopy(generator).layers()
        spread: list[nn.Module] = [first]
        if isinstance(first, nn.Linear):
            channels, side, _ = generator.shape
            transposed = nn.ConvTranspose2d(first.in_features, channels, side, bias=False)
            with torch.no_grad():
                transposed.weight.copy_(first.weight.T.reshape(first.in_features, *generator.shape))
            spread = [transposed]
            if first.bias is not None:
                spread.append(Plus(first.bias.detach().reshape(generator.shape)))
        self.layers = nn.Sequential(*folded([*spread, *others]))
        self.eval()

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """uint8 images; rounding is half to even in torch and in ONNX."""
        if labels is not None:
            z = torch.cat([z, labels], 1)
        levels = to_levels(self.layers(z[:, :, None, None]))
        return levels.round().clamp(0, 255).to(torch.uint8)


class Plus(nn.Module):
    """Adds a bias that has a value of its own at each place."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.bias = nn.Buffer(bias)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x + self.bias


def folded(layers: Iterable[nn.Module]) -> list[nn.Module]:
    """The chain of these layers with every BatchNorm, by its running statistics, in the convolution before it."""
    chain: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            convolution = chain[-1]
            assert isinstance(convolution, nn.Conv2d | nn.ConvTranspose2d)
            transposed = isinstance(convolution, nn.ConvTranspose2d)
            chain[-1] = fuse_conv_bn_eval(convolution.eval(), layer, transpose=transposed)
        elif isinstance(layer, Residual):
            layer.body = nn.Sequential(*folded(layer.body))
            chain.append(layer)
        elif not isinstance(layer, nn.Identity):
            chain.append(layer)
    return chain


def to_levels(images: Tensor) -> Tensor:
    """[−1, 1] → [0, 255], before rounding."""
    return images * 127.5 + 127.5


def directions(graph: ExportGraph) -> tuple[tuple[float, ...], ...]:
    """The 16 unit vectors in latent space that move the first layer's output most, strongest first.

    Shen & Zhou 2021 (arXiv 2007.06600), equation 5: the eigenvectors of AᵀA with the largest eigenvalues, where A
    is the layer's matrix; here with its BatchNorm folded in, as that scales A's rows. An eigenvector's sign is
    free: its largest value is made positive.
    """
    weight = graph.layers[0].weight
    assert isinstance(weight, Tensor)
    matrix = weight.detach()[: graph.z_dim].double().flatten(1).numpy()  # [z_dim, outputs]: Aᵀ, without labels
    vectors = np.linalg.eigh(matrix @ matrix.T).eigenvectors.T[::-1][:DIRECTIONS]
    vectors = vectors * np.sign(vectors[np.arange(len(vectors)), np.abs(vectors).argmax(axis=1)])[:, None]
    return tuple(tuple(float(f"{value:.7g}") for value in vector) for vector in vectors)
