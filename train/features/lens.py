"""Images as a critic of features sees them: one vector an image, in which every direction varies alike among real ones.

The norm in which a critic is 1-Lipschitz decides what it can see (Adler & Lunz 2018, Banach Wasserstein GAN, arXiv
1806.06621). In the pixels' norm most of the distance between two images is light, hair colour and background, and what
makes a face wrong is a small rest. So what is known of an image is whitened by the real images' covariance: a step of
one deviation counts the same in every direction, and what real images never do stands out. Three things are known: the
pixels at half the size, a frozen network's maps, as in Projected GANs (Sauer et al. 2021, arXiv 2111.01007), and the
means and deviations of its channels over all places.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.features.network import POOLED, WIDTHS, FeatureNetwork, maps_of, pool
from train.layers import bury

SIDES = (16, 8, 4)  # of the maps in the vector; the finest of the network is halved and joined to the next
CHANNELS = (WIDTHS[0] + WIDTHS[1], *WIDTHS[2:])  # of the maps in the vector
SMALL = 32  # side of the images whose pixels are in the vector, as means of 2×2
PIXELS = 3 * SMALL**2
LENGTH = PIXELS + sum(side**2 * channels for side, channels in zip(SIDES, CHANNELS, strict=True)) + POOLED
_MAPS = 2.0  # the deviation of a map's channel, added up over its places; the pooled values' is 1
_DIRECTIONS = 512  # of the small images, each whitened by its own variance; the rest, by one, are nearly still
_RIDGE_PIXELS = 1e-2  # added to a variance, of pixels in [−1, 1]
_RIDGE_MAPS, _RIDGE_POOLED = 1e-3, 1e-2  # of the mean variance, lest what hardly varies is blown up
_PARTS_FOR_MAPS = 8  # every place of a map is a sample of it
_LEAST = 1e-2  # a deviation below which a pooled value counts as still: dividing by less would blow up rounding


class Lens(nn.Module):
    """Images float [N, 3, 64, 64] in [−1, 1] → float32 [N, LENGTH].

    All of it is buffers: it isn't trained, and a checkpoint of a critic holds it.
    """

    means: Tensor
    whitening: Tensor
    small: Tensor
    directions: Tensor
    gains: Tensor
    rest: Tensor

    def __init__(self, network: FeatureNetwork | None = None) -> None:
        super().__init__()
        if network is None:
            network = FeatureNetwork([1])  # its values come from a file
            network.freeze()
        self.stem, self.stages = network.stem, network.stages
        # The maps' whitening is a 1×1 convolution.
        self.whiten = nn.ModuleList(nn.Conv2d(channels, channels, 1) for channels in CHANNELS)
        self.register_buffer("means", torch.zeros(POOLED))
        self.register_buffer("whitening", torch.eye(POOLED))
        self.register_buffer("small", torch.zeros(PIXELS))
        self.register_buffer("directions", torch.eye(PIXELS, _DIRECTIONS))
        self.register_buffer("gains", torch.ones(_DIRECTIONS))
        self.register_buffer("rest", torch.ones(1))
        bury(self)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """The vector of each image; gradients pass through to the images."""
        maps = self.maps(images)
        white = [own(found) for own, found in zip(self.whiten, _joined(maps), strict=True)]
        with torch.autocast(images.device.type, enabled=False):
            pooled = (pool(maps) - self.means) @ self.whitening
            centred = _small(images.float()) - self.small
            # A direction is amplified by its gain, and what is in none of them by the rest's.
            pixels = self.rest * centred + (centred @ self.directions * (self.gains - self.rest)) @ self.directions.T
        return torch.cat([pixels, *(own.permute(0, 2, 3, 1).flatten(1).float() for own in white), pooled], 1)

    def maps(self, images: Tensor) -> list[Tensor]:
        """The network's maps at 32², 16², 8² and 4²."""
        return maps_of(self.stem, self.stages, images)

    def network_state(self) -> dict[str, Tensor]:
        """The network's weights, for one that learns on from here."""
        return {name: value for name, value in self.state_dict().items() if name.startswith(("stem.", "stages."))}

    @torch.no_grad()
    def fit(self, parts: Sequence[Tensor]) -> None:
        """Set the whitening by real images, in parts of [n, 3, 64, 64]. Its values are such as fp16 holds."""
        self._fit_pixels(torch.cat([_small(side) for part in parts for side in (part, part.flip(3))]))
        pooled = torch.cat([pool(self.maps(part)) for part in parts])
        deviation = pooled.std(0).clamp(min=_LEAST)
        self.means.copy_(pooled.mean(0).half())
        root = _inverse_root(torch.cov((pooled / deviation).T), _RIDGE_POOLED)
        self.whitening.copy_((root / deviation[:, None]).half())
        for k, (own, side) in enumerate(zip(self.whiten, SIDES, strict=True)):
            assert isinstance(own, nn.Conv2d)
            joined = [_joined(self.maps(part))[k] for part in parts[:_PARTS_FOR_MAPS]]
            values = torch.cat([found.permute(0, 2, 3, 1).flatten(0, 2) for found in joined])
            covariance = torch.cov(values.T)
            ridge = _RIDGE_MAPS * covariance.diagonal().mean().clamp(min=_LEAST**2).item()
            root = _inverse_root(covariance, ridge) * (_MAPS / side)
            own.weight.copy_(root[:, :, None, None].half())
            assert own.bias is not None
            own.bias.copy_((-(root @ values.mean(0))).half())

    def _fit_pixels(self, small: Tensor) -> None:
        self.small.copy_(small.mean(0).half())
        variances, directions = torch.linalg.eigh(torch.cov(small.T))
        self.directions.copy_(directions[:, -_DIRECTIONS:].half())
        self.gains.copy_((variances[-_DIRECTIONS:] + _RIDGE_PIXELS).rsqrt().half())
        self.rest.copy_((variances[:-_DIRECTIONS].mean() + _RIDGE_PIXELS).rsqrt().half())


def split(vectors: Tensor) -> tuple[list[Tensor], Tensor]:
    """The small images, the maps [N, C, side, side], and the pooled values [N, POOLED] in vectors [N, LENGTH]."""
    sides, widths = (SMALL, *SIDES), (3, *CHANNELS)
    lengths = [side**2 * channels for side, channels in zip(sides, widths, strict=True)]
    *flat, pooled = torch.split(vectors, [*lengths, POOLED], 1)
    shapes = zip(flat, sides, widths, strict=True)
    maps = [own.reshape(-1, side, side, channels).permute(0, 3, 1, 2) for own, side, channels in shapes]
    return maps, pooled


def _small(images: Tensor) -> Tensor:
    """Float [N, 3, 64, 64] → the pixels of the images at half their size, channels last: [N, PIXELS]."""
    return F.avg_pool2d(images, 2).permute(0, 2, 3, 1).flatten(1)


def _joined(maps: list[Tensor]) -> list[Tensor]:
    """The vector's maps: the finest one as means of 2×2 places, beside the next."""
    return [torch.cat([F.avg_pool2d(maps[0], 2), maps[1]], 1), *maps[2:]]


def _inverse_root(covariance: Tensor, ridge: float) -> Tensor:
    """C^(−1/2), symmetric, after `ridge` is added to the diagonal."""
    values, vectors = torch.linalg.eigh(covariance + ridge * torch.eye(len(covariance)))
    root: Tensor = (vectors * values.rsqrt()) @ vectors.T
    return root
