"""Every error in one form: a line for people as application/problem+json (RFC 9457)."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from animegen.errors import AnimegenError, DataError, MissingPackageError, UsageError

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
GONE = 499  # the client has left: nobody reads this, and the metrics count it


class Problem(Exception):  # noqa: N818 (RFC 9457 calls it so)
    """An answer that is no success, raised wherever it is found."""

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


class Busy(Problem):
    """There is more to do than may wait: the client should come again."""

    def __init__(self, detail: str, *, seconds: float = 1) -> None:
        super().__init__(503, detail, headers={"Retry-After": str(max(1, math.ceil(seconds)))})


def body_of(status: int, detail: str) -> bytes:
    """A problem as JSON."""
    title = "Client Closed Request" if status == GONE else HTTPStatus(status).phrase
    return json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail}).encode()


def answer(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """A problem as a response; nothing keeps it."""
    return Response(
        body_of(status, detail), status, {"Cache-Control": "no-store", **(headers or {})}, media_type=MEDIA_TYPE
    )


def install(app: FastAPI) -> None:
    """Let the application answer every error so."""
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.add_exception_handler(HTTPException, _http)


async def answer_to(request: Request, error: Exception) -> Response | None:
    """The answer to an error of a route; None to one that nobody foresaw."""
    for kind, handler in _HANDLERS.items():
        if isinstance(error, kind):
            return await handler(request, error)
    return None


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return answer(error.status, error.detail, error.headers)


async def _http(request: Request, error: Exception) -> Response:
    """What the router says by itself: 404 and 405."""
    assert isinstance(error, HTTPException)
    details = {
        404: f"there is nothing at {request.url.path[:200]!r}: /docs lists what there is",
        405: f"{request.method[:20]} is not for {request.url.path[:200]!r}: /docs says what is",
    }
    headers = dict(error.headers or {})
    if headers.get("Allow") == "GET":  # HEAD is a route of its own here
        headers["Allow"] = "GET, HEAD"
    return answer(error.status_code, details.get(error.status_code, str(error.detail)), headers)


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if unread := next((entry for entry in error.errors() if entry["type"] == "json_invalid"), None):
        return answer(400, f"the body is not JSON: {unread['ctx']['error'].lower()} at character {unread['loc'][-1]}")
    if isinstance(error.body, bytes):  # FastAPI leaves what isn't called JSON as it came
        return answer(415, "the body must be JSON, and be sent with the header 'Content-Type: application/json'")
    return answer(422, "; ".join(map(_in_words, error.errors()[:8])))


def _in_words(entry: Mapping[str, Any]) -> str:
    """One fault that pydantic found: where, what was given, and the rule."""
    where = ".".join(str(part) for part in entry["loc"] if part not in {"query", "path", "body"})
    given = "" if entry["type"] == "missing" else f" {str(entry.get('input'))[:60]!r}:"
    return f"{where or 'the request'}:{given} {entry['msg'][:200]}"


async def _foreseen(_request: Request, error: Exception) -> Response:
    if isinstance(error, UsageError):
        return answer(422, str(error))
    if isinstance(error, DataError):  # there is no memory left for it
        return answer(503, str(error), {"Retry-After": "5"})
    if isinstance(error, MissingPackageError):  # an encoder, as of MP4
        return answer(501, str(error))
    logger.error(error)
    return answer(500, "the model failed; the server's log says more")


class Unforeseen:
    """Answers what nobody foresaw by 500, inside the middleware that gives every answer its headers and its form."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, noting if scope["type"] == "http" else send)
        except Exception:
            if scope["type"] != "http" or started:
                raise
            logger.exception("a request to %s failed", scope["path"])
            said = answer(500, "something went wrong that nobody foresaw; the server's log says more")
            await said(scope, receive, send)


_HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    Problem: _problem,
    RequestValidationError: _invalid,
    AnimegenError: _foreseen,
}
