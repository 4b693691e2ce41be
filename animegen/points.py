"""What leads from one seed's image to another that no seed names: shares of other seeds, and moves along directions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import SupportsFloat

from animegen.errors import UsageError
from animegen.seeds import check_seed, whole_number

Toward = Sequence[tuple[int, float]]  # (seed, share from 0 to 1), one after another
Moves = Mapping[int, float]  # a direction's number: a length in latent space

MOST_TOWARD = 32  # a chain of so many seeds is told apart from any other by no eye
FARTHEST = 1000  # in latent space, where a value has a standard deviation of 1

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?"


def check_toward(toward: Toward) -> list[tuple[int, float]]:
    """The seeds and shares as plain numbers.

    Raises:
        UsageError: more than 32 of them, a seed out of range, or a share outside of 0 … 1.
    """
    if len(toward) > MOST_TOWARD:
        raise UsageError(f"toward has {len(toward)} seeds and must have at most {MOST_TOWARD}")
    return [(check_seed(seed), _number(f"the share of seed {seed}", share, 0, 1)) for seed, share in toward]


def check_moves(moves: Moves, directions: int, model: str) -> list[tuple[int, float]]:
    """The numbers of directions, of which the model has so many, in order, and lengths as plain numbers.

    Raises:
        UsageError: the model has no such direction, or a length outside of −1000 … 1000.
    """
    if moves and not directions:
        raise UsageError(f"{model} has no directions to move along: name a model that has them")
    checked = [
        (
            whole_number("direction", number, 0, directions - 1, why=f" for {model}"),
            _number(f"the move along direction {number}", length, -FARTHEST, FARTHEST),
        )
        for number, length in moves.items()
    ]
    return sorted(checked)  # so that their sum rounds alike in whatever order they come


def read_toward(texts: Iterable[str]) -> list[tuple[int, float]]:
    """Seeds and shares as people type them, such as `1234:0.25`.

    Raises:
        UsageError: a text of another form, or as `check_toward`.
    """
    return check_toward([_pair(text, "toward", "a seed and a share, such as 1234:0.25") for text in texts])


def read_moves(texts: Iterable[str]) -> dict[int, float]:
    """Directions and lengths as people type them, such as `0:1.5`.

    Raises:
        UsageError: a text of another form, or two of one direction.
    """
    moves: dict[int, float] = {}
    for text in texts:
        number, length = _pair(text, "move", "a direction's number and a length, such as 0:1.5")
        if number in moves:
            raise UsageError(f"direction {number} has two moves and must have one")
        moves[number] = length
    return moves


def _pair(text: str, name: str, rule: str) -> tuple[int, float]:
    match = re.fullmatch(rf"\s*(\d{{1,12}})\s*:\s*({_NUMBER})\s*", text, re.ASCII)
    if match is None:
        raise UsageError(f"{name} is {text[:60]!r} and must be {rule}")
    return int(match[1]), float(match[2])


def _number(name: str, value: SupportsFloat, least: float, most: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not least <= number <= most:
        raise UsageError(f"{name} is {value!r} and must be a number from {least} to {most}")
    return number
