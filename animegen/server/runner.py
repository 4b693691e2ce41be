"""An application behind uvicorn, which stops as a load balancer wants it: told first, then drained, then gone."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from animegen.errors import UsageError
from animegen.server.protocol import protocol
from animegen.server.service import Service

STOPPED = 130  # the exit status of a process that a signal ended before it was done
_CLOSING_SECONDS = 1.0  # for which each client is told that its connection closes, while new ones still come
_LAST_SECONDS = 2  # beyond the time of a request, for the answer of one that came last and took all of it
_BACKLOG = 2048
_SWITCH_SECONDS = 0.0005  # for which a lane that is done waits for the event loop; Python's 5 ms are a whole batch


def bind(host: str, port: int) -> socket.socket:
    """A socket that is bound to an address; nothing is accepted at it yet.

    Raises:
        UsageError: the address is taken, not this machine's, or none.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, number)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"host is {host!r} and must be an address of this machine, such as 127.0.0.1") from error
    try:
        if os.name == "posix":  # on Windows it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"port {port} of {host} is taken: stop who has it, or name another with --port") from error
        raise UsageError(f"port {port} of {host} can't be listened at: {error.strerror}") from error
    listener.setblocking(False)
    return listener


class Runner(uvicorn.Server):
    """A uvicorn server that drains.

    The first signal lets /readyz say 503 for `grace` seconds, in which all goes on (none after Ctrl-C); then each
    answer closes its connection, and at last nothing is accepted any more. A second signal ends the process at once.
    """

    def __init__(
        self,
        app: FastAPI,
        *,
        grace: float = 0.0,
        root_path: str = "",
        started: Callable[[], None] = lambda: None,
    ) -> None:
        self._service: Service = app.state.service
        self._grace, self._announce = grace, started
        self._signals = 0
        self._drains_since: float | None = None
        limits = self._service.limits
        config = uvicorn.Config(
            app,
            http=protocol(limits),
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            root_path=root_path,
            backlog=_BACKLOG,
            timeout_keep_alive=limits.keep_alive,  # any number will do
            timeout_graceful_shutdown=math.ceil(limits.seconds) + _LAST_SECONDS,
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept, and say so."""
        sys.setswitchinterval(_SWITCH_SECONDS)
        await super().startup(sockets=sockets)
        self._announce()

    async def on_tick(self, counter: int) -> bool:
        """What is due ten times a second: whether to stop now."""
        if self._signals and self._drains_since is None:
            self._drains_since = time.monotonic()
            self._service.draining = True
        if self._drains_since is not None and not self.should_exit:
            drained = time.monotonic() - self._drains_since - self._grace
            self._service.closing = drained >= 0
            self.should_exit = drained >= _CLOSING_SECONDS or (drained >= 0 and not self.server_state.connections)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept what the kernel has accepted already, accept no more, and answer what was asked."""
        for listener in sockets or []:
            await self._accept_rest(listener)
        for server in self.servers:
            server.close()
        self._service.closing = True
        ends = time.monotonic() + _CLOSING_SECONDS  # in which the last to come may send what they have to ask
        while self.server_state.connections and time.monotonic() < ends:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets=sockets)

    async def _accept_rest(self, listener: socket.socket) -> None:
        """Connections that wait at a listening socket would be reset when it closes."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # there is none left
            while True:
                connection, _ = listener.accept()
                connection.setblocking(False)
                await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        made: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = made(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals to end as this class does, on the main thread; uvicorn would raise them again at last."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [signal.SIGINT, signal.SIGTERM]
        hangup = getattr(signal, "SIGHUP", None)
        if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:  # nohup lets it be ignored
            numbers.append(hangup)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (signal's own form)
        """A signal to end: the first one drains, the second one ends the process."""
        self._signals += 1
        if sig == signal.SIGINT:  # by somebody at a terminal, who waits
            self._grace = 0.0
        if self._signals > 1:
            sys.stderr.flush()
            os._exit(STOPPED)  # threads in the midst of a batch would be waited for
