"""Images ↔ codes: an encoder that keeps what matters of a face, and a decoder that draws it.

A face of 64×64 pixels has 12,288 values, of which few say whether the eyes look the same way. A generator that makes
codes leaves drawing to the decoder, and a critic that sees codes compares arrangements: the division of work of Rombach
et al. 2022 (latent diffusion, arXiv 2112.10752), here for a WGAN-GP. It is a variational autoencoder (Kingma & Welling
2014, arXiv 1312.6114): each value of a code is known up to a deviation of its own, so that bits go where they tell
most, and a value that tells nothing is always 0.
"""

from __future__ import annotations

from torch import Tensor, nn

from train.convolution import Convolution, TransposedConvolution
from train.layers import FLAT, Residual, bury, folded

SIZE = 64  # pixels a side
SIDE = 8  # of a code
_DOWN = (48, 128, 256)  # the encoder's channels at 32², 16² and 8²
_UP = (256, 128, 64, 32)  # the decoder's at 8², 16², 32² and 64²
_KERNEL = 4  # of a halving or a doubling
_LEAST, _MOST = -8.0, 4.0  # of the logarithm of a value's variance


class Network(nn.Module):
    """The autoencoder as it is trained.

    Attributes:
        trunk: images float [N, 3, 64, 64] in [−1, 1] → what is seen in them [N, 256, 8, 8].
        heads: that → codes, and beside them the logarithms of their variances, [N, 2·channels, 8, 8].
        decoder: codes [N, channels, 8, 8] → images in [−1, 1].
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        down: list[nn.Module] = []
        before = 3
        for width in _DOWN:
            down += [*_normed(Convolution(before, width, _KERNEL, 2, 1, bias=False)), _block(width)]
            before = width
        self.trunk = nn.Sequential(*down)
        self.heads = _head(before, 2 * channels)
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

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Codes [N, channels, 8, 8] and the logarithms of their variances, in fp32."""
        means, logs = self.heads(self.trunk(images)).float().chunk(2, 1)
        return means, logs.clamp(_LEAST, _MOST)


class Autoencoder(nn.Module):
    """The autoencoder as it is used: all of it is buffers, so it isn't trained, and a checkpoint holds what it needs.

    Attributes:
        encoder: images float [N, 3, 64, 64] in [−1, 1] → codes [N, channels, 8, 8], their means.
        doubts: what the encoder's last layer is given → the logarithms of the codes' variances.
        decoder: codes → images in [−1, 1].
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        network.eval()
        channels = network.heads.out_channels // 2
        means, self.doubts = (_head(network.heads.in_channels, channels) for _ in range(2))
        for own, rows in ((means, slice(channels)), (self.doubts, slice(channels, None))):
            own.load_state_dict({name: value[rows] for name, value in network.heads.state_dict().items()})
        self.encoder = nn.Sequential(*folded(network.trunk), means)
        self.decoder = nn.Sequential(*folded(network.decoder))
        bury(self)
        self.eval()
        for value in self.buffers():
            value.copy_(value.half())

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """As `Network.encode`."""
        seen = self.encoder[:-1](images)
        return self.encoder[-1](seen).float(), self.doubts(seen).float().clamp(_LEAST, _MOST)

    @classmethod
    def blank(cls, channels: int) -> Autoencoder:
        """One whose values are yet to come, from a file or a checkpoint."""
        return cls(Network(channels))


def drawn(codes: tuple[Tensor, Tensor], noise: Tensor) -> Tensor:
    """One draw of what a code may be: its mean, and `noise` of deviation 1 times its own deviation."""
    means, logs = codes
    return means + noise * (logs / 2).exp()


def _normed(layer: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    return [layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU()]


def _flat(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, FLAT, padding=FLAT // 2, bias=False)


def _head(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, FLAT, padding=FLAT // 2)


def _block(channels: int) -> Residual:
    return Residual(channels, "batch", 0.0)
