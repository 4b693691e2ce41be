"""The formats of pictures and animations and what each can hold: one table, asked before anything is generated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from animegen.errors import UsageError

if TYPE_CHECKING:
    from fractions import Fraction

LARGEST_PICTURE = 2**28  # bytes of pixels: as RGB the most that Pillow opens without a warning of a bomb
LARGEST_ANIMATION = 2**31  # bytes that an encoder may take
MOST_FRAMES = 100_000  # more than an hour at 24 a second
SLOWEST = 0.01  # frames a second: a GIF's clock counts up to 655 seconds a frame
LONGEST = 24 * 60 * 60  # seconds of an animation: a WebP's clock counts up to 24 days


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format's limits.

    Attributes:
        name: what Pillow calls it.
        side: the most pixels of a side.
        fps: an animation's highest rate of frames a second.
        clock: in so many parts of a second an animation counts the time of a frame; 0 if it takes any rate.
        bytes_a_pixel: what an animation's encoder takes for each pixel of a frame; measured.
        keeps_frames: whether it takes that for all frames at once.
    """

    name: str
    side: int
    fps: float = 0
    clock: int = 0
    bytes_a_pixel: int = 0
    keeps_frames: bool = False

    def check_side(self, height: int, width: int, what: str, advice: str) -> None:
        """Refuse what is longer or wider than the format can say.

        Raises:
            UsageError: `what` with its size, the limit, and the advice.
        """
        if max(height, width) > self.side:
            raise UsageError(
                f"{what} is {width:,}×{height:,} pixels and must have at most {self.side:,} on a side as {self.name}: "
                f"{advice}"
            )

    def played_fps(self, fps: float, frames: int) -> float:
        """The rate at which so many frames are played, where `fps` was asked for."""
        if not self.clock:
            return float(mp4_rate(fps))
        return frames * self.clock / self._at(fps, frames)

    def durations(self, fps: float, frames: int) -> list[int]:
        """How long each frame is shown, in whole parts of the clock: the error of one is made up for by the next."""
        ends = [self._at(fps, k) for k in range(frames + 1)]
        return [end - start for start, end in pairwise(ends)]

    def _at(self, fps: float, frame: int) -> int:
        return math.floor(frame * self.clock / fps + 0.5)


def mp4_rate(fps: float) -> Fraction:
    """The rate as the fraction that an MP4 holds, such as 24000/1001."""
    from fractions import Fraction

    return Fraction(fps).limit_denominator(1001)


_JPEG = Format(name="JPEG", side=65_500)  # libjpeg's own, below the format's 65,535
STILLS = {
    ".png": Format(name="PNG", side=2**31 - 1),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": Format(name="WEBP", side=16_383),
}
ONE_BY_ONE = (".zip", ".npz")  # what holds images one by one, beside a folder
ANIMATIONS = {
    # A GIF counts time in hundredths of a second, and players crawl below 2 of them.
    ".gif": Format(name="GIF", side=65_535, fps=50, clock=100, bytes_a_pixel=2, keeps_frames=True),
    ".webp": Format(name="WEBP", side=16_383, fps=1000, clock=1000, bytes_a_pixel=5, keeps_frames=True),
    # x264 looks some 40 frames ahead, and has several threads' frames under way.
    ".mp4": Format(name="MP4", side=16_384, fps=240, bytes_a_pixel=220),
}


def still_format(path: Path) -> Format:
    """The picture format that the extension of `path` stands for.

    Raises:
        UsageError: an unknown extension; the known ones are named.
    """
    return _format(path, STILLS, "a picture")


def animation_format(path: Path) -> Format:
    """The animation format that the extension of `path` stands for.

    Raises:
        UsageError: an unknown extension; the known ones are named.
    """
    return _format(path, ANIMATIONS, "an animation")


def _format(path: Path, known: dict[str, Format], what: str) -> Format:
    try:
        return known[path.suffix.lower()]
    except KeyError:
        given = f"the extension {path.suffix!r}" if path.suffix else "a name without an extension"
        raise UsageError(f"{path} has {given}, and {what} must be one of {', '.join(known)}") from None
