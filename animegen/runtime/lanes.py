"""Calls of a model side by side: on a CPU two of one thread each are faster than one of two threads."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class Lanes:
    """So many threads, which start with the first work that has a use for them.

    Attributes:
        count: how many calls run at once.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._here = threading.local()
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    @property
    def is_inside(self) -> bool:
        """Whether the calling thread is one of these."""
        return getattr(self._here, "is_lane", False)

    def enter(self) -> None:
        """Make the calling thread one of these for good, for who has threads of its own, as many as lanes."""
        self._here.is_lane = True

    def map(self, work: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        """What `work` makes of each job, lazily and in the order of the jobs.

        As many jobs as there are lanes are under way while the caller handles a result. A single job is done in the
        calling thread, and so are all if there is one lane, or within a lane.
        """
        if self.count == 1 or self.is_inside:
            return map(work, jobs)
        return self._map(work, iter(jobs))

    def _map(self, work: Callable[[Job], Result], jobs: Iterator[Job]) -> Iterator[Result]:
        first = list(islice(jobs, 2))
        if len(first) < 2:
            yield from map(work, first)
            return
        pool = self._started()
        under_way = deque(pool.submit(self._inside, work, job) for job in first)
        try:
            for job in jobs:
                under_way.append(pool.submit(self._inside, work, job))
                if len(under_way) > self.count:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for left in under_way:
                left.cancel()

    def _inside(self, work: Callable[[Job], Result], job: Job) -> Result:
        self.enter()
        return work(job)

    def _started(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None or self._process != os.getpid():  # a forked process has none of its parent's threads
                self._pool, self._process = ThreadPoolExecutor(self.count, "animegen-lane"), os.getpid()
            return self._pool
