"""The package on a Ray cluster: many images by Ray Data, and the server's own application behind Ray Serve.

Ray is the way past one machine; on one machine `animegen sample` and `animegen serve` are faster.
"""

from __future__ import annotations

from animegen.deploy.ray.cluster import connected
from animegen.deploy.ray.many import Chunk, Recipe, draw
from animegen.deploy.ray.serving import Service, application, serve

__all__ = ["Chunk", "Recipe", "Service", "application", "connected", "draw", "serve"]
