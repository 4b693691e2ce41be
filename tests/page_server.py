"""The page in a real browser, from a real server on loopback: what the tests of the page share."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from animegen import Generator
from animegen.images.stills import Images

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Request

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DESK: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
SHOWN = ".picture.is-shown:not(.is-coming)"  # a face in its box, the one that was asked for last


@contextmanager
def served(generators: Mapping[str, Generator], **options: Any) -> Iterator[str]:
    """The address of a server with these models; it answers below /faces/ too, as behind a proxy."""
    uvicorn = pytest.importorskip("uvicorn")
    from animegen.server import create_app

    app = create_app(generators, **options)

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/faces/"):
            scope = {**scope, "path": scope["path"].removeprefix("/faces")}
        await app(scope, receive, send)

    config = uvicorn.Config(mounted, host="127.0.0.1", port=0, log_level="error", ws="none", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            thread.join(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


@dataclass
class Visits:
    """Pages of one test, and what they asked and complained of."""

    browser: Browser
    address: str
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _contexts: list[BrowserContext] = field(default_factory=list)

    def visit(self, fragment: str = "", *, below: str = "", wait: bool = True, **options: Any) -> Page:
        """A new page at an address's fragment, with its first faces there."""
        context = self.browser.new_context(**{"reduced_motion": "no-preference", **DESK, **options})
        context.set_default_timeout(20_000)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        self._contexts.append(context)
        page = context.new_page()
        page.on("request", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.goto(f"{self.address}{below}{fragment}")
        if wait:
            page.wait_for_selector(f"{SHOWN} >> visible=true")
        return page

    def _note(self, request: Request) -> None:
        self.asked.append(request.url)

    def close(self) -> None:
        """Leave, and see that nothing was asked elsewhere and nothing went wrong."""
        for context in self._contexts:
            context.close()
        assert [url for url in self.asked if not url.startswith((self.address, "blob:", "data:"))] == []
        assert self.complaints == []


_PIXELS = """async image => {
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return [canvas.width, ...context.getImageData(0, 0, canvas.width, canvas.height).data];
}"""


def pixels(page: Page, selector: str) -> Images:
    """The face that an element of the page shows, once it is the one that was asked for: uint8 [H, W, 3]."""
    page.wait_for_function(
        "selector => { const box = document.querySelector(selector)?.closest('.picture');"
        " return box?.classList.contains('is-shown') && !box.classList.contains('is-coming'); }",
        arg=selector,
    )
    width, *values = page.locator(selector).first.evaluate(_PIXELS)
    return np.array(values, np.uint8).reshape(-1, width, 4)[..., :3]
