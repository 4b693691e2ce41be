"""What Prometheus is told: a registry of each application's own."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from animegen import __version__
from animegen.generator import Generator
from animegen.server.encoders import engine
from animegen.server.models import Models

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_UNKNOWN = "none"  # the route of what is at no route, so that an address makes no new series


class Metrics:
    """Counters and histograms of one application."""

    def __init__(self, models: Models) -> None:
        self.registry = own = CollectorRegistry()
        self._requests = Counter(
            "animegen_requests", "Answers by route and code.", ["route", "method", "code"], registry=own
        )
        self._latency = Histogram(
            "animegen_request_seconds", "From a request to its answer.", ["route"], buckets=_SECONDS, registry=own
        )
        self._images = Counter("animegen_images", "Images that were drawn and sent.", ["model"], registry=own)
        self._queue = Histogram("animegen_queue_seconds", "Until a lane took a job.", buckets=_SECONDS, registry=own)
        self._batches = Histogram(
            "animegen_batch_images", "Images of a batch.", ["model"], buckets=_IMAGES, registry=own
        )
        self._waiting = Gauge("animegen_waiting_images", "Images that wait for a lane.", registry=own)
        facts = ["version", "engine", "provider", "model"]
        info = Gauge("animegen_build_info", "What runs here.", facts, registry=own)
        ProcessCollector(registry=own)
        self._answers: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._images_of: dict[int, Counter] = {}
        self._batches_of: dict[int, Histogram] = {}
        for served in models:
            generator = served.generator
            info.labels(__version__, engine(generator.engine), generator.device, served.name).set(1)
            self._images_of[id(generator)] = self._images.labels(served.name)
            self._batches_of[id(generator)] = self._batches.labels(served.name)

    def depth(self, read: Callable[[], float]) -> None:
        """Where to read how many images wait."""
        self._waiting.set_function(read)

    def batch(self, generator: Generator, size: int) -> None:
        """A batch of so many images was computed."""
        self._batches_of[id(generator)].observe(size)

    def drawn(self, generator: Generator, images: int, queue: float) -> None:
        """A job of so many images, which waited for so many seconds, is done."""
        self._images_of[id(generator)].inc(images)
        self._queue.observe(queue)

    def answered(self, route: str, method: str, code: int, seconds: float) -> None:
        """A request was answered."""
        counter, histogram = self._of_answers(route, method, code)
        counter.inc()
        histogram.observe(seconds)

    def _of_answers(self, route: str, method: str, code: int) -> tuple[Counter, Histogram]:
        """The series of such answers; there are few of them, and prometheus_client takes longer to find one."""
        key = route, method, code
        if key not in self._answers:
            self._answers[key] = self._requests.labels(*map(str, key)), self._latency.labels(route)
        return self._answers[key]

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self.registry)


class Measured:
    """Counts each answer, by the template of its route."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self.app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, code = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", _UNKNOWN)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.answered(route, method, code, time.perf_counter() - began)


_METHODS = frozenset(("GET", "HEAD", "POST", "OPTIONS"))
