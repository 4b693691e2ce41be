"""Training the autoencoder: an image comes back with its pixels, and with what a network of features sees in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from animegen.images import Images
from train.autoencoder.network import NOISE, SIDE, Autoencoder, Network
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
_LEAST = 1e-4  # added to a place's mean square, lest nothing be divided by nothing
_STREAM = 51
_PART = 256


def fit(
    images: Images,
    lens: Lens,
    *,
    channels: int,
    epochs: int,
    seed: int,
    each: Callable[[int, int, float], None] = lambda *_: None,
) -> Autoencoder:
    """Train on uint8 [N, 64, 64, 3], half of them mirrored; `each` is told steps, of how many, and the loss.

    Raises:
        ConfigError: fewer images than a batch of them.
        TrainingError: the loss is no longer finite.
    """
    total = steps_of(len(images), epochs)
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, _STREAM])
    network = Network(channels).to(memory_format=torch.channels_last)
    lens.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(
        network.parameters(), LEARNING_RATE, betas=(0.9, 0.99), weight_decay=WEIGHT_DECAY, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / _RISE, (1 - step / total) / _FALL)
    )
    for step, x in enumerate(batches(images, epochs, rng)):
        loss = _loss(network, lens, x, noise_for(channels, rng))
        if not torch.isfinite(loss):
            raise TrainingError(f"the autoencoder's loss at step {step} is not finite: nothing was written")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        each(step + 1, total, loss.item())
    return Autoencoder(network)


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


def noise_for(channels: int, rng: np.random.Generator) -> Tensor:
    """What is added to a batch's codes: [BATCH, channels, SIDE, SIDE]."""
    return NOISE * torch.from_numpy(rng.standard_normal((BATCH, channels, SIDE, SIDE), np.float32))


@torch.no_grad()
def differences(autoencoder: Autoencoder, lens: Lens, images: Images) -> tuple[float, float]:
    """How far images come back from themselves: the mean absolute difference in grey levels, and of the features."""
    pixels, features, count = 0.0, 0.0, 0
    for first in range(0, len(images), _PART):
        x = to_input(np.array(images[first : first + _PART])).contiguous(memory_format=torch.channels_last)
        y = autoencoder.decoder(autoencoder.encoder(x))
        pixels += (x - y).abs().mean().item() * 127.5 * len(x)
        features += apart(lens.maps(x), lens.maps(y)).item() * len(x)
        count += len(x)
    return pixels / count, features / count


def apart(wanted: list[Tensor], found: list[Tensor]) -> Tensor:
    """The mean square between two lists of maps, each place's values brought to one size (Zhang et al. 2018, LPIPS)."""
    terms = [weight * (_unit(a) - _unit(b)).square().mean() for a, b, weight in zip(wanted, found, _MAPS, strict=True)]
    return torch.stack(terms).sum()


def _loss(network: Network, lens: Lens, x: Tensor, noise: Tensor) -> Tensor:
    bf16 = choose_precision("auto", x.device) == "bf16"
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
        y = network.decoder(network.encoder(x) + noise).float()
        with torch.no_grad():
            wanted = lens.maps(x)
        loss: Tensor = (x - y).abs().mean() + FEATURES * apart(wanted, lens.maps(y))
    return loss


def _unit(values: Tensor) -> Tensor:
    wide = values.float()
    unit: Tensor = wide / (wide.square().mean(1, keepdim=True) + _LEAST).sqrt()
    return unit
