"""Convolutions of kernel 4, stride 2 and padding 1 as one matrix product each, where a CPU is faster so.

Every halving and doubling of the DCGAN family is such a layer. Where its images are small and its weights are many,
a CPU with matrix units (AMX) spends most of a step in oneDNN's backward convolutions, which turn the weights' layout
around for a few positions; a plain product in the weights' own layout (channels last) has nothing to turn. What is
summed is the same, in another order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNEL, STRIDE, PADDING = 4, 2, 1
_MOST_POSITIONS = 4  # for each of the layer's channels, the mean of both sides: benchmarks/convolution.py


class Convolution(nn.Conv2d):
    """torch's own layer, weights and results, as a product where that pays."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] → [N, O, h, w]."""
        if not _pays(self, x, (x.shape[2] // STRIDE, x.shape[3] // STRIDE)):
            return super().forward(x)
        return _plus_bias(_Product.apply(x.bfloat16(), self.weight.bfloat16()), self.bias)


class TransposedConvolution(nn.ConvTranspose2d):
    """torch's own layer, weights and results, as a product where that pays."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """[N, C, h, w] → [N, O, H, W]."""
        if output_size is not None or any(self.output_padding) or not _pays(self, x, x.shape[2:]):
            return super().forward(x, output_size)
        return _plus_bias(_TransposedProduct.apply(x.bfloat16(), self.weight.bfloat16()), self.bias)


class Pointwise(nn.Conv2d):
    """A convolution of kernel 1 for images of a single place, where it is a dense layer, and computed as one.

    In an exported graph it stays a convolution, which ONNX Runtime computes image by image.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, 1, 1] → [N, O, 1, 1]."""
        if torch.compiler.is_exporting():
            return super().forward(x)
        return F.linear(x.flatten(1), self.weight.flatten(1), self.bias)[:, :, None, None]


def transpose(layer: nn.Conv2d, gradient: Tensor, size: torch.Size) -> Tensor:
    """The layer's transpose, without its bias: [N, O, h, w] → [N, C, *size], differentiable by the layer's weights."""
    if isinstance(layer, Pointwise):
        return (gradient.flatten(1) @ layer.weight.flatten(1))[:, :, None, None]
    doubled = list(size) == [STRIDE * side for side in gradient.shape[2:]]
    if doubled and _pays(layer, gradient, gradient.shape[2:]):
        product: Tensor = _TransposedProduct.apply(gradient.bfloat16(), layer.weight.bfloat16())
        return product
    assert not isinstance(layer.padding, str)
    # Where the stride doesn't divide the input, several sizes give one output: say which it was.
    missing = [
        size[i]
        - ((gradient.shape[2 + i] - 1) * layer.stride[i] - 2 * layer.padding[i])
        - (layer.dilation[i] * (layer.kernel_size[i] - 1) + 1)
        for i in (0, 1)
    ]
    return F.conv_transpose2d(
        gradient, layer.weight, None, layer.stride, layer.padding, missing, layer.groups, layer.dilation
    )


def _pays(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor, smaller: Sequence[int]) -> bool:
    """Whether a product is faster: `x` lies on either side of the layer, `smaller` are its smaller images' sides."""
    if x.device.type != "cpu" or not _multiplies_bf16(x) or not _matrix_units():
        return False
    shaped = (
        layer.kernel_size == (KERNEL, KERNEL)
        and layer.stride == (STRIDE, STRIDE)
        and layer.padding == (PADDING, PADDING)
        and layer.dilation == (1, 1)
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and all(side % STRIDE == 0 for side in x.shape[2:])
    )
    channels = (layer.in_channels + layer.out_channels) / 2
    return shaped and x.shape[0] * math.prod(smaller) <= _MOST_POSITIONS * channels


def _multiplies_bf16(x: Tensor) -> bool:
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu") == torch.bfloat16
    return x.dtype == torch.bfloat16


@cache
def _matrix_units() -> bool:
    return torch.cpu._is_amx_tile_supported()


def _plus_bias(y: Tensor, bias: Tensor | None) -> Tensor:
    return y if bias is None else y + bias.to(y.dtype)[:, None, None]


class _Product(torch.autograd.Function):
    """The convolution: patches times weights. [N, C, H, W] and [O, C, 4, 4] → [N, O, H/2, W/2]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        count, _, height, width = x.shape
        rows = _patches(x) @ _matrix(weight).T
        return rows.view(count, height // STRIDE, width // STRIDE, weight.shape[0]).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        by_x = by_weight = None
        if ctx.needs_input_grad[0]:
            by_x = _TransposedProduct.apply(gradient, weight)
        if ctx.needs_input_grad[1]:
            by_weight = _WeightProduct.apply(gradient, x)
        return by_x, by_weight


class _TransposedProduct(torch.autograd.Function):
    """Its transpose: [N, O, h, w] and [O, C, 4, 4] → [N, C, 2h, 2w]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _sum_of_patches(_rows(x) @ _matrix(weight), x, weight.shape[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        by_x = by_weight = None
        if ctx.needs_input_grad[0]:
            by_x = _Product.apply(gradient, weight)
        if ctx.needs_input_grad[1]:
            by_weight = _WeightProduct.apply(x, gradient)
        return by_x, by_weight


class _WeightProduct(torch.autograd.Function):
    """The gradient of either by its weights: [N, O, h, w] and [N, C, 2h, 2w] → [O, C, 4, 4]."""

    @staticmethod
    def forward(ctx: Any, small: Tensor, large: Tensor) -> Tensor:
        ctx.save_for_backward(small, large)
        product = _rows(small).T @ _patches(large)
        return product.view(small.shape[1], KERNEL, KERNEL, large.shape[1]).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        small, large = ctx.saved_tensors
        by_small = by_large = None
        if ctx.needs_input_grad[0]:
            by_small = _Product.apply(large, gradient)
        if ctx.needs_input_grad[1]:
            by_large = _TransposedProduct.apply(small, gradient)
        return by_small, by_large


def _matrix(weight: Tensor) -> Tensor:
    """[O, C, 4, 4] → [O, 16·C], without a copy where the weights lie channels last."""
    return weight.permute(0, 2, 3, 1).reshape(weight.shape[0], -1)


def _rows(x: Tensor) -> Tensor:
    """[N, O, h, w] → a row of O values for each position: [N·h·w, O]."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _patches(x: Tensor) -> Tensor:
    """[N, C, 2h, 2w] → the 4×4 patch that each position sees: [N·h·w, 16·C]."""
    count, channels, height, width = x.shape
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, PADDING, PADDING, PADDING, PADDING)).contiguous()
    image, row, column, one = padded.stride()
    shape = (count, height // STRIDE, width // STRIDE, KERNEL, KERNEL, channels)
    patches = padded.as_strided(shape, (image, STRIDE * row, STRIDE * column, row, column, one))
    return patches.reshape(-1, KERNEL**2 * channels)


def _sum_of_patches(patches: Tensor, small: Tensor, channels: int) -> Tensor:
    """The transpose of `_patches`: [N·h·w, 16·C] → [N, C, 2h, 2w], each value the sum of its places in the patches.

    A kernel of 4 is 2×2 blocks of the stride's 2×2 pixels, so four sums of whole blocks are all.
    """
    count, _, height, width = small.shape
    blocks = patches.view(count, height, width, 2, STRIDE, 2, STRIDE, channels)
    padded = patches.new_zeros(count, height + 1, STRIDE, width + 1, STRIDE, channels)
    for a in (0, 1):
        for b in (0, 1):
            padded[:, a : a + height, :, b : b + width] += blocks[:, :, :, a, :, b].permute(0, 1, 3, 2, 4, 5)
    whole = padded.view(count, STRIDE * (height + 1), STRIDE * (width + 1), channels)
    inner = whole[:, PADDING:-PADDING, PADDING:-PADDING].permute(0, 3, 1, 2)
    return inner.contiguous(memory_format=torch.channels_last)
