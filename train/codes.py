"""A generator that makes codes and has them drawn, and the critic that values codes: see `train.autoencoder`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from animegen.files import sha256
from train.autoencoder import file
from train.autoencoder.network import Autoencoder
from train.config import Config
from train.convolution import Pointwise
from train.errors import ConfigError
from train.layers import Residual, init_critic, init_generator, init_residuals, rectifier
from train.processes import BatchNorm

_DENSE = 1  # the kernel of a code's layers: it has a single place


class CodeGenerator(nn.Module):
    """Latents float [N, z_dim] → images float [N, 3, 64, 64] in [−1, 1], by way of codes.

    A perceptron with residual blocks, and then the autoencoder's decoder, which is frozen.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        own = config.generator
        self.z_dim = own.z_dim
        self.shape = (own.width, 1, 1)
        self.first = nn.Linear(own.z_dim, own.width, bias=False)
        self.body = nn.Sequential(
            BatchNorm(own.width),
            nn.ReLU(),
            *(Residual(own.width, "batch", 0.0, _DENSE) for _ in range(own.blocks)),
            Pointwise(own.width, config.code_values, _DENSE),
        )
        for layer in self.modules():
            init_generator(layer, normed=True, slope=0.0)
        init_residuals(self)
        self.decoder = Autoencoder.blank(config.code_values).decoder

    def forward(self, z: Tensor) -> Tensor:
        """Images in [−1, 1] from latents."""
        images: Tensor = self.decoder(self.judged(z))
        return images

    def judged(self, z: Tensor) -> Tensor:
        """What its critic is shown: the codes [N, code_values, 1, 1]."""
        codes: Tensor = self.body(self.first(z)[:, :, None, None])
        return codes

    def layers(self) -> list[nn.Module]:
        """All its layers, each after the one before it."""
        return [self.first, *self.body, *self.decoder]


class CodeCritic(nn.Module):
    """Codes float [N, code_values, 1, 1] → one unbounded value each: [N]. Its slope is bounded among codes."""

    batched = False
    remembers = True

    def __init__(self, config: Config) -> None:
        super().__init__()
        own = config.critic
        self.chain = nn.Sequential(
            Pointwise(config.code_values, own.width, _DENSE),
            rectifier(own.slope),
            *(Residual(own.width, "none", own.slope, _DENSE) for _ in range(own.blocks)),
            nn.Flatten(),
            nn.Linear(own.width, 1),
            nn.Flatten(0),
        )
        for layer in self.modules():
            init_critic(layer, normed=False, slope=own.slope)
        init_residuals(self)
        self.encoder = Autoencoder.blank(config.code_values).encoder

    def view(self, images: Tensor) -> Tensor:
        """What it values of images: their codes."""
        codes: Tensor = self.encoder(images)
        return codes

    def see(self, codes: Tensor) -> Tensor:
        """What it values of codes: themselves."""
        return codes

    def forward(self, codes: Tensor) -> Tensor:
        """The values."""
        values: Tensor = self.chain(codes)
        return values


@torch.no_grad()
def give(config: Config, generator: CodeGenerator, critic: CodeCritic) -> None:
    """Give new networks the autoencoder that the configuration names.

    Raises:
        ConfigError: there is none, or one of other codes.
    """
    autoencoder, card = file.read(Path(config.autoencoder))
    if card.values != config.code_values:
        raise ConfigError(
            f"{config.autoencoder} makes codes of {card.values} values, and code_values is {config.code_values}: "
            f"add --set code_values={card.values}"
        )
    generator.decoder.load_state_dict(autoencoder.decoder.state_dict())
    critic.encoder.load_state_dict(autoencoder.encoder.state_dict())


def redraw(path: Path, config: Config, generator: nn.Module, critic: Mapping[str, Tensor]) -> None:
    """Give a trained generator of codes the decoder in `path`; `critic` is the state of the critic that it had.

    Raises:
        ConfigError: the generator makes pixels, `path` holds no autoencoder, or one that makes other codes.
    """
    if not isinstance(generator, CodeGenerator):
        raise ConfigError(f"{path} can't be drawn with: the run's generator makes pixels, not codes")
    autoencoder, _ = file.read(path)
    own = {name: value for name, value in critic.items() if name.startswith("encoder.")}
    if not _same(own, {f"encoder.{name}": value for name, value in autoencoder.encoder.state_dict().items()}):
        raise ConfigError(
            f"{path} makes other codes than {config.autoencoder}, which the run was trained with: take one that "
            "python -m train sharpen or blend made of it"
        )
    generator.decoder.load_state_dict(autoencoder.decoder.state_dict())


def drawn_by(path: Path, generator: nn.Module) -> dict[str, Any]:
    """What the autoencoder in `path` says of itself, and its sha256, if it is what draws for this generator; or {}.

    A run keeps the decoder that it was given, and the file may have gone or changed since.
    """
    if not isinstance(generator, CodeGenerator):
        return {}
    try:
        autoencoder, card = file.read(path)
    except ConfigError:
        return {}
    if not _same(generator.decoder.state_dict(), autoencoder.decoder.state_dict()):
        return {}
    return {"sha256": sha256(path), **msgspec.to_builtins(card)}


def _same(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> bool:
    return own.keys() == given.keys() and all(torch.equal(own[name], given[name]) for name in own)
