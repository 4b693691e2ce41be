"""What queries have in common, read and checked before anything waits for a lane."""

from __future__ import annotations

from collections.abc import Iterable

from animegen.errors import UsageError
from animegen.labels import Label, ask, in_order, read_labels
from animegen.seeds import Seeds
from animegen.server.models import Served
from animegen.server.queries import SeedsQuery


def seeds_of(query: SeedsQuery, count: int | None, usual: int, most: int, *, name: str = "n") -> Seeds:
    """The seeds that a query names, at most so many: `seeds`, or else `count` from `seed` on.

    Raises:
        UsageError: both were given, too many, or seeds out of range.
    """
    if query.seeds is None:
        seeds = Seeds.starting(query.seed or 0, usual if count is None else count)
    elif query.seed is not None or count is not None:
        raise UsageError(f"seeds names every seed by itself: leave seed and {name} out, or give those two alone")
    else:
        seeds = Seeds.parse(query.seeds)
    if len(seeds) > most:
        raise UsageError(f"{len(seeds)} seeds are asked for and must be at most {most}: ask for fewer at once")
    return seeds


def labels_of(served: Served, texts: Iterable[str], own: Iterable[str] = ()) -> dict[str, Label]:
    """The labels that are asked for; of a group that `own` names too, those.

    Raises:
        UsageError: the model doesn't have them.
    """
    groups = served.generator.labels
    wanted = in_order({**read_labels(texts, groups), **read_labels(own, groups)}, groups)
    if wanted:
        ask(wanted, served.generator.labels, model=served.generator.card.name)
    return wanted
