"""What the routes of one application share, and how they get something drawn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from starlette.types import Receive

from animegen.images.stills import Images
from animegen.progress import Progress, report_progress
from animegen.server.answers import Keeping
from animegen.server.batcher import Batcher, Done, Job
from animegen.server.limits import Limits
from animegen.server.metrics import Metrics
from animegen.server.models import Models
from animegen.server.problems import GONE, Busy, Problem

T = TypeVar("T")
_WATCHED_AFTER = 0.25  # seconds: who is answered sooner would not have been worth the watch over his connection


class _GivenUpError(Exception):
    """Nobody waits any more for what a thread makes."""


@dataclass
class Service:
    """The models, the lanes and the rules.

    Attributes:
        ready: whether the models are warm.
        draining: whether the server is about to stop; requests are answered as ever.
        closing: whether each connection is told that it is closed after its answer.
    """

    models: Models
    batcher: Batcher
    limits: Limits
    keeping: Keeping
    metrics: Metrics
    ready: bool = False
    draining: bool = False
    closing: bool = False
    _encoder: ThreadPoolExecutor | None = None
    _encoding: int = 0

    def start(self) -> None:
        """Start the lanes, and a thread or a few for what is encoded beside them, on the running event loop."""
        self.batcher.start()
        self._encoder = ThreadPoolExecutor(max(1, self.batcher.lanes // 4), "encoder")

    async def stop(self) -> None:
        """End them; what still waits is answered by 503."""
        await self.batcher.stop()
        if self._encoder is not None:
            self._encoder.shutdown(wait=False, cancel_futures=True)

    async def run(self, job: Job[T], request: Request, *, apart: bool = False) -> Done[T]:
        """The result of a job, unless its client leaves before that.

        `apart` is for what takes long to finish: it is not done in the lanes, but beside them.

        Raises:
            Busy: too much waits already.
            Problem: it took too long, or the client has gone.
        """
        until = asyncio.get_running_loop().time() + self.limits.seconds
        return await (self._apart(job, request, until) if apart else self._drawn(job, request, until))

    async def _drawn(self, job: Job[T], request: Request, until: float) -> Done[T]:
        done = await self._watched(self.batcher.submit(job), request, until)
        self.metrics.drawn(job.generator, job.size, done.queue)
        return done

    async def _apart(self, job: Job[T], request: Request, until: float) -> Done[T]:
        if self._encoder is None or self._encoding >= self.limits.animations:
            raise Busy(f"{self._encoding} animations or large pictures are made already: ask again", seconds=5)
        self._encoding += 1
        try:
            drawn = await self._drawn(Job(job.generator, job.size, job.points, _themselves), request, until)
            began = time.perf_counter()
            encoded = _asked_of(self._encoder, lambda: job.finish(drawn.result))
            result = await self._watched(encoded, request, until)
            return Done(result, drawn.queue, drawn.model, time.perf_counter() - began)
        finally:
            self._encoding -= 1

    async def _watched(self, future: asyncio.Future[T], request: Request, until: float) -> T:
        """The result of a future, unless its client leaves or the time is over, at `until` by the loop's clock."""
        watch = asyncio.get_running_loop().call_later(_WATCHED_AFTER, self._watch, future, request, until)
        try:
            return await future
        finally:
            watch.cancel()

    def _watch(self, future: asyncio.Future[Any], request: Request, until: float) -> None:
        watch = asyncio.create_task(self._outlast(future, request, until))
        future.add_done_callback(lambda _: watch.cancel())

    async def _outlast(self, future: asyncio.Future[Any], request: Request, until: float) -> None:
        """Give a future up once its client has left, or the time is over."""
        error = Problem(GONE, "the client has gone")
        try:
            async with asyncio.timeout_at(until):
                await _gone(request.receive)
        except TimeoutError:
            # No Retry-After: what is too much for the time is so again.
            error = Problem(503, f"it took longer than {self.limits.seconds:g} seconds: ask for less, or later")
        if not future.done():
            future.set_exception(error)


async def _gone(receive: Receive) -> None:
    """Ends when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _asked_of(threads: ThreadPoolExecutor, call: Callable[[], T]) -> asyncio.Future[T]:
    """A future of what a thread makes, which may be given up: the thread then stops at the next step that it counts."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def check(_: Progress) -> None:
        if future.done():
            raise _GivenUpError

    def run() -> T:
        with report_progress(check):
            return call()

    running = loop.run_in_executor(threads, run)

    def pass_on(_: object) -> None:
        if running.cancelled():
            return
        error = running.exception()
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(running.result())

    running.add_done_callback(pass_on)
    future.add_done_callback(lambda _: running.cancel())
    return future


def _themselves(images: Images) -> Images:
    return images
