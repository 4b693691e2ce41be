"""The seeds that name images: single ones, ranges, and lists of both as people type them. Whole numbers. No numpy."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from operator import index
from typing import SupportsIndex, overload

from animegen.errors import UsageError

LARGEST = 2**32 - 1  # what numpy.random.RandomState takes


def whole_number(name: str, value: SupportsIndex, least: int = 1, most: int | None = None, *, why: str = "") -> int:
    """`value` as a plain int: integers of numpy and torch are bounded, and sums of them wrap around.

    Raises:
        UsageError: it is no integer, or outside of its range; the message names it, and `why` stands behind the rule.
    """
    rule = f"at least {least}" if most is None else f"from {least} to {most}"
    number = _integer(value)
    if number is None:
        raise UsageError(f"{name} is {value!r} and must be a whole number, {rule}{why}")
    if number < least or (most is not None and number > most):
        raise UsageError(f"{name} is {number} and must be {rule}{why}")
    return number


def _integer(value: SupportsIndex) -> int | None:
    try:
        return None if isinstance(value, bool) else index(value)
    except TypeError:
        return None


def check_seed(seed: SupportsIndex) -> int:
    """Return `seed` as a plain int.

    Raises:
        UsageError: it is no whole number from 0 to 2³²−1.
    """
    number = _integer(seed)
    if number is None or not 0 <= number <= LARGEST:
        shown = repr(seed) if number is None else number
        raise UsageError(f"seed is {shown} and must be a whole number from 0 to {LARGEST}")
    return number


class Seeds(Sequence[int]):
    """Seeds in a given order, held as ranges: a billion of them take no memory.

    Example:
        >>> seeds = Seeds.parse("0-2,77")
        >>> list(seeds), len(seeds), seeds[-1]
        ([0, 1, 2, 77], 4, 77)
    """

    def __init__(self, ranges: Iterable[range]) -> None:
        self._ranges = [part for part in ranges if part]
        self._ends = list(accumulate(map(len, self._ranges)))

    @classmethod
    def starting(cls, seed: SupportsIndex, n: SupportsIndex) -> Seeds:
        """The `n` seeds from `seed` on: image k of a sample is the image of seed + k.

        Raises:
            UsageError: `n` is below 1, or a seed would be out of range.
        """
        seed, n = check_seed(seed), whole_number("n", n)
        if seed + n - 1 > LARGEST:
            raise UsageError(
                f"the last of {n} seeds from {seed} on is {seed + n - 1} and must be at most {LARGEST}: "
                "take a smaller seed or fewer images"
            )
        return cls([range(seed, seed + n)])

    @classmethod
    def parse(cls, text: str) -> Seeds:
        """Read seeds and ranges with commas between them, such as `0-31,77`; a range includes both its ends.

        Raises:
            UsageError: not of that form, a reversed range, or a seed out of range.
        """
        ranges = []
        for part in text.split(","):
            match = re.fullmatch(r"\s*(\d{1,12})\s*(?:-\s*(\d{1,12})\s*)?", part, re.ASCII)
            if match is None:
                raise UsageError(f"seeds have {part.strip()[:40]!r} and must be numbers and ranges, as in 0-31,77")
            first = check_seed(int(match[1]))
            last = check_seed(int(match[2])) if match[2] else first
            if last < first:
                raise UsageError(f"seeds have {part.strip()!r} and must run upwards: write {last}-{first}")
            ranges.append(range(first, last + 1))
        return cls(ranges)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self._ranges)

    @overload
    def __getitem__(self, place: SupportsIndex) -> int: ...

    @overload
    def __getitem__(self, place: slice) -> list[int]: ...

    def __getitem__(self, place: SupportsIndex | slice) -> int | list[int]:
        if isinstance(place, slice):
            return [self[k] for k in range(*place.indices(len(self)))]
        place = index(place)
        k = place + len(self) if place < 0 else place
        if not 0 <= k < len(self):
            raise IndexError(place)
        part = bisect_right(self._ends, k)
        return self._ranges[part][k - self._ends[part]]  # counted from the part's end

    def __str__(self) -> str:
        return ",".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in self._ranges)
