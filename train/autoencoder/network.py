"""Images ↔ codes: an encoder that keeps what matters of a face, and a decoder that draws it.

A face of 64×64 pixels has 12,288 values, of which few say whether the eyes look the same way. A generator that makes
codes leaves drawing to the decoder, and a critic that sees codes compares arrangements: the division of work of Rombach
et al. 2022 (latent diffusion, arXiv 2112.10752), here for a WGAN-GP. It is a variational autoencoder (Kingma & Welling
2014, arXiv 1312.6114): each value of a code is known up to a deviation of its own, so that bits go where they tell
most, and a value that tells nothing is always 0.

Such maps of 8×8 places leave it to a generator that two places agree, which is where it fails. So a code isn't the map
itself: it is the map's first principal components, as eigenfaces do it with pixels (Turk & Pentland 1991). Each of them
spans the whole image, and what the first hundred can hardly say is two eyes that don't match. `tuning` goes on from
there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from train.convolution import Convolution, TransposedConvolution
from train.layers import FLAT, Plus, Residual, bury, folded

SIZE = 64  # pixels a side
SIDE = 8  # of a map
CHANNELS = 8  # of a map; those that tell nothing within the budget of bits stay at 0
_DOWN = (48, 128, 256)  # the encoder's channels at 32², 16² and 8²
_UP = (256, 128, 64, 32)  # the decoder's at 8², 16², 32² and 64²
_KERNEL = 4  # of a halving or a doubling
_LEAST, _MOST = -8.0, 4.0  # of the logarithm of a value's variance
_STILL = 1e-4  # of the largest variance of a code's directions: one that varies less isn't blown up


class Network(nn.Module):
    """The autoencoder as it is trained.

    Attributes:
        trunk: images float [N, 3, 64, 64] in [−1, 1] → what is seen in them [N, 256, 8, 8].
        heads: that → maps, and beside them the logarithms of their variances, [N, 16, 8, 8].
        decoder: maps [N, 8, 8, 8] → images in [−1, 1].
    """

    def __init__(self) -> None:
        super().__init__()
        down: list[nn.Module] = []
        before = 3
        for width in _DOWN:
            down += [*_normed(Convolution(before, width, _KERNEL, 2, 1, bias=False)), _block(width)]
            before = width
        self.trunk = nn.Sequential(*down)
        self.heads = _head(before, 2 * CHANNELS)
        up: list[nn.Module] = [*_normed(_flat(CHANNELS, _UP[0])), _block(_UP[0]), _block(_UP[0])]
        before = _UP[0]
        for width in _UP[1:]:
            up += _normed(TransposedConvolution(before, width, _KERNEL, 2, 1, bias=False))
            up += [_block(width)] if width != _UP[-1] else []  # at 64² a block would cost as much as all the others
            before = width
        self.decoder = nn.Sequential(*up, nn.Conv2d(before, 3, FLAT, padding=1), nn.Tanh())
        for block in self.modules():
            if isinstance(block, Residual):
                nn.init.zeros_(block.body[-1].weight)  # type: ignore[arg-type]

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [N, 8, 8, 8] and the logarithms of their variances, in fp32."""
        means, logs = self.heads(self.trunk(images)).float().chunk(2, 1)
        return means, logs.clamp(_LEAST, _MOST)


class Autoencoder(nn.Module):
    """The autoencoder as it is used: all of it is buffers, so it isn't trained, and a checkpoint holds what it needs.

    Attributes:
        encoder: images float [N, 3, 64, 64] in [−1, 1] → codes [N, values, 1, 1], each value of mean 0 and deviation 1.
            Its last layer takes a map's.
        doubts: what the layer before that is given → the logarithms of the map's variances.
        decoder: codes → images in [−1, 1].
        values: of a code.
    """

    def __init__(self, network: Network, values: int) -> None:
        super().__init__()
        self.values = values
        network.eval()
        means, self.doubts = (_head(network.heads.in_channels, CHANNELS) for _ in range(2))
        for own, rows in ((means, slice(CHANNELS)), (self.doubts, slice(CHANNELS, None))):
            own.load_state_dict({name: value[rows] for name, value in network.heads.state_dict().items()})
        # Convolutions over the whole map: ONNX Runtime computes them image by image, so that an image's bits can't
        # depend on its batch.
        down, up = nn.Conv2d(CHANNELS, values, SIDE), nn.ConvTranspose2d(values, CHANNELS, SIDE, bias=False)
        self.encoder = nn.Sequential(*folded(network.trunk), means, down)
        self.decoder = nn.Sequential(up, Plus(torch.zeros(CHANNELS, SIDE, SIDE)), *folded(network.decoder))
        bury(self)
        self.eval()
        self.round()

    @classmethod
    def blank(cls, values: int) -> Autoencoder:
        """One whose values are yet to come, from a file or a checkpoint."""
        return cls(Network(), values)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """As `Network.encode`."""
        seen = self.encoder[:-2](images)
        return self.encoder[-2](seen).float(), self.doubts(seen).float().clamp(_LEAST, _MOST)

    def codes(self, maps: Tensor) -> Tensor:
        """The codes [N, values, 1, 1] of maps."""
        codes: Tensor = self.encoder[-1](maps)
        return codes

    @torch.no_grad()
    def fit(self, maps: Tensor) -> float:
        """Make codes the first principal components of such maps [N, 8, 8, 8]; returns their share of the variance.

        Each value of a code is divided by its deviation: a critic's slope is bounded among codes, and a direction that
        varies little would hardly be seen.
        """
        down, up, middle = self._ends()
        vectors = maps.flatten(1).double()
        mean = vectors.mean(0)
        variances, directions = torch.linalg.eigh(torch.cov(vectors.T))
        kept = directions[:, -down.out_channels :].flip(1).T
        least = _STILL * variances[-1]
        deviations = variances[-down.out_channels :].flip(0).clamp(min=least).sqrt()[:, None]
        down.weight.copy_((kept / deviations).reshape(down.weight.shape))
        up.weight.copy_((kept * deviations).reshape(up.weight.shape))
        assert down.bias is not None
        down.bias.copy_(-(kept / deviations) @ mean)
        middle.bias.copy_(mean.reshape(middle.bias.shape))
        self.round()
        share: float = (variances[-down.out_channels :].sum() / variances.sum()).item()
        return share

    @torch.no_grad()
    def whiten(self, codes: Tensor) -> None:
        """Make codes uncorrelated, each value of mean 0 and deviation 1 over these [N, values, 1, 1]; draw the same."""
        down, up, middle = self._ends()
        vectors = codes.flatten(1).double()
        mean = vectors.mean(0)
        variances, directions = torch.linalg.eigh(torch.cov(vectors.T))
        deviations = variances.clamp(min=_STILL * variances[-1]).sqrt()
        into, back = (directions / deviations).T, (directions * deviations).T
        assert down.bias is not None
        moved = torch.tensordot(mean, up.weight.double(), 1)
        middle.bias.add_(moved.reshape(middle.bias.shape))
        up.weight.copy_(torch.tensordot(back, up.weight.double(), 1))
        down.weight.copy_(torch.tensordot(into, down.weight.double(), 1))
        down.bias.copy_(into @ (down.bias - mean))
        self.round()

    def _ends(self) -> tuple[nn.Conv2d, nn.ConvTranspose2d, Plus]:
        """The layers that a code comes from and goes to."""
        down, up, middle = self.encoder[-1], self.decoder[0], self.decoder[1]
        assert isinstance(down, nn.Conv2d)
        assert isinstance(up, nn.ConvTranspose2d)
        assert isinstance(middle, Plus)
        return down, up, middle

    @torch.no_grad()
    def round(self) -> None:
        """Make every value one that fp16 holds."""
        for value in self.buffers():
            value.copy_(value.half())


def drawn(maps: tuple[Tensor, Tensor], noise: Tensor) -> Tensor:
    """One draw of what a map may be: its mean, and `noise` of deviation 1 times its own deviation."""
    means, logs = maps
    return means + noise * (logs / 2).exp()


def _normed(layer: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    return [layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU()]


def _flat(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, FLAT, padding=FLAT // 2, bias=False)


def _head(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, FLAT, padding=FLAT // 2)


def _block(channels: int) -> Residual:
    return Residual(channels, "batch", 0.0)
