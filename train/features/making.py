"""From pictures and tags to a features file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from animegen import Generator
from animegen.files import check_parent, sha256
from animegen.images import Images
from animegen.pictures import FIT
from train.checkpoint import code_revision
from train.errors import ConfigError
from train.features import training
from train.features.file import FORMAT, FeaturesCard, read, write
from train.features.network import SIZE, FeatureNetwork
from train.tagger.pictures import read_tagged
from train.tagger.tags import UNKNOWN, Labels
from train.tagger.training import minutes_since, to_input
from train.weights import SUFFIX

_GENERATED, _KEPT = 20_000, 1_000  # images of a model, and those of them that are held out


def train_features(
    data: Path,
    tags: Path,
    out: Path,
    *,
    epochs: int,
    seed: int,
    licence: str,
    provenance: str,
    against: Sequence[Path] = (),
    start: Path | None = None,
    each: Callable[[int, int, float], None] = lambda *_: None,
) -> FeaturesCard:
    """Train on the pictures of a folder or zip and their tags, but a tenth of them, and write `out`.

    The network also learns to tell the pictures from those of the models `against`, and goes on from the features in
    `start`.

    Raises:
        ConfigError: `out` isn't a .safetensors file, too few pictures, or a `start` that holds no features.
        ModelError: no model in one of the files `against`.
        DataError: pictures or tags that can't be read.
        TrainingError: the loss is no longer finite.
        OutputError: the file can't be written.
    """
    if out.suffix != SUFFIX:
        raise ConfigError(f"{out} has the extension {out.suffix!r}: features end in {SUFFIX}")
    check_parent(out)
    began, code = time.perf_counter(), code_revision()  # read now: the checkout may move on
    pictures = read_tagged(data, tags, size=SIZE)
    images, labels, kept = pictures.images, pictures.labels, pictures.held_out
    generated = [_generated(path) for path in against]
    lens, network = training.fit(
        images[~kept],
        Labels(labels.groups, labels.classes[~kept]),
        generated=np.concatenate([own[_KEPT:] for own in generated]) if generated else None,
        start=read(start)[0] if start is not None else None,
        epochs=epochs,
        seed=seed,
        each=each,
    )
    card = FeaturesCard(
        kind="features",
        format=FORMAT,
        data=f"{pictures.source}, {FIT} to {SIZE}×{SIZE}",
        data_images=len(images),
        data_sha256=pictures.sha256,
        tags=tags.name,
        trained_on=int((~kept).sum()),
        held_out=int(kept.sum()),
        accuracy={
            **_accuracy(network, images[kept], Labels(labels.groups, labels.classes[kept]), seed),
            **{
                f"told from {path.name}": round(training.share_told(network, images[kept], own[:_KEPT]), 4)
                for path, own in zip(against, generated, strict=True)
            },
        },
        against=[sha256(path) for path in against],
        start_sha256=sha256(start) if start is not None else None,
        epochs=epochs,
        seed=seed,
        minutes=minutes_since(began),
        licence=licence,
        provenance=provenance,
        code=code,
    )
    write(out, lens, card)
    return card


def _generated(path: Path) -> Images:
    """Images of a model, of seeds that nothing else draws."""
    with Generator.load(path, device="cpu") as generator:
        return generator.sample(_GENERATED, seed=2**31)


@torch.no_grad()
def _accuracy(network: FeatureNetwork, images: Images, labels: Labels, seed: int) -> dict[str, float]:
    """The share of right tags in each group, and of pairs of places of which the spoilt one is found."""
    found = {}
    parts = [to_input(images[start : start + 256]) for start in range(0, len(images), 256)]
    guesses = [network.told(network.maps(part)) for part in parts]
    for k, group in enumerate(labels.groups):
        told = labels.classes[:, k] != UNKNOWN
        guess = torch.cat([part[k] for part in guesses]).argmax(1).numpy()
        if told.any():
            found[group] = round(float((guess == labels.classes[:, k])[told].mean()), 4)
    return {**found, "spoilt": round(training.share_found(network, images, seed=seed), 4)}
