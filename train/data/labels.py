"""What a dataset's pictures are called: groups of classes, and the class of each picture in each group, or unknown."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from animegen.errors import DataError
from animegen.images.sets import LABELS_FILE, label_hash

logger = logging.getLogger(__name__)

RARE = 100  # images below which a class is called rare: too few for a network to learn its variety
UNKNOWN = -1  # in the place of a class's number
_UNKNOWN_NAMES = {"", "unknown"}
_FEWEST = 2  # images that a class must have to be one: a single one would be learnt by heart
_MOST = np.iinfo(np.int16).max  # classes that their numbers have room for
_SHOWN = 5  # names in a warning


class DatasetGroup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A group such as `hair`: its classes in the order of their numbers, and how many pictures have each."""

    name: str
    classes: tuple[str, ...]  # sorted, two or more
    counts: tuple[int, ...]  # pictures of each class, those that were filled among them
    unknown: int
    filled: int = 0  # pictures whose class an extractor named

    @classmethod
    def of(cls, name: str, classes: tuple[str, ...], numbers: NDArray[np.int16], *, filled: int = 0) -> DatasetGroup:
        """The group with its pictures counted, by the numbers of their classes."""
        unknown, *counts = np.bincount(numbers.astype(np.int64) - UNKNOWN, minlength=len(classes) + 1).tolist()
        return cls(name=name, classes=classes, counts=tuple(counts), unknown=unknown, filled=filled)

    def rare(self) -> list[str]:
        """The classes of fewer than `RARE` images, with their numbers."""
        return [f"{name} ({count})" for name, count in zip(self.classes, self.counts, strict=True) if count < RARE]


@dataclass(frozen=True)
class DatasetLabels:
    """The labels of some pictures.

    Attributes:
        groups: what the columns of `values` are.
        values: int16 [count, len(groups)], the number of a picture's class in each group, or UNKNOWN.
    """

    groups: tuple[DatasetGroup, ...]
    values: NDArray[np.int16]

    @classmethod
    def of(cls, names: Mapping[str, Sequence[str]]) -> DatasetLabels | None:
        """Number the classes of each group by name, from that of each picture's class; "" and "unknown" are none.

        A class of a single picture becomes unknown, and a group of fewer than two classes is left out, both with a
        warning. None where no group remains.

        Raises:
            DataError: a name that can't be printed, or a group's with a sign that commands use; too many classes.
        """
        groups, columns = [], []
        for group, chosen in names.items():
            classes = _classes(group, chosen)
            if len(classes) < 2:
                logger.warning("%s has fewer than two classes of two images or more, and is left out", group)
                continue
            numbers = {name: number for number, name in enumerate(classes)}
            column = np.array([numbers.get(name, UNKNOWN) for name in chosen], np.int16)
            groups.append(DatasetGroup.of(group, classes, column))
            columns.append(column)
        return cls(tuple(groups), np.stack(columns, axis=1)) if groups else None

    @property
    def size(self) -> int:
        """L, the classes of all groups: the length of a picture's one-hot vector."""
        return sum(len(group.classes) for group in self.groups)

    def select(self, names: Sequence[str]) -> DatasetLabels:
        """The labels of these groups only, in this order.

        Raises:
            DataError: a group that isn't there, or one that is named twice.
        """
        places = {group.name: place for place, group in enumerate(self.groups)}
        if missing := [name for name in names if name not in places]:
            raise DataError(f"the dataset has no labels called {', '.join(missing)}: it has {', '.join(places)}")
        if twice := sorted({name for name in names if list(names).count(name) > 1}):
            raise DataError(f"the labels name {', '.join(twice)} twice and must name a group once: {', '.join(places)}")
        columns = [places[name] for name in names]
        return DatasetLabels(tuple(self.groups[column] for column in columns), self.values[:, columns])

    def one_hot(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [len(rows), L]: a 1 for the class of each group, and nothing but zeros in a group that is unknown."""
        vectors = np.zeros((len(rows), self.size), np.float32)
        first = 0
        for column, group in enumerate(self.groups):
            classes = self.values[rows, column]
            (known,) = np.nonzero(classes != UNKNOWN)
            vectors[known, first + classes[known]] = 1
            first += len(group.classes)
        return vectors

    def sha256(self) -> str:
        """The hash of the values and their shape."""
        return label_hash(self.values)

    def save(self, folder: Path) -> None:
        """Write the values beside the images."""
        np.save(folder / LABELS_FILE, np.ascontiguousarray(self.values, "<i2"), allow_pickle=False)

    @classmethod
    def checked(cls, groups: tuple[DatasetGroup, ...], values: NDArray[np.int16], folder: Path) -> DatasetLabels:
        """The labels that `save` wrote into `folder`, whose groups count them as they are.

        Raises:
            DataError: the groups are of other values.
        """
        if not _fit(groups, values):
            raise DataError(
                f"{folder} is damaged: the groups in dataset.json don't fit {LABELS_FILE}; prepare it again"
            )
        return cls(groups, values)


def _classes(group: str, chosen: Sequence[str]) -> tuple[str, ...]:
    """The names that are classes, in order."""
    counts = Counter(name for name in chosen if name.lower() not in _UNKNOWN_NAMES)
    if wrong := [name for name in (group, *counts) if not name.isprintable()] or [
        sign for sign in "=:," if sign in group
    ]:
        raise DataError(f"the group {group!r} has {wrong[0]!r} in its name or classes: rename it, or say --labels none")
    single = sorted(name for name, count in counts.items() if count < _FEWEST)
    if single:
        more = f" and {len(single) - _SHOWN} more" if len(single) > _SHOWN else ""
        logger.warning("%s: one image only, so unknown: %s%s", group, ", ".join(single[:_SHOWN]), more)
    classes = tuple(sorted(counts.keys() - set(single)))
    if len(classes) > _MOST:
        raise DataError(f"{group} has {len(classes)} classes and must have {_MOST} at most: say --labels none")
    return classes


def _fit(groups: tuple[DatasetGroup, ...], values: NDArray[np.int16]) -> bool:
    if values.shape[1] != len(groups) or len({group.name for group in groups}) != len(groups):
        return False
    return all(_fits(group, values[:, column]) for column, group in enumerate(groups))


def _fits(group: DatasetGroup, numbers: NDArray[np.int16]) -> bool:
    ordered = len(group.classes) >= 2 and list(group.classes) == sorted(set(group.classes))
    within = numbers.min(initial=0) >= UNKNOWN and numbers.max(initial=0) < len(group.classes)
    return (
        ordered and bool(within) and DatasetGroup.of(group.name, group.classes, numbers, filled=group.filled) == group
    )
