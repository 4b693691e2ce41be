"""A features file: a lens as fp16 in safetensors, with a card as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from safetensors.torch import load_file

from train import weights
from train.errors import ConfigError
from train.features.lens import Lens

FORMAT = 1


class FeaturesCard(msgspec.Struct, frozen=True, kw_only=True):
    """What such a file says of itself."""

    kind: Literal["features"]
    format: int
    data: str
    data_images: int
    data_sha256: str
    tags: str
    trained_on: int
    held_out: int
    accuracy: dict[str, float]  # of tags, of pairs of a spoilt and a sound place, and of a real and a generated image
    against: list[str] = []  # sha256 of the models whose images it learnt to tell from the pictures
    start_sha256: str | None = None  # of the features that it went on from
    epochs: int
    seed: int
    minutes: float
    licence: str
    provenance: str
    code: str


def write(path: Path, lens: Lens, card: FeaturesCard) -> None:
    """Write the lens, whose values fp16 holds exactly.

    Raises:
        OutputError: the file can't be written; nothing is left behind.
    """
    weights.write(path, lens.state_dict(), card)


def read(path: Path) -> tuple[Lens, FeaturesCard]:
    """The lens in the file, in fp32.

    Raises:
        ConfigError: no such file, or not one that `write` has written.
    """
    try:
        card = weights.read_card(path, FeaturesCard)
        if card.format != FORMAT:
            raise ConfigError(f"{path} has features format {card.format}, and this version reads {FORMAT}")
        lens = Lens()
        lens.load_state_dict(load_file(path))
    except weights.UNREADABLE as error:
        raise ConfigError(f"{path} holds no features ({error}): make it with python -m train features") from error
    return lens, card
