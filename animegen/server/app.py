"""The application: a factory that takes the generators and the limits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from animegen import __version__
from animegen.errors import UsageError
from animegen.generator import Generator
from animegen.runtime.chunks import batch_size_for
from animegen.server import about, animations, assets, pictures, problems, sampling
from animegen.server.answers import Keeping
from animegen.server.batcher import Batcher
from animegen.server.door import Door
from animegen.server.guards import Guard
from animegen.server.limits import Limits
from animegen.server.metrics import Measured, Metrics
from animegen.server.models import Models
from animegen.server.routes import PictureRoute
from animegen.server.security import BearerToken, SecurityHeaders, check_origin, check_token
from animegen.server.service import Service
from animegen.server.tensors import HEADER

logger = logging.getLogger(__name__)

_DESCRIPTION = """Pictures by a GAN: a seed names one, and the same address is always the same picture.

Errors are `application/problem+json` (RFC 9457), with a line for people in `detail`."""


# What asks whether a server lives asks without a token.
_PROBES = ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")


def create_app(
    generators: Generator | Mapping[str, Generator],
    limits: Limits | None = None,
    *,
    token: str | None = None,
    cors_origins: Collection[str] = (),
    wait: float = 0.0,
    v2: bool = False,
) -> FastAPI:
    """An ASGI application that draws with these generators, by name; the first is meant where a request names none.

    It has lanes of its own, which its lifespan starts: whatever runs it must run that. On a CPU there are as many as
    the generators have threads, on another device there is one.

    Args:
        generators: they may be used elsewhere meanwhile, and are not closed here.
        limits: what one request may ask, and how much may wait.
        token: whoever asks must send it; the page's own files, `/healthz` and `/readyz` are open.
        cors_origins: the pages of other origins that may ask, such as https://example.org, or * for all.
        wait: seconds for which an idle lane waits for a fuller batch; it pays only where a call has a fixed cost.
        v2: speak the Open Inference Protocol too, below /v2, as clients of Triton and KServe do.

    Raises:
        UsageError: no generator, or a token, an origin or a wait that can't be one.
    """
    if not 0 <= wait <= 1:
        raise UsageError(f"wait is {wait} and must be from 0 to 1 second")
    service = _service(Models(generators), limits or Limits(), wait, private=token is not None)
    app = FastAPI(
        title="animegen",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(service),
        redirect_slashes=False,
        # Nothing is measured or sent by FastAPI itself; looking whether somebody wants it took 20 µs of each request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.service = service
    problems.install(app)
    page, open_paths = assets.page()
    pictures.add_to(app, service)
    animations.add_to(app, service)
    for router in (sampling.router(service), about.router(service), assets.docs(), page):
        app.include_router(router)
    # The last one that is added is asked first.
    app.add_middleware(Door, routes=[route for route in app.router.routes if isinstance(route, PictureRoute)])
    app.add_middleware(problems.Unforeseen)
    app.add_middleware(Guard, limits=service.limits)
    if token is not None:
        app.add_middleware(BearerToken, token=check_token(token), open_paths={*open_paths, *_PROBES})
    if cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[check_origin(origin) for origin in cors_origins],
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=["Authorization", "Content-Type", "If-None-Match", HEADER],
            expose_headers=["ETag", "Retry-After", "Server-Timing", HEADER],
        )
    if v2:
        from animegen.server import v2 as protocol

        protocol.install(app, service)
    app.add_middleware(SecurityHeaders, service=service, shared=bool(cors_origins))
    app.add_middleware(Measured, metrics=service.metrics)
    return app


def _service(models: Models, limits: Limits, wait: float, *, private: bool) -> Service:
    sessions = [served.generator.session for served in models]

    def enter() -> None:
        for session in sessions:
            session.lanes.enter()

    metrics = Metrics(models)
    batcher = Batcher(
        lanes=max(session.lanes.count for session in sessions),
        batch=max(batch_size_for(session.buckets) for session in sessions),
        limit=limits.queue,
        wait=wait,
        enter=enter,
        observe=metrics.batch,
    )
    metrics.depth(lambda: batcher.waiting)
    return Service(models, batcher, limits, Keeping(private=private), metrics)


def _lifespan(service: Service) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.start()
        warming = asyncio.create_task(asyncio.to_thread(_warm_up, service))
        try:
            yield
        finally:
            await asyncio.gather(warming, return_exceptions=True)
            await service.stop()

    return lifespan


def _warm_up(service: Service) -> None:
    """Run each model once, so that the first request doesn't wait for what a session does at first."""
    try:
        for served in service.models:
            served.generator.warm_up()
            served.generator.image(0)
    except Exception:
        logger.exception("the models can't be run: the server will not be ready")
    else:
        service.ready = True
