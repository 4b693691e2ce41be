"""What every answer says to a browser, and who may ask: headers and the bearer token, as plain ASGI."""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection
from typing import TYPE_CHECKING
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from animegen.errors import UsageError
from animegen.server.problems import answer

if TYPE_CHECKING:
    from animegen.server.service import Service

COOKIE = "animegen-token"  # which the page sets, as an <img> can send no header

# WebAssembly is compiled in the page's worker; blob: and data: are what the page makes itself.
_CSP_NAME = "content-security-policy"
_CSP = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; img-src 'self' blob: data:; "
    "media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# COOP and COEP make a page cross-origin isolated, without which WebAssembly has no threads.
_HEADERS = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_OWN_POLICY = "/docs"
_CLOSE = (b"connection", b"close")


def headers(*, shared: bool = False) -> dict[str, str]:
    """What every answer says; `shared` if pages of other origins may show what it holds."""
    policy = "cross-origin" if shared else "same-origin"
    return {**_HEADERS, "cross-origin-resource-policy": policy, _CSP_NAME: _CSP}


class SecurityHeaders:
    """Adds the headers to each answer; and once the server closes, that its connection is closed."""

    def __init__(self, app: ASGIApp, *, service: Service, shared: bool) -> None:
        self.app, self._service = app, service
        encoded = {name: (name.encode(), value.encode()) for name, value in headers(shared=shared).items()}
        self._csp = encoded.pop(_CSP_NAME)
        self._headers = list(encoded.values())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = message["headers"]
                # Only the documentation's page has a policy of its own.
                if not scope["path"].endswith(_OWN_POLICY) or self._csp[0] not in dict(own):
                    own = [*own, self._csp]
                message["headers"] = [*own, *self._headers, *((_CLOSE,) if self._service.closing else ())]
            await send(message)

        await self.app(scope, receive, with_headers)


class BearerToken:
    """Lets only those ask who send the token, as `Authorization: Bearer …` or as the page's cookie.

    `open_paths` are for everybody: the page, which asks for the token, and the probes.
    """

    def __init__(self, app: ASGIApp, *, token: str, open_paths: Collection[str]) -> None:
        self.app, self._token, self._open = app, token.encode(), frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_open(scope) or self._has_token(scope):
            await self.app(scope, receive, send)
            return
        refusal = answer(
            401,
            "this server asks for its token: send it as the header 'Authorization: Bearer TOKEN'",
            {"WWW-Authenticate": 'Bearer realm="animegen"'},
        )
        await refusal(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        return scope["path"].removeprefix(scope.get("root_path", "")) in self._open

    def _has_token(self, scope: Scope) -> bool:
        sent = []
        for name, value in scope["headers"]:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                sent.append(value[7:].strip())
            elif name == b"cookie":
                sent += _tokens_in(value)
        # Each is compared, in a time that says nothing of where it differs.
        return sum(hmac.compare_digest(one, self._token) for one in sent) > 0


def _tokens_in(cookies: bytes) -> list[bytes]:
    pairs = (part.strip().partition(b"=") for part in cookies.split(b";"))
    return [unquote(value.decode("latin-1")).encode() for name, _, value in pairs if name == COOKIE.encode()]


def check_token(token: str) -> str:
    """A token that headers can carry.

    Raises:
        UsageError: it is shorter than 8 signs, or has others than the visible ones of ASCII.
    """
    if not re.fullmatch(r"[!-~]{8,1000}", token):
        raise UsageError("the token must have 8 or more visible ASCII signs: make one with openssl rand -hex 16")
    return token


def check_origin(origin: str) -> str:
    """An origin as browsers name it, or * for all.

    Raises:
        UsageError: it is none.
    """
    if not re.fullmatch(r"\*|https?://[^/?#\s]+", origin):
        raise UsageError(f"the origin is {origin!r} and must be such as https://example.org, without a path, or *")
    return origin
