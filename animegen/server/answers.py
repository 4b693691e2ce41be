"""Pictures as HTTP answers: what a client may keep, for how long, and when it has it already."""

from __future__ import annotations

from hashlib import blake2b

from fastapi import Request

from animegen.server.encoders import stamp
from animegen.server.models import Served
from animegen.server.problems import Problem

_FOR_EVER = "max-age=31536000, immutable"
_AN_HOUR = "max-age=3600"
VERSION_DIGITS = 12  # of the model's sha256, in `v`


class Keeping:
    """The rules by which pictures are kept.

    A picture is a function of the model, the address and the versions of what draws and encodes it, so its ETag is a
    hash of these and known before the picture is made. An address with the right `v` names the model's file as well:
    what it stands for never changes. `private` is for a server with a token: what it answers one is not for all.
    """

    def __init__(self, *, private: bool) -> None:
        self._whose = "private" if private else "public"
        self._stamp = stamp()

    def headers(self, request: Request, served: Served, v: str | None) -> dict[str, str]:
        """The headers of the picture that a request asks for.

        Raises:
            Problem: 404, as `v` is another model file's.
        """
        own = served.sha256[:VERSION_DIGITS]
        if v is not None and v != own:
            raise Problem(404, f"v is {v!r}, and {served.name} has {own} here: leave v out or read /v1/models anew")
        scope = request.scope
        named = f"{self._stamp}\n{served.stamp}\n{scope['path']}\n".encode()
        tag = blake2b(named + scope["query_string"], digest_size=16).hexdigest()
        age = _AN_HOUR if v is None else _FOR_EVER
        return {"etag": f'"{tag}"', "cache-control": f"{self._whose}, {age}"}


def has_it(request: Request, etag: str) -> bool:
    """Whether the client says that it has this very picture: in a list of tags, weakly compared, or by *.

    RFC 9110, section 13.1.2.
    """
    given = [value for name, value in request.scope["headers"] if name == b"if-none-match"]
    tags = {part.strip().removeprefix(b"W/") for line in given for part in line.split(b",")}
    return b"*" in tags or etag.encode() in tags
