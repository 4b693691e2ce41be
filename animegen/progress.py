"""How far a long job is: the one seam between the library, which counts, and whoever shows it.

The library says `advance = track("measure", total)` and calls `advance(n)`. Nobody listens by default; an application
listens for the length of a `with report_progress(listener):`, and the command line draws its bars there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Progress:
    """How far one job is.

    Attributes:
        job: its name, such as `measure`.
        done: steps done, from 0; a job may go back.
        total: of how many; None where that isn't known.
        note: what else is worth a look, such as a loss.
    """

    job: str
    done: int
    total: int | None
    note: str = ""


Listener = Callable[[Progress], None]
_listener: ContextVar[Listener | None] = ContextVar("animegen_progress", default=None)


class Advance(Protocol):
    """Counts `n` more steps of a job; negative where it goes back."""

    def __call__(self, n: int = 1, *, note: str = "") -> None: ...


@contextmanager
def report_progress(listener: Listener) -> Iterator[None]:
    """Tell `listener` of every job that is tracked inside the `with`, in this thread or task.

    Example:
        >>> from animegen import report_progress
        >>> with report_progress(lambda progress: print(progress.job, progress.done)):
        ...     track("count", 2)()
        count 0
        count 1
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def track(job: str, total: int | None = None, *, done: int = 0) -> Advance:
    """Begin a job of `total` steps, of which `done` are done; the result is called as they are made."""
    listener = _listener.get()

    def advance(n: int = 1, *, note: str = "") -> None:
        nonlocal done
        done += n
        if listener is not None:
            listener(Progress(job, done, total, note))

    advance(0)
    return advance
