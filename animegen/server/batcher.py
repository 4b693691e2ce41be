"""Requests as batches: what waits while the lanes are busy is the next batch, counted in images."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import numpy as np

from animegen.generator import Generator
from animegen.images.stills import Images
from animegen.labels import Labels
from animegen.latents import Latents
from animegen.server.problems import Busy

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Job(Generic[T]):
    """What one request wants of a model.

    Attributes:
        generator: makes its images.
        size: how many.
        points: gives their latents [size, z_dim] and labels [size, L]; called once, in a lane.
        finish: makes the result of the images uint8 [size, H, W, C], in the lane that made the last of them.
    """

    generator: Generator
    size: int
    points: Callable[[], tuple[Latents, Labels]]
    finish: Callable[[Images], T]


@dataclass(frozen=True)
class Done(Generic[T]):
    """A job's result, and the seconds that it waited, was computed in its batches, and was finished."""

    result: T
    queue: float
    model: float
    finish: float

    @property
    def timing(self) -> str:
        """The three as the header Server-Timing has them, in milliseconds."""
        queue, model, encode = 1000 * self.queue, 1000 * self.model, 1000 * self.finish
        return f"queue;dur={queue:.2f}, model;dur={model:.2f}, encode;dur={encode:.2f}"


class _Entry:
    """A job that waits or is worked on. Its pieces may be in several lanes at once."""

    def __init__(self, job: Job[Any], future: asyncio.Future[Done[Any]]) -> None:
        self.job, self.future = job, future
        self.taken = 0  # images that lanes have taken
        self.made = 0
        self.began = time.perf_counter()
        self.queue = self.model = 0.0
        self._images: Images | None = None
        self._points: tuple[Latents, Labels] | None = None
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        """Images that no lane has taken yet; none if nobody wants them."""
        return 0 if self.future.done() else self.job.size - self.taken

    def points(self) -> tuple[Latents, Labels]:
        """The job's latents and labels, made at the first call."""
        with self._lock:
            if self._points is None:
                self._points = self.job.points()
            return self._points

    def keep(self, part: slice, images: Images, seconds: float) -> Images | None:
        """Put a piece's images in their place; all of the job's once they are there."""
        with self._lock:
            self.model += seconds
            self.made += len(images)
            if len(images) == self.job.size:
                return images
            if self._images is None:
                self._images = np.empty((self.job.size, *images.shape[1:]), np.uint8)
            self._images[part] = images
            return self._images if self.made == self.job.size else None


Piece = tuple[_Entry, slice]
Outcome = tuple[_Entry, Done[Any] | Exception]


class Batcher:
    """Lanes that turn waiting jobs into batches of a model, each in a thread of its own.

    A batch holds as many images as wait, up to `batch`, and lanes that are idle together share them. There is no
    waiting for more unless `wait` says so, which pays only where a call has a fixed cost. A job larger than that is
    worked on in pieces, with others' in between. Jobs whose callers have gone are left out.

    Attributes:
        lanes: how many batches run at once.
        batch: the most images of one.
        limit: the most images that may wait.
        wait: seconds for which an idle lane waits for more images.
        enter: called in each lane's thread when it starts.
        observe: told of each batch whose it was and how many images it had.
    """

    def __init__(
        self,
        *,
        lanes: int,
        batch: int,
        limit: int,
        wait: float = 0.0,
        enter: Callable[[], None] = lambda: None,
        observe: Callable[[Generator, int], None] = lambda *_: None,
    ) -> None:
        self.lanes, self.batch, self.limit, self.wait, self.observe = lanes, batch, limit, wait, observe
        self.waiting = 0  # images
        self.idle = 0  # lanes that look for work
        self._rate = 100.0  # images a second, lately
        self._queues: dict[int, deque[_Entry]] = {}  # of each generator
        self._enter = enter
        self._runs = self._waking = False
        self._lock = threading.Lock()  # over the queues and the counts of their entries
        self._asleep: list[SimpleQueue[None]] = []  # what wakes each lane that sleeps, the last to fall asleep last
        self._ends: list[asyncio.Future[None]] = []  # of the lanes

    def start(self) -> None:
        """Start the lanes, which answer on the running event loop."""
        loop = asyncio.get_running_loop()
        self._runs = True
        threads = ThreadPoolExecutor(self.lanes, "lane", self._enter)
        self._ends = [loop.run_in_executor(threads, self._lane, loop) for _ in range(self.lanes)]
        threads.shutdown(wait=False)

    async def stop(self) -> None:
        """End the lanes after the batches that they are at; what still waits is answered by 503."""
        with self._lock:
            self._runs = False
        self._wake(self.lanes)
        await asyncio.gather(*self._ends)
        for entries in self._queues.values():
            for entry in entries:
                if not entry.future.done():
                    entry.future.set_exception(_stopping())
        self._queues.clear()

    def submit(self, job: Job[T]) -> asyncio.Future[Done[T]]:
        """Let a job wait for a lane. Whoever no longer wants its result cancels the future.

        Raises:
            Busy: too many images wait already, or the lanes are not started.
        """
        if not self._runs:
            raise _stopping()
        if self.waiting + job.size > self.limit:
            raise Busy(f"{self.waiting} images wait already: ask again", seconds=min(30, self.waiting / self._rate))
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Done[T]] = loop.create_future()
        entry = _Entry(job, future)
        with self._lock:
            self._queues.setdefault(id(job.generator), deque()).append(entry)
            self.waiting += job.size
        if not self._waking:
            self._waking = True
            loop.call_soon(self._tell_lanes)
        future.add_done_callback(lambda _: self._forget(entry))
        return future

    def _tell_lanes(self) -> None:
        """Wake idle lanes for all that came in one turn of the event loop, so that it is one batch and not several."""
        self._waking = False
        self._wake(self.waiting)

    def _wake(self, most: int) -> None:
        """Wake so many lanes at most. The last to fall asleep comes first: its core still has the weights at hand."""
        with self._lock:
            woken = [self._asleep.pop() for _ in range(min(most, len(self._asleep)))]
        for lane in woken:
            lane.put(None)

    def _forget(self, entry: _Entry) -> None:
        """Nobody waits any more for what no lane has taken of it."""
        with self._lock:
            self.waiting -= entry.job.size - entry.taken
            entry.taken = entry.job.size

    def _lane(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a lane's thread, which takes its batches itself: between two of them it waits for nobody."""
        wakes: SimpleQueue[None] = SimpleQueue()
        while batch := self._next(wakes):
            loop.call_soon_threadsafe(_tell, self._run(batch))

    def _next(self, wakes: SimpleQueue[None]) -> list[Piece]:
        """The next batch, once there is one; none once the lanes are to end."""
        with self._lock:
            self.idle += 1
        while True:
            with self._lock:
                ends = not self._runs
                batch = [] if ends else self._take(min(self.batch, -(-self.waiting // self.idle)))
                if batch or ends:
                    self.idle -= 1
                    return batch
                self._asleep.append(wakes)
            wakes.get()
            if self.wait and self.waiting < self.batch:
                time.sleep(self.wait)

    def _take(self, room: int) -> list[Piece]:
        """The next batch, of at most `room` images and all of one model.

        The models take turns, and so do the jobs of more than one batch.
        """
        for key in list(self._queues):
            entries = self._queues.pop(key)
            batch = self._fill(entries, room)
            if entries:
                self._queues[key] = entries  # behind the others
            if batch:
                return batch
        return []

    def _fill(self, entries: deque[_Entry], room: int) -> list[Piece]:
        batch: list[Piece] = []
        now = time.perf_counter()
        while entries and room:
            entry = entries.popleft()
            count = min(room, entry.left)
            if not count:
                continue
            if not entry.taken:
                entry.queue = now - entry.began
            batch.append((entry, slice(entry.taken, entry.taken + count)))
            entry.taken += count
            self.waiting -= count
            room -= count
            if entry.left:
                entries.append(entry)
        return batch

    def _run(self, batch: list[Piece]) -> list[Outcome]:
        """In a lane's thread: make the images of a batch, and finish the jobs of which these were the last."""
        outcomes: list[Outcome] = []
        pieces, z, y = [], [], []
        for entry, part in batch:
            try:
                z_of_job, y_of_job = entry.points()
            except Exception as error:  # noqa: BLE001 (it is its caller's, and the others go on)
                outcomes.append((entry, error))
                continue
            pieces.append((entry, part))
            z.append(z_of_job[part])
            y.append(y_of_job[part])
        if not pieces:
            return outcomes
        try:
            return outcomes + self._made(pieces, np.concatenate(z), np.concatenate(y))
        except Exception as error:  # noqa: BLE001 (each caller is told)
            return outcomes + [(entry, error) for entry, _ in pieces]

    def _made(self, pieces: list[Piece], z: Latents, y: Labels) -> list[Outcome]:
        generator = pieces[0][0].job.generator
        began = time.perf_counter()
        images = generator(z, y, batch_size=len(z))
        ended = time.perf_counter()
        self._rate += 0.1 * (len(z) / (ended - began) - self._rate)
        self.observe(generator, len(z))
        outcomes: list[Outcome] = []
        done = 0
        for entry, part in pieces:
            count = part.stop - part.start
            whole = entry.keep(part, images[done : done + count], ended - began)
            done += count
            if whole is not None:
                outcomes.append((entry, _finished(entry, whole)))
        return outcomes


def _tell(outcomes: list[Outcome]) -> None:
    """Give each job's caller the outcome, if he still waits."""
    for entry, outcome in outcomes:
        if entry.future.done():
            continue
        if isinstance(outcome, Exception):
            entry.future.set_exception(outcome)
        else:
            entry.future.set_result(outcome)


def _stopping() -> Busy:
    return Busy("the server is stopping: ask again")


def _finished(entry: _Entry, images: Images) -> Done[Any] | Exception:
    began = time.perf_counter()
    try:
        result = entry.job.finish(images)
    except Exception as error:  # noqa: BLE001 (its caller is told)
        return error
    return Done(result, entry.queue, entry.model, time.perf_counter() - began)
