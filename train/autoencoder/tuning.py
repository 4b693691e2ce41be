"""Training an autoencoder through its codes.

Codes are cut from the maps that an autoencoder was trained with: their principal components, of which a hundred keep
half of the variance, and what the decoder draws of such a map it never learnt. Here encoder, code and decoder learn on
together, so that the values that there are go to what the differences see. Noise on codes makes the decoder forgive a
generator's small mistakes (Vincent et al. 2008, denoising autoencoders); lest codes outgrow it, their mean squares are
held at 1. Batch normalisation is folded into the layers by now.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from animegen.images import Images
from train.autoencoder.network import Autoencoder
from train.autoencoder.training import (
    CPU,
    autocast_on,
    batches,
    both_sides,
    distance,
    moved,
    noise_on_codes,
    steps_of,
)
from train.capture import Tensors, on, rate_on, set_rate
from train.errors import TrainingError
from train.features.lens import Lens
from train.layers import unearth
from train.reals import shown

_RATE, _BETAS = 3e-4, (0.9, 0.99)
_RISE, _FALL = 100, 0.6  # steps, and the share of the run over which the rate falls in a line
_FEATURES = 0.2  # their weight beside the pixels' mean absolute difference: with 0.3 a faint grid shows
_HELD = 0.2  # the weight of the mean square by which codes' mean squares miss 1
_AVERAGED = 0.998  # what a step keeps, at the most, of the moving average
_STREAM = 53


def tune(
    autoencoder: Autoencoder,
    images: Images,
    lens: Lens,
    *,
    epochs: int,
    seed: int,
    device: torch.device = CPU,
    each: Callable[[int, int, float], None] = lambda *_: None,
) -> Autoencoder:
    """A copy that learnt on, on uint8 [N, 64, 64, 3]; `each` is told steps, of how many, and the loss.

    It and the lens are on `device` afterwards, where a step is a CUDA graph if that is a GPU. Its codes are others:
    uncorrelated, each value of mean 0 and deviation 1.

    Raises:
        ConfigError: fewer images than a batch of them.
        TrainingError: the loss is no longer finite.
    """
    total = steps_of(len(images), epochs)
    rng = np.random.default_rng([seed, _STREAM])
    averaged, lens = moved(copy.deepcopy(autoencoder), device), moved(lens, device)
    learning = copy.deepcopy(averaged)
    unearth(learning.encoder)
    unearth(learning.decoder)
    optimiser = torch.optim.Adam(
        learning.parameters(), rate_on(device, _RATE), betas=_BETAS, fused=True, capturable=device.type == "cuda"
    )
    autocast, means = autocast_on(device), dict(averaged.named_buffers())

    def descend(inputs: Tensors) -> dict[str, Tensor]:
        x = shown(inputs["images"], inputs["mirrored"])
        with autocast:
            codes = learning.encoder(x).float()
            y = learning.decoder(codes + inputs["noise"]).float()
            apart = distance(lens, x, y, _FEATURES)
        optimiser.zero_grad()
        (apart + _HELD * (codes.square().mean(0) - 1).square().mean()).backward()
        optimiser.step()
        with torch.no_grad():
            for name, value in learning.named_parameters():
                means[name].lerp_(value, inputs["moves"])
        return {"apart": apart.detach()}

    take_step = on(device, descend)
    for step, batch in enumerate(batches(images, epochs, rng)):
        set_rate(optimiser, _RATE * min(1.0, (step + 1) / _RISE, (1 - step / total) / _FALL))
        moves = np.array(1 - min(_AVERAGED, (1 + step) / (10 + step)), np.float32)
        apart = take_step({**batch, "noise": noise_on_codes(learning.values, rng), "moves": moves})["apart"].item()
        if not math.isfinite(apart):
            raise TrainingError(f"the loss of tuning at step {step} is not finite: nothing was written")
        each(step + 1, total, apart)
    with torch.no_grad():
        averaged.whiten(torch.cat([averaged.encoder(x) for x in both_sides(images, device)]))
    return averaged
