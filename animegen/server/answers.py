"""Pictures as HTTP answers: what a client may keep, for how long, and when it has it already."""

from __future__ import annotations

from hashlib import blake2b

from fastapi import Request, Response

from animegen.server.encoders import MEDIA_TYPES, stamp
from animegen.server.models import Served
from animegen.server.problems import Problem

_FOR_EVER = "max-age=31536000, immutable"
_AN_HOUR = "max-age=3600"
VERSION_DIGITS = 12  # of the model's sha256, in `v`


class Keeping:
    """The rules by which pictures are kept.

    A picture is a function of the model, the address and the versions of what draws and encodes it, so its ETag is a
    hash of these and known before the picture is made. An address with the right `v` names the model's file as well:
    what it stands for never changes.
    """

    def __init__(self, *, private: bool) -> None:
        self._whose = "private" if private else "public"
        self._stamp = stamp()

    def headers(self, request: Request, served: Served, v: str | None) -> dict[str, str]:
        """The headers of the picture that a request asks for.

        Raises:
            Problem: 404, as `v` is another model file's.
        """
        sha256 = served.generator.sha256
        if v is not None and v != sha256[:VERSION_DIGITS]:
            raise Problem(
                404, f"v is {v[:64]!r}, and {served.name} has {sha256[:VERSION_DIGITS]} here: leave v out or ask anew"
            )
        scope = request.scope
        named = f"{self._stamp}\n{sha256}\n{served.generator.device}\n{scope['path']}\n".encode()
        tag = blake2b(named + scope["query_string"], digest_size=16).hexdigest()
        age = _AN_HOUR if v is None else _FOR_EVER
        return {"etag": f'"{tag}"', "cache-control": f"{self._whose}, {age}"}


def has_it(request: Request, headers: dict[str, str]) -> bool:
    """Whether the client says that it has this very picture (RFC 9110, 13.1.2: a list of weakly compared tags, or *)."""
    asked = request.headers.get("if-none-match")
    if asked is None:
        return False
    tags = {part.strip().removeprefix("W/") for part in asked.split(",")}
    return "*" in tags or headers["etag"] in tags


def picture(data: bytes, form: str, headers: dict[str, str]) -> Response:
    """A picture as a response."""
    return Response(data, headers=headers, media_type=MEDIA_TYPES[form])


def not_modified(headers: dict[str, str]) -> Response:
    """The answer to a client that has the picture."""
    return Response(status_code=304, headers=headers)
