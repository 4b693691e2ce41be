"""What every answer says to a browser, and who may ask: headers and the bearer token, as plain ASGI."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from animegen.server.problems import answer

COOKIE = "animegen-token"  # which the page sets, as an <img> can send no header

# WebAssembly is compiled in the page's worker; blob: and data: are what the page makes itself.
_PAGE = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; img-src 'self' blob: data:; "
    "media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# COOP and COEP make a page cross-origin isolated, without which WebAssembly has no threads.
_HEADERS = {
    "Content-Security-Policy": _PAGE,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class SecurityHeaders:
    """Adds the headers to each answer that doesn't have them."""

    def __init__(self, app: ASGIApp, *, shared: bool = False) -> None:
        self.app = app
        policy = "cross-origin" if shared else "same-origin"
        headers = {**_HEADERS, "Cross-Origin-Resource-Policy": policy}
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self._csp, self._others = self._headers[:1], self._headers[1:]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = message["headers"]
                has_csp = any(name == b"content-security-policy" for name, _ in own)
                message["headers"] = [*own, *(self._others if has_csp else self._headers)]
            await send(message)

        await self.app(scope, receive, with_headers)


class BearerToken:
    """Lets only those ask who send the token, as `Authorization: Bearer …` or as the page's cookie.

    `open_paths` are for everybody: the page, which asks for the token, and the probes.
    """

    def __init__(self, app: ASGIApp, *, token: str, open_paths: Collection[str]) -> None:
        self.app, self._token, self._open = app, token.encode(), frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._open or self._has_token(Headers(scope=scope)):
            await self.app(scope, receive, send)
            return
        refusal = answer(
            401,
            "this server asks for its token: send it as the header 'Authorization: Bearer TOKEN'",
            {"WWW-Authenticate": 'Bearer realm="animegen"'},
        )
        await refusal(scope, receive, send)

    def _has_token(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        sent = [given.strip()] if kind.lower() == "bearer" else _cookies(headers)
        # Bytes, as compare_digest takes only ASCII texts; all are compared, whatever the first says.
        return any([hmac.compare_digest(one.encode("utf-8", "surrogateescape"), self._token) for one in sent])


def _cookies(headers: Headers) -> list[str]:
    try:
        jar = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return []
    return [jar[COOKIE].value] if COOKIE in jar else []
