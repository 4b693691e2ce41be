"""The Open Inference Protocol, as Triton and KServe speak it: a client of theirs can be pointed at this server.

It knows no seeds and no picture files: latents come in, and labels where the model takes them, and levels go out as
uint8 [N, C, H, W], both named as in the model file format. What is asked waits in the server's own queue.
"""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, FastAPI, Header, Path, Request, Response
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from animegen import __version__
from animegen.errors import UsageError
from animegen.images.stills import Images
from animegen.labels import ask_without_seeds
from animegen.server import tensors
from animegen.server.batcher import Job
from animegen.server.models import Served
from animegen.server.problems import MEDIA_TYPE, Busy, Problem
from animegen.server.routes import get
from animegen.server.service import Service

PREFIX = "/v2"
VERSION = "1"  # the only one that a model has here
_VERSIONS = "/models/{name}/versions/{version}"
_Name = Annotated[str, Path(max_length=200, description="The name of a served model.")]
_Version = Annotated[str, Path(max_length=20, description=f"Always {VERSION}.")]
_Length = Annotated[str | None, Header(alias=tensors.HEADER, max_length=20, description="Of the JSON, in bytes.")]

_ERROR = {
    "description": "What is wrong, in one line.",
    "content": {
        "application/json": {
            "schema": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
        }
    },
}
_BUSY: dict[int | str, dict[str, Any]] = {503: _ERROR}
_TENSOR = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "enum": ["z", "labels"]},
        "datatype": {"type": "string", "enum": ["FP32"]},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 2},
        "parameters": {"type": "object", "properties": {"binary_data_size": {"type": "integer", "minimum": 4}}},
        "data": {"type": "array", "items": {"type": "number"}},
    },
    "required": ["name", "datatype", "shape"],
}
_REQUEST = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "parameters": {"type": "object", "properties": {"binary_data_output": {"type": "boolean"}}},
        "inputs": {"type": "array", "items": _TENSOR, "minItems": 1, "maxItems": 2},
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "enum": ["images"]},
                    "parameters": {"type": "object", "properties": {"binary_data": {"type": "boolean"}}},
                },
                "required": ["name"],
            },
        },
    },
    "required": ["inputs"],
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _REQUEST},
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary", "description": "The JSON, and the tensors' bytes."}
            },
        },
    }
}


def install(app: FastAPI, service: Service) -> None:
    """Let the application speak the protocol.

    Called last: the errors that other middleware answers take the protocol's form too.
    """
    app.include_router(router(service))
    app.add_middleware(ErrorForm)


class ErrorForm:
    """Gives the errors below /v2 the protocol's form: `{"error": …}`, and 400 for whatever is wrong with a request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or not (path == PREFIX or path.startswith(f"{PREFIX}/")):
            await self.app(scope, receive, send)
            return
        started: list[Message] = []
        body = bytearray()

        async def in_form(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_problem(message):
                started.append(message)
            elif not started:
                await send(message)
            else:
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    await _send_error(started[0], bytes(body), send)

        await self.app(scope, receive, in_form)


def _is_problem(start: Message) -> bool:
    return MutableHeaders(raw=start["headers"]).get("content-type", "").startswith(MEDIA_TYPE)


async def _send_error(start: Message, problem: bytes, send: Send) -> None:
    body = json.dumps({"error": json.loads(problem)["detail"]}).encode() if problem else b""
    headers = MutableHeaders(raw=list(start["headers"]))
    headers["content-type"] = "application/json"
    if problem:  # and else it is the answer to a HEAD
        headers["content-length"] = str(len(body))
    status = 400 if start["status"] == 422 else start["status"]
    await send({**start, "status": status, "headers": headers.raw})
    await send({"type": "http.response.body", "body": body})


def router(service: Service) -> APIRouter:
    """The protocol's routes."""
    routes = APIRouter(prefix=PREFIX, tags=["Open Inference Protocol"], responses={"4XX": _ERROR})

    @get(routes, "")
    async def about_the_server() -> dict[str, Any]:
        """The server's name, version and extensions."""
        return {"name": "animegen", "version": __version__, "extensions": ["binary_tensor_data"]}

    @get(routes, "/health/live", response_class=Response)
    async def live() -> Response:
        """Whether the process answers."""
        return Response()

    @get(routes, "/health/ready", response_class=Response, responses=_BUSY)
    async def ready() -> Response:
        """Whether the models are warm and the server isn't stopping."""
        return _ready(service)

    @get(routes, "/models/{name}/ready", response_class=Response, responses=_BUSY)
    async def model_ready(name: _Name) -> Response:
        """Whether a model answers."""
        service.models.choose(name)
        return _ready(service)

    @get(routes, f"{_VERSIONS}/ready", response_class=Response, responses=_BUSY)
    async def version_ready(name: _Name, version: _Version) -> Response:
        """Whether a model answers."""
        _check_version(name, version)
        return await model_ready(name)

    @get(routes, "/models/{name}")
    async def about_a_model(name: _Name) -> dict[str, Any]:
        """The tensors that a model takes and gives."""
        return _metadata(service.models.choose(name))

    @get(routes, _VERSIONS)
    async def about_a_version(name: _Name, version: _Version) -> dict[str, Any]:
        """The tensors that a model takes and gives."""
        _check_version(name, version)
        return await about_a_model(name)

    _add_inference(routes, service)
    return routes


def _add_inference(routes: APIRouter, service: Service) -> None:
    inference: dict[str, Any] = {"response_class": Response, "responses": _BUSY, "openapi_extra": _BODY}

    @routes.post("/models/{name}/infer", **inference)
    async def infer(request: Request, name: _Name, json_length: _Length = None) -> Response:
        """The images of latents, and of labels where the model takes them."""
        served = service.models.choose(name)
        if request.headers.get("content-encoding", "identity") != "identity":
            raise UsageError("the request is compressed and must be sent as it is")
        asked = await asyncio.to_thread(tensors.read, await request.body(), json_length, _inputs(served), "images")
        body, headers = (await service.run(_job(service, served, asked), request)).result
        return Response(body, headers={"Cache-Control": "no-store", **headers})

    @routes.post(f"{_VERSIONS}/infer", **inference)
    async def infer_with_a_version(
        request: Request, name: _Name, version: _Version, json_length: _Length = None
    ) -> Response:
        """The images of latents, and of labels where the model takes them."""
        _check_version(name, version)
        return await infer(request, name, json_length)


def _ready(service: Service) -> Response:
    if service.draining or not service.ready:
        raise Busy("the server is stopping" if service.draining else "the models are warming up")
    return Response()


def _check_version(name: str, version: str) -> None:
    if version != VERSION:
        raise Problem(404, f"{name[:60]} has no version {version!r}: it has {VERSION}")


def _inputs(served: Served) -> dict[str, int]:
    """The inputs by name, each with the values of one image."""
    classes = sum(len(group.classes) for group in served.generator.labels)
    return {"z": served.generator.card.z_dim} | ({"labels": classes} if classes else {})


def _metadata(served: Served) -> dict[str, Any]:
    return {
        "name": served.name,
        "versions": [VERSION],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": name, "datatype": "FP32", "shape": [-1, width]} for name, width in _inputs(served).items()],
        "outputs": [
            {"name": "images", "datatype": "UINT8", "shape": [-1, *served.generator.card.image_shape]},
        ],
    }


def _job(service: Service, served: Served, asked: tensors.Request) -> Job[tuple[bytes, dict[str, str]]]:
    """The batcher's job; all that could be wrong is found before it waits, as its batch-mates would suffer for it."""
    generator, z = served.generator, asked.inputs["z"]
    count, (_, height, width) = len(z), generator.card.image_shape
    if count > service.limits.images or count * height * width > service.limits.pixels:
        most = min(service.limits.images, service.limits.pixels // (height * width))
        raise UsageError(f"the request is of {count} images and must be of at most {most}")
    if not np.isfinite(z).all():
        raise UsageError("z has values that are not finite and must have ordinary numbers")
    y = ask_without_seeds((count,), generator.labels, asked.inputs.get("labels"), model=served.name)
    if generator.signature.labels is not None:
        generator.signature.labels.check(y)
    facts = {"model_name": served.name, "model_version": VERSION} | ({} if asked.id is None else {"id": asked.id})

    def finish(images: Images) -> tuple[bytes, dict[str, str]]:
        return tensors.write(images.transpose(0, 3, 1, 2), "images", facts, binary=asked.binary)

    return Job(generator, count, lambda: (z, y), finish)
