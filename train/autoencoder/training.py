"""Training the autoencoder: an image comes back with its pixels, and with what a network of features sees in it.

All that within a budget: a map tells so many bits of an image (the divergence of what is known of a map from what
is known of none, Kingma & Welling 2014, equation 10), and the price of a bit moves until they do (as in ControlVAE,
Shao et al. 2020, arXiv 2004.05988). Differences in the middle of an image, where a face has its eyes, count most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from animegen.images import Images
from train.autoencoder.network import CHANNELS, SIDE, Autoencoder, Network, drawn
from train.devices import choose_precision
from train.errors import ConfigError, TrainingError
from train.features.lens import Lens
from train.tagger.training import to_input

BATCH = 32
LEARNING_RATE = 2e-3  # AdamW's; it rises over the first steps and falls in a line after two fifths
WEIGHT_DECAY = 0.01
_RISE, _FALL = 200, 0.6  # steps, and the share of the run
FEATURES = 0.15  # the features' weight beside the pixels' mean absolute difference
_MAPS = (1.0, 1.0, 1.0, 0.5)  # the weights of the maps, finest first
_PRICE, _HASTE = 1e-4, 0.005  # of a nat at first, and how far a step moves its logarithm
_MIDDLE, _AROUND, _MORE = (0.5, 0.53), 0.2, 3.0  # a bell over the image, in its sides, on top of a weight of 1
_LEAST = 1e-4  # added to a place's mean square, lest nothing be divided by nothing
_NOISE = 0.2  # the deviation of what `noisy` adds to each value of a code, whose own is 1
_STREAM = 51
_PART = 256


def fit(
    images: Images,
    lens: Lens,
    *,
    values: int,
    bits: int,
    epochs: int,
    seed: int,
    each: Callable[[int, int, float], None] = lambda *_: None,
) -> tuple[Autoencoder, float]:
    """Train on uint8 [N, 64, 64, 3], half of them mirrored; `each` is told steps, of how many, and the loss.

    The map of an image tells so many `bits` of it, on average and at the most. Codes are the first principal components
    of maps, so many `values`; their share of the variance is returned beside the autoencoder.

    Raises:
        ConfigError: fewer images than a batch of them.
        TrainingError: the loss is no longer finite.
    """
    total = steps_of(len(images), epochs)
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, _STREAM])
    network = Network().to(memory_format=torch.channels_last)
    lens.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(
        network.parameters(), LEARNING_RATE, betas=(0.9, 0.99), weight_decay=WEIGHT_DECAY, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / _RISE, (1 - step / total) / _FALL)
    )
    price = _PRICE
    for step, x in enumerate(batches(images, epochs, rng)):
        loss, told = _loss(network, lens, x, noise_for(rng))
        each(step + 1, total, loss.item())
        loss = loss + price * told
        if not torch.isfinite(loss):
            raise TrainingError(f"the autoencoder's loss at step {step} is not finite: nothing was written")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        price *= math.exp(_HASTE * max(-1.0, min(1.0, told.item() / (bits * math.log(2)) - 1)))
    autoencoder = Autoencoder(network, values).to(memory_format=torch.channels_last)
    with torch.no_grad():
        return autoencoder, autoencoder.fit(torch.cat([autoencoder.encode(x)[0] for x in both_sides(images)]))


def steps_of(count: int, epochs: int) -> int:
    """How many batches so many passes over `count` images have.

    Raises:
        ConfigError: fewer images than a batch of them.
    """
    if count < BATCH:
        raise ConfigError(f"{count} images are fewer than a batch of {BATCH}: bring more")
    return epochs * (count // BATCH)


def batches(images: Images, epochs: int, rng: np.random.Generator) -> Iterator[Tensor]:
    """Full batches, each image at most once an epoch and half of them mirrored: float [BATCH, 3, 64, 64]."""
    for _ in range(epochs):
        order = rng.permutation(len(images))
        for first in range(0, len(images) - BATCH + 1, BATCH):
            x = to_input(images[np.sort(order[first : first + BATCH])]).contiguous(memory_format=torch.channels_last)
            mirrored = torch.from_numpy(rng.random(BATCH) < 0.5)
            x[mirrored] = x[mirrored].flip(3)
            yield x


def noise_for(rng: np.random.Generator) -> Tensor:
    """Of deviation 1, for a batch's maps: [BATCH, CHANNELS, SIDE, SIDE]."""
    return torch.from_numpy(rng.standard_normal((BATCH, CHANNELS, SIDE, SIDE), np.float32))


def noisy(codes: Tensor, rng: np.random.Generator) -> Tensor:
    """The codes with a little noise: what a decoder learns of these it draws of a generator's small mistakes, too."""
    return codes + _NOISE * torch.from_numpy(rng.standard_normal(codes.shape, np.float32))


@dataclass(frozen=True)
class Differences:
    """How far images come back from themselves, and what their maps tell of them."""

    grey_levels: float  # the mean absolute difference
    features: float
    bits: float  # of an image


@torch.no_grad()
def differences(autoencoder: Autoencoder, lens: Lens, images: Images) -> Differences:
    """The means over uint8 [N, 64, 64, 3]."""
    found = np.zeros(3)
    for x in _parts(images):
        maps = autoencoder.encode(x)
        y = autoencoder.decoder(autoencoder.codes(maps[0]))
        levels, features = (x - y).abs().mean().item() * 127.5, apart(lens.maps(x), lens.maps(y)).item()
        found += np.array([levels, features, _told(maps).item() / math.log(2)]) * len(x)
    return Differences(*(found / len(images)).tolist())


def _parts(images: Images) -> Iterator[Tensor]:
    for first in range(0, len(images), _PART):
        yield to_input(np.array(images[first : first + _PART])).contiguous(memory_format=torch.channels_last)


def both_sides(images: Images) -> Iterator[Tensor]:
    """All of uint8 [N, 64, 64, 3] and their mirror images, in parts: float [n, 3, 64, 64]."""
    for x in _parts(images):
        yield x
        yield x.flip(3)


def distance(lens: Lens, x: Tensor, y: Tensor, weight: float) -> Tensor:
    """How far two batches of images are apart: by their pixels, and `weight` times by their features."""
    with torch.no_grad():
        wanted = lens.maps(x)
    return pixels_apart(x, y) + weight * apart(wanted, lens.maps(y))


def apart(wanted: list[Tensor], found: list[Tensor]) -> Tensor:
    """The mean square between two lists of maps, each place's values brought to one size (Zhang et al. 2018, LPIPS)."""
    terms = [weight * apart_each(a, b).mean() for a, b, weight in zip(wanted, found, _MAPS, strict=True)]
    return torch.stack(terms).sum()


def apart_each(wanted: Tensor, found: Tensor) -> Tensor:
    """The same of each pair of [N, C, side, side], in one map: [N]."""
    distances: Tensor = ((unit(wanted) - unit(found)).square() * _looked_at(wanted.shape[2])).mean((1, 2, 3))
    return distances


def pixels_apart(x: Tensor, y: Tensor) -> Tensor:
    """The mean absolute difference of two batches of images."""
    difference: Tensor = ((x - y).abs() * _looked_at(x.shape[2])).mean()
    return difference


def _loss(network: Network, lens: Lens, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """How far the images come back from themselves, and what their maps tell, in nats an image."""
    bf16 = choose_precision("auto", x.device) == "bf16"
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
        maps = network.encode(x)
        y = network.decoder(drawn(maps, noise)).float()
        found = distance(lens, x, y, FEATURES)
    return found, _told(maps)


def _told(maps: tuple[Tensor, Tensor]) -> Tensor:
    means, logs = maps
    told: Tensor = (means.square() + logs.exp() - 1 - logs).sum((1, 2, 3)).mean() / 2
    return told


@cache
def _looked_at(side: int) -> Tensor:
    """The weight of each place of a map [side, side], 1 on average."""
    places = (torch.arange(side) + 0.5) / side
    across, down = ((-((places - middle) / _AROUND).square() / 2).exp() for middle in _MIDDLE)
    weights = 1 + _MORE * down[:, None] * across
    return weights / weights.mean()


def unit(values: Tensor) -> Tensor:
    """Maps [N, C, side, side] in fp32, each place's values brought to one size."""
    wide = values.float()
    unit: Tensor = wide / (wide.square().mean(1, keepdim=True) + _LEAST).sqrt()
    return unit
