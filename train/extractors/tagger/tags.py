"""What the tags of a picture say, as one class of each group; the split into training and held-out pictures."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from animegen.errors import DataError

UNKNOWN = -1  # a class that the tags don't name, or not clearly
LENGTHS = ("long", "short")
_HELD_OUT = 10  # one picture of so many
_FEWEST = 2  # pictures that a class must have to be one


@dataclass(frozen=True)
class Labels:
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


def read_tags(path: Path) -> dict[str, dict[str, str]]:
    """The clear classes of each file in a table of `file<TAB>tags`, such as `3.jpg<TAB>blonde long hair and red eyes`.

    Where a picture has several colours (of several heads, or a label that was merged from some), or is both long
    and short, that group is left open: a class must be the only one to be learnt from and to be counted right.

    Raises:
        DataError: no such file, or a line of another form.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read ({error}): name a table of file names and tags") from error
    classes = {}
    for number, line in enumerate(lines[1:], 2):
        file, tab, text = line.partition("\t")
        if not (file and tab):
            raise DataError(f"{path} has no tab in line {number}: each line is a file name, a tab and its tags")
        classes[file] = _clear(text)
    return classes


def _clear(text: str) -> dict[str, str]:
    words: dict[str, set[str]] = {"hair": set(), "eyes": set(), "length": set()}
    for part in text.split(" and "):
        *adjectives, noun = part.split() or [""]
        for word in adjectives:
            group = "length" if noun == "hair" and word in LENGTHS else noun
            if group in words:
                words[group].add(word)
    return {group: next(iter(names)) for group, names in words.items() if len(names) == 1}


def label(names: Sequence[str], tags: Mapping[str, Mapping[str, str]]) -> Labels:
    """The classes of pictures in the order of their names, whose last part is looked up in the tags.

    Raises:
        DataError: a group in which no two classes have pictures.
    """
    rows = [tags.get(name.rpartition("/")[2], {}) for name in names]
    groups = {group: _frequent(row[group] for row in rows if group in row) for group in ("hair", "eyes", "length")}
    poor = [group for group, classes in groups.items() if len(classes) < 2]
    if poor:
        raise DataError(
            f"the tags name fewer than two classes of {', '.join(poor)} for these pictures and must name two: add tags"
        )
    numbers = {group: {name: number for number, name in enumerate(classes)} for group, classes in groups.items()}
    classes = [[numbers[group].get(row.get(group, ""), UNKNOWN) for group in groups] for row in rows]
    return Labels(groups, np.array(classes, np.int64))


def _frequent(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name, count in Counter(names).items() if count >= _FEWEST))


def held_out(names: Sequence[str]) -> NDArray[np.bool_]:
    """Which pictures are kept from training: a tenth, by the hash of the name's last part, so whatever lies beside."""
    digests = (hashlib.sha256(name.rpartition("/")[2].encode()).digest() for name in names)
    return np.array([int.from_bytes(digest[:8]) % _HELD_OUT == 0 for digest in digests])
