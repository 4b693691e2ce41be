"""The generator that a run came to: the averaged weights, with norms of their own, drawn by the decoder asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from train import checkpoint, codes
from train.checkpoint import CheckpointCard
from train.networks import AnyGenerator, generator_of

_STANDING_BATCHES, _STANDING_BATCH_SIZE = 32, 128
_STREAM_STANDING = 21


def trained_generator(run: Path, autoencoder: Path | None = None) -> tuple[AnyGenerator, CheckpointCard]:
    """The frozen generator of a run or checkpoint, in evaluation mode, and what the checkpoint says of itself.

    With an `autoencoder` its decoder draws, in place of the one that the run was trained with.

    Raises:
        CheckpointError: no checkpoint.
        ConfigError: an `autoencoder` for a generator of pixels, or one of other codes.
    """
    source = checkpoint.of(run)
    card = checkpoint.read_card(source)
    generator = generator_of(card.config)
    checkpoint.load_ema(source, generator)
    if autoencoder is not None:
        codes.redraw(autoencoder, card.config, generator, checkpoint.state(source, "critic"))
    generator.requires_grad_(False)
    set_standing_statistics(generator, seed=card.config.seed)
    return generator, card


@torch.no_grad()
def set_standing_statistics(generator: AnyGenerator, *, seed: int) -> None:
    """Give every BatchNorm the mean statistics of this generator's own activations, over 32 batches of 128 latents.

    The running ones follow the trained weights, not their moving average (Brock et al. 2019, arXiv 1809.11096,
    section 4.1, "standing statistics"). The generator is in evaluation mode afterwards.
    """
    norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        generator.eval()
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    generator.train()
    rng = np.random.default_rng([seed, _STREAM_STANDING])
    for _ in range(_STANDING_BATCHES):
        generator.judged(torch.from_numpy(rng.standard_normal((_STANDING_BATCH_SIZE, generator.z_dim), np.float32)))
    generator.eval()
