"""Training the feature network by the faces' tags and by finding what was spoilt."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from animegen.images import Images
from train.devices import choose_precision
from train.errors import ConfigError, TrainingError
from train.features.faults import spoil
from train.features.lens import Lens
from train.features.network import FeatureNetwork
from train.tagger.tags import Labels
from train.tagger.training import augment, loss_of, to_input

BATCH = 64
LEARNING_RATE, RATE_ONWARDS = 2e-3, 5e-4  # AdamW's highest, over one cycle; the lower from an earlier lens on
WEIGHT_DECAY = 0.05
WHITENED_BY = 8192  # images
_SPOILT_WEIGHT = 4.0  # of that task's loss beside the tags'
_GAIN, _SHIFT, _NOISE = 0.15, 0.1, 0.05  # of each channel's contrast and light, and the most noise
_STREAM = 41
_PART = 256


def fit(
    images: Images,
    labels: Labels,
    *,
    generated: Images | None = None,
    start: Lens | None = None,
    epochs: int,
    seed: int,
    each: Callable[[int, int, float], None] = lambda *_: None,
) -> tuple[Lens, FeatureNetwork]:
    """Train on uint8 [N, 64, 64, 3], freeze, and whiten by the same images; `each` is told steps, of how many, loss.

    With `generated` images the network also learns to tell them from the others. It starts with the weights of the
    lens `start`, whose BatchNorms are already in its convolutions, or at random.

    Raises:
        ConfigError: fewer pictures than a batch of them.
        TrainingError: the loss is no longer finite.
    """
    steps_an_epoch = len(images) // BATCH
    if not steps_an_epoch:
        raise ConfigError(f"{len(images)} pictures are fewer than a batch of {BATCH}: bring more")
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, _STREAM])
    network = FeatureNetwork([len(names) for names in labels.groups.values()])
    rate = LEARNING_RATE
    if start is not None:
        network.fold()
        network.load_state_dict(start.network_state(), strict=False)
        rate = RATE_ONWARDS
    network.to(memory_format=torch.channels_last)
    total = epochs * steps_an_epoch
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=total)
    step = 0
    for _ in range(epochs):
        order = rng.permutation(len(images))
        for first in range(0, len(images) - BATCH + 1, BATCH):
            rows = np.sort(order[first : first + BATCH])
            x = augment(to_input(images[rows]), rng)
            with _autocast():
                loss = _of_faces(network, x, torch.from_numpy(labels.classes[rows]), rng)
                if generated is not None:
                    others = to_input(generated[np.sort(rng.integers(len(generated), size=BATCH))])
                    loss = _of_sides(network, x, augment(others, rng), rng) + loss / 2
            if not torch.isfinite(loss):
                raise TrainingError(f"the features' loss at step {step} is not finite: nothing was written")
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            step += 1
            each(step, total, loss.item())
    network.freeze()
    lens = Lens(network)
    whiten(lens, images, seed=seed)
    return lens, network


def whiten(lens: Lens, images: Images, *, seed: int) -> None:
    """Fit the lens's whitening to some of the images."""
    order = np.random.default_rng([seed, _STREAM, 2]).permutation(len(images))
    chosen = images[np.sort(order[:WHITENED_BY])]
    lens.fit([to_input(chosen[first : first + _PART]) for first in range(0, len(chosen), _PART)])


def _of_faces(network: FeatureNetwork, x: Tensor, classes: Tensor, rng: np.random.Generator) -> Tensor:
    """The loss of reading the tags of spoilt faces and finding where they are spoilt."""
    spoilt, shares = spoil(x, rng)
    maps = network.maps(spoilt)
    by_tags = loss_of(tuple(group.float() for group in network.told(maps)), classes)
    return by_tags + _SPOILT_WEIGHT * F.binary_cross_entropy_with_logits(network.spoilt(maps).float(), shares)


def _of_sides(network: FeatureNetwork, real: Tensor, generated: Tensor, rng: np.random.Generator) -> Tensor:
    """The loss of telling the sides apart, as a whole and at each place; both are changed in colour and get noise."""
    whole, places = network.generated(network.maps(_jittered(torch.cat([real, generated]), rng)))
    side = torch.cat([torch.zeros(len(real)), torch.ones(len(generated))])[:, None]
    by_places = F.binary_cross_entropy_with_logits(places.float(), side[:, :, None, None].expand_as(places))
    return F.binary_cross_entropy_with_logits(whole.float(), side) + by_places


def _jittered(x: Tensor, rng: np.random.Generator) -> Tensor:
    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal(shape, np.float32))

    count, channels = x.shape[:2]
    noise = normal(*x.shape) * torch.from_numpy(rng.random((count, 1, 1, 1), np.float32))
    gain, shift = normal(count, channels, 1, 1), normal(count, channels, 1, 1)
    changed = (x * (1 + _GAIN * gain) + _SHIFT * shift + _NOISE * noise).clamp(-1, 1)
    return changed.contiguous(memory_format=torch.channels_last)


def _autocast() -> torch.autocast:
    bf16 = choose_precision("auto", torch.device("cpu")) == "bf16"
    return torch.autocast("cpu", torch.bfloat16, enabled=bf16)


@torch.no_grad()
def share_found(network: FeatureNetwork, images: Images, *, seed: int) -> float:
    """Of pairs of a spoilt and a sound cell in held-out images, the share whose order the network tells: 0.5 is blind.

    Cells count as spoilt from a half on, and as sound below a twentieth.
    """
    rng = np.random.default_rng([seed, _STREAM, 1])
    values, truth = [], []
    for start in range(0, len(images), _PART):
        x, shares = spoil(to_input(images[start : start + _PART]), rng)
        values.append(network.spoilt(network.maps(x)).flatten())
        truth.append(shares.flatten())
    found, share = torch.cat(values).numpy(), torch.cat(truth).numpy()
    bad, good = found[share >= 0.5], np.sort(found[share < 0.05])
    return float(np.searchsorted(good, bad).mean() / len(good)) if len(good) and len(bad) else float("nan")


@torch.no_grad()
def share_told(network: FeatureNetwork, real: Images, generated: Images) -> float:
    """Of pairs of a real and a generated image that it never saw, the share whose order the network tells."""
    sides = []
    for images in (real, generated):
        parts = [to_input(images[start : start + _PART]) for start in range(0, len(images), _PART)]
        sides.append(np.sort(torch.cat([network.generated(network.maps(part))[0] for part in parts]).flatten().numpy()))
    below, above = sides
    return float(np.searchsorted(below, above).mean() / len(below)) if len(below) else float("nan")
