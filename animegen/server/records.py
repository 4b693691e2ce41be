"""What a downloaded picture says of itself: the command line's record, so that `animegen info` tells a command."""

from __future__ import annotations

from typing import Any

from animegen import __version__
from animegen.labels import file_suffix
from animegen.server.models import Served
from animegen.server.queries import PictureQuery

_NO_SAY = ("form", "model", "v", "download", "truncation")


def record(served: Served, command: str, query: PictureQuery, **options: Any) -> dict[str, Any]:
    """The record of a picture that a command of `animegen` makes in the same way.

    `options` are the command's by the names that they have there, in place of the query's own of these names; those
    that are None say nothing, and so do the query's that have their usual value.
    """
    given = query.model_dump(by_alias=True, exclude_defaults=True, exclude=set(_NO_SAY))
    named = {name.replace("_", "-"): value for name, value in given.items()}
    named |= {"truncation": query.truncation} | options
    return {
        "software": f"animegen {__version__}",
        "model": served.generator.card.name,
        "model_sha256": served.generator.sha256,
        "command": command,
        "options": {name: value for name, value in named.items() if value is not None},
    }


def file_name(stem: str, labels: dict[str, Any]) -> str:
    """A file's name without its extension, such as seed00000042-hair-blue: of ASCII, short, and no path."""
    return f"{stem}{file_suffix(labels)}".encode("ascii", "replace").decode().replace("?", "_")[:120]
