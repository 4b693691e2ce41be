"""Sharpening a decoder: what differences leave blurred, a critic of pixels asks for.

A decoder trained by differences draws the mean of all pictures that a code may come from. Against a critic of whole
pictures it draws one of them (Larsen et al. 2016, VAE/GAN, arXiv 1512.09300; Esser et al. 2021, VQGAN, arXiv
2012.09841). The game here is the first one (Goodfellow et al. 2014), with a penalty on both sides (Mescheder et al.
2018, arXiv 1801.04406): an image and what comes back of it are alike, and a critic whose slope is bounded by 1 takes
too long to tell them apart. The encoder stays as it is, and with it every code: a generator of codes that was trained
before draws sharper without a step of its own.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from animegen.images import Images
from train import objectives, penalty
from train.autoencoder.network import Autoencoder
from train.autoencoder.training import BATCH, apart, batches, noisy, steps_of
from train.config import Config, CriticConfig
from train.devices import choose_precision
from train.errors import TrainingError
from train.features.lens import Lens
from train.layers import unearth
from train.networks import Critic

_GAME = objectives.OBJECTIVES["dcgan"]
_GAMMA = 0.05  # of the mean squares of the critic's slopes
_PENALISED = BATCH // 4  # images of either side that these are estimated by
_CRITIC_FIRST = 0.15  # the share of the run in which the critic alone learns: it has to lead
_CRITIC = CriticConfig(width=64)
_RATE, _CRITIC_RATE, _BETAS = 2e-4, 4e-4, (0.0, 0.9)
_FALL = 0.4  # the share of the run over which both rates fall in a line
_FEATURES = 0.3  # the features' weight beside the pixels' mean absolute difference
_PULL = 0.5  # how hard the critic pulls at a picture, where differences pull with 1: more draws sharper, and odd eyes
_REMEMBERED = 50  # steps whose pulls are measured
_LEAST = 1e-8  # of a norm that is divided by
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
    """A copy whose decoder learnt on, on uint8 [N, 64, 64, 3]; `each` is told steps, of how many, and the margin.

    The margin is by how much the critic values the images above what comes back of them: two logits' difference.

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
    pulls: deque[float] = deque(maxlen=_REMEMBERED)
    for step, x in enumerate(batches(images, epochs, rng)):
        falling = min(1.0, (1 - step / total) / _FALL)
        decoder_optimiser.param_groups[0]["lr"] = _RATE * falling
        critic_optimiser.param_groups[0]["lr"] = _CRITIC_RATE * falling
        with torch.no_grad(), autocast:
            codes = noisy(sharper.encoder(x), rng)
        with torch.set_grad_enabled(step >= alone), autocast:
            y = decoder(codes).float()
        loss, margin = _critic_loss(critic, x, y.detach(), autocast)
        critic_optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        critic_optimiser.step()
        if step >= alone:
            decoder_optimiser.zero_grad()
            y.backward(_pulled(critic, lens, x, y, pulls, autocast))
            decoder_optimiser.step()
            # As for a generator: a short horizon first, or a short run's average would remember the blurred start.
            kept = min(_AVERAGED, (1 + step - alone) / (10 + step - alone))
            with torch.no_grad():
                for mean, now in zip(averaged.buffers(), decoder.parameters(), strict=True):
                    mean.lerp_(now, 1 - kept)
        if not (math.isfinite(margin) and all(map(math.isfinite, pulls))):
            raise TrainingError(f"a value of sharpening at step {step} is not finite: nothing was written")
        each(step + 1, total, margin)
    sharper.round()
    return sharper


def _critic_loss(critic: Critic, x: Tensor, y: Tensor, autocast: torch.autocast) -> tuple[Tensor, float]:
    """The critic's loss with its penalties, and the margin."""
    with autocast:
        c_real, c_fake = critic(torch.cat([x, y])).float().chunk(2)
        slopes = penalty.input_gradient(critic, torch.cat([x[:_PENALISED], y[:_PENALISED]]))
    loss = _GAME.critic(c_real, c_fake) + _GAMMA * penalty.zero_centred_penalty(slopes)
    return loss, (c_real - c_fake).mean().item()


def _pulled(critic: Critic, lens: Lens, x: Tensor, y: Tensor, pulls: deque[float], autocast: torch.autocast) -> Tensor:
    """The gradient by the pictures `y`: that of the differences, and the critic's, brought to `_PULL` times its norm.

    Esser et al. 2021, equation 7, but at the pictures and not at the decoder's last layer; `pulls` has the ratios of
    the norms in the last steps.
    """
    critic.requires_grad_(False)
    with autocast:
        with torch.no_grad():
            wanted = lens.maps(x)
        features = apart(wanted, lens.maps(y))
        c_fake = critic(y).float()
    critic.requires_grad_(True)
    differences = (x - y).abs().mean() + _FEATURES * features
    towards_x, towards_critic = (
        torch.autograd.grad(loss, y)[0] for loss in (differences, _GAME.generator(c_fake, c_fake))
    )
    pulls.append((towards_x.norm() / towards_critic.norm().clamp(min=_LEAST)).item())
    return towards_x + _PULL * sum(pulls) / len(pulls) * towards_critic
