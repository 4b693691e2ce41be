"""The routes that say what is served and how it is."""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from typing import Any

from fastapi import APIRouter, Response

from animegen import __version__
from animegen.server.problems import Busy
from animegen.server.service import Service

GET = ["GET", "HEAD"]


def router(service: Service) -> APIRouter:
    """The routes of one application."""
    routes = APIRouter()

    @routes.api_route("/v1/models", methods=GET)
    async def models() -> dict[str, Any]:
        return {"models": [served.facts for served in service.models]}

    @routes.api_route("/v1/model", methods=GET)
    async def model(model: str | None = None) -> dict[str, Any]:
        return service.models.choose(model).facts

    @routes.api_route("/config.json", methods=GET)
    async def config() -> dict[str, Any]:
        return {
            "engine": "server",
            "version": __version__,
            "limits": asdict(service.limits),
            "formats": ["png", "webp", "jpg", "gif", *(["mp4"] if find_spec("av") else [])],
            "models": [served.facts for served in service.models],
        }

    @routes.api_route("/healthz", methods=GET)
    async def healthz() -> Response:
        return Response("ok\n", media_type="text/plain")

    @routes.api_route("/readyz", methods=GET)
    async def readyz() -> Response:
        if service.draining or not service.ready:
            raise Busy("the server is stopping" if service.draining else "the models are warming up")
        return Response("ok\n", media_type="text/plain")

    return routes
