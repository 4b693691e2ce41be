"""The routes of stills."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from fastapi import FastAPI

from animegen.errors import UsageError
from animegen.images.sinks import picture_name
from animegen.images.stills import columns_for, grid, grid_shape, table, table_shape
from animegen.labels import Labels, Wanted, sheet_cells
from animegen.latents import Latents
from animegen.points import FARTHEST, read_moves, read_toward
from animegen.seeds import Seeds
from animegen.server.asked import labels_of, seeds_of
from animegen.server.drawing import Drawing, still
from animegen.server.limits import Limits
from animegen.server.models import Served
from animegen.server.queries import EditQuery, GridQuery, ImageQuery, SheetQuery
from animegen.server.records import file_name, record
from animegen.server.routes import add_picture
from animegen.server.service import Service


def add_to(app: FastAPI, service: Service) -> None:
    """Add the routes; that of single images stands first, as it is asked most."""
    add_picture(app, "/v1/images/{seed}.{form}", service, ImageQuery, draw_image, summary="One image")
    add_picture(app, "/v1/grid.{form}", service, GridQuery, draw_grid, summary="A grid of images")
    add_picture(app, "/v1/edit.{form}", service, EditQuery, draw_edit, summary="An image moved along directions")
    add_picture(
        app, "/v1/sheet.{form}", service, SheetQuery, draw_sheet, summary="A face in all classes of groups of labels"
    )


def draw_image(served: Served, query: ImageQuery, limits: Limits) -> Drawing:
    """One image."""
    labels = labels_of(served, query.label)
    z, y = _point(served, query, labels)
    return still(
        served,
        query,
        limits,
        size=1,
        shape=served.shape,
        points=lambda: (z[None], y[None]),
        compose=lambda images: images[0],
        record=lambda: record(served, "image", query),
        name=lambda: file_name(picture_name(query.seed, "")[:-1], labels),
    )


def draw_grid(served: Served, query: GridQuery, limits: Limits) -> Drawing:
    """A grid of images."""
    generator, labels = served.generator, labels_of(served, query.label)
    named = seeds_of(query, query.n, 64, limits.images)
    seeds = list(named)
    columns = query.columns or columns_for(len(seeds))
    return still(
        served,
        query,
        limits,
        size=len(seeds),
        shape=grid_shape(len(seeds), columns, served.shape, labels=query.captions),
        points=lambda: (
            generator.latents(seeds, truncation=query.truncation),
            generator.label_vectors(seeds, labels),
        ),
        compose=lambda images: grid(images, columns, seeds if query.captions else None),
        record=lambda: record(
            served,
            "sample",
            query,
            **_by_seeds(named),
            columns=None,
            captions=None,
            grid=f"{columns}x{math.ceil(len(seeds) / columns)}",
            labels=query.captions or None,
        ),
        name=lambda: file_name("grid", labels),
    )


def draw_edit(served: Served, query: EditQuery, limits: Limits) -> Drawing:
    """One image moved along one direction, or along each in a row of its own."""
    generator, labels = served.generator, labels_of(served, query.label)
    vectors = generator.card.directions
    if not vectors:
        raise UsageError(f"{served.name} has no directions to edit along: name a model that has them")
    if query.direction is not None:
        if query.direction >= len(vectors):
            raise UsageError(f"direction is {query.direction} and must be from 0 to {len(vectors) - 1}")
        vectors = vectors[query.direction : query.direction + 1]
    first, last = map(float, query.span.split(":"))
    if max(abs(first), abs(last)) > FARTHEST:
        raise UsageError(f"range is {query.span} and must be from {-FARTHEST} to {FARTHEST}")
    size = len(vectors) * query.steps
    z, y = _point(served, query, labels)

    def points() -> tuple[Latents, Labels]:
        amounts = np.linspace(first, last, query.steps).astype(np.float32)
        moves = np.concatenate([np.outer(amounts, vector) for vector in np.array(vectors, np.float32)])
        return z + moves, np.repeat(y[None], size, axis=0)

    return still(
        served,
        query,
        limits,
        size=size,
        shape=grid_shape(size, query.steps, served.shape),
        points=points,
        compose=lambda images: grid(images, query.steps),
        record=lambda: record(
            served,
            "edit",
            query,
            seed=query.seed,
            steps=query.steps,
            all=True if query.direction is None else None,
        ),
        name=lambda: file_name(f"edit-{query.seed}", labels),
    )


def draw_sheet(served: Served, query: SheetQuery, limits: Limits) -> Drawing:
    """One face in all classes of two groups of labels, or several in those of one."""
    generator, labels = served.generator, labels_of(served, query.label)
    named = seeds_of(query, query.n, 8 if query.columns is None else 1, limits.images)
    seeds = list(named)
    cells = sheet_cells(seeds, query.rows, query.columns, generator.labels, labels, model=generator.card.name)
    classes = {group.name: group.classes for group in generator.labels}
    heads = list(map(str, seeds)) if query.columns is None else list(classes[query.columns])
    names = classes[query.rows]
    seeds_of_cells = [seed for seed, _ in cells]
    return still(
        served,
        query,
        limits,
        size=len(cells),
        shape=table_shape(names, heads, served.shape),
        points=lambda: (
            generator.latents(seeds_of_cells, truncation=query.truncation),
            generator.label_vectors(seeds_of_cells, [wanted for _, wanted in cells]),
        ),
        compose=lambda images: table(images, names, heads),
        record=lambda: record(served, "sheet", query, **_by_seeds(named)),
        name=lambda: file_name(f"sheet-{query.rows}", labels),
    )


def _point(served: Served, query: ImageQuery, labels: Wanted) -> tuple[Latents, Labels]:
    """Where the query's image lies: float32 [z_dim] and [L]."""
    return served.generator.point(
        query.seed,
        toward=read_toward(query.toward),
        moves=read_moves(query.move),
        labels=labels,
        mode=query.mode,
        truncation=query.truncation,
    )


def _by_seeds(seeds: Seeds) -> dict[str, Any]:
    return {"seeds": str(seeds), "seed": None, "n": None}
