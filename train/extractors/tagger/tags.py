"""The tags of pictures as numbered classes of three groups; the split into training and held-out pictures."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from animegen.errors import DataError

UNKNOWN = -1  # a class that the tags don't name, or not clearly
_HELD_OUT = 10  # one picture of so many
_FEWEST = 2  # pictures that a class must have to be one


@dataclass(frozen=True)
class TagClasses:
    """The classes of some pictures.

    Attributes:
        groups: the classes of each group, such as `hair` → (black, blonde, …), in the order of their numbers.
        classes: int64 [N, len(groups)], the number of each picture's class, or UNKNOWN.
    """

    groups: Mapping[str, tuple[str, ...]]
    classes: NDArray[np.int64]

    @property
    def names(self) -> tuple[str, ...]:
        """All classes as `group:class`, one group after the other."""
        return tuple(f"{group}:{name}" for group, names in self.groups.items() for name in names)


def label(names: Sequence[str], tags: Mapping[str, Mapping[str, str]]) -> TagClasses:
    """The classes of pictures in the order of their names: each is looked up in the tags whole, or else its last part.

    Raises:
        DataError: a group in which no two classes have pictures.
    """
    rows = [tags.get(name) or tags.get(name.rpartition("/")[2], {}) for name in names]
    groups = {group: _frequent(row[group] for row in rows if group in row) for group in ("hair", "eyes", "length")}
    poor = [group for group, classes in groups.items() if len(classes) < 2]
    if poor:
        raise DataError(
            f"the tags name fewer than two classes of {', '.join(poor)} for these pictures and must name two: add tags"
        )
    numbers = {group: {name: number for number, name in enumerate(classes)} for group, classes in groups.items()}
    classes = [[numbers[group].get(row.get(group, ""), UNKNOWN) for group in groups] for row in rows]
    return TagClasses(groups, np.array(classes, np.int64))


def _frequent(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name, count in Counter(names).items() if count >= _FEWEST))


def held_out(names: Sequence[str]) -> NDArray[np.bool_]:
    """Which pictures are kept from training: a tenth, by the hash of the name's last part, so whatever lies beside."""
    digests = (hashlib.sha256(name.rpartition("/")[2].encode()).digest() for name in names)
    return np.array([int.from_bytes(digest[:8]) % _HELD_OUT == 0 for digest in digests])
