"""BatchNorm over the images of every process of a training."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class BatchNorm(nn.BatchNorm2d):
    """BatchNorm over the global batch: float [N, C, H, W] → the same. Alone it is torch's own.

    torch.nn.SyncBatchNorm does this on GPUs only, and once differentiable only.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalised by the statistics of every process's images, and then those of torch's BatchNorm2d."""
        if not (self.training and dist.is_initialized()):
            return super().forward(x)
        wide = x.float()
        count = wide.numel() // wide.shape[1] * dist.get_world_size()
        mean = _Sum.apply(wide.sum((0, 2, 3))) / count
        centred = wide - mean[:, None, None]
        variance = _Sum.apply((centred**2).sum((0, 2, 3))) / count
        with torch.no_grad():
            self._remember(mean, variance * (count / (count - 1)))
        normed = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        scaled: Tensor = normed * self.weight[:, None, None] + self.bias[:, None, None]
        return scaled.to(x.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        momentum = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


class _Sum(torch.autograd.Function):
    """The sum over the processes, of which each one's loss depends on each one's input: its gradient is a sum again."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Any:
        return _Sum.apply(gradient)
