"""What a step draws, as pure functions of the configuration and the step's number.

Nothing here has a state, so a resumed run draws what the uninterrupted one would have drawn, on any device and in any
number of processes. All is drawn on the CPU: arrays by name, with a row for each of the N images of the global batch.

| name | dtype and shape | what it is |
|---|---|---|
| `rows` | int64 [N] | the real images, by their number in the dataset |
| `mirrored` | bool [N] | which of them are mirrored |
| `z` | float32 [N, z_dim] | the latents of the generated images |
| `label_rows` | int64 [N] | of a generator step that has no `rows`: whose labels its images get; with `labels` |
| `epsilon` | float32 [N] | ε of each x̂ = ε·x + (1−ε)·x̃, in [0, 1) |
| `sign.real`, `sign.fake` | float32 [N] | −1 where the label of an image is flipped, else 1; with `label_noise` |
| `real.…`, `fake.…` | as `augment.draw` has them | the augmentations of each side; with `augment` |
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.config import Config
from train.objective import augment
from train.objective.losses import OBJECTIVES

Arrays = dict[str, NDArray[Any]]

# Each kind of draw has its own stream of the seed. A number never gets another meaning: old runs resume with it.
_ORDER, _MIRROR = 1, 2
_CRITIC_LATENTS, _EPSILON, _GENERATOR_LATENTS = 11, 12, 13
_SIGNS, _CRITIC_AUGMENT, _GENERATOR_AUGMENT = 14, 15, 16
_LABEL_ROWS = 17


def critic_step(config: Config, k: int, images: int) -> Arrays:
    """All that critic step `k` of a run draws, on a dataset of so many `images`; `k` is 0 for the run's first.

    Generated images get the labels of its real ones, in their order: each x̂ then lies between two of one label.
    """
    return {
        **real_images(config, k, images),
        "z": _latents(config, _CRITIC_LATENTS, k),
        "epsilon": _rng(config, _EPSILON, k).random(config.batch_size, np.float32),
        **_label_signs(config, k),
        **_augmentations(config, "real", _CRITIC_AUGMENT, 2 * k),
        **_augmentations(config, "fake", _CRITIC_AUGMENT, 2 * k + 1),
    }


def generator_step(config: Config, k: int, images: int) -> Arrays:
    """All that generator step `k` draws: latents, their labels and augmentations.

    A relativistic objective also takes real images, and their labels: those of the round's last critic step, augmented
    anew.
    """
    arrays = {
        "z": _latents(config, _GENERATOR_LATENTS, k),
        **_augmentations(config, "fake", _GENERATOR_AUGMENT, 2 * k),
    }
    if OBJECTIVES[config.objective].relativistic:
        arrays |= real_images(config, (k // config.n_generator + 1) * config.n_critic - 1, images)
        arrays |= _augmentations(config, "real", _GENERATOR_AUGMENT, 2 * k + 1)
    elif config.labels:
        arrays["label_rows"] = _rng(config, _LABEL_ROWS, k).integers(0, images, config.batch_size)
    return arrays


def real_images(config: Config, k: int, images: int) -> Arrays:
    """`rows` and `mirrored` of critic step `k`: every image comes once an epoch, and a batch may span two epochs."""
    batch = k // config.batch_repeats
    place = np.arange(batch * config.batch_size, (batch + 1) * config.batch_size)
    epochs = place // images
    rows = np.concatenate(
        [_order(config.seed, int(epoch), images)[place[epochs == epoch] % images] for epoch in np.unique(epochs)]
    )
    if not config.flip:
        return {"rows": rows, "mirrored": np.zeros(config.batch_size, bool)}
    return {"rows": rows, "mirrored": _rng(config, _MIRROR, batch).random(config.batch_size) < 0.5}


@lru_cache(maxsize=2)  # the epochs that a batch may span
def _order(seed: int, epoch: int, images: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(images)


def _rng(config: Config, stream: int, k: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, stream, k])


def _latents(config: Config, stream: int, k: int) -> NDArray[np.float32]:
    return _rng(config, stream, k).standard_normal((config.batch_size, config.generator.z_dim), np.float32)


def _label_signs(config: Config, k: int) -> Arrays:
    if not config.label_noise:
        return {}
    flipped = _rng(config, _SIGNS, k).random((2, config.batch_size), np.float32) < config.label_noise
    signs = np.where(flipped, -1, 1).astype(np.float32)
    return {"sign.real": signs[0], "sign.fake": signs[1]}


def _augmentations(config: Config, side: str, stream: int, k: int) -> Arrays:
    if not config.augment:
        return {}
    numbers = augment.draw(_rng(config, stream, k), config.batch_size, config.augment, (config.size, config.size))
    return {f"{side}.{name}": values for name, values in numbers.items()}
