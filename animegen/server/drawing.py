"""A picture that a request asks for, and its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from fastapi import Request, Response

from animegen.errors import UsageError
from animegen.images.animation import check_animation, encode_animation
from animegen.images.formats import STILLS
from animegen.images.stills import Images, enlarge
from animegen.labels import Labels
from animegen.latents import Latents
from animegen.server import encoders
from animegen.server.answers import has_it
from animegen.server.batcher import Job
from animegen.server.limits import Limits
from animegen.server.models import Served
from animegen.server.queries import MotionQuery, PictureQuery
from animegen.server.service import Service

Points = Callable[[], tuple[Latents, Labels]]
Record = Mapping[str, Any]

IN_A_LANE = 2**20  # pixels: an encoder takes so long for more that others would wait for the lane


@dataclass(frozen=True, eq=False)
class Drawing:
    """A picture, before it is made.

    Attributes:
        served: the model that draws it.
        size: how many images it takes.
        points: gives their latents [size, z_dim] and labels [size, L].
        form: png, webp, jpg, gif or mp4.
        encode: makes its bytes of the images uint8 [size, H, W, C] and of the record that it carries if that is asked.
        record: gives what it says of itself.
        name: gives that of its file, without the extension.
        apart: whether its encoder takes long.
    """

    served: Served
    size: int
    points: Points
    form: str
    encode: Callable[[Images, Record | None], bytes]
    record: Callable[[], Record]
    name: Callable[[], str]
    apart: bool

    async def answer(self, service: Service, request: Request, query: PictureQuery) -> Response:
        """The picture as a response; nothing is drawn for who has it, or asks for its headers only."""
        headers = service.keeping.headers(request, self.served, query.v)
        if has_it(request, headers["etag"]):
            return Response(status_code=304, headers=headers)
        headers["content-type"] = encoders.MEDIA_TYPES[self.form]
        if query.download:
            headers["content-disposition"] = f'attachment; filename="{self.name()}.{self.form}"'
        if request.scope["method"] == "HEAD":
            return _bare(headers)
        record = self.record() if query.download else None
        job = Job(self.served.generator, self.size, self.points, lambda images: self.encode(images, record))
        done = await service.run(job, request, apart=self.apart)
        headers["server-timing"] = done.timing
        return Response(done.result, headers=headers)


def still(
    served: Served,
    query: PictureQuery,
    limits: Limits,
    *,
    size: int,
    shape: tuple[int, ...],
    points: Points,
    compose: Callable[[Images], Images],
    record: Callable[[], Record],
    name: Callable[[], str],
) -> Drawing:
    """A picture of the shape [H, W, …] that `compose` lays out from its images, enlarged by the query's scale.

    Raises:
        UsageError: more images or pixels than one picture may have, or than the format can say.
    """
    height, width = shape[0] * query.scale, shape[1] * query.scale
    _check(served, size, limits.images, "images", height * width, limits.pixels)
    form = query.form
    STILLS[f".{form}"].check_side(height, width, "the picture", "ask for fewer images, or another format")

    def encode(images: Images, said: Record | None) -> bytes:
        return encoders.still(enlarge(compose(images), query.scale), form, said)

    return Drawing(served, size, points, form, encode, record, name, apart=height * width > IN_A_LANE)


def motion(
    served: Served,
    query: MotionQuery,
    limits: Limits,
    *,
    frames: int,
    points: Points,
    record: Callable[[], Record],
    name: Callable[[], str],
) -> Drawing:
    """An animation of so many frames, each one image, enlarged by the query's scale.

    Raises:
        UsageError: more frames or pixels than one may have, or what the format can't say.
        MissingPackageError: there is no encoder for an MP4.
    """
    form = query.form
    pixels = frames * prod(served.shape[:2]) * query.scale**2
    _check(served, frames, limits.frames, "frames", pixels, limits.frame_pixels)
    check_animation(Path(f"animation.{form}"), fps=query.fps, scale=query.scale, frames=frames, shape=served.shape)

    def encode(images: Images, said: Record | None) -> bytes:
        return encode_animation(list(images), form, fps=query.fps, scale=query.scale, metadata=said)

    return Drawing(served, frames, points, form, encode, record, name, apart=True)


def _check(served: Served, size: int, most: int, what: str, pixels: int, most_pixels: int) -> None:
    if size > most:
        raise UsageError(f"the picture has {size:,} {what} and must have at most {most:,}: ask for fewer")
    pixels = max(pixels, size * prod(served.shape[:2]))
    if pixels > most_pixels:
        raise UsageError(
            f"the picture has {pixels:,} pixels and must have at most {most_pixels:,}: ask for fewer {what}, or for a "
            "smaller scale"
        )


def _bare(headers: Mapping[str, str]) -> Response:
    """An answer to HEAD: of a length that nobody knows before the picture is made, it says nothing."""
    response = Response(headers=headers)
    del response.headers["content-length"]
    return response
