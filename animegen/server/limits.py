"""What one request may ask of a server, and how much may wait."""

from __future__ import annotations

from dataclasses import dataclass, fields

from animegen.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that is done for one request, and for all of them at once. What goes beyond is answered by 4xx or 503.

    Attributes:
        images: of one picture or of one `POST /v1/sample`.
        frames: of one animation.
        pixels: of one picture.
        frame_pixels: of all frames of an animation together.
        body: bytes of a request's body.
        header: bytes of a request's line and headers together.
        url: bytes of a path with its query.
        queue: images that may wait, of all requests together.
        animations: that may wait or be encoded at once, large pictures among them.
        seconds: that a request may take before it is given up.
        reading_seconds: that a client may take to send its headers, and again its body.
        sending_seconds: that a client may take to read what stands in the connection's buffer.
        keep_alive: seconds for which an idle connection is kept.
        connections: open at once.
    """

    images: int = 256
    frames: int = 600
    pixels: int = 2**24
    frame_pixels: int = 2**25
    body: int = 2**21
    header: int = 2**14
    url: int = 2**13
    queue: int = 1024
    animations: int = 8
    seconds: float = 30
    reading_seconds: float = 10
    sending_seconds: float = 120
    keep_alive: float = 75
    connections: int = 2048

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) <= 0:
                raise UsageError(f"limits: {field.name} is {getattr(self, field.name)} and must be more than 0")
        if self.queue < max(self.images, self.frames):
            raise UsageError(
                f"limits: queue is {self.queue} and must be at least {max(self.images, self.frames)}, as one request "
                "may ask for so many images"
            )
