"""Sharpening a decoder: what differences leave blurred, a critic of pixels asks for.

A decoder trained by differences draws the mean of all pictures that a code may come from. Against a critic of whole
pictures it draws one of them (Larsen et al. 2016, VAE/GAN, arXiv 1512.09300; Esser et al. 2021, VQGAN, arXiv
2012.09841); the game here is a WGAN-GP. The encoder stays as it is, and with it every code: a generator of codes that
was trained before draws sharper without a step of its own.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from animegen.images import Images
from train import objectives, penalty
from train.autoencoder.network import Autoencoder
from train.autoencoder.training import BATCH, FEATURES, apart, batches, steps_of
from train.config import Config, CriticConfig
from train.devices import choose_precision
from train.errors import TrainingError
from train.features.lens import Lens
from train.layers import unearth
from train.networks import Critic

_CRITIC_FIRST = 0.05  # the share of the run in which the critic alone learns
_CRITIC = CriticConfig(width=64)
_RATE, _CRITIC_RATE, _BETAS = 2e-4, 4e-4, (0.0, 0.9)
_FALL = 0.4  # the share of the run over which both rates fall in a line
_LAMBDA, _PENALISED = 10.0, BATCH // 2  # images of a batch that the penalty is estimated by
_WEIGHT = 0.015  # of the critic's value; its slope by an image is 1, that of the mean difference about 0.01
_MEANS = 2  # pixels a side whose means are compared: what is finer is the critic's
_AVERAGED = 0.998  # what a step keeps, at the most, of the decoder's moving average
_STREAM = 52


def sharpen(
    autoencoder: Autoencoder,
    images: Images,
    lens: Lens,
    *,
    epochs: int,
    seed: int,
    each: Callable[[int, int, float], None] = lambda *_: None,
) -> Autoencoder:
    """A copy whose decoder learnt on, on uint8 [N, 64, 64, 3]; `each` is told steps, of how many, and the distance.

    The distance is the critic's estimate of Wasserstein's between the images and what comes back of them.

    Raises:
        ConfigError: fewer images than a batch of them.
        TrainingError: a value is no longer finite.
    """
    total = steps_of(len(images), epochs)
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, _STREAM])
    sharper = copy.deepcopy(autoencoder).to(memory_format=torch.channels_last)
    averaged = sharper.decoder
    decoder = copy.deepcopy(averaged)
    unearth(decoder)
    critic = Critic(Config(preset="", critic=_CRITIC)).to(memory_format=torch.channels_last)
    lens.to(memory_format=torch.channels_last)
    decoder_optimiser, critic_optimiser = (
        torch.optim.Adam(network.parameters(), rate, betas=_BETAS, fused=True)
        for network, rate in ((decoder, _RATE), (critic, _CRITIC_RATE))
    )
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=choose_precision("auto", torch.device("cpu")) == "bf16")
    alone = math.ceil(_CRITIC_FIRST * total)
    for step, x in enumerate(batches(images, epochs, rng)):
        falling = min(1.0, (1 - step / total) / _FALL)
        decoder_optimiser.param_groups[0]["lr"] = _RATE * falling
        critic_optimiser.param_groups[0]["lr"] = _CRITIC_RATE * falling
        with torch.no_grad(), autocast:
            codes = sharper.encoder(x)  # and no draw of what they may be: a generator is shown these, too
            y = decoder(codes).float()
        loss, distance = _critic_loss(critic, x, y, rng, autocast)
        _descend(critic_optimiser, loss)
        if step >= alone:
            critic.requires_grad_(False)
            loss = loss + _descend(decoder_optimiser, _decoder_loss(decoder, critic, lens, x, codes, autocast))
            critic.requires_grad_(True)
            # As for a generator: a short horizon first, or a short run's average would remember the blurred start.
            kept = min(_AVERAGED, (1 + step - alone) / (10 + step - alone))
            with torch.no_grad():
                for mean, now in zip(averaged.buffers(), decoder.parameters(), strict=True):
                    mean.lerp_(now, 1 - kept)
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss of sharpening at step {step} is not finite: nothing was written")
        each(step + 1, total, distance)
    sharper.round()
    return sharper


def _critic_loss(
    critic: Critic, x: Tensor, y: Tensor, rng: np.random.Generator, autocast: torch.autocast
) -> tuple[Tensor, float]:
    """The loss of WGAN-GP, and the estimated distance.

    The slope is bounded between an image and what came back of it. The pairing of least transport, on whose lines it is
    1 (Gulrajani et al. 2017, proposition 1), isn't known; this one is nearer to it than a random one.
    """
    epsilon = torch.from_numpy(rng.random(_PENALISED, np.float32))
    between = penalty.interpolates(x[:_PENALISED], y[:_PENALISED], epsilon)
    with autocast:
        c_real, c_fake = critic(torch.cat([x, y])).float().chunk(2)
        gradient = penalty.input_gradient(critic, between)
    loss = objectives.OBJECTIVES["wgan-gp"].critic(c_real, c_fake)
    loss = loss + _LAMBDA * penalty.gradient_penalty(gradient)[0]
    return loss, objectives.wasserstein_estimate(c_real, c_fake).item()


def _decoder_loss(
    decoder: nn.Module, critic: Critic, lens: Lens, x: Tensor, codes: Tensor, autocast: torch.autocast
) -> Tensor:
    with autocast:
        y = decoder(codes).float()
        with torch.no_grad():
            wanted = lens.maps(x)
        features = apart(wanted, lens.maps(y))
        value = critic(y).float().mean()
    pixels = (F.avg_pool2d(x, _MEANS) - F.avg_pool2d(y, _MEANS)).abs().mean()
    loss: Tensor = pixels + FEATURES * features - _WEIGHT * value
    return loss


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> Tensor:
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return loss.detach()
