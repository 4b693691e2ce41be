"""From a packed dataset to an autoencoder's file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from animegen.files import check_parent, sha256
from train.autoencoder import training
from train.autoencoder.file import FORMAT, AutoencoderCard, write
from train.autoencoder.network import SIZE
from train.checkpoint import code_revision
from train.data import Dataset
from train.errors import ConfigError
from train.features import file as features
from train.tagger.training import minutes_since
from train.weights import SUFFIX

_HELD_OUT = 0.02  # of the images


def train_autoencoder(
    data: Path,
    features_file: Path,
    out: Path,
    *,
    channels: int,
    epochs: int,
    seed: int,
    licence: str,
    provenance: str,
    each: Callable[[int, int, float], None] = lambda *_: None,
) -> AutoencoderCard:
    """Train on the packed dataset `data`, but for a random fiftieth of it, and write `out`.

    Raises:
        ConfigError: `out` isn't a .safetensors file, images of another shape or too few, or no features in
            `features_file`.
        DataError: no dataset.
        TrainingError: the loss is no longer finite.
        OutputError: the file can't be written.
    """
    if out.suffix != SUFFIX:
        raise ConfigError(f"{out} has the extension {out.suffix!r}: an autoencoder's file ends in {SUFFIX}")
    check_parent(out)
    began, code = time.perf_counter(), code_revision()  # read now: the checkout may move on
    dataset = Dataset.open(data)
    if (dataset.card.size, dataset.card.channels) != (SIZE, 3):
        raise ConfigError(
            f"{data} has images of {dataset.card.size}×{dataset.card.size}×{dataset.card.channels}: an autoencoder is "
            f"for {SIZE}×{SIZE}×3"
        )
    lens, _ = features.read(features_file)
    order = np.random.default_rng([seed, 0]).permutation(dataset.card.count)
    kept, used = np.split(order, [max(1, round(_HELD_OUT * len(order)))])
    autoencoder = training.fit(
        dataset.images[np.sort(used)], lens, channels=channels, epochs=epochs, seed=seed, each=each
    )
    levels, apart = training.differences(autoencoder, lens, dataset.images[np.sort(kept)])
    card = AutoencoderCard(
        kind="autoencoder",
        format=FORMAT,
        channels=channels,
        data=dataset.card.source,
        data_images=dataset.card.count,
        data_sha256=dataset.card.sha256,
        trained_on=len(used),
        held_out=len(kept),
        grey_levels=round(levels, 2),
        feature_distance=round(apart, 4),
        features_sha256=sha256(features_file),
        epochs=epochs,
        seed=seed,
        minutes=minutes_since(began),
        licence=licence,
        provenance=provenance,
        code=code,
    )
    write(out, autoencoder, card)
    return card
