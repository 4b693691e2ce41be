"""An autoencoder's file: its weights as fp16 in safetensors, with a card as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from safetensors.torch import load_file

from train import weights
from train.autoencoder.network import Autoencoder
from train.errors import ConfigError

FORMAT = 3


class AutoencoderCard(msgspec.Struct, frozen=True, kw_only=True):
    """What such a file says of itself."""

    kind: Literal["autoencoder"]
    format: int
    values: int = 0  # of a code; not in formats 1 and 2
    data: str
    data_images: int
    data_sha256: str
    trained_on: int
    held_out: int
    grey_levels: float  # between a held-out image and what comes back of it, the mean of all values
    feature_distance: float  # between them, as in training
    bits: float = 0.0  # that a held-out image's map tells of it, on average; not in format 1
    variance: float = 0.0  # of the maps of the images that it was trained on, the share that codes keep
    features_sha256: str  # of the features file
    epochs: int
    seed: int
    minutes: float
    licence: str
    provenance: str
    code: str
    device: str = "cpu"  # that it was trained on
    tuned: int = 0  # epochs in which it learnt on through its codes; its bits and variance aren't known then, and are 0
    sharpened: int = 0  # epochs in which its decoder learnt on against a critic of pixels
    from_sha256: str = ""  # of the file that learnt on
    share: float = 1.0  # of the sharpened decoder in this one's weights; the rest is of the one before it


def write(path: Path, autoencoder: Autoencoder, card: AutoencoderCard) -> None:
    """Write the autoencoder, whose values fp16 holds exactly.

    Raises:
        OutputError: the file can't be written; nothing is left behind.
    """
    weights.write(path, autoencoder.state_dict(), card)


def read(path: Path) -> tuple[Autoencoder, AutoencoderCard]:
    """The autoencoder in the file, in fp32.

    Raises:
        ConfigError: no such file, or not one that `write` has written.
    """
    try:
        card = weights.read_card(path, AutoencoderCard)
        if card.format != FORMAT:
            raise ConfigError(f"{path} has autoencoder format {card.format}, and this version reads {FORMAT}")
        autoencoder = Autoencoder.blank(card.values)
        autoencoder.load_state_dict(load_file(path))
    except weights.UNREADABLE as error:
        raise ConfigError(f"{path} holds no autoencoder ({error}): make it with python -m train autoencoder") from error
    return autoencoder, card
