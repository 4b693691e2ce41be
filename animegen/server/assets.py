"""The page's own files. They are listed at the start, so no path that a client sends reaches the file system."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Response

_FOLDER = Path(__file__).parent / "page"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}


def router(folder: Path = _FOLDER) -> tuple[APIRouter, set[str]]:
    """Routes of the files in the page's folder, and their paths; `/` is its index.html."""
    routes, paths = APIRouter(), set()
    for file in sorted(folder.rglob("*")):
        if file.suffix not in _TYPES:
            continue
        name = file.relative_to(folder).as_posix()
        for path in (f"/{name}", f"/page/{name}", *(("/",) if name == "index.html" else ())):
            _add(routes, path, file)
            paths.add(path)
    return routes, paths


def _add(routes: APIRouter, path: str, file: Path) -> None:
    async def asset() -> Response:
        headers = {"Cache-Control": "no-cache"}
        return Response(file.read_bytes(), headers=headers, media_type=_TYPES[file.suffix])

    routes.add_api_route(path, asset, methods=["GET", "HEAD"], include_in_schema=False)
