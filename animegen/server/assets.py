"""The page's own files, and the documentation's. They are listed at the start: no path of a client's reaches a file."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import fastapi_offline
from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html

from animegen.server.answers import has_it
from animegen.server.routes import get

_FOLDER = Path(__file__).parent / "page"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_TEXTS = {".css", ".html", ".js", ".json", ".mjs", ".svg", ".txt"}  # which gzip makes a third as long
_COUNTED = SimpleNamespace(path="/page")  # the metrics' name for all of them
_DOCS = Path(fastapi_offline.__file__).parent / "static"
_DOCS_FILES = ("swagger-ui-bundle.js", "swagger-ui.css")


def page(folder: Path = _FOLDER) -> tuple[APIRouter, set[str]]:
    """The routes of the files in the page's folder, and their paths; `/` is its index.html."""
    routes, paths = APIRouter(), set()
    for file in sorted(folder.rglob("*")):
        if file.suffix not in _TYPES:
            continue
        name = file.relative_to(folder).as_posix()
        # The index's own links begin at the root.
        for path in (f"/{name}", "/" if name == "index.html" else f"/page/{name}"):
            _add(routes, path, file)
            paths.add(path)
    return routes, paths


def docs() -> APIRouter:
    """`/docs`, which asks nobody outside. Its one script inside the page is allowed by its hash."""
    routes = APIRouter()
    for name in _DOCS_FILES:
        _add(routes, f"/docs/{name}", _DOCS / name)

    @get(routes, "/docs", include_in_schema=False)
    async def swagger(request: Request) -> Response:
        root = request.scope.get("root_path", "").rstrip("/")
        html = bytes(
            get_swagger_ui_html(
                openapi_url=f"{root}/openapi.json",
                title="animegen",
                swagger_js_url=f"{root}/docs/{_DOCS_FILES[0]}",
                swagger_css_url=f"{root}/docs/{_DOCS_FILES[1]}",
                swagger_favicon_url=f"{root}/favicon.svg",
            ).body
        )
        scripts = re.findall(rb"<script>(.*?)</script>", html, re.DOTALL)
        hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one).digest()).decode()}'" for one in scripts)
        policy = (
            f"default-src 'self'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data: "
            "blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
        )
        headers = {"cache-control": "no-cache", "content-security-policy": policy}
        return Response(html, headers=headers, media_type="text/html")

    return routes


@lru_cache(maxsize=64)
def _packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _add(routes: APIRouter, path: str, file: Path) -> None:
    """A plain route of one file, GET and HEAD; what has not changed is not sent again."""

    async def asset(request: Request) -> Response:
        request.scope["route"] = _COUNTED
        data = file.read_bytes()
        headers = {"cache-control": "no-cache", "vary": "accept-encoding"}
        tag = hashlib.sha256(data).hexdigest()[:32]
        if "gzip" in request.headers.get("accept-encoding", "") and file.suffix in _TEXTS:
            data, tag = _packed(data), f"{tag}-gzip"
            headers["content-encoding"] = "gzip"
        headers["etag"] = f'"{tag}"'
        if has_it(request, headers["etag"]):
            return Response(status_code=304, headers=headers)
        return Response(data, headers=headers, media_type=_TYPES[file.suffix])

    routes.add_route(path, asset, methods=["GET"], include_in_schema=False)
