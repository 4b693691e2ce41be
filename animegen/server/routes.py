"""How routes are declared: HEAD beside each GET, and the answers that the schema promises."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from fastapi import APIRouter, Response

from animegen.server.encoders import MEDIA_TYPES
from animegen.server.problems import MEDIA_TYPE
from animegen.server.queries import PictureQuery, schema

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
Responses = dict[int | str, dict[str, Any]]

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "One line for people."},
    },
}
_BUSY = {"description": "Too much waits already, or it took too long.", "headers": {"Retry-After": {"schema": {"type": "integer"}}}}  # fmt: skip  # noqa: E501


def problems(*codes: int) -> Responses:
    """The answers that are no success, by their codes."""
    words = {
        400: "The body can't be read.",
        401: "The token is missing or another.",
        404: "There is no such model, or v is another file's.",
        406: "Nothing that Accept names can be given.",
        408: "The body came too slowly.",
        413: "The body is too long.",
        414: "The address is too long.",
        422: "The request breaks a rule, which detail names.",
    }
    content = {MEDIA_TYPE: {"schema": _PROBLEM}}
    found: Responses = {code: {"description": words[code], "content": content} for code in codes if code != 503}
    return found | ({503: {**_BUSY, "content": content}} if 503 in codes else {})


def get(routes: APIRouter, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
    """Declare a GET route, and HEAD beside it, which the schema leaves out: it says the same without the content."""

    def add(endpoint: Endpoint) -> Endpoint:
        routes.add_api_route(path, endpoint, methods=["GET"], **options)
        routes.add_api_route(path, endpoint, methods=["HEAD"], **{**options, "include_in_schema": False})
        return endpoint

    return add


def get_picture(
    routes: APIRouter, path: str, query: type[PictureQuery], forms: Collection[str], summary: str
) -> Callable[[Endpoint], Endpoint]:
    """Declare a route of pictures in these forms, whose endpoint reads the query by itself."""
    content = {MEDIA_TYPES[form]: {"schema": {"type": "string", "format": "binary"}} for form in forms}
    responses: Responses = {
        200: {"description": "The picture.", "content": content},
        304: {"description": "The client has it."},
        **problems(401, 404, 414, 422, 503),
    }
    return get(
        routes,
        path,
        summary=summary,
        tags=["pictures"],
        response_class=Response,
        responses=responses,
        openapi_extra=schema(query),
    )
