"""Frames as an animation: GIF and WebP by Pillow, MP4 by the encoder inside PyAV's wheel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from animegen.errors import MissingPackageError, UsageError
from animegen.files import replacing
from animegen.images.stills import Images, to_pillow

SUFFIXES = (".gif", ".webp", ".mp4")
INSTALL_MP4 = "pip install 'animegen[mp4]'"
_LARGEST_FPS = {".gif": 50, ".webp": 1000, ".mp4": 240}  # a GIF counts in hundredths; below 2 of them players crawl


def check(path: Path, fps: float) -> None:
    """Refuse, before any work, an animation that can't be written.

    Raises:
        UsageError: an unknown extension, or a rate that the format can't hold.
        MissingPackageError: an MP4 without its encoder.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{path} has the extension {path.suffix!r}, and an animation is one of {', '.join(SUFFIXES)}")
    if not 0 < fps <= _LARGEST_FPS[suffix]:
        raise UsageError(f"fps is {fps:g}: a {suffix} takes more than 0 and at most {_LARGEST_FPS[suffix]}")
    if suffix == ".mp4":
        try:
            import av  # noqa: F401
        except ImportError as error:
            raise MissingPackageError(
                f"{path} needs a video encoder: {INSTALL_MP4}, or write a .gif or .webp"
            ) from error


def save(frames: Iterable[Images], path: str | Path, *, fps: float = 24, scale: int = 1) -> None:
    """Write frames uint8 [H, W, 3] as an endless animation; on an error nothing is left there.

    `scale` enlarges each frame a whole number of times (bicubic). Frames may come lazily.

    Raises:
        UsageError, MissingPackageError: as `check`.
        OutputError: the path can't be written.
    """
    path = Path(path)
    check(path, fps)
    pictures = (_enlarged(to_pillow(frame), scale) for frame in frames)
    with replacing(path) as temporary:
        if path.suffix.lower() == ".mp4":
            _save_mp4(pictures, temporary, fps)
        else:
            _save_with_pillow(pictures, temporary, path.suffix.lower(), fps)


def _enlarged(picture: Image.Image, scale: int) -> Image.Image:
    if scale == 1:
        return picture
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.BICUBIC)


def _save_with_pillow(pictures: Iterator[Image.Image], path: Path, suffix: str, fps: float) -> None:
    first = next(pictures)
    options = {"quality": 90} if suffix == ".webp" else {"optimize": False}
    first.save(path, suffix[1:], save_all=True, append_images=pictures, duration=round(1000 / fps), loop=0, **options)


def _save_mp4(pictures: Iterator[Image.Image], path: Path, fps: float) -> None:
    """H.264 in yuv420p, which every player takes; an odd side is padded by repeating its last line."""
    from fractions import Fraction

    import av

    first = next(pictures)
    size = (first.width + first.width % 2, first.height + first.height % 2)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": "18"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for picture in chain([first], pictures):
            whole = picture if picture.size == size else picture.transform(size, Image.Transform.EXTENT, (0, 0, *size))
            frame = av.VideoFrame.from_ndarray(np.asarray(whole.convert("RGB")), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
