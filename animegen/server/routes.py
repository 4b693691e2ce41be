"""How routes are declared: HEAD beside each GET, and the answers that the schema promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, get_args

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from animegen.server.drawing import Drawing
from animegen.server.encoders import MEDIA_TYPES
from animegen.server.limits import Limits
from animegen.server.models import Served
from animegen.server.problems import MEDIA_TYPE
from animegen.server.queries import Asked, PictureQuery, read, schema
from animegen.server.service import Service

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
Draw = Callable[[Served, Asked, Limits], Drawing]
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
        415: "The body isn't said to be JSON.",
        422: "The request breaks a rule, which detail names.",
        501: "The encoder isn't installed.",
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


class PictureRoute(APIRoute):
    """A route of pictures: for FastAPI's schema it is as any other, and what it does is done without its machinery.

    Of 130 µs that a request of one image takes FastAPI itself, the stacks and dependencies that nothing here needs
    are 90.
    """

    def __init__(
        self, path: str, service: Service, query: type[Asked], draw: Draw[Asked], *, summary: str, method: str = "GET"
    ) -> None:
        self._service, self._query, self._draw = service, query, draw
        super().__init__(
            path,
            self.answer,
            methods=[method],
            include_in_schema=method == "GET",
            name=draw.__name__,
            summary=summary,
            tags=["pictures"],
            response_class=Response,
            responses=_responses(query),
            openapi_extra=schema(query),
        )

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; that of another method as every route does."""
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        scope["route"] = self
        response = await self.answer(Request(scope, receive, send))
        await response(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        """Read what is asked for, and draw it."""
        query = read(self._query, request)
        drawing = self._draw(self._service.models.choose(query.model), query, self._service.limits)
        return await drawing.answer(self._service, request, query)


def add_picture(
    app: FastAPI, path: str, service: Service, query: type[Asked], draw: Draw[Asked], *, summary: str
) -> None:
    """Add a route of pictures, and HEAD beside it."""
    for method in ("GET", "HEAD"):
        app.router.routes.append(PictureRoute(path, service, query, draw, summary=summary, method=method))


def _responses(query: type[PictureQuery]) -> Responses:
    forms = get_args(query.model_fields["form"].annotation)
    content = {MEDIA_TYPES[form]: {"schema": {"type": "string", "format": "binary"}} for form in forms}
    return {
        200: {"description": "The picture.", "content": content},
        304: {"description": "The client has it."},
        **problems(401, 404, 414, 422, *((501,) if "mp4" in forms else ()), 503),
    }
