"""Frames as an animation: GIF and WebP by Pillow, MP4 by the encoder inside PyAV's wheel."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from operator import length_hint
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from animegen.errors import MissingPackageError, UsageError
from animegen.files import replacing
from animegen.images.formats import (
    LARGEST_ANIMATION,
    LARGEST_PICTURE,
    LONGEST,
    MOST_FRAMES,
    SLOWEST,
    Format,
    animation_format,
    mp4_rate,
)
from animegen.images.metadata import save_options, to_text
from animegen.images.stills import Images, flatten, to_pillow
from animegen.progress import track
from animegen.seeds import whole_number

INSTALL_MP4 = "pip install 'animegen[mp4]'"


def check_animation(
    path: Path,
    *,
    fps: float = 24,
    scale: int = 1,
    frames: int = 1,
    shape: tuple[int, int, int] = (1, 1, 3),
) -> None:
    """Refuse, before any work, an animation that can't be written: `frames` of the shape [H, W, C], enlarged `scale`×.

    Raises:
        UsageError: an unknown extension, or a rate, a size or a number of frames that the format can't hold.
        MissingPackageError: an MP4 without its encoder.
    """
    form = animation_format(path)
    fps, scale = float(fps), whole_number("scale", scale)
    if not SLOWEST <= fps <= form.fps:
        raise UsageError(f"fps is {fps:g} and must be from {SLOWEST:g} to {form.fps} for a {form.name}")
    if not 0 < frames <= MOST_FRAMES:
        raise UsageError(f"an animation has {frames:,} frames and must have from 1 to {MOST_FRAMES:,}")
    if frames > LONGEST * fps:
        raise UsageError(
            f"an animation of {frames:,} frames at {fps:g} a second lasts {frames / fps / 3600:,.1f} hours and must "
            f"last at most {LONGEST // 3600}: ask for fewer frames, or for more of them a second"
        )
    height, width = shape[0] * scale, shape[1] * scale
    form.check_side(height, width, "a frame", "make it smaller or take another format")
    if height * width * shape[2] > LARGEST_PICTURE:
        raise UsageError(
            f"a frame is {width:,}×{height:,} pixels and must take at most {LARGEST_PICTURE // 2**20} MiB: "
            "make it smaller"
        )
    needed = height * width * form.bytes_a_pixel * (frames if form.keeps_frames else 1)
    if needed > LARGEST_ANIMATION:
        other = ", or write an .mp4" if form.keeps_frames else ""
        raise UsageError(
            f"an animation of {frames:,} frames of {width:,}×{height:,} pixels takes {needed / 2**30:,.1f} GiB to "
            f"encode as {form.name} and must take at most {LARGEST_ANIMATION / 2**30:g}: ask for fewer or smaller "
            f"frames{other}"
        )
    if path.suffix.lower() == ".mp4":
        try:
            import av  # noqa: F401
        except ImportError as error:
            raise MissingPackageError(
                f"{path} needs a video encoder: {INSTALL_MP4}, or write a .gif or .webp"
            ) from error


def save_animation(
    frames: Iterable[Images],
    path: str | Path,
    *,
    fps: float = 24,
    scale: int = 1,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write frames uint8 [H, W, C], all of one shape, as an endless animation; on an error nothing is left there.

    What is transparent in them is shown on white.

    `scale` enlarges each frame a whole number of times (bicubic). A GIF counts time in hundredths of a second and a
    WebP in thousandths: a frame is shown for one of them more or less, so that the whole keeps the rate. Frames may
    come lazily, as `Generator.walk` makes them; a GIF's or a WebP's encoder keeps them until the last. `metadata` is as
    in `encode`.

    Raises:
        UsageError: no frames, frames of several shapes, or as `check_animation`.
        MissingPackageError: an MP4 without its encoder.
        OutputError: the path can't be written.
    """
    path = Path(path)
    check_animation(path, fps=fps, scale=scale)
    with replacing(path) as temporary, temporary.open("wb") as file:
        _write(frames, file, path, fps, scale, metadata)


def encode_animation(
    frames: Iterable[Images],
    form: str = "webp",
    *,
    fps: float = 24,
    scale: int = 1,
    metadata: Mapping[str, Any] | None = None,
) -> bytes:
    """The bytes of an animation as `save_animation` writes it; `form` is webp, gif or mp4.

    Raises:
        UsageError, MissingPackageError: as `save_animation`.
    """
    path, buffer = Path(f"animation.{form}"), io.BytesIO()
    check_animation(path, fps=fps, scale=scale)
    _write(frames, buffer, path, fps, scale, metadata)
    return buffer.getvalue()


def _write(
    frames: Iterable[Images],
    file: IO[bytes],
    path: Path,
    fps: float,
    scale: int,
    metadata: Mapping[str, Any] | None,
) -> None:
    fps, scale = float(fps), whole_number("scale", scale)
    pictures = _pictures(frames, path, fps, scale)
    form = animation_format(path)
    if form.clock:
        _write_with_pillow(pictures, file, form, fps, metadata)
    else:
        _write_mp4(pictures, file, fps, metadata)


def _pictures(frames: Iterable[Images], path: Path, fps: float, scale: int) -> Iterator[Image.Image]:
    """The frames as Pillow has them, enlarged, and each checked before it is encoded."""
    total = length_hint(frames)
    advance = track(path.name, total or None)
    shape: tuple[int, ...] = ()
    count = 0
    for count, frame in enumerate(frames, 1):
        shape = shape or frame.shape
        if frame.shape != shape:
            raise UsageError(f"frame {count} is {list(frame.shape)} and must be {list(shape)}, as the first is")
        picture = flatten(to_pillow(frame))
        check_animation(path, fps=fps, scale=scale, frames=max(count, total), shape=frame.shape)
        yield (
            picture
            if scale == 1
            else picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.BICUBIC)
        )
        advance()
    if not count:
        raise UsageError("an animation has 0 frames and must have at least one")


def _write_with_pillow(
    pictures: Iterator[Image.Image], file: IO[bytes], form: Format, fps: float, metadata: Mapping[str, Any] | None
) -> None:
    """Pillow wants each frame's time in milliseconds, as a list, before it knows how many will come."""
    first = next(pictures)
    times = [1000 // form.clock * duration for duration in form.durations(fps, MOST_FRAMES)]
    options = {"quality": 90} if form.name == "WEBP" else {"optimize": False}
    options |= save_options(form.name, metadata)
    try:
        first.save(file, form.name, save_all=True, append_images=pictures, duration=times, loop=0, **options)
    except (OverflowError, struct.error) as error:  # Pillow joins frames that are alike: the clock ends at 655 seconds
        raise UsageError(
            "the frames stay alike for longer than 655 seconds, which a GIF can't say: ask for more of them a second, "
            "or write a .webp"
        ) from error


def _write_mp4(
    pictures: Iterator[Image.Image], file: IO[bytes], fps: float, metadata: Mapping[str, Any] | None
) -> None:
    """H.264 in yuv420p, which every player takes; an odd side is padded by repeating its last line."""
    import av

    first = next(pictures)
    size = (first.width + first.width % 2, first.height + first.height % 2)
    with av.open(file, "w", format="mp4") as container:
        if metadata is not None:
            container.metadata["comment"] = to_text(metadata)
        # Its macroblock tree (x264 165, on small frames), and its threads, don't decide alike in each run.
        options = {"crf": "18", "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate=mp4_rate(fps), options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for picture in chain([first], pictures):
            whole = picture if picture.size == size else picture.transform(size, Image.Transform.EXTENT, (0, 0, *size))
            frame = av.VideoFrame.from_ndarray(np.asarray(whole.convert("RGB")), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
