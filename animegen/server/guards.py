"""What stands before the routes: addresses and bodies that are too long or too slow, as plain ASGI."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from animegen.server.limits import Limits
from animegen.server.problems import Problem, answer

_CLOSE = {"Connection": "close"}  # the rest of what is sent is not read


class Guard:
    """Refuses what is too long, and hands a body on once it is whole.

    Who sends no body, as nearly all do, costs nothing here.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits) -> None:
        self.app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._check_url(scope)
            length = _length(scope)
            if length != 0:
                receive = await self._whole(length, receive)
        except Problem as problem:
            await answer(problem.status, problem.detail, problem.headers)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _check_url(self, scope: Scope) -> None:
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > self._limits.url:
            raise Problem(414, f"the address must have at most {self._limits.url} bytes: POST /v1/sample takes more")

    async def _whole(self, length: int | None, receive: Receive) -> Receive:
        """A `receive` that gives the whole body at once, and then what the connection says."""
        if length is not None and length > self._limits.body:
            raise self._too_long()
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.reading_seconds):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        return receive  # the client has gone
                    body += message.get("body", b"")
                    if len(body) > self._limits.body:
                        raise self._too_long()
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            seconds = self._limits.reading_seconds
            raise Problem(408, f"the body must arrive within {seconds:g} seconds", headers=_CLOSE) from None
        return _replayed(bytes(body), receive)

    def _too_long(self) -> Problem:
        return Problem(413, f"the body must have at most {self._limits.body} bytes: ask for less", headers=_CLOSE)


def _replayed(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _length(scope: Scope) -> int | None:
    """The body's length: 0 where the headers speak of none, None where it is not said beforehand."""
    length: int | None = 0
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            length = int(value) if value.isdigit() and len(value) < 16 else None
    return length
