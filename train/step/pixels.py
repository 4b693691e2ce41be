"""Images as files and people have them, uint8 [N, H, W, C], and as networks take them, [−1, 1] and [N, C, H, W]."""

from __future__ import annotations

import torch
from torch import Tensor

from animegen.images.stills import Images


def to_float(images: Tensor) -> Tensor:
    """uint8 [N, H, W, C] → float [N, C, H, W] in [−1, 1], channels last in memory."""
    return images.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


@torch.no_grad()
def to_uint8(images: Tensor) -> Images:
    """Float [N, C, H, W] in [−1, 1] → uint8 [N, H, W, C], rounded half to even as in the exported graph."""
    levels = images.float().mul(127.5).add(127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).cpu().numpy()
