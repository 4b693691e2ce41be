"""The routes that say what is served and how it is."""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from typing import Any

from fastapi import APIRouter, Query, Response

from animegen import __version__
from animegen.server.metrics import CONTENT_TYPE
from animegen.server.problems import Busy
from animegen.server.routes import get, problems
from animegen.server.service import Service

_REFUSED = problems(401)


def router(service: Service) -> APIRouter:
    """The routes of one application."""
    routes = APIRouter()
    models = {"models": [served.facts for served in service.models]}
    config = {
        "engine": "server",
        "version": __version__,
        "limits": asdict(service.limits),
        "formats": ["png", "webp", "jpg", "gif", *(["mp4"] if find_spec("av") else [])],
        **models,
    }

    @get(routes, "/v1/models", summary="All models", tags=["models"], responses=_REFUSED)
    async def of_models() -> dict[str, Any]:
        return models

    @get(routes, "/v1/model", summary="One model", tags=["models"], responses=problems(401, 404, 422))
    async def of_model(model: str | None = Query(None, description="Its name.", max_length=200)) -> dict[str, Any]:
        return service.models.choose(model).facts

    @get(routes, "/config.json", summary="What the page reads first", tags=["server"], responses=_REFUSED)
    async def of_page() -> dict[str, Any]:
        return config

    @get(routes, "/healthz", summary="Whether the process answers", tags=["server"], response_class=Response,
         responses={200: {"content": {"text/plain": {}}}})  # fmt: skip
    async def healthz() -> Response:
        return _text("ok\n")

    @get(routes, "/readyz", summary="Whether to send requests here", tags=["server"], response_class=Response,
         responses={200: {"content": {"text/plain": {}}}, **problems(503)})  # fmt: skip
    async def readyz() -> Response:
        if service.draining or not service.ready:
            raise Busy("the server is stopping" if service.draining else "the models are warming up")
        return _text("ok\n")

    @get(routes, "/metrics", summary="For Prometheus", tags=["server"], response_class=Response,
         responses={200: {"content": {"text/plain": {}}}, **_REFUSED})  # fmt: skip
    async def metrics() -> Response:
        return _text(service.metrics.text(), CONTENT_TYPE)

    return routes


def _text(content: str | bytes, media_type: str = "text/plain; charset=utf-8") -> Response:
    return Response(content, headers={"cache-control": "no-store", "content-type": media_type})
