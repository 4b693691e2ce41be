"""The application: a factory that takes the generators and the limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from animegen import __version__
from animegen.generator import Generator
from animegen.runtime.chunks import batch_size_for
from animegen.runtime.machine import available_cpus
from animegen.server import about, assets, pictures, problems
from animegen.server.answers import Keeping
from animegen.server.batcher import Batcher
from animegen.server.limits import Limits
from animegen.server.models import Models
from animegen.server.security import BearerToken, SecurityHeaders
from animegen.server.service import Service


def create_app(
    generators: Generator | Mapping[str, Generator],
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    *,
    token: str | None = None,
    cors_origins: Collection[str] = (),
    wait: float = 0.0,
) -> FastAPI:
    """An ASGI application that draws with these generators, the first of which is the default."""
    models = Models(generators)
    batcher = _batcher(models, limits, wait)
    service = Service(models, batcher, limits, Keeping(private=token is not None))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        warming = asyncio.create_task(asyncio.to_thread(_warm_up, service))
        try:
            yield
        finally:
            await warming
            await batcher.stop()

    app = FastAPIOffline(
        title="animegen", version=__version__, redoc_url=None, lifespan=lifespan, redirect_slashes=False
    )
    app.state.service = service
    problems.install(app)
    app.include_router(pictures.router(service))
    app.include_router(about.router(service))
    page, open_paths = assets.router()
    app.include_router(page)
    if token is not None:
        app.add_middleware(BearerToken, token=token, open_paths={*open_paths, "/healthz", "/readyz"})
    app.add_middleware(SecurityHeaders, shared=bool(cors_origins))
    return app


def _batcher(models: Models, limits: Limits, wait: float) -> Batcher:
    """On a CPU as many lanes as there are cores for a session's threads; elsewhere one, with the device's batches."""
    generators = [served.generator for served in models]
    on_cpu = all(generator.device == "cpu" for generator in generators)
    threads = max(generator.threads for generator in generators)
    return Batcher(
        lanes=max(1, available_cpus() // threads) if on_cpu else 1,
        batch=16 if on_cpu else max(batch_size_for(()), 128),
        limit=limits.queue,
        wait=wait,
    )


def _warm_up(service: Service) -> None:
    for served in service.models:
        served.generator.warm_up()
        served.generator.image(0)
    service.ready = True
