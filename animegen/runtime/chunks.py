"""How a batch is cut for a graph or a device that takes some sizes only, and how its rest is padded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animegen.seeds import whole_number

BATCH_SIZE = 16  # on a CPU an image costs the same in any batch, and small batches keep memory low; CUDA has buckets

Rows = NDArray[Any]


def batch_size_for(sizes: Sequence[int], asked: int | None = None) -> int:
    """How many rows are worked on at once: as many as were asked for, else the largest of `sizes`, else 16.

    Raises:
        UsageError: fewer than 1 were asked for.
    """
    if asked is None:
        return max(sizes, default=BATCH_SIZE)
    return whole_number("batch_size", asked)


def slices(n: int, size: int) -> Iterator[slice]:
    """Where the batches of `size` begin and end among `n` rows; the last may be smaller."""
    return (slice(start, start + size) for start in range(0, n, size))


def pieces(n: int, sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Cut a batch of `n` for what takes only these batch sizes, smallest first: (rows, batch size) pairs.

    As many of the largest as are full, then one that is padded: the smallest that holds the rest. Without sizes the
    batch stays whole.
    """
    if not sizes:
        return [(n, n)]
    largest = sizes[-1]
    cut = [(largest, largest)] * (n // largest)
    rest = n % largest
    if rest:
        cut.append((rest, next(size for size in sizes if size >= rest)))
    return cut


def run(
    call: Callable[[Rows], Rows], rows: Rows, sizes: Sequence[int], *, batch_size: int | None = None
) -> Iterator[Rows]:
    """What `call` makes of `rows`, lazily and in order, cut as it takes them.

    Args:
        call: takes rows [size, …], contiguous, and gives as many results.
        rows: any number of them, [N, …].
        sizes: the batch sizes that `call` takes, smallest first; empty where it takes any. The rest of a batch is
            padded with zeros, and their results are left out.
        batch_size: rows of a batch before it is cut; see `batch_size_for`.

    Raises:
        UsageError: `batch_size` is below 1.
    """
    step = batch_size_for(sizes, batch_size)  # refused now, not at the first row
    return _run(call, rows, sizes, step)


def _run(call: Callable[[Rows], Rows], rows: Rows, sizes: Sequence[int], step: int) -> Iterator[Rows]:
    for part in slices(len(rows), step):
        batch = rows[part]
        done = 0
        for count, size in pieces(len(batch), sizes):
            yield call(_padded(batch[done : done + count], size))[:count]
            done += count


def _padded(rows: Rows, size: int) -> Rows:
    if len(rows) == size:
        return np.ascontiguousarray(rows)
    batch = np.zeros((size, *rows.shape[1:]), rows.dtype)
    batch[: len(rows)] = rows
    return batch
