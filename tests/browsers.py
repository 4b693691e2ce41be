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
    from playwright.sync_api import Browser, Locator, Page, Playwright

FLAGS = (
    *("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


@contextmanager
def driver() -> Iterator[Playwright]:
    """Playwright, for the tests of a module: a process runs one at a time, and its event loop gets in others' way."""
    playwright = pytest.importorskip("playwright.sync_api")
    if shutil.which("chromium") is None:
        pytest.skip("chromium isn't installed")
    playwright.expect.set_options(timeout=20_000)  # milliseconds; many tests share the cores
    with playwright.sync_playwright() as running:
        yield running


def launched(running: Playwright, *flags: str) -> Browser:
    """A browser with more flags; without any it has no graphics card."""
    path = shutil.which("chromium")
    return running.chromium.launch(executable_path=path, args=[*FLAGS, *(flags or ("--disable-gpu",))])


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
globalThis.shownToBase64 = async (image) => {
  await image.decode();
  const { naturalWidth: width, naturalHeight: height } = image;
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(image, 0, 0);
  return { width, height, data: toBase64(context.getImageData(0, 0, width, height).data) };
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


def shown(image: Locator) -> NDArray[np.uint8]:
    """The pixels [H, W, 3] of an <img>, as it is decoded."""
    made = image.evaluate("(image) => shownToBase64(image)")
    pixels = np.frombuffer(base64.b64decode(made["data"]), np.uint8)
    return pixels.reshape(made["height"], made["width"], 4)[..., :3]


def text_of(data: NDArray[Any] | bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes()).decode()
