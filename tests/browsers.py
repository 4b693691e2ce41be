"""Debian's Chromium by way of Playwright, and folders served to it as any static host would."""

from __future__ import annotations

import base64
import functools
import http.server
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = (
    *("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """A browser; skips the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium isn't installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=[*FLAGS, *(flags or ("--disable-gpu",))])
        yield browser
        browser.close()


@contextmanager
def served(folder: Path, headers: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of a folder's files over HTTP, as `python -m http.server` serves them, with more headers."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


# Bytes come and go as base64: as lists of numbers they would take seconds.
_HELPERS = """
globalThis.fromBase64 = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
globalThis.toBase64 = (data) => {
  const bytes = new Uint8Array(data.buffer ?? data);
  let text = "";
  for (let k = 0; k < bytes.length; k += 8192) text += String.fromCharCode(...bytes.subarray(k, k + 8192));
  return btoa(text);
};
globalThis.blobToBase64 = async (blob) => toBase64(await blob.arrayBuffer());
"""


def with_helpers(page: Page) -> Page:
    """The page with functions that turn bytes into base64 and back."""
    page.add_init_script(_HELPERS)
    return page


def floats(text: str) -> NDArray[np.float32]:
    """The float32 values of base64."""
    return np.frombuffer(base64.b64decode(text), np.float32)


def text_of(data: NDArray[Any] | bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes()).decode()
