"""Seeds whose images a tagger calls as wanted, found by drawing seeds and scoring their images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from animegen.errors import UsageError
from animegen.generator import Generator
from animegen.images.stills import Images
from animegen.quality.extractors import Extractor
from animegen.seeds import LARGEST, check_seed

GROUPS = ("hair", "eyes", "length")
CONFIDENCE = 0.25  # of two tags each with one half
_BATCH = 32  # seeds drawn before it is seen whether they were enough


@dataclass(frozen=True)
class Found:
    """A seed, and the probability that its image is as wanted: the product of its tags' probabilities."""

    seed: int
    confidence: float


@dataclass(frozen=True)
class Search:
    """What a search found: the best first; `drawn` seeds were looked at."""

    found: tuple[Found, ...]
    drawn: int
    best: Found


def search(
    generator: Generator,
    extractor: Extractor,
    wanted: Mapping[str, str],
    *,
    n: int,
    seed: int = 0,
    most: int = 10_000,
    confidence: float = CONFIDENCE,
    truncation: float = 1.0,
    each: Callable[[Images], None] = lambda _: None,
) -> Search:
    """Draw seeds from `seed` on until `n` of them have the wanted tags, such as hair: blue; at most `most` seeds.

    An image has a tag if no other of its group is as probable; its confidence, the product of the wanted tags'
    probabilities, must reach `confidence` too. Fewer than `n` may come back, even none; `best` is then the likest.

    Raises:
        UsageError: no tag, one that the extractor doesn't know, or numbers that can't be.
    """
    columns, others = _columns(extractor, wanted)
    if n < 1 or most < 1 or not 0 < confidence <= 1:
        raise UsageError(f"n {n}, most {most} and confidence {confidence}: at least 1, at least 1, and over 0 up to 1")
    seeds = iter(range(check_seed(seed), min(seed + most, LARGEST + 1)))
    found: list[Found] = []
    best, drawn = Found(seed, 0.0), 0
    while len(found) < n and (batch := list(islice(seeds, _BATCH))):
        images = generator.sample(seeds=batch, truncation=truncation)
        tags = extractor.tag(images)
        scores = tags[:, columns].prod(axis=1)
        called = [tags[:, column] >= tags[:, group].max(axis=1) for column, group in zip(columns, others, strict=True)]
        for name, score, is_called in zip(batch, scores.tolist(), np.all(called, axis=0), strict=True):
            drawn += 1
            best = max(best, Found(name, score), key=lambda one: one.confidence)
            if is_called and score >= confidence:
                found.append(Found(name, score))
            if len(found) == n:
                break
        each(images)
    found.sort(key=lambda one: -one.confidence)
    return Search(tuple(found), drawn, best)


def _columns(extractor: Extractor, wanted: Mapping[str, str]) -> tuple[list[int], list[list[int]]]:
    """The place of each wanted tag, and those of all tags of its group."""
    if not wanted:
        raise UsageError("nothing was asked for: name at least one of hair, eyes and length")
    columns, others = [], []
    for group, name in wanted.items():
        tag = f"{group}:{name}"
        if tag not in extractor.tags:
            known = ", ".join(known.partition(":")[2] for known in extractor.tags if known.startswith(f"{group}:"))
            raise UsageError(f"{group} {name!r} is unknown to {extractor.name}: {known or 'it names no ' + group}")
        columns.append(extractor.tags.index(tag))
        others.append([k for k, known in enumerate(extractor.tags) if known.startswith(f"{group}:")])
    return columns, others
