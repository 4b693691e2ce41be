"""The labels of a conditional generator: groups of classes, and those that a seed alone names. numpy only.

A generator takes labels as float32 [N, L]: for each group in order a value for each of its classes, 1 for the one that
is meant and 0 for the others. All zeros in a group mean that its class is unknown.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from animegen.errors import UsageError
from animegen.latents import stream
from animegen.seeds import check_seed

Labels = NDArray[np.float32]
Label = str | int | Mapping[str, float]  # a class, or shares of several
Wanted = Mapping[str, Label]  # of some groups, such as {"hair": "blue", "eyes": {"green": 0.7, "blue": 0.3}}

UNKNOWN = "unknown"  # in the place of a class
_LONGEST_SUFFIX = 120  # bytes: a file's name has 255, a seed and an extension with it


@dataclass(frozen=True)
class LabelGroup:
    """A group such as `hair`: its classes in the order of their numbers, and how often each was seen in training."""

    name: str
    classes: tuple[str, ...]
    counts: tuple[int, ...]  # training images of each class
    unknown: int = 0  # and those whose class was unknown


@dataclass(frozen=True)
class Asked:
    """The labels that somebody asks for.

    Attributes:
        values: float32 [L].
        given: bool [L], the columns of the groups that were named.
    """

    values: Labels
    given: NDArray[np.bool_]

    def over(self, labels: Labels) -> Labels:
        """Labels [N, L] with those of the named groups in their place; the other groups stay as they are."""
        return np.where(self.given, self.values, labels)


def ask(wanted: Wanted | None, groups: Sequence[LabelGroup], *, model: str = "the model") -> Asked:
    """Read labels for a model that takes these groups; a mix is brought to a sum of 1.

    Raises:
        UsageError: a group or class that the model doesn't have, or a mix of no shares; the known ones are listed.
    """
    if wanted is not None and not isinstance(wanted, Mapping):
        raise UsageError(f'labels are {wanted!r} and must be a table such as {{"hair": "blue"}}')
    wanted = wanted or {}
    known = {group.name: group for group in groups}
    if unknown := [name for name in wanted if name not in known]:
        if not known:
            raise UsageError(f"labels name {unknown[0]!r} and must be left out: {model} takes none; search finds seeds")
        raise UsageError(f"labels name {unknown[0]!r} and must name {', '.join(known)}, which {model} takes")
    parts = [_values(wanted[group.name], group) if group.name in wanted else None for group in groups]
    values = [np.zeros(len(group.classes)) if part is None else part for part, group in zip(parts, groups, strict=True)]
    given = [np.full(len(group.classes), part is not None) for part, group in zip(parts, groups, strict=True)]
    return Asked(
        np.concatenate([np.zeros(0), *values]).astype(np.float32), np.concatenate([np.zeros(0, np.bool_), *given])
    )


def ask_each(
    seeds: Sequence[int],
    z_dim: int,
    groups: Sequence[LabelGroup],
    wanted: Wanted | Iterable[Wanted | None] | None,
    *,
    model: str = "the model",
) -> Labels:
    """The labels float32 [len(seeds), L] that seeds draw, with what is asked for, of all or of each its own, over them.

    Raises:
        UsageError: as `draw_labels` and `ask`, or another number of labels than of seeds.
    """
    if not groups and not wanted:
        return np.zeros((len(list(map(check_seed, seeds))), 0), np.float32)
    labels = draw_labels(seeds, z_dim, groups)
    if wanted is None or isinstance(wanted, Mapping):
        return ask(wanted, groups, model=model).over(labels)
    wanted = list(wanted)
    if len(wanted) != len(labels):
        raise UsageError(f"{len(wanted)} labels stand for {len(labels)} seeds and must be one for each or for all")
    rows = [ask(one, groups, model=model).over(row) for one, row in zip(wanted, labels[:, None], strict=True)]
    return np.concatenate([labels[:0], *rows])


def ask_without_seeds(
    shape: tuple[int, ...], groups: Sequence[LabelGroup], wanted: Labels | Wanted | None, *, model: str = "the model"
) -> Labels:
    """Labels float32 [*shape, L]: such an array itself, or what is asked for, and of other groups the usual classes.

    Raises:
        UsageError: an array of another shape or with values that are not finite, or as `ask`.
    """
    if not groups and wanted is None:
        return np.zeros((*shape, 0), np.float32)  # at once: a third of the work on a single image beside the graph's
    common = usual(groups)
    whole = (*shape, len(common))
    if wanted is None or isinstance(wanted, Mapping):
        return np.broadcast_to(ask(wanted, groups, model=model).over(common[None]), whole)
    try:
        labels = np.asarray(wanted, np.float32)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f'labels must be numbers {list(whole)} for {model}, or one table for all, such as {{"hair": "blue"}}'
        ) from error
    if labels.shape != whole or not np.isfinite(labels).all():
        raise UsageError(
            f"labels have the shape {list(labels.shape)} and must be ordinary numbers {list(whole)} for {model}"
        )
    return labels


def sheet_cells(
    seeds: Sequence[int],
    rows: str,
    columns: str | None,
    groups: Sequence[LabelGroup],
    wanted: Wanted | None,
    *,
    model: str = "the model",
) -> list[tuple[int, Wanted]]:
    """The seed and labels of each cell of a sheet, row by row: a row for each class of a group, and a column likewise.

    Without a group of columns there is one for each seed. `wanted` is of other groups and holds for all.

    Raises:
        UsageError: as `ask`, a group that is named twice, no seed, or several of them beside a group of columns.
    """
    if not groups:
        raise UsageError(f"a sheet is of labels, and {model} takes none: name a model that was trained with labels")
    axes = [rows] if columns is None else [rows, columns]
    ask(dict.fromkeys(axes, UNKNOWN), groups, model=model)  # refuses a group that isn't there
    asked = [*axes, *(wanted or {})]
    if twice := [name for name in axes if asked.count(name) > 1]:
        raise UsageError(f"{twice[0]} is named twice and must be the rows, the columns or a label")
    if not seeds or (columns is not None and len(seeds) > 1):
        raise UsageError(f"a sheet has {len(seeds)} seeds and must have one, or without columns one for each")
    classes = {group.name: group.classes for group in groups}
    across: list[tuple[int, Wanted]] = [(seed, {}) for seed in seeds]
    if columns is not None:
        across = [(seeds[0], {columns: name}) for name in classes[columns]]
    return [(seed, {**(wanted or {}), rows: name, **column}) for name in classes[rows] for seed, column in across]


def _values(label: Label, group: LabelGroup) -> NDArray[np.float64]:
    """The values of a group's classes: [len(classes)]."""
    values = np.zeros(len(group.classes))
    if not isinstance(label, Mapping):
        if str(label) != UNKNOWN or UNKNOWN in group.classes:
            values[_place(label, group)] = 1
        return values
    for name, share in label.items():
        if str(name) == UNKNOWN and UNKNOWN not in group.classes:
            raise UsageError(f"{group.name} mixes {UNKNOWN} and must mix classes: {', '.join(group.classes)}")
        if not isinstance(share, int | float | np.number) or not 0 <= share < math.inf:
            raise UsageError(f"{group.name} has {share!r} of {name} and must have an ordinary number of 0 or more")
        values[_place(name, group)] += float(share)
    largest = values.max()
    if not largest:
        raise UsageError(f"{group.name} is a mix that sums to 0 and must have a share of at least one class")
    values /= largest  # so that the sum of huge shares is finite
    return np.asarray(values / values.sum())


def _place(label: str | int, group: LabelGroup) -> int:
    if str(label) not in group.classes:
        raise UsageError(f"{group.name} is {label!r} and must be one of {', '.join(group.classes)}, or {UNKNOWN}")
    return group.classes.index(str(label))


def read_labels(texts: Iterable[str], groups: Sequence[LabelGroup]) -> dict[str, Label]:
    """Labels as people type them, `hair=blue` or a mix such as `eyes=green:0.7+blue:0.3`, in the order of `in_order`.

    What a text means depends on the groups only where a class has one of those signs, or a blank at an end.

    Raises:
        UsageError: a text of another form, or two of one group.
    """
    classes = {group.name: group.classes for group in groups}
    wanted: dict[str, Label] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        name = name if name in classes else name.strip()
        known = classes.get(name, ())
        if not sign or not name or not value.strip():
            raise UsageError(f"label is {text!r} and must be a group and a class, such as hair=blue")
        if name in wanted:
            raise UsageError(f"{name} has two labels and must have one: for a mix write {name}=A:0.7+B:0.3")
        plain = value in known or not re.search(r"[+:]", value)
        wanted[name] = _known(value, known) if plain else _mix(name, value, known)
    return in_order(wanted, groups)


def in_order(wanted: Wanted, groups: Sequence[LabelGroup]) -> dict[str, Label]:
    """The same labels as everybody would write them: groups and the classes of a mix in the model's order.

    A mix of one class is that class. What the model doesn't have stands last, for `ask` to refuse.
    """
    classes = {group.name: group.classes for group in groups}

    def one(group: str, label: Label) -> Label:
        if not isinstance(label, Mapping):
            return label
        known = classes.get(group, ())
        mix = dict(sorted(label.items(), key=lambda item: _rank(str(item[0]), known)))
        (first, *more) = mix or {"": 0}
        is_one = not more and first in known and isinstance(mix[first], int | float) and 0 < mix[first] < math.inf
        return first if is_one else mix

    names = sorted(wanted, key=lambda name: _rank(name, tuple(classes)))
    return {name: one(name, wanted[name]) for name in names}


def _rank(name: str, known: Sequence[str]) -> int:
    return known.index(name) if name in known else len(known)


def _known(name: str, known: Sequence[str]) -> str:
    """A class's name without the blanks around it that people type."""
    return name if name in known else name.strip()


def _mix(group: str, text: str, known: Sequence[str]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for part in text.split("+"):
        name, share = part.rsplit(":", 1) if ":" in part else (part, "1")
        name, share = _known(name, known), share.strip()
        if not re.fullmatch(r"\d+\.?\d*|\.\d+", share, re.ASCII):
            raise UsageError(f"{group} has {share!r} of {name} and must have a number, as in {group}=A:0.7+B:0.3")
        shares[name] = shares.get(name, 0) + float(share)
    return shares


def label_texts(wanted: Wanted) -> list[str]:
    """Labels as `read_labels` takes them."""
    return [f"{group}={_text(label, '{}:{}')}" for group, label in wanted.items()]


def file_suffix(wanted: Wanted) -> str:
    """What labels add to a file's name, such as `-hair-blue`: what every file system takes, another for other labels.

    Signs that not all of them take stand as %2f, and what would be long as the beginning of its sha256.
    """
    parts = [f"-{group}-{_text(label, '{}-{}')}" for group, label in wanted.items()]
    suffix = re.sub(r"[^\w.+-]", lambda sign: f"%{ord(sign[0]):02x}", "".join(parts))
    if len(suffix.encode()) <= _LONGEST_SUFFIX:
        return suffix
    return f"-labels-{hashlib.sha256(suffix.encode()).hexdigest()[:16]}"


def _text(label: Label, form: str) -> str:
    if isinstance(label, Mapping):
        shares = ((name, np.format_float_positional(share, trim="-")) for name, share in label.items())
        return "+".join(form.format(name, share) for name, share in shares)
    return str(label)


def usual(groups: Sequence[LabelGroup]) -> Labels:
    """The class of each group that was seen most often: float32 [L]."""
    most = np.array([[np.argmax(group.counts) for group in groups]], np.int64)
    return np.asarray(one_hot(most, groups)[0])


def blended_loop(stops: Labels, frames: int) -> Labels:
    """Labels [frames, L] on a closed way through `stops` [S, L], beside the latents of `latents.loop`.

    From each stop to the next they are blended with the weight 3t² − 2t³, whose speed is 0 at both, so that nothing
    jumps there.
    """
    position = np.arange(frames) * len(stops) / frames
    k, t = np.divmod(position, 1.0)
    here = k.astype(int)
    weight = (t * t * (3 - 2 * t))[:, None]
    return np.asarray((1 - weight) * stops[here] + weight * stops[(here + 1) % len(stops)], np.float32)


def draw_labels(seeds: Iterable[int], z_dim: int, groups: Sequence[LabelGroup]) -> Labels:
    """The labels that seeds name: float32 [len(seeds), L], of the classes that `draw_classes` gives."""
    return one_hot(draw_classes(seeds, z_dim, groups), groups)


def draw_classes(seeds: Iterable[int], z_dim: int, groups: Sequence[LabelGroup]) -> NDArray[np.int64]:
    """The class of each group that a seed names: int64 [len(seeds), len(groups)], as often as they were in training.

    The law: the stream of `numpy.random.RandomState(seed)` gives the latent's `z_dim` normal values, as
    `latents.from_seeds` draws them, and then one uniform value u in [0, 1) for each group, in order. The class is the
    first of which the counts up to and with its own sum to more than u times all images, those of an unknown class
    among them. Where there is none such, the class is unknown: −1. So row i depends on seeds[i], `z_dim` and the counts
    alone.

    Raises:
        UsageError: a seed is not a whole number from 0 to 2³²−1.
    """
    numbers = list(map(check_seed, seeds))
    streams = map(stream, numbers if groups else ())  # each is drawn from before the next one is asked for
    uniform = [(own.standard_normal(z_dim), own.random_sample(len(groups)))[1] for own in streams]
    return classes_at(np.array(uniform, np.float64).reshape(len(numbers), len(groups)), groups)


def classes_at(uniform: NDArray[np.float64], groups: Sequence[LabelGroup]) -> NDArray[np.int64]:
    """The classes that uniform values [N, groups] in [0, 1) choose, by the groups' counts: int64 [N, groups].

    An unknown class is −1.
    """
    classes = np.empty(uniform.shape, np.int64)
    for column, group in enumerate(groups):
        sums = np.cumsum([*group.counts, group.unknown])
        classes[:, column] = np.searchsorted(sums, uniform[:, column] * sums[-1], side="right")
        classes[classes[:, column] == len(group.classes), column] = -1
    return classes


def one_hot(classes: NDArray[np.int64], groups: Sequence[LabelGroup]) -> Labels:
    """Class numbers [N, groups] as a generator takes them: float32 [N, L]; −1, unknown, gives zeros."""
    parts = [
        (classes[:, k, None] == np.arange(len(group.classes))).astype(np.float32) for k, group in enumerate(groups)
    ]
    return np.concatenate([np.zeros((len(classes), 0), np.float32), *parts], axis=1)
