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
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from animegen.images import Images
from train import objectives, penalty
from train.autoencoder.network import Autoencoder
from train.autoencoder.training import (
    BATCH,
    CPU,
    apart,
    autocast_on,
    batches,
    moved,
    noise_on_codes,
    steps_of,
)
from train.capture import Tensors, on, rate_on, set_rate
from train.config import Config, CriticConfig
from train.errors import TrainingError
from train.features.lens import Lens
from train.layers import unearth
from train.networks import Critic
from train.reals import shown

_GAME = objectives.OBJECTIVES["dcgan"]
_GAMMA = 0.05  # of the mean squares of the critic's slopes
_PENALISED = BATCH // 4  # images of either side that these are estimated by
_CRITIC_FIRST = 0.15  # the share of the run in which the critic alone learns: it has to lead
_CRITIC = CriticConfig(width=64)
_RATE, _CRITIC_RATE, _BETAS = 2e-4, 4e-4, (0.0, 0.9)
_FALL = 0.4  # the share of the run over which both rates fall in a line
_FEATURES = 0.3  # the features' weight beside the pixels' mean absolute difference
_PULL = 0.5  # how hard the critic pulls at a picture, where differences pull with 1: more draws sharper, and odd eyes
_REMEMBERED = 50  # steps over which the norms' ratio is averaged
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
    device: torch.device = CPU,
    each: Callable[[int, int, float], None] = lambda *_: None,
) -> Autoencoder:
    """A copy whose decoder learnt on, on uint8 [N, 64, 64, 3]; `each` is told steps, of how many, and the margin.

    It and the lens are on `device` afterwards, where a step is a CUDA graph if that is a GPU.
    The margin is by how much the critic values the images above what comes back of them: two logits' difference.

    Raises:
        ConfigError: fewer images than a batch of them.
        TrainingError: a value is no longer finite.
    """
    total = steps_of(len(images), epochs)
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, _STREAM])
    sharper, lens = moved(copy.deepcopy(autoencoder), device), moved(lens, device)
    averaged = sharper.decoder
    decoder = copy.deepcopy(averaged)
    unearth(decoder)
    critic = moved(Critic(Config(preset="", critic=_CRITIC)), device)
    decoder_optimiser, critic_optimiser = (
        torch.optim.Adam(
            network.parameters(), rate_on(device, rate), betas=_BETAS, fused=True, capturable=device.type == "cuda"
        )
        for network, rate in ((decoder, _RATE), (critic, _CRITIC_RATE))
    )
    autocast, pull = autocast_on(device), torch.ones((), device=device)

    def drawn(inputs: Tensors) -> tuple[Tensor, Tensor]:
        x = shown(inputs["images"], inputs["mirrored"])
        with autocast:
            with torch.no_grad():
                codes = sharper.encoder(x) + inputs["noise"]
            return x, decoder(codes).float()

    def judge(x: Tensor, y: Tensor) -> Tensor:
        loss, margin = _critic_loss(critic, x, y.detach(), autocast)
        critic_optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        critic_optimiser.step()
        return margin

    def alone(inputs: Tensors) -> dict[str, Tensor]:
        with torch.no_grad():
            x, y = drawn(inputs)
        return {"margin": judge(x, y)}

    def both(inputs: Tensors) -> dict[str, Tensor]:
        x, y = drawn(inputs)
        margin = judge(x, y)
        decoder_optimiser.zero_grad()
        y.backward(_pulled(critic, lens, x, y, pull, inputs["news"], autocast))  # type: ignore[no-untyped-call]
        decoder_optimiser.step()
        with torch.no_grad():
            for mean, now in zip(averaged.buffers(), decoder.parameters(), strict=True):
                mean.lerp_(now, inputs["moves"])
        return {"margin": margin, "pull": pull}

    first, then = math.ceil(_CRITIC_FIRST * total), on(device, both)
    take_step = on(device, alone)
    for step, batch in enumerate(batches(images, epochs, rng)):
        falling = min(1.0, (1 - step / total) / _FALL)
        set_rate(decoder_optimiser, _RATE * falling)
        set_rate(critic_optimiser, _CRITIC_RATE * falling)
        inputs = {**batch, "noise": noise_on_codes(sharper.values, rng)}
        if step >= first:
            take_step, k = then, step - first
            # Short horizons first: a short run's average would remember the blurred start.
            inputs["moves"] = np.array(1 - min(_AVERAGED, (1 + k) / (10 + k)), np.float32)
            inputs["news"] = np.array(max(1 / _REMEMBERED, 1 / (1 + k)), np.float32)
        figures = {name: value.item() for name, value in take_step(inputs).items()}
        if not all(map(math.isfinite, figures.values())):
            raise TrainingError(f"a value of sharpening at step {step} is not finite: nothing was written")
        each(step + 1, total, figures["margin"])
    sharper.round()
    return sharper


def _critic_loss(critic: Critic, x: Tensor, y: Tensor, autocast: torch.autocast) -> tuple[Tensor, Tensor]:
    """The critic's loss with its penalties, and the margin."""
    with autocast:
        c_real, c_fake = critic(torch.cat([x, y])).float().chunk(2)
        slopes = penalty.input_gradient(critic, torch.cat([x[:_PENALISED], y[:_PENALISED]]))
    loss = _GAME.critic(c_real, c_fake) + _GAMMA * penalty.zero_centred_penalty(slopes)
    return loss, (c_real - c_fake).mean().detach()


def _pulled(
    critic: Critic, lens: Lens, x: Tensor, y: Tensor, pull: Tensor, news: Tensor, autocast: torch.autocast
) -> Tensor:
    """The gradient by the pictures `y`: that of the differences, and the critic's, brought to `_PULL` times its norm.

    Esser et al. 2021, equation 7, but at the pictures and not at the decoder's last layer. `pull` is the ratio of the
    norms, averaged over steps, into which this step's goes by a share of `news`.
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
    pull.lerp_(towards_x.norm() / towards_critic.norm().clamp(min=_LEAST), news)
    return towards_x + _PULL * pull * towards_critic
