"""How a batch is cut for a graph or a device that takes some sizes only, and how its rest is padded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animegen.runtime.lanes import Lanes
from animegen.seeds import whole_number

BATCH_SIZE = 16  # on a CPU an image costs the same in any batch, and small batches keep memory low; CUDA has buckets

Rows = NDArray[Any]


def batch_size_for(sizes: Sequence[int], asked: int | None = None, *, rows: int = 0, lanes: int = 1) -> int:
    """How many rows one call works on: at most as many as were asked for, else the largest of `sizes`, else 16.

    Of so many `rows`, where that is known, each lane gets a share.

    Raises:
        UsageError: fewer than 1 were asked for.
    """
    size = max(sizes, default=BATCH_SIZE) if asked is None else whole_number("batch_size", asked)
    share = -(-rows // lanes)
    return size if sizes or not share or rows < lanes else min(size, share)


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
    call: Callable[[Rows], Rows],
    rows: Rows,
    sizes: Sequence[int],
    *,
    batch_size: int | None = None,
    lanes: Lanes | None = None,
) -> Iterator[Rows]:
    """What `call` makes of `rows`, lazily and in order, cut as it takes them.

    Args:
        call: takes rows [size, …], contiguous, and gives as many results.
        rows: any number of them, [N, …].
        sizes: the batch sizes that `call` takes, smallest first; empty where it takes any. The rest of a batch is
            padded with zeros, and their results are left out.
        batch_size: rows of a batch before it is cut; see `batch_size_for`.
        lanes: where calls run side by side.

    Raises:
        UsageError: `batch_size` is below 1.
    """
    lanes = lanes or Lanes(1)
    step = batch_size_for(sizes, batch_size, rows=len(rows), lanes=lanes.count)  # refused now, not at the first row

    def one(piece: tuple[int, int, int]) -> Rows:
        start, count, size = piece
        return call(_padded(rows[start : start + count], size))[:count]

    return lanes.map(one, _cut(len(rows), step, sizes))


def _cut(n: int, step: int, sizes: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Where each call's rows begin, how many they are, and the batch size that they are padded to."""
    for part in slices(n, step):
        start = part.start
        for count, size in pieces(min(step, n - start), sizes):
            yield start, count, size
            start += count


def _padded(rows: Rows, size: int) -> Rows:
    if len(rows) == size:
        return np.ascontiguousarray(rows)
    batch = np.zeros((size, *rows.shape[1:]), rows.dtype)
    batch[: len(rows)] = rows
    return batch
