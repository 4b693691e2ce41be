"""A critic in a file of its own, beside the model file that it judged: what training that model further needs most.

A model file holds no critic, and a new one takes long to tell the images of a good generator from real ones. Its
weights are kept as fp16. Optimisers' moments are not kept: with a beta2 of 0.9 they are new after some tens of steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from safetensors.torch import load_file

from animegen.files import check_parent, sha256
from train import checkpoint, weights
from train.config import Config, differences
from train.errors import CheckpointError, ConfigError
from train.trainer import Trainer

FORMAT = 1


class CriticCard(msgspec.Struct, frozen=True, kw_only=True):
    """What such a file says of itself, as JSON in its metadata."""

    kind: Literal["critic"]
    format: int
    config: Config  # of the run that it was trained in
    step: int
    images_seen: int
    data_sha256: str
    code: str
    checkpoint_sha256: str


def write(run: Path, out: Path) -> CriticCard:
    """Write the critic of the run in `run`, or of one of its checkpoints, to `out`.

    Raises:
        ConfigError: `out` is no .safetensors.
        CheckpointError: no checkpoint, or a damaged one.
        OutputError: `out` can't be written; nothing is left behind.
    """
    if out.suffix != weights.SUFFIX:
        raise ConfigError(f"{out} has the extension {out.suffix!r}: a critic's file ends in .safetensors")
    check_parent(out)
    source = checkpoint.of(run)
    saved = checkpoint.read_card(source)
    card = CriticCard(
        kind="critic",
        format=FORMAT,
        config=saved.config,
        step=saved.step,
        images_seen=saved.images_seen,
        data_sha256=saved.data_sha256,
        code=saved.code,
        checkpoint_sha256=sha256(source),
    )
    weights.write(out, checkpoint.state(source, "critic"), card)
    return card


def read_card(path: Path) -> CriticCard:
    """What the file says of itself.

    Raises:
        CheckpointError: no such file, or not one that `write` has written.
    """
    try:
        card = weights.read_card(path, CriticCard)
    except weights.UNREADABLE as error:
        raise CheckpointError(
            f"{path} holds no critic ({error}): name a file that python -m train export --critic has written"
        ) from error
    if card.format != FORMAT:
        raise CheckpointError(f"{path} has critic format {card.format}, and this version reads {FORMAT}")
    return card


def give(path: Path, trainer: Trainer) -> CriticCard:
    """Give a new run's trainer the critic in `path`.

    Raises:
        CheckpointError: as `read_card`, or another critic than the trainer's configuration has.
    """
    card, wanted = read_card(path), trainer.config
    if (card.config.critic, card.config.size, card.config.channels) != (wanted.critic, wanted.size, wanted.channels):
        apart = [line for line in differences(card.config, wanted) if line.startswith(("critic.", "size", "channels"))]
        raise CheckpointError(f"{path} holds another critic: {'; '.join(apart)}. Take the file's values with --set")
    trainer.critic.load_state_dict(load_file(path))  # which copies into fp32
    return card
