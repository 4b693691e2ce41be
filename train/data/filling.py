"""Unknown labels named by an extractor, where it is sure."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from animegen.errors import DataError
from animegen.images.sources import readable
from animegen.images.stills import Images
from animegen.progress import track
from animegen.quality.extractors import Extractor, Features
from train.data.labels import UNKNOWN, DatasetGroup, DatasetLabels

SURE = 0.9  # the probability from which a tag counts
_BATCH = 256  # images mapped from the disk at once


class Filling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who named labels that were unknown, and how many."""

    extractor: str
    sha256: str  # of its file
    probability: float  # from which it counted as sure
    shares: dict[str, float]  # of all images those that were named, by group


def known_groups(extractor: Extractor) -> dict[str, dict[str, int]]:
    """The places of an extractor's tags, such as `hair:blonde`, by group and class."""
    groups: dict[str, dict[str, int]] = {}
    for place, tag in enumerate(extractor.tags):
        group, _, name = tag.partition(":")
        groups.setdefault(group, {})[name] = place
    return groups


def check(extractor: Extractor, classes: dict[str, set[str]]) -> None:
    """Raise DataError unless the extractor names some of these classes of groups."""
    known = known_groups(extractor)
    if not any(known.get(group, {}).keys() & names for group, names in classes.items()):
        raise DataError(
            f"{extractor.name} names {', '.join(known) or 'no tags'}, and the labels are {', '.join(classes)}: it can "
            "fill only classes of the same names"
        )


def fill(labels: DatasetLabels, images: Images, extractor: Extractor) -> tuple[DatasetLabels, Filling]:
    """Name what is unknown where the extractor is sure, and only classes that the group has.

    It is tracked as the job `fill`, a step an image.
    """
    known, values = known_groups(extractor), labels.values.copy()
    groups = [(column, group, known[group.name]) for column, group in enumerate(labels.groups) if group.name in known]
    (rows,) = np.nonzero((values[:, [column for column, *_ in groups]] == UNKNOWN).any(axis=1))
    advance = track("fill", len(rows))
    for part in (rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)):
        probabilities = extractor.tag(images[part])
        for column, group, tags in groups:
            old = values[part, column]
            values[part, column] = np.where(old == UNKNOWN, _sure(probabilities, tags, group.classes), old)
        advance(len(part))
    filled = ((labels.values == UNKNOWN) & (values != UNKNOWN)).sum(axis=0).tolist()
    counted = [
        DatasetGroup.of(group.name, group.classes, values[:, column], filled=filled[column])
        for column, group in enumerate(labels.groups)
    ]
    shares = {group.name: round(group.filled / len(values), 4) for group in counted}
    filling = Filling(extractor=readable(extractor.name), sha256=extractor.sha256, probability=SURE, shares=shares)
    return DatasetLabels(tuple(counted), values), filling


def _sure(probabilities: Features, tags: dict[str, int], classes: tuple[str, ...]) -> NDArray[np.int16]:
    """The best of a group's tags for each image, as the number of its class; UNKNOWN where it is none, or not sure."""
    numbers = {name: number for number, name in enumerate(classes)}
    of_tag = np.array([numbers.get(name, UNKNOWN) for name in tags], np.int16)
    group = probabilities[:, list(tags.values())]
    return np.where(group.max(axis=1) >= SURE, of_tag[group.argmax(axis=1)], UNKNOWN).astype(np.int16)
