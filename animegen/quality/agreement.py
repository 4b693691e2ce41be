"""What labels are worth: how often a tagger agrees with them, and how far images of a class are from real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from animegen.generator import Generator
from animegen.images.sets import ImageSet, picked
from animegen.labels import draw_classes
from animegen.quality.distances import frechet_distance
from animegen.quality.extractors import Extractor, Features
from animegen.quality.statistics import Statistics
from animegen.seeds import Seeds

_MOST = 2048  # images of each kind that are tagged: a share of one half is then known to ±2 % (two standard errors)
_STREAM = 52


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Of one group of labels: the share of images whose most probable tag of the group is their label.

    Attributes:
        group: such as `hair`.
        generated: the share among generated images, whose labels are those that their seeds draw.
        images: how many of them had a label that the tagger knows.
        real: the share among real images, by their own labels; None without such.
        real_images: how many of them had a label that the tagger knows.
        filled: of all real images, those whose label an extractor named: with many of them `real` praises itself.
    """

    group: str
    generated: float
    images: int
    real: float | None = None
    real_images: int = 0
    filled: int = 0


@dataclass(frozen=True, kw_only=True)
class Within:
    """The Fréchet distance between generated and real images of one class.

    Miyato & Koyama 2018 (arXiv 1802.05637), section 4, "intra FID": the mean over the classes of a group.

    Attributes:
        group: such as `hair`.
        fid: the mean over `classes`.
        classes: each class's own; only of those with more images than features on both sides, as with fewer a
            covariance is singular.
        images: the fewest that a class has on a side.
    """

    group: str
    fid: float
    classes: Mapping[str, float]
    images: int


def within(
    generator: Generator, seeds: Sequence[int], features: Features, real: ImageSet, real_features: Features
) -> tuple[Within, ...]:
    """Those distances for each group that the generator and the real images have.

    `features` [len(seeds), D] are of the generated images of seeds, `real_features` [real.count, D] of all real ones.
    """
    if real.labels is None:
        return ()
    classes = draw_classes(seeds, generator.card.z_dim, generator.labels)
    distances = []
    for group, numbers in zip(generator.labels, classes.T, strict=True):
        for known, values in zip(real.labels.groups, real.labels.values.T, strict=True):
            sides = {
                name: (features[numbers == number], real_features[values == known.classes.index(name)])
                for number, name in enumerate(group.classes)
                if known.name == group.name and name in known.classes
            }
            sides = {name: pair for name, pair in sides.items() if min(map(len, pair)) > features.shape[1]}
            fids = {
                name: frechet_distance(Statistics.of([fake]), Statistics.of([true]))
                for name, (fake, true) in sides.items()
            }
            if fids:
                least = min(min(map(len, pair)) for pair in sides.values())
                distances.append(Within(group=group.name, fid=fmean(fids.values()), classes=fids, images=least))
    return tuple(distances)


def agreements(
    generator: Generator,
    extractor: Extractor,
    seeds: Seeds,
    real: ImageSet | None = None,
    *,
    truncation: float = 1.0,
    batch_size: int | None = None,
) -> tuple[Agreement, ...]:
    """The agreement of each group that both the generator and the extractor have; at most 2,048 images are tagged.

    Raises:
        DataError: images that the extractor doesn't take.
    """
    columns = {group.name: _columns(extractor, group.name, group.classes) for group in generator.labels}
    columns = {name: places for name, places in columns.items() if (places >= 0).sum() > 1}
    if not columns:
        return ()
    tagged = seeds[:_MOST]
    classes = draw_classes(tagged, generator.card.z_dim, generator.labels)
    batches = generator.stream(tagged, truncation=truncation, batch_size=batch_size)
    tags = np.concatenate([extractor.tag(batch, batch_size=batch_size) for batch in batches])
    agreed = []
    for number, group in enumerate(generator.labels):
        if group.name in columns:
            drawn = classes[:, number]
            places = np.where(drawn >= 0, columns[group.name][drawn], -1)
            share, images = _share(tags, extractor, group.name, places)
            if images:
                agreed.append(Agreement(group=group.name, generated=share, images=images))
    if real is None or real.labels is None:
        return tuple(agreed)
    return tuple(_beside_real(agreement, extractor, real, batch_size) for agreement in agreed)


def untold(
    generator: Generator,
    extractor: Extractor,
    real: ImageSet | None,
    agreed: Sequence[Agreement],
    in_classes: Sequence[Within],
) -> list[str]:
    """Why groups of a generator's labels have no agreement, or beside training images no distance within them."""
    lines = []
    for group in generator.labels:
        if group.name not in [agreement.group for agreement in agreed]:
            lines.append(
                f"how often {group.name} is as asked for is not told: the extractor {extractor.name} names no such tags"
            )
        if real is not None and group.name not in [one.group for one in in_classes]:
            why = f"that takes more than {extractor.dimensions:,} images of a class, on both sides"
            if real.labels is None or group.name not in [known.name for known in real.labels.groups]:
                why = "the training images have no such labels"
            lines.append(f"there is no FID within {group.name}: {why}")
    return lines


def _beside_real(agreement: Agreement, extractor: Extractor, real: ImageSet, batch_size: int | None) -> Agreement:
    """The agreement with the same share of real images, if they have such labels."""
    assert real.labels is not None
    names = [group.name for group in real.labels.groups]
    if agreement.group not in names:
        return agreement
    group = real.labels.groups[names.index(agreement.group)]
    classes = real.labels.values[:, names.index(agreement.group)]
    (known,) = np.nonzero(classes >= 0)
    rows = np.sort(np.random.default_rng([_STREAM, real.count]).permutation(known)[:_MOST])
    if not len(rows):
        return agreement
    tags = extractor.tag(picked(real, rows), batch_size=batch_size)
    places = _columns(extractor, group.name, group.classes)[classes[rows]]
    share, images = _share(tags, extractor, group.name, places)
    if not images:  # its classes are others than the extractor's
        return agreement
    return Agreement(
        group=agreement.group,
        generated=agreement.generated,
        images=agreement.images,
        real=share,
        real_images=images,
        filled=group.filled,
    )


def _columns(extractor: Extractor, group: str, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """The place of each class among the extractor's tags; −1 for those that it doesn't know."""
    places = {tag: place for place, tag in enumerate(extractor.tags)}
    return np.array([places.get(f"{group}:{name}", -1) for name in classes], np.int64)


def _share(tags: Features, extractor: Extractor, group: str, labels: NDArray[np.int64]) -> tuple[float, int]:
    """The share of images [N] whose most probable tag of the group is their label, among those with a known label."""
    of_group = np.array([place for place, tag in enumerate(extractor.tags) if tag.startswith(f"{group}:")])
    best = of_group[tags[:, of_group].argmax(axis=1)]
    known = labels >= 0
    return float((best == labels)[known].mean()) if known.any() else 0.0, int(known.sum())
