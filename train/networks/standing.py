"""BatchNorm statistics that belong to a generator's own weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from animegen.labels import LabelGroup, classes_at, one_hot
from train.networks.generator import GeneratorNetwork

_BATCHES, _BATCH_SIZE = 32, 128
_STREAM = 21


@torch.no_grad()
def set_standing_statistics(generator: GeneratorNetwork, *, seed: int, groups: Sequence[LabelGroup] = ()) -> None:
    """Give every BatchNorm the mean statistics of this generator's own activations, over 32 batches of 128 latents.

    Their labels are drawn as often as they were in training; `groups` are those that it takes.

    The running statistics follow the trained weights, not their moving average (Brock et al. 2019, arXiv 1809.11096,
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
    device = next(generator.parameters()).device
    rng = np.random.default_rng([seed, _STREAM])
    for _ in range(_BATCHES):
        inputs = [rng.standard_normal((_BATCH_SIZE, generator.z_dim), np.float32)]
        if groups:
            inputs.append(one_hot(classes_at(rng.random((_BATCH_SIZE, len(groups))), groups), groups))
        generator(*(torch.from_numpy(values).to(device) for values in inputs))
    generator.eval()
