"""The tagger's network, and the same network as it is served."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from train.extractors.resize import rule

SIZE = 64  # pixels a side that the convolutions see: the faces' own size
RESIZE = rule(SIZE)
WIDTHS = (32, 64, 128, 256)  # channels at 32², 16², 8² and 4² pixels
_STEM = 16
_STILL = 1e-4  # a deviation below which a feature tells nothing: dividing by it would only amplify rounding


class Layer(nn.Module):
    """Convolution 3×3, BatchNorm and ReLU."""

    def __init__(self, channels_in: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Halved where the stride is 2."""
        y: Tensor = self.norm(self.convolution(x))
        return F.relu(y)

    def fold(self) -> None:
        """Put the BatchNorm's running statistics into the convolution."""
        assert isinstance(self.norm, nn.BatchNorm2d)
        self.convolution, self.norm = fuse_conv_bn_eval(self.convolution, self.norm), nn.Identity()


class Block(nn.Module):
    """Two layers beside a shortcut: He et al. 2016 (arXiv 1512.03385), figure 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = Layer(channels, channels), Layer(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """What came in, plus what the two layers find in it."""
        y: Tensor = self.second(self.first(x))
        return x + y


class Tagger(nn.Module):
    """Images float32 [N, 3, 64, 64] in [−1, 1] → the logits of each group.

    The features are the means over the pixels at 32², 16², 8² and 4²: the fine ones see blur and noise, the coarse
    ones faces. Each is divided by its own deviation over the training pictures, which the last layer's weights make
    up for: so no scale outweighs the others in a distance.
    """

    scale: Tensor

    def __init__(self, groups: Sequence[int], *, dropout: float = 0.2) -> None:
        super().__init__()
        self.groups = tuple(groups)
        self.stem = Layer(3, _STEM)
        stages: list[nn.Module] = []
        before = _STEM
        for width in WIDTHS:
            down = Layer(before, width, stride=2)
            # At 32² a block would cost as much as all that follows.
            stages.append(down if width == WIDTHS[0] else nn.Sequential(down, Block(width)))
            before = width
        self.stages = nn.ModuleList(stages)
        self.register_buffer("scale", torch.ones(sum(WIDTHS)))
        self.dropout = nn.Dropout(dropout)
        # A 1×1 convolution is the same sum as a linear layer, and ONNX Runtime computes it image by image.
        self.head = nn.Conv2d(sum(WIDTHS), sum(self.groups), 1)

    def features(self, x: Tensor) -> Tensor:
        """float32 [N, 480]."""
        pooled = []
        h = self.stem(x)
        for stage in self.stages:
            h = stage(h)
            pooled.append(h.mean((2, 3)))
        return torch.cat(pooled, 1) * self.scale

    def logits(self, features: Tensor) -> tuple[Tensor, ...]:
        """The logits of each group, [N, classes]."""
        y: Tensor = self.head(features[:, :, None, None])
        return torch.split(y.flatten(1), list(self.groups), 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The logits of each group."""
        return self.logits(self.dropout(self.features(x)))

    def fold(self) -> None:
        """End the training: evaluation mode, and every BatchNorm in the convolution before it."""
        self.eval()
        for module in self.modules():
            if isinstance(module, Layer):
                module.fold()
        self.round()

    @torch.no_grad()
    def round(self) -> None:
        """Round the weights to what fp16 holds, as the file stores them: what is measured is then what is shipped."""
        for weight in self.parameters():
            if weight.ndim > 1:
                weight.copy_(weight.half())

    @torch.no_grad()
    def rescale(self, deviation: Tensor) -> None:
        """Divide the features by their deviations; the logits stay as they are. What hardly varies is left alone."""
        factor = torch.where(deviation > _STILL, 1 / deviation.clamp(min=_STILL), 1.0)
        self.scale *= factor
        self.head.weight /= factor[:, None, None]
        self.round()


class ServedTagger(nn.Module):
    """The tagger as it is served, behind the resize: float32 [N, 3, 64, 64] of 0 to 255 → features, probabilities."""

    def __init__(self, tagger: Tagger) -> None:
        super().__init__()
        self.tagger = tagger

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Features [N, 480], and each group's probabilities one after the other [N, classes]."""
        features = self.tagger.features(pixels / 127.5 - 1)
        return features, torch.cat([F.softmax(group, 1) for group in self.tagger.logits(features)], 1)
