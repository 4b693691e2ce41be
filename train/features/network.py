"""The network whose maps are a critic's features, with the tasks that it learns them by."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.tagger.network import Block, Layer

SIZE = 64  # pixels a side
STEM = 24  # channels at the image's own side
WIDTHS = (48, 80, 128, 256)  # channels at 32², 16², 8² and 4² pixels
POOLED = 2 * sum(WIDTHS)  # means and deviations over all places, of every channel
_HIDDEN = 64
_LAST = SIZE // 2 ** len(WIDTHS)  # side of the coarsest map
_FLAT = 1e-4  # the least variance over an image's places: below it the root's slope grows without end


class FeatureNetwork(nn.Module):
    """Images float32 [N, 3, 64, 64] in [−1, 1] → maps at 32², 16², 8² and 4².

    What the tags of a face say needs to see colours and eyes; where a face was spoilt needs to see its details; whether
    it was generated needs to see what a generator still does wrong.
    """

    def __init__(self, groups: Sequence[int]) -> None:
        super().__init__()
        self.groups = tuple(groups)
        self.stem = Layer(3, STEM)
        stages: list[nn.Module] = []
        before = STEM
        for width in WIDTHS:
            down = Layer(before, width, stride=2)
            stages.append(down if width == WIDTHS[0] else nn.Sequential(down, Block(width)))
            before = width
        self.stages = nn.ModuleList(stages)
        self.tags = nn.Linear(sum(WIDTHS[1:]), sum(self.groups))
        self.places = nn.Sequential(nn.Conv2d(sum(WIDTHS), _HIDDEN, 1), nn.ReLU(), nn.Conv2d(_HIDDEN, 2, 1))
        self.whole = nn.Sequential(
            nn.Conv2d(WIDTHS[-1], _HIDDEN, 1), nn.ReLU(), nn.Flatten(), nn.Linear(_HIDDEN * _LAST**2, 1)
        )
        self.pooled = nn.Linear(POOLED, 1)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The maps, finest first."""
        return maps_of(self.stem, self.stages, x)

    def told(self, maps: list[Tensor]) -> tuple[Tensor, ...]:
        """The logits of each group of tags."""
        tags: Tensor = self.tags(torch.cat([own.mean((2, 3)) for own in maps[1:]], 1))
        return torch.split(tags, list(self.groups), 1)

    def spoilt(self, maps: list[Tensor]) -> Tensor:
        """The logits of what is spoilt, at 16²: [N, 1, 16, 16]."""
        return self._placed(maps)[:, :1]

    def generated(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The logits of an image's being generated: of all of it [N, 1], and of each place [N, 1, 16, 16]."""
        return self.whole(maps[-1]) + self.pooled(pool(maps)), self._placed(maps)[:, 1:]

    def _placed(self, maps: list[Tensor]) -> Tensor:
        side = maps[1].shape[2]
        at_one_side = [F.avg_pool2d(maps[0], 2), maps[1]]
        at_one_side += [F.interpolate(own, size=(side, side), mode="bilinear") for own in maps[2:]]
        places: Tensor = self.places(torch.cat(at_one_side, 1))
        return places

    def fold(self) -> None:
        """Put every BatchNorm into the convolution before it."""
        self.eval()
        for module in self.modules():
            if isinstance(module, Layer) and isinstance(module.norm, nn.BatchNorm2d):
                module.fold()

    def freeze(self) -> None:
        """End the training: no BatchNorm is left, and the weights are such as fp16 holds."""
        self.fold()
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(weight.half())
        self.requires_grad_(False)


def pool(maps: list[Tensor]) -> Tensor:
    """The mean and deviation of every channel, in fp32: [N, POOLED]."""
    means = [own.mean((2, 3), dtype=torch.float32) for own in maps]
    squares = [(own * own).mean((2, 3), dtype=torch.float32) for own in maps]
    deviations = [(square - mean**2).clamp(min=_FLAT).sqrt() for square, mean in zip(squares, means, strict=True)]
    return torch.cat([*means, *deviations], 1)


def maps_of(stem: nn.Module, stages: nn.ModuleList, x: Tensor) -> list[Tensor]:
    """What each stage makes of what the one before it gave, finest first."""
    h, found = stem(x), []
    for stage in stages:
        h = stage(h)
        found.append(h)
    return found
