"""Sharpening a decoder: what differences leave blurred, a critic of pixels asks for.

A decoder trained by differences draws the mean of all pictures that a code may come from. Against a critic of whole
pictures it draws one of them (Larsen et al. 2016, VAE/GAN, arXiv 1512.09300; Esser et al. 2021, VQGAN, arXiv
2012.09841). The game here is the first one (Goodfellow et al. 2014), with a penalty on both sides (Mescheder et al.
2018, arXiv 1801.04406): an image and what comes back of it are alike, and a critic whose slope is bounded by 1 takes
too long to tell them apart. The encoder stays as it is, and with it every code: a generator of codes that was trained
before draws sharper without a step of its own.

What a generator's codes look like no image says. Shown to the critic as well, they are drawn as something that could be
one, and all that ties such a picture to its code is where the decoder stood at first, in colours of large places.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from animegen.images import Images
from train import objectives, penalty
from train.autoencoder.network import Autoencoder
from train.autoencoder.training import BATCH, FEATURES, apart, batches, steps_of
from train.codes import CodeGenerator
from train.config import Config, CriticConfig
from train.devices import choose_precision
from train.errors import TrainingError
from train.features.lens import Lens
from train.layers import unearth
from train.networks import Critic

_GAME = objectives.OBJECTIVES["dcgan"]
_GAMMA = 0.05  # of the mean squares of the critic's slopes
_PENALISED = 4  # every so manieth image of either side, by which these are estimated
_BACK = BATCH // 4  # of the images that come back, beside what a generator's codes are drawn as
_CRITIC_FIRST = 800  # steps in which the critic alone learns, or a fifth of a shorter run: or it never gets ahead
_CRITIC = CriticConfig(width=64)
_RATE, _BETAS = 4e-4, (0.0, 0.9)
_FALL = 0.4  # the share of the run over which the rate falls in a line
_PULL = 1.5  # how hard the critic pulls at a picture, where differences pull with 1
_REMEMBERED = 50  # steps whose pulls are measured
_LEAST = 1e-8  # of a norm that is divided by
_MEANS = 4  # pixels a side whose means are compared: what is finer is the critic's
_PLACES = 8  # the same with what a generator's code was drawn as before: nothing else is known of it
_AVERAGED = 0.999  # what a step keeps, at the most, of the decoder's moving average
_STREAM = 52


def sharpen(
    autoencoder: Autoencoder,
    images: Images,
    lens: Lens,
    *,
    epochs: int,
    seed: int,
    generator: CodeGenerator | None = None,
    each: Callable[[int, int, float], None] = lambda *_: None,
) -> Autoencoder:
    """A copy whose decoder learnt on, on uint8 [N, 64, 64, 3]; `each` is told steps, of how many, and the margin.

    The margin is by how much the critic values the images above what is drawn: two logits' difference. With a
    `generator` three of four drawn pictures are of its codes.

    Raises:
        ConfigError: fewer images than a batch of them.
        TrainingError: a value is no longer finite.
    """
    total = steps_of(len(images), epochs)
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, _STREAM])
    autoencoder.to(memory_format=torch.channels_last)
    sharper = copy.deepcopy(autoencoder)
    averaged = sharper.decoder
    decoder = copy.deepcopy(averaged)
    unearth(decoder)
    critic = Critic(Config(preset="", critic=_CRITIC)).to(memory_format=torch.channels_last)
    lens.to(memory_format=torch.channels_last)
    optimisers = [
        torch.optim.Adam(network.parameters(), _RATE, betas=_BETAS, fused=True) for network in (decoder, critic)
    ]
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=choose_precision("auto", torch.device("cpu")) == "bf16")
    alone = min(_CRITIC_FIRST, math.ceil(total / 5))
    pulls: deque[float] = deque(maxlen=_REMEMBERED)
    for step, x in enumerate(batches(images, epochs, rng)):
        for optimiser in optimisers:
            optimiser.param_groups[0]["lr"] = _RATE * min(1.0, (1 - step / total) / _FALL)
        with torch.no_grad(), autocast:
            codes = sharper.encoder(x)  # and no draw of what they may be: a generator is shown these, too
            if generator is not None:
                z = torch.from_numpy(rng.standard_normal((BATCH - _BACK, generator.z_dim), np.float32))
                codes = torch.cat([codes[:_BACK], generator.judged(z)])
        with torch.set_grad_enabled(step >= alone), autocast:
            y = decoder(codes).float()
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss, margin = _critic_loss(critic, x, y.detach(), autocast)
        loss.backward()  # type: ignore[no-untyped-call]
        optimisers[1].step()
        if step >= alone:
            with autocast:
                differences = _differences(lens, x, y if generator is None else y[:_BACK])
                if generator is not None:
                    with torch.no_grad():
                        before = autoencoder.decoder(codes[_BACK:])
                    differences = differences + _between_means(before.float(), y[_BACK:], _PLACES)
                c_fake = _frozen(critic, y)
            y.backward(_pulled(y, differences, _GAME.generator(c_fake, c_fake), pulls))
            optimisers[0].step()
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
        slopes = penalty.input_gradient(critic, torch.cat([x[::_PENALISED], y[::_PENALISED]]))
    loss = _GAME.critic(c_real, c_fake) + _GAMMA * penalty.zero_centred_penalty(slopes)
    return loss, (c_real - c_fake).mean().item()


def _differences(lens: Lens, x: Tensor, y: Tensor) -> Tensor:
    """How far `y` is from the first images of `x`, which it came back of."""
    x = x[: len(y)]
    with torch.no_grad():
        wanted = lens.maps(x)
    return _between_means(x, y, _MEANS) + FEATURES * apart(wanted, lens.maps(y))


def _between_means(x: Tensor, y: Tensor, side: int) -> Tensor:
    return (F.avg_pool2d(x, side) - F.avg_pool2d(y, side)).abs().mean()


def _frozen(critic: Critic, y: Tensor) -> Tensor:
    """The critic's values, of which its weights learn nothing."""
    critic.requires_grad_(False)
    values: Tensor = critic(y).float()
    critic.requires_grad_(True)
    return values


def _pulled(y: Tensor, differences: Tensor, asked: Tensor, pulls: deque[float]) -> Tensor:
    """The gradient by the pictures `y` of `differences`, and of `asked` brought to `_PULL` times that one's norm.

    Esser et al. 2021, equation 7, but at the pictures and not at the decoder's last layer; `pulls` has the ratios of
    the norms in the last steps.
    """
    known, wanted = (torch.autograd.grad(loss, y)[0] for loss in (differences, asked))
    pulls.append((known.norm() / wanted.norm().clamp(min=_LEAST)).item())
    return known + _PULL * sum(pulls) / len(pulls) * wanted
