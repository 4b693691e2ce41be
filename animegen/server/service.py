"""What the routes of one application share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TypeVar

from fastapi import Request

from animegen.server.answers import Keeping
from animegen.server.batcher import Batcher, Done, Job
from animegen.server.limits import Limits
from animegen.server.models import Models
from animegen.server.problems import GONE, Busy, Problem

T = TypeVar("T")
_WATCHED_AFTER = 0.25  # seconds: until then a request is answered sooner than a watch over its client pays


@dataclass
class Service:
    """The models, the batcher and the rules; `ready` and `draining` are what /readyz tells."""

    models: Models
    batcher: Batcher
    limits: Limits
    keeping: Keeping
    ready: bool = field(default=False)
    draining: bool = field(default=False)

    async def run(self, job: Job[T], request: Request) -> Done[T]:
        """The result of a job, unless its client leaves before that.

        Raises:
            Busy: too much waits already, or it took too long.
            Problem: the client has gone.
        """
        future = self.batcher.submit(job)
        try:
            await asyncio.wait([future], timeout=_WATCHED_AFTER)
            if not future.done():
                await self._watched(future, request)
            return future.result()
        finally:
            future.cancel()

    async def _watched(self, future: asyncio.Future[Done[T]], request: Request) -> None:
        gone = asyncio.create_task(_gone(request))
        try:
            await asyncio.wait([future, gone], timeout=self.limits.seconds, return_when=asyncio.FIRST_COMPLETED)
            if gone.done() and not future.done():
                raise Problem(GONE, "the client has gone")
        finally:
            gone.cancel()
        if not future.done():
            raise Busy(f"it took longer than {self.limits.seconds:g} seconds: ask for less, or again later", seconds=5)


async def _gone(request: Request) -> None:
    """Ends when the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
