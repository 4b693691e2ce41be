"""The routes that draw pictures."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from animegen.images.stills import Images, enlarge
from animegen.labels import read_labels
from animegen.points import read_moves, read_toward
from animegen.seeds import LARGEST
from animegen.server import encoders
from animegen.server.answers import has_it, not_modified, picture
from animegen.server.batcher import Job
from animegen.server.service import Service

Still = Literal["png", "webp", "jpg"]
Model = Annotated[str | None, Query(description="The model's name; the first one's without it.")]
Version = Annotated[str | None, Query(description="The first 12 digits of the model file's sha256.")]
Truncation = Annotated[float, Query(ge=0, le=1, description="ψ: less than 1 gives shorter latents.")]
LabelTexts = Annotated[list[str], Query(description="GROUP=CLASS, once for each group.")]
Toward = Annotated[list[str], Query(description="SEED:SHARE, one after another.")]
Move = Annotated[list[str], Query(description="DIRECTION:LENGTH, once for each.")]
Scale = Annotated[int, Query(ge=1, le=16, description="A square of so many pixels for each.")]


def router(service: Service) -> APIRouter:
    """The routes of one application."""
    routes = APIRouter()

    @routes.api_route("/v1/images/{seed}.{form}", methods=["GET", "HEAD"], response_class=Response)
    async def image(
        request: Request,
        seed: Annotated[int, Path(ge=0, le=LARGEST)],
        form: Still,
        toward: Toward = [],  # noqa: B006
        move: Move = [],  # noqa: B006
        label: LabelTexts = [],  # noqa: B006
        truncation: Truncation = 1.0,
        scale: Scale = 1,
        model: Model = None,
        v: Version = None,
        download: bool = False,
    ) -> Response:
        served = service.models.choose(model)
        headers = service.keeping.headers(request, served, v)
        generator = served.generator
        labels = read_labels(label, generator.labels)
        shares, moves = read_toward(toward), read_moves(move)
        z, y = generator.point(seed, toward=shares, moves=moves, labels=labels, truncation=truncation)
        if has_it(request, headers):
            return not_modified(headers)

        def finish(images: Images) -> bytes:
            return encoders.still(enlarge(images[0], scale), form)

        done = await service.run(Job(generator, 1, lambda: (z[None], y[None]), finish), request)
        return picture(done.result, form, headers | timing(done))

    return routes


def timing(done: Any) -> dict[str, str]:
    """Where the time went, in milliseconds."""
    parts = ("queue", done.queue), ("model", done.model), ("encode", done.finish)
    return {"server-timing": ", ".join(f"{name};dur={1000 * seconds:.2f}" for name, seconds in parts)}
