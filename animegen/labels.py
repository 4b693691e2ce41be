"""The labels of a conditional generator: groups of classes, and those that a seed alone names. numpy only.

A generator takes labels as float32 [N, L]: for each group in order a value for each of its classes, 1 for the one that
is meant and 0 for the others. All zeros in a group mean that its class is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from animegen.seeds import check_seed


@dataclass(frozen=True)
class LabelGroup:
    """A group such as `hair`: its classes in the order of their numbers, and how often each was seen in training."""

    name: str
    classes: tuple[str, ...]
    counts: tuple[int, ...]  # training images of each class; those whose class was unknown are not among them


def draw_labels(seeds: Iterable[int], z_dim: int, groups: Sequence[LabelGroup]) -> NDArray[np.float32]:
    """The labels that seeds name: float32 [len(seeds), L], of the classes that `draw_classes` gives."""
    return one_hot(draw_classes(seeds, z_dim, groups), groups)


def draw_classes(seeds: Iterable[int], z_dim: int, groups: Sequence[LabelGroup]) -> NDArray[np.int64]:
    """The class of each group that a seed names: int64 [len(seeds), len(groups)], as often as they were in training.

    The law: the stream of `numpy.random.RandomState(seed)` gives the latent's `z_dim` normal values, as
    `latents.from_seeds` draws them, and then one uniform value u in [0, 1) for each group, in order. The class is the
    first of which the counts up to and with its own sum to more than u times all of them. So row i depends on seeds[i],
    `z_dim` and the counts alone, and an unknown class is never drawn.

    Raises:
        UsageError: a seed is not a whole number from 0 to 2³²−1.
    """
    streams = map(np.random.RandomState, map(check_seed, seeds))
    uniform = [(stream.standard_normal(z_dim), stream.random_sample(len(groups)))[1] for stream in streams]
    values = np.array(uniform, np.float64).reshape(len(uniform), len(groups))
    classes = np.empty(values.shape, np.int64)
    for column, group in enumerate(groups):
        sums = np.cumsum(group.counts)
        classes[:, column] = np.searchsorted(sums, values[:, column] * sums[-1], side="right")
    return classes


def one_hot(classes: NDArray[np.int64], groups: Sequence[LabelGroup]) -> NDArray[np.float32]:
    """Class numbers [N, groups] as a generator takes them: float32 [N, L]."""
    parts = [np.eye(len(group.classes), dtype=np.float32)[classes[:, k]] for k, group in enumerate(groups)]
    return np.concatenate([np.zeros((len(classes), 0), np.float32), *parts], axis=1)
