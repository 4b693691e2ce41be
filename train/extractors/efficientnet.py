"""EfficientNet-Lite0, a small network that tells the 1,000 classes of ImageNet apart.

The blocks are those of Tan & Le 2019 (arXiv 1905.11946), table 1; the Lite variant has ReLU6 for swish and no
squeeze-and-excitation.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

SIZE = 224  # pixels a side in training
FEATURES = 1280
CLASSES = 1000
# What the Lite variants were trained with: one mean and one deviation for all channels, of levels from 0 to 255.
MEAN, DEVIATION = 127.0, 128.0
_STEM = 32
_EPSILON = 1e-3  # of the BatchNorms, as in the training


class Stage(NamedTuple):
    """A line of the paper's table: so many blocks, the first of which has the stride."""

    expansion: int
    channels: int
    blocks: int
    kernel: int
    stride: int


STAGES = (
    Stage(1, 16, 1, 3, 1),
    Stage(6, 24, 2, 3, 2),
    Stage(6, 40, 2, 5, 2),
    Stage(6, 80, 3, 3, 2),
    Stage(6, 112, 3, 5, 1),
    Stage(6, 192, 4, 5, 2),
    Stage(6, 320, 1, 3, 1),
)


class Layer(nn.Module):
    """Convolution, BatchNorm, and ReLU6 unless it is linear."""

    def __init__(
        self,
        channels_in: int,
        channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        # TensorFlow's SAME: the sides are even where the stride is 2, and then the odd row of zeros comes last.
        zeros = kernel - stride
        self.pads = (zeros // 2, zeros - zeros // 2) * 2
        self.convolution = nn.Conv2d(channels_in, channels, kernel, stride, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(channels, eps=_EPSILON)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        """As large, or half as large where the stride is 2."""
        y: Tensor = self.norm(self.convolution(F.pad(x, self.pads) if any(self.pads) else x))
        return y if self.linear else F.relu6(y)

    def fold(self) -> None:
        """Put the BatchNorm into the convolution."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.convolution, self.norm = fuse_conv_bn_eval(self.convolution, self.norm), nn.Identity()


class Block(nn.Module):
    """An inverted bottleneck (Sandler et al. 2018, arXiv 1801.04381, figure 3): wider, by channel, narrower.

    There is a shortcut where what comes out has the shape of what came in.
    """

    def __init__(self, channels_in: int, channels: int, *, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = channels_in * expansion
        layers = [] if expansion == 1 else [Layer(channels_in, wide)]
        layers += [Layer(wide, wide, kernel, stride=stride, groups=wide), Layer(wide, channels, linear=True)]
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels_in, H, W] → [N, channels, H / stride, W / stride]."""
        y: Tensor = self.layers(x)
        return x + y if self.shortcut else y


class EfficientNetLite0(nn.Module):
    """Images float32 [N, 3, 224, 224], (levels − 127) / 128 → logits float32 [N, 1000]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Layer(3, _STEM, 3, stride=2)
        blocks = []
        before = _STEM
        for stage in STAGES:
            for number in range(stage.blocks):
                stride = stage.stride if number == 0 else 1
                blocks.append(
                    Block(before, stage.channels, expansion=stage.expansion, kernel=stage.kernel, stride=stride)
                )
                before = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.head = Layer(before, FEATURES)
        self.classifier = nn.Linear(FEATURES, CLASSES)

    def features(self, x: Tensor) -> Tensor:
        """The means over the pixels of the last layer: float32 [N, 1280], from 0 to 6."""
        y: Tensor = self.head(self.blocks(self.stem(x)))
        return y.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """The logits of ImageNet's classes."""
        logits: Tensor = self.classifier(self.features(x))
        return logits

    def fold(self) -> None:
        """Put every BatchNorm into the convolution before it, and round the weights to what fp16 holds."""
        self.eval()
        for module in self.modules():
            if isinstance(module, Layer):
                module.fold()
        with torch.no_grad():
            for weight in self.parameters():
                if weight.ndim > 1:  # as the file stores them: what is measured is what is shipped
                    weight.copy_(weight.half())
