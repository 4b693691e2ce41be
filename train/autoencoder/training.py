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
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from animegen.images import Images
from train.autoencoder.network import CHANNELS, SIDE, Autoencoder, Network, drawn
from train.capture import Arrays, Tensors, on, rate_on, set_rate
from train.devices import choose_precision
from train.errors import ConfigError, TrainingError
from train.features.lens import Lens
from train.reals import shown, to_float

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
CPU = torch.device("cpu")
Moved = TypeVar("Moved", bound=nn.Module)


def fit(
    images: Images,
    lens: Lens,
    *,
    values: int,
    bits: int,
    epochs: int,
    seed: int,
    device: torch.device = CPU,
    each: Callable[[int, int, float], None] = lambda *_: None,
) -> tuple[Autoencoder, float]:
    """Train on uint8 [N, 64, 64, 3], half of them mirrored; `each` is told steps, of how many, and the loss.

    Autoencoder and lens are on `device` afterwards, where a step is a CUDA graph if that is a GPU.
    The map of an image tells so many `bits` of it, on average and at the most. Codes are the first principal components
    of maps, so many `values`; their share of the variance is returned beside the autoencoder.

    Raises:
        ConfigError: fewer images than a batch of them.
        TrainingError: the loss is no longer finite.
    """
    total = steps_of(len(images), epochs)
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, _STREAM])
    network, lens = moved(Network(), device), moved(lens, device)
    optimiser = torch.optim.AdamW(
        network.parameters(),
        rate_on(device, LEARNING_RATE),
        betas=(0.9, 0.99),
        weight_decay=WEIGHT_DECAY,
        fused=True,
        capturable=device.type == "cuda",
    )
    autocast = autocast_on(device)

    def descend(inputs: Tensors) -> dict[str, Tensor]:
        x = shown(inputs["images"], inputs["mirrored"])
        with autocast:
            maps = network.encode(x)
            y = network.decoder(drawn(maps, inputs["noise"])).float()
            loss = distance(lens, x, y, FEATURES)
        told = _told(maps)
        optimiser.zero_grad()
        (loss + inputs["price"] * told).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return {"loss": loss.detach(), "told": told.detach()}

    take_step, price = on(device, descend), _PRICE
    for step, batch in enumerate(batches(images, epochs, rng)):
        set_rate(optimiser, LEARNING_RATE * min(1.0, (step + 1) / _RISE, (1 - step / total) / _FALL))
        noise = rng.standard_normal((BATCH, CHANNELS, SIDE, SIDE), np.float32)
        figures = take_step({**batch, "noise": noise, "price": np.array(price, np.float32)})
        loss, told = figures["loss"].item(), figures["told"].item()
        if not (math.isfinite(loss) and math.isfinite(told)):
            raise TrainingError(f"the autoencoder's loss at step {step} is not finite: nothing was written")
        each(step + 1, total, loss)
        price *= math.exp(_HASTE * max(-1.0, min(1.0, told / (bits * math.log(2)) - 1)))
    autoencoder = moved(Autoencoder(network, values), device)
    with torch.no_grad():
        return autoencoder, autoencoder.fit(torch.cat([autoencoder.encode(x)[0] for x in both_sides(images, device)]))


def moved(network: Moved, device: torch.device) -> Moved:
    """The network on this device, channels last in memory."""
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def autocast_on(device: torch.device) -> torch.autocast:
    """bf16 where the device multiplies it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=choose_precision("auto", device) == "bf16")


def steps_of(count: int, epochs: int) -> int:
    """How many batches so many passes over `count` images have.

    Raises:
        ConfigError: fewer images than a batch of them.
    """
    if count < BATCH:
        raise ConfigError(f"{count} images are fewer than a batch of {BATCH}: bring more")
    return epochs * (count // BATCH)


def batches(images: Images, epochs: int, rng: np.random.Generator) -> Iterator[Arrays]:
    """Full batches, each image at most once an epoch and half of them to be mirrored, as `shown` takes them."""
    for _ in range(epochs):
        order = rng.permutation(len(images))
        for first in range(0, len(images) - BATCH + 1, BATCH):
            rows = np.sort(order[first : first + BATCH])
            yield {"images": images[rows], "mirrored": rng.random(BATCH) < 0.5}


def noise_on_codes(values: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A little, for a batch's codes: what a decoder learns of noisy ones it draws of a generator's mistakes, too."""
    return _NOISE * rng.standard_normal((BATCH, values, 1, 1), np.float32)


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
    for x in _parts(images, next(autoencoder.buffers()).device):
        maps = autoencoder.encode(x)
        y = autoencoder.decoder(autoencoder.codes(maps[0]))
        levels, features = (x - y).abs().mean().item() * 127.5, apart(lens.maps(x), lens.maps(y)).item()
        found += np.array([levels, features, _told(maps).item() / math.log(2)]) * len(x)
    return Differences(*(found / len(images)).tolist())


def _parts(images: Images, device: torch.device) -> Iterator[Tensor]:
    for first in range(0, len(images), _PART):
        yield to_float(torch.from_numpy(np.array(images[first : first + _PART])).to(device))


def both_sides(images: Images, device: torch.device) -> Iterator[Tensor]:
    """All of uint8 [N, 64, 64, 3] and their mirror images, in parts: float [n, 3, 64, 64]."""
    for x in _parts(images, device):
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
    distances: Tensor = ((unit(wanted) - unit(found)).square() * _looked_at(wanted.shape[2], wanted.device)).mean(
        (1, 2, 3)
    )
    return distances


def pixels_apart(x: Tensor, y: Tensor) -> Tensor:
    """The mean absolute difference of two batches of images."""
    difference: Tensor = ((x - y).abs() * _looked_at(x.shape[2], x.device)).mean()
    return difference


def _told(maps: tuple[Tensor, Tensor]) -> Tensor:
    """What maps tell, in nats an image."""
    means, logs = maps
    told: Tensor = (means.square() + logs.exp() - 1 - logs).sum((1, 2, 3)).mean() / 2
    return told


@cache
def _looked_at(side: int, device: torch.device) -> Tensor:
    """The weight of each place of a map [side, side], 1 on average."""
    places = (torch.arange(side) + 0.5) / side
    across, down = ((-((places - middle) / _AROUND).square() / 2).exp() for middle in _MIDDLE)
    weights = 1 + _MORE * down[:, None] * across
    return (weights / weights.mean()).to(device)


def unit(values: Tensor) -> Tensor:
    """Maps [N, C, side, side] in fp32, each place's values brought to one size."""
    wide = values.float()
    unit: Tensor = wide / (wide.square().mean(1, keepdim=True) + _LEAST).sqrt()
    return unit
