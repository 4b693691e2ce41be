"""From a packed dataset to an autoencoder's file, and from one to others that learnt on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from msgspec import structs

from animegen.files import check_parent, sha256
from animegen.images import Images
from train import checkpoint
from train.autoencoder import sharpening, training, tuning
from train.autoencoder.file import FORMAT, AutoencoderCard, read, write
from train.autoencoder.network import CHANNELS, SIDE, SIZE, Autoencoder
from train.data import Dataset
from train.devices import device_name
from train.errors import ConfigError
from train.features import file as features
from train.features.lens import Lens
from train.tagger.training import minutes_since
from train.weights import SUFFIX

_HELD_OUT = 0.02  # of the images


def train_autoencoder(
    data: Path,
    features_file: Path,
    out: Path,
    *,
    values: int,
    bits: int,
    epochs: int,
    seed: int,
    licence: str,
    provenance: str,
    device: torch.device = training.CPU,
    each: Callable[[int, int, float], None] = lambda *_: None,
) -> AutoencoderCard:
    """Train on the packed dataset `data`, but for a random fiftieth of it, and write `out`.

    Raises:
        ConfigError: `out` isn't a .safetensors file, images of another shape or too few, more values than a map
            has, or no features in `features_file`.
        DataError: no dataset.
        TrainingError: the loss is no longer finite.
        OutputError: the file can't be written.
    """
    _check_out(out)
    if values > CHANNELS * SIDE**2:
        raise ConfigError(f"a code of {values} values is none: a map has {CHANNELS * SIDE**2}, take at most so many")
    began, code = time.perf_counter(), checkpoint.code_revision()  # read now: the checkout may move on
    dataset = _open(data)
    lens, _ = features.read(features_file)
    used, kept = _divided(dataset, seed)
    autoencoder, share = training.fit(
        used, lens, values=values, bits=bits, epochs=epochs, seed=seed, device=device, each=each
    )
    found = training.differences(autoencoder, lens, kept)
    card = AutoencoderCard(
        kind="autoencoder",
        format=FORMAT,
        values=values,
        data=dataset.card.source,
        data_images=dataset.card.count,
        data_sha256=dataset.card.sha256,
        trained_on=len(used),
        held_out=len(kept),
        grey_levels=round(found.grey_levels, 2),
        feature_distance=round(found.features, 4),
        bits=round(found.bits, 1),
        variance=round(share, 3),
        features_sha256=sha256(features_file),
        epochs=epochs,
        seed=seed,
        minutes=minutes_since(began),
        licence=licence,
        provenance=provenance,
        code=code,
        device=device_name(device),
    )
    write(out, autoencoder, card)
    return card


def learn_on(
    path: Path,
    data: Path,
    features_file: Path,
    out: Path,
    *,
    how: Literal["tuned", "sharpened"],
    epochs: int,
    seed: int,
    device: torch.device = training.CPU,
    each: Callable[[int, int, float], None] = lambda *_: None,
) -> AutoencoderCard:
    """Train the autoencoder in `path` further on the same images, and write `out`.

    When it is tuned it learns through its codes, which change; when it is sharpened its decoder learns against a
    critic, and codes stay what they are.

    Raises:
        ConfigError: `out` isn't a .safetensors file, `path` holds no autoencoder, one of other images or, to tune, a
            sharpened one, or no features in `features_file`.
        DataError: no dataset.
        TrainingError: a value is no longer finite.
        OutputError: the file can't be written.
    """
    _check_out(out)
    began, code = time.perf_counter(), checkpoint.code_revision()
    autoencoder, card = read(path)
    dataset = _open_for(data, card, path)
    lens, _ = features.read(features_file)
    used, kept = _divided(dataset, card.seed)
    if how == "tuned":
        if card.sharpened:
            raise ConfigError(f"{path} was sharpened, and tuning it would blur it: tune the one that it was made of")
        autoencoder = tuning.tune(autoencoder, used, lens, epochs=epochs, seed=seed, device=device, each=each)
        # What maps tell, and which share of it codes keep, isn't known of one whose codes aren't cut from maps.
        card = structs.replace(card, tuned=card.tuned + epochs, bits=0.0, variance=0.0)
    else:
        autoencoder = sharpening.sharpen(autoencoder, used, lens, epochs=epochs, seed=seed, device=device, each=each)
        card = structs.replace(card, sharpened=card.sharpened + epochs, share=1.0)
    card = structs.replace(
        card,
        features_sha256=sha256(features_file),
        minutes=round(card.minutes + minutes_since(began), 1),
        code=code,
        device=device_name(device),
        from_sha256=sha256(path),
    )
    return _measured(autoencoder, card, lens, kept, out)


def blend_autoencoders(
    blurred: Path, sharp: Path, data: Path, features_file: Path, out: Path, *, share: float
) -> AutoencoderCard:
    """Write an autoencoder to `out` whose decoder lies between two: `share` of `sharp`, the rest of `blurred`.

    Between two networks of which one was trained from the other the weights themselves can be averaged, and what
    sharpening got wrong fades sooner than what it got right (Wang et al. 2018, ESRGAN, arXiv 1809.00219, section 3.4).

    Args:
        blurred: The autoencoder before it was sharpened.
        sharp: What sharpening made of it.
        data: The images that both were trained on; what was held out of them is measured.
        features_file: The features that what comes back is compared by.
        out: The file to write.
        share: In (0, 1).

    Raises:
        ConfigError: a share outside, `out` isn't a .safetensors file, `sharp` wasn't made of `blurred`, another
            dataset, or no features in `features_file`.
        DataError: no dataset.
        OutputError: the file can't be written.
    """
    _check_out(out)
    if not 0 < share < 1:
        raise ConfigError(f"a share of {share} is not between 0 and 1: take 0.5 for the middle")
    code = checkpoint.code_revision()
    (between, _), (sharper, card) = read(blurred), read(sharp)
    if card.from_sha256 != sha256(blurred):
        raise ConfigError(f"{sharp} wasn't sharpened from {blurred}: give the file that it was made of")
    dataset = _open_for(data, card, sharp)
    lens, _ = features.read(features_file)
    with torch.no_grad():
        for own, other in zip(between.decoder.buffers(), sharper.decoder.buffers(), strict=True):
            own.lerp_(other, share)
    between.round()
    _, kept = _divided(dataset, card.seed)
    card = structs.replace(card, code=code, share=share * card.share, features_sha256=sha256(features_file))
    return _measured(between, card, lens, kept, out)


def _measured(autoencoder: Autoencoder, card: AutoencoderCard, lens: Lens, kept: Images, out: Path) -> AutoencoderCard:
    """Write the autoencoder with what is found of the held-out images in its card."""
    found = training.differences(autoencoder, lens, kept)
    card = structs.replace(card, grey_levels=round(found.grey_levels, 2), feature_distance=round(found.features, 4))
    write(out, autoencoder, card)
    return card


def _check_out(out: Path) -> None:
    if out.suffix != SUFFIX:
        raise ConfigError(f"{out} has the extension {out.suffix!r}: an autoencoder's file ends in {SUFFIX}")
    check_parent(out)


def _open(data: Path) -> Dataset:
    dataset = Dataset.open(data)
    if (dataset.card.size, dataset.card.channels) != (SIZE, 3):
        raise ConfigError(
            f"{data} has images of {dataset.card.size}×{dataset.card.size}×{dataset.card.channels}: an autoencoder is "
            f"for {SIZE}×{SIZE}×3"
        )
    return dataset


def _open_for(data: Path, card: AutoencoderCard, path: Path) -> Dataset:
    dataset = _open(data)
    if dataset.card.sha256 != card.data_sha256:
        raise ConfigError(f"{path} was trained on other images ({card.data}): give it the same ones")
    return dataset


def _divided(dataset: Dataset, seed: int) -> tuple[Images, Images]:
    """The images to train on, and those that are held out."""
    order = np.random.default_rng([seed, 0]).permutation(dataset.card.count)
    kept, used = np.split(order, [max(1, round(_HELD_OUT * len(order)))])
    return dataset.images[np.sort(used)], dataset.images[np.sort(kept)]
