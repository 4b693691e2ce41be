"""Seeds whose images a tagger calls as wanted, found by drawing seeds and scoring their images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from animegen.errors import UsageError
from animegen.generator import Generator
from animegen.progress import track
from animegen.quality.extractors import DEFAULT, Extractor
from animegen.quality.measure import loaded
from animegen.runtime import Device
from animegen.seeds import LARGEST, check_seed, whole_number

CONFIDENCE = 0.25  # of two tags each with one half
_BATCH = 32  # seeds drawn before it is seen whether they were enough


@dataclass(frozen=True)
class Match:
    """A seed, and the probability that its image is as wanted: the product of its tags' probabilities."""

    seed: int
    confidence: float


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        model: the generator's name.
        matches: the seeds that are as wanted, the best first.
        seen: how many seeds were looked at.
        best: the best match of them all, as wanted or not.
    """

    model: str
    matches: tuple[Match, ...]
    seen: int
    best: Match


def search(
    model: Generator | str | Path,
    wanted: Mapping[str, str],
    *,
    extractor: Extractor | str | Path = DEFAULT,
    n: int = 8,
    seed: int = 0,
    most: int = 10_000,
    confidence: float = CONFIDENCE,
    truncation: float = 1.0,
    batch_size: int | None = None,
    device: Device = "auto",
    threads: int | None = None,
) -> Search:
    """Draw seeds from `seed` on until `n` of them have the wanted tags, at most `most` seeds.

    An image has a tag if no other of its group is as probable; its confidence, the product of the wanted tags'
    probabilities, must reach `confidence` too. Fewer than `n` may come back, even none.

    Args:
        model: a generator, or a model's name, path or address.
        wanted: a tag of each group that matters, such as `{"hair": "blue", "eyes": "green"}`.
        extractor: one that names tags: `anime`, an .onnx file's path, or a loaded one.
        n: how many seeds to find.
        seed: the first seed to look at.
        most: look at no more seeds than this.
        confidence: the least that a match has.
        truncation: as with `Generator.sample`.
        batch_size: images in one call of the model.
        device: of networks that are loaded by name, as with `Generator.load`.
        threads: likewise.

    Raises:
        UsageError: no tag, one that the extractor doesn't know, or a number outside of its range.
        ModelError, DeviceError, MissingPackageError: as with `Generator.load`.
    """
    n, seed, most = whole_number("n", n), check_seed(seed), whole_number("most", most)
    if not 0 < confidence <= 1:
        raise UsageError(f"confidence is {confidence} and must be above 0 and at most 1")
    tagger = Extractor.of(extractor, device=device, threads=threads)
    columns, groups = _columns(tagger, wanted)
    seeds = iter(range(seed, min(seed + most, LARGEST + 1)))
    matches: list[Match] = []
    best, seen = Match(seed, 0.0), 0
    advance = track("search", most)
    with loaded(model, device=device, threads=threads) as generator:
        name = generator.card.name
        while len(matches) < n and (batch := list(islice(seeds, _BATCH))):
            tags = tagger.tag(generator.sample(seeds=batch, truncation=truncation, batch_size=batch_size))
            scores = tags[:, columns].prod(axis=1)
            first = [tags[:, one] >= tags[:, group].max(axis=1) for one, group in zip(columns, groups, strict=True)]
            for number, score, is_first in zip(batch, scores.tolist(), np.all(first, axis=0), strict=True):
                seen += 1
                best = max(best, Match(number, score), key=lambda match: match.confidence)
                if is_first and score >= confidence:
                    matches.append(Match(number, score))
                if len(matches) == n:
                    break
            advance(len(batch))
    matches.sort(key=lambda match: -match.confidence)
    return Search(name, tuple(matches), seen, best)


def _columns(extractor: Extractor, wanted: Mapping[str, str]) -> tuple[list[int], list[list[int]]]:
    """The place of each wanted tag, and those of all tags of its group."""
    if not wanted:
        raise UsageError("no tag is wanted: name at least one of hair, eyes and length")
    columns, groups = [], []
    for group, name in wanted.items():
        tag = f"{group}:{name}"
        if tag not in extractor.tags:
            known = ", ".join(known.partition(":")[2] for known in extractor.tags if known.startswith(f"{group}:"))
            if not known:
                raise UsageError(
                    f"{group} must be left out, as {extractor.name} can't tell it: anime tells hair and eyes"
                )
            raise UsageError(
                f"{group} is {name!r} and must be one of {known}: those are what {extractor.name} can tell"
            )
        columns.append(extractor.tags.index(tag))
        groups.append([k for k, known in enumerate(extractor.tags) if known.startswith(f"{group}:")])
    return columns, groups
