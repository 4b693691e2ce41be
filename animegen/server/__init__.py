"""The models over HTTP: `create_app` makes an ASGI application of generators, `animegen serve` runs it."""

from __future__ import annotations

from animegen.server.app import create_app
from animegen.server.limits import Limits

__all__ = ["Limits", "create_app"]
