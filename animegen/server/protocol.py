"""HTTP/1.1 as uvicorn reads it by httptools, with limits on what a client may send, and how slowly.

httptools itself takes headers of any length and waits for them for ever, and a client that reads nothing keeps its
answer in memory for as long as it likes.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from http import HTTPStatus
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from animegen.server.limits import Limits
from animegen.server.problems import MEDIA_TYPE, body_of
from animegen.server.security import headers


class LimitedProtocol(HttpToolsProtocol):
    """A connection. Its errors have the form that all have, and it is closed after them."""

    limits: ClassVar[Limits] = Limits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_headers = False  # of a request that has begun
        self._header_bytes = 0
        self._is_refused = False
        self._reading: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come: its first request must come soon."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(503, f"{self.limits.connections} connections are open already: ask again")
            return
        self._reading = self.loop.call_later(self.limits.reading_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests. Of headers that are not whole yet, no more than the limit are kept."""
        if self._is_refused:
            return
        # Where in these bytes a request's headers begin is not known: all of them are counted.
        self._header_bytes = self._header_bytes + len(data) if self._in_headers else len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if not self._in_headers:
            if self._reading is not None:
                self._reading.cancel()
                self._reading = None
            return
        if self._header_bytes > self.limits.header:
            self._refuse(431, self._too_long)
        elif self._reading is None:
            self._reading = self.loop.call_later(self.limits.reading_seconds, self._too_slow)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._in_headers = True

    def on_headers_complete(self) -> None:
        """A request's headers are whole."""
        self._in_headers = False
        if self._is_refused:
            return
        if self._header_bytes > self.limits.header and self._size() > self.limits.header:
            self._refuse(431, self._too_long)
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a request's body."""
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is whole."""
        if not self._is_refused:
            super().on_message_complete()

    def pause_writing(self) -> None:
        """The client reads more slowly than it is answered."""
        super().pause_writing()
        self._sending = self.loop.call_later(self.limits.sending_seconds, self._drop)

    def resume_writing(self) -> None:
        """It has read nearly all."""
        super().resume_writing()
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def send_400_response(self, msg: str) -> None:
        """What was sent is no HTTP."""
        self._refuse(400, f"this is no HTTP request: {msg.rstrip('.').lower()}")

    def _size(self) -> int:
        """The bytes of a request's line and headers."""
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    @property
    def _too_long(self) -> str:
        return f"the headers must have at most {self.limits.header} bytes"

    def _too_slow(self) -> None:
        self._reading = None
        if self._in_headers:
            self._refuse(408, f"the headers must arrive within {self.limits.reading_seconds:g} seconds")
        else:
            self.transport.close()

    def _drop(self) -> None:
        """Close at once, and let the kernel forget what it still has to send."""
        at_once = struct.pack("ii", 1, 0)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self.transport.abort()

    def _refuse(self, status: int, detail: str) -> None:
        """Answer what never reaches the application, and close."""
        if self._is_refused or self.transport.is_closing():
            return
        self._is_refused = True
        self._stop_timers()
        body = body_of(status, detail)
        head = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            f"content-type: {MEDIA_TYPE}",
            f"content-length: {len(body)}",
            "cache-control: no-store",
            "connection: close",
            *(f"{name}: {value}" for name, value in headers().items()),
            *(["retry-after: 1"] if status == 503 else []),
        ]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self.transport.close()

    def _stop_timers(self) -> None:
        for timer in (self._reading, self._sending):
            if timer is not None:
                timer.cancel()
        self._reading = self._sending = None


def protocol(limits: Limits) -> type[LimitedProtocol]:
    """The protocol with these limits, as uvicorn takes it: a class."""
    return type("LimitedProtocol", (LimitedProtocol,), {"limits": limits})
