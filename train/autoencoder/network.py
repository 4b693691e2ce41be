"""Images ↔ codes: an encoder that keeps what matters of a face, and a decoder that draws it.

A face of 64×64 pixels has 12,288 values, of which few say whether the eyes look the same way. Its code has 64 for each
channel, and the decoder draws a clean line from whatever is near a face's code. So a generator that makes codes leaves
drawing to the decoder, and a critic that sees codes compares arrangements: the division of work of Rombach et al. 2022
(latent diffusion, arXiv 2112.10752), here for a WGAN-GP.
"""

from __future__ import annotations

from torch import nn

from train.convolution import Convolution, TransposedConvolution
from train.layers import FLAT, Residual, bury, folded

SIZE = 64  # pixels a side
SIDE = 8  # of a code
NOISE = 0.25  # the decoder learns with so much of a code's deviation added, so codes that are near are drawn alike
_DOWN = (48, 128, 256)  # the encoder's channels at 32², 16² and 8²
_UP = (256, 128, 64, 32)  # the decoder's at 8², 16², 32² and 64²
_KERNEL = 4  # of a halving or a doubling


class Network(nn.Module):
    """The autoencoder as it is trained.

    Attributes:
        encoder: images float [N, 3, 64, 64] in [−1, 1] → codes [N, channels, 8, 8], of deviation 1 in every channel.
        decoder: codes → images in [−1, 1].
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        down: list[nn.Module] = []
        before = 3
        for width in _DOWN:
            down += [*_normed(Convolution(before, width, _KERNEL, 2, 1, bias=False)), _block(width)]
            before = width
        down += [_flat(before, channels), nn.BatchNorm2d(channels, affine=False)]
        self.encoder = nn.Sequential(*down)
        up: list[nn.Module] = [*_normed(_flat(channels, _UP[0])), _block(_UP[0]), _block(_UP[0])]
        before = _UP[0]
        for width in _UP[1:]:
            up += _normed(TransposedConvolution(before, width, _KERNEL, 2, 1, bias=False))
            up += [_block(width)] if width != _UP[-1] else []  # at 64² a block would cost as much as all the others
            before = width
        self.decoder = nn.Sequential(*up, nn.Conv2d(before, 3, FLAT, padding=1), nn.Tanh())
        for block in self.modules():
            if isinstance(block, Residual):
                nn.init.zeros_(block.body[-1].weight)  # type: ignore[arg-type]


class Autoencoder(nn.Module):
    """The autoencoder as it is used: all of it is buffers, so it isn't trained, and a checkpoint holds what it needs.

    Attributes:
        encoder: images float [N, 3, 64, 64] in [−1, 1] → codes [N, channels, 8, 8].
        decoder: codes → images in [−1, 1].
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.encoder, self.decoder = (
            nn.Sequential(*folded(part.eval())) for part in (network.encoder, network.decoder)
        )
        bury(self)
        self.eval()
        for value in self.buffers():
            value.copy_(value.half())

    @classmethod
    def blank(cls, channels: int) -> Autoencoder:
        """One whose values are yet to come, from a file or a checkpoint."""
        return cls(Network(channels))


def _normed(layer: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    return [layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU()]


def _flat(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, FLAT, padding=FLAT // 2, bias=False)


def _block(channels: int) -> Residual:
    return Residual(channels, "batch", 0.0)
