"""`POST /v1/sample`: many images in one answer, as JSON, a zip or an npz."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated, Literal, Self

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from animegen.errors import UsageError
from animegen.images.sinks import picture_name
from animegen.images.stills import Images
from animegen.labels import Labels, ask, ask_without_seeds, file_suffix, in_order
from animegen.latents import Latents, truncate
from animegen.points import FARTHEST, MOST_TOWARD
from animegen.seeds import Seeds
from animegen.server import encoders
from animegen.server.batcher import Job
from animegen.server.drawing import IN_A_LANE
from animegen.server.limits import Limits
from animegen.server.models import Served
from animegen.server.negotiation import best
from animegen.server.queries import Mode, Seed
from animegen.server.routes import problems
from animegen.server.service import Service

Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Length = Annotated[float, Field(ge=-FARTHEST, le=FARTHEST)]
Class = str | dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]
MEDIA_TYPES = ("application/json", "application/zip", "application/x-npz", "application/octet-stream")
_ANSWER = {
    "type": "object",
    "required": ["model", "sha256", "format", "seeds", "images"],
    "properties": {
        "model": {"type": "string"},
        "sha256": {"type": "string"},
        "format": {"enum": ["png", "webp", "jpg"]},
        "seeds": {"type": ["array", "null"], "items": {"type": "integer"}},
        "images": {"type": "array", "items": {"type": "string", "contentEncoding": "base64"}},
    },
}
_STRICT = ConfigDict(extra="forbid")


class PointAsked(BaseModel):
    """An image between seeds, as in /v1/images."""

    model_config = _STRICT

    seed: Seed
    toward: list[tuple[Seed, Share]] = Field([], max_length=MOST_TOWARD)
    mode: Mode = "slerp"
    moves: dict[Annotated[int, Field(ge=0)], Length] = {}


class SampleAsked(BaseModel):
    """Exactly one of seeds, n (with seed), latents and points says which images."""

    model_config = _STRICT

    seeds: list[Seed] | Annotated[str, Field(max_length=100_000)] | None = Field(
        None, description="A list, or a text such as 0-31,77."
    )
    n: int | None = Field(None, ge=1, description="So many from seed on.")
    seed: Seed | None = None
    latents: list[list[Finite]] | None = Field(None, description="Each of z_dim numbers.")
    points: list[PointAsked] | None = None
    labels: dict[str, Class] = Field({}, description='Such as {"hair": "blue"}.')
    truncation: float = Field(1.0, ge=0, le=1)
    format: Literal["png", "webp", "jpg"] = "png"
    model: str | None = Field(None, max_length=200)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [name for name in ("seeds", "n", "latents", "points") if getattr(self, name) is not None]
        if len(ways) != 1:
            raise ValueError(f"seeds, n, latents or points: one of them must be there, and {ways or 'none'} are")
        if self.seed is not None and self.n is None:
            raise ValueError("seed goes with n")
        return self


@dataclass(frozen=True)
class _Wanted:
    """So many images, where they lie, and the seeds that name them if any do."""

    size: int
    points: Callable[[], tuple[Latents, Labels]]
    seeds: Sequence[int] | None


def router(service: Service) -> APIRouter:
    """The route of one application."""
    routes = APIRouter()
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES[1:]}

    @routes.post(
        "/v1/sample",
        summary="Many images in one answer",
        description="Accept chooses between JSON with pictures in base64, a zip of pictures, and an npz of raw pixels.",
        tags=["pictures"],
        response_class=Response,
        responses={
            200: {"content": {"application/json": {"schema": _ANSWER}, **content}},
            **problems(400, 401, 404, 406, 408, 413, 414, 415, 422, 503),
        },
    )
    async def sample(request: Request, asked: SampleAsked) -> Response:
        kind = best(request.headers.get("accept"), MEDIA_TYPES)
        served = service.models.choose(asked.model)
        wanted = _read(served, asked)
        _check(served, wanted.size, service.limits)

        def finish(images: Images) -> bytes:
            return _FINISH[kind](served, asked, wanted.seeds, images)

        job = Job(served.generator, wanted.size, wanted.points, finish)
        done = await service.run(job, request, apart=wanted.size * prod(served.shape[:2]) > IN_A_LANE)
        headers = {"cache-control": "no-store", "server-timing": done.timing, "vary": "accept"}
        return Response(done.result, headers=headers, media_type=kind)

    return routes


def _read(served: Served, asked: SampleAsked) -> _Wanted:
    generator = served.generator
    ask(asked.labels, generator.labels, model=generator.card.name)
    if asked.latents is not None:
        z = _latents(served, asked.latents, asked.truncation)
        y = ask_without_seeds(z.shape[:1], generator.labels, asked.labels, model=generator.card.name)
        return _Wanted(len(z), lambda: (z, y), None)
    if asked.points is not None:
        points = asked.points
        return _Wanted(len(points), lambda: _points(served, points, asked), None)
    seeds = _seeds(asked)
    return _Wanted(
        len(seeds),
        lambda: (
            generator.latents(seeds, truncation=asked.truncation),
            generator.label_vectors(seeds, asked.labels),
        ),
        seeds,
    )


def _seeds(asked: SampleAsked) -> Sequence[int]:
    if asked.n is not None:
        return Seeds.starting(asked.seed or 0, asked.n)
    return Seeds.parse(asked.seeds) if isinstance(asked.seeds, str) else asked.seeds or []


def _latents(served: Served, rows: list[list[float]], truncation: float) -> Latents:
    z_dim = served.generator.card.z_dim
    if wrong := [len(row) for row in rows if len(row) != z_dim]:
        raise UsageError(f"a latent has {wrong[0]} numbers and must have {z_dim} for {served.name}")
    with np.errstate(over="ignore"):
        z = np.array(rows, np.float32).reshape(len(rows), z_dim)
    if not np.isfinite(z).all():
        raise UsageError("latents hold numbers beyond those of float32 and must hold ordinary ones")
    return truncate(z, truncation)


def _points(served: Served, points: Sequence[PointAsked], asked: SampleAsked) -> tuple[Latents, Labels]:
    found = [
        served.generator.point(
            point.seed,
            toward=point.toward,
            moves=point.moves,
            labels=asked.labels,
            mode=point.mode,
            truncation=asked.truncation,
        )
        for point in points
    ]
    return np.stack([z for z, _ in found]), np.stack([y for _, y in found])


def _check(served: Served, size: int, limits: Limits) -> None:
    if not 1 <= size <= limits.images:
        raise UsageError(f"{size:,} images are asked for and must be from 1 to {limits.images}: ask for fewer at once")
    pixels = size * prod(served.shape[:2])
    if pixels > limits.pixels:
        raise UsageError(f"{size} images have {pixels:,} pixels and must have at most {limits.pixels:,}: ask for fewer")


def _names(served: Served, asked: SampleAsked, seeds: Sequence[int] | None, count: int) -> list[str]:
    """The names of pictures: by their seeds where these alone make them."""
    if seeds is None:
        return [f"image{number:05d}.{asked.format}" for number in range(count)]
    suffix = file_suffix(in_order(asked.labels, served.generator.labels))
    return [picture_name(seed, asked.format, suffix) for seed in seeds]


def _json(served: Served, asked: SampleAsked, seeds: Sequence[int] | None, images: Images) -> bytes:
    pictures = [base64.b64encode(encoders.still(image, asked.format)).decode() for image in images]
    said = {"model": served.name, "sha256": served.sha256, "format": asked.format}
    return json.dumps({**said, "seeds": None if seeds is None else list(seeds), "images": pictures}).encode()


def _zip(served: Served, asked: SampleAsked, seeds: Sequence[int] | None, images: Images) -> bytes:
    buffer = io.BytesIO()
    pictures = dict(
        zip(_names(served, asked, seeds, len(images)), images, strict=True)
    )  # a seed that comes twice stands once
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, image in pictures.items():
            archive.writestr(zipfile.ZipInfo(name), encoders.still(image, asked.format))
    return buffer.getvalue()


def _npz(_served: Served, _asked: SampleAsked, seeds: Sequence[int] | None, images: Images) -> bytes:
    buffer = io.BytesIO()
    arrays = {"images": images} if seeds is None else {"images": images, "seeds": np.array(seeds, np.uint32)}
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


_FINISH = {MEDIA_TYPES[0]: _json, MEDIA_TYPES[1]: _zip, MEDIA_TYPES[2]: _npz, MEDIA_TYPES[3]: _npz}
