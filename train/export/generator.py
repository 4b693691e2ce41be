"""The generator that a run came to: the averaged weights, with norms of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from train.networks import Generator
from train.run import checkpoint
from train.run.checkpoint import CheckpointCard

_STANDING_BATCHES, _STANDING_BATCH_SIZE = 32, 128
_STREAM_STANDING = 21


def trained_generator(run: Path) -> tuple[Generator, CheckpointCard]:
    """The frozen generator of a run or checkpoint, in evaluation mode, and what the checkpoint says of itself.

    Raises:
        CheckpointError: no checkpoint.
    """
    source = checkpoint.of(run)
    card = checkpoint.read_card(source)
    generator = Generator(card.config)
    checkpoint.load_ema(source, generator)
    generator.requires_grad_(False)
    set_standing_statistics(generator, seed=card.config.seed)
    return generator, card


@torch.no_grad()
def set_standing_statistics(generator: Generator, *, seed: int) -> None:
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
        generator(torch.from_numpy(rng.standard_normal((_STANDING_BATCH_SIZE, generator.z_dim), np.float32)))
    generator.eval()
