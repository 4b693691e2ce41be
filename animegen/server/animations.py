"""The routes of ways between images: a row of stills, or an animation."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from animegen import latents
from animegen.errors import UsageError
from animegen.images.stills import grid, grid_shape
from animegen.labels import Labels, blended_loop
from animegen.latents import Latents
from animegen.server.asked import labels_of, seeds_of
from animegen.server.drawing import Drawing, motion, still
from animegen.server.limits import Limits
from animegen.server.models import Served
from animegen.server.queries import InterpolateQuery, WalkQuery
from animegen.server.records import file_name, record
from animegen.server.routes import add_picture
from animegen.server.service import Service

_MOST_STOPS = 1000  # as on the command line
_ROWS = ("png", "jpg")


def add_to(app: FastAPI, service: Service) -> None:
    """Add the routes."""
    way = "The way from one image to another: a row as PNG or JPEG, else there and back"
    add_picture(app, "/v1/interpolate.{form}", service, InterpolateQuery, draw_way, summary=way)
    walk = "An endless animation through several images"
    add_picture(app, "/v1/walk.{form}", service, WalkQuery, draw_walk, summary=walk)


def draw_way(served: Served, query: InterpolateQuery, limits: Limits) -> Drawing:
    """The way from one seed's image to another's."""
    generator, seeds = served.generator, (query.a, query.b)
    ends = [labels_of(served, query.label, own) for own in (query.label_a, query.label_b)]
    is_row = query.form in _ROWS

    def points() -> tuple[Latents, Labels]:
        z = latents.through(generator.latents(seeds, truncation=query.truncation), query.steps, query.mode)
        y = latents.through(generator.label_vectors(seeds, ends), query.steps, "lerp")
        return (z, y) if is_row else (latents.there_and_back(z), latents.there_and_back(y))

    def said() -> dict[str, Any]:
        own = {"fps": None} if is_row else {}
        stops = {"a": None, "b": None, "seed-a": [query.a], "seed-b": [query.b]}
        return record(served, "interpolate", query, **own, **stops, steps=query.steps, mode=query.mode)

    def name() -> str:
        return file_name(f"interpolation-{query.a}-{query.b}", {})

    if is_row:
        return still(
            served,
            query,
            limits,
            size=query.steps,
            shape=grid_shape(query.steps, query.steps, served.shape),
            points=points,
            compose=lambda images: grid(images, query.steps),
            record=said,
            name=name,
        )
    frames = 2 * query.steps - 2
    return motion(served, query, limits, frames=frames, points=points, record=said, name=name)


def draw_walk(served: Served, query: WalkQuery, limits: Limits) -> Drawing:
    """An endless animation through the images of seeds."""
    generator, labels = served.generator, labels_of(served, query.label)
    seeds = seeds_of(query, query.stops, 6, _MOST_STOPS, name="stops")
    if not 2 <= len(seeds) <= query.frames:
        raise UsageError(f"a walk has {len(seeds)} stops and must have from 2 to {query.frames}, one frame for each")

    def points() -> tuple[Latents, Labels]:
        z = latents.loop(generator.latents(seeds, truncation=query.truncation), query.frames)
        return z, blended_loop(generator.label_vectors(seeds, labels), query.frames)

    def said() -> dict[str, Any]:
        named = {"seeds": str(seeds), "seed": None, "stops": None}
        return record(served, "walk", query, **named, frames=query.frames)

    def name() -> str:
        return file_name("walk", labels)

    return motion(served, query, limits, frames=query.frames, points=points, record=said, name=name)
