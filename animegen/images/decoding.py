"""One picture: from a file's bytes to upright pixels of 8 bits, and from these to RGB or grey, whole or as a square.

In memory lies the picture as Pillow's decoder leaves it, at most 4 bytes a pixel, and for a square one channel of it
besides, 1 byte a pixel. How many pixels a picture may have is Pillow's own limit (`Image.MAX_IMAGE_PIXELS`).
"""

from __future__ import annotations

import importlib
import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

_STRIP = 2**20  # pixels that are converted at once: some 16 MiB at most, with transparency
_KEPT = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})  # modes that `flat` takes

# Brands in a file's first box (ISO/IEC 23008-12; for AVIF its own specification).
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}
_LONGEST_BOX = 256  # bytes: a box of brands has some dozens

_BITS, _PHOTOMETRIC, _SAMPLES = 258, 262, 339  # TIFF's tags of these names
_WHITE_IS_ZERO = 0  # a value of the second
_SIGNED = 2  # a value of the third

_PAGES = (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml")
_SIGNS = (
    (b"PK\x03\x04", "a zip file"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"%PDF", "a PDF"),
    (b"version https://git-lfs", "a Git LFS pointer"),
)


class _NoPictureError(ValueError):
    """Bytes of which is known why they are no picture."""


def decode(data: bytes) -> Image.Image:
    """A file's picture: upright, of 8 bits a channel, grey, of a palette or in colours, with or without transparency.

    Greys of more bits become greys of 8, whose white is the white of the file.

    Raises:
        Exception: it can't be decoded; Pillow's decoders raise any kind, and `reason` says it in words.
    """
    with _open(data) as picture:
        ImageOps.exif_transpose(picture, in_place=True)
        picture.load()
        if picture.mode in _KEPT:
            return picture
        return _grey(picture) if _is_deep(picture.mode) else picture.convert("RGB")


def flat(picture: Image.Image, mode: str = "RGB") -> Image.Image:
    """The picture in RGB or L, on white where it is transparent."""
    if picture.mode == mode and not picture.has_transparency_data:
        return picture
    whole = Image.new(mode, picture.size)
    for top, strip in _strips(picture, mode):
        whole.paste(strip, (0, top))
    return whole


def fitted(picture: Image.Image, size: int, mode: str = "RGB") -> Image.Image:
    """The central square of the picture at size×size, in RGB or L: what `ImageOps.fit` makes of `flat` with LANCZOS.

    Of a large picture one channel after the other is converted and made small, which is the same to the last bit.
    """
    width, height = picture.size
    if width * height <= _STRIP or (picture.mode == mode and not picture.has_transparency_data):
        return _fit(flat(picture, mode), size)
    grey = mode == "L" or (picture.mode in {"1", "L"} and not picture.has_transparency_data)
    channels = []
    for channel in range(1 if grey else 3):
        plane = Image.new("L", picture.size)
        for top, strip in _strips(picture, "L" if grey else mode):
            plane.paste(strip.getchannel(channel), (0, top))
        channels.append(_fit(plane, size))
    return channels[0].convert(mode) if grey else Image.merge(mode, channels)


def _fit(picture: Image.Image, size: int) -> Image.Image:
    return ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)


def reason(error: Exception) -> str:
    """What went wrong with a file, in one line that doesn't repeat its name, its place or its numbers of bytes."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return re.sub(r" \([^()]*\)$", "", " ".join(text.split()))[:200]


def kind_of(data: bytes) -> str | None:
    """What a file's first bytes show it to be, in words, where it is something that people take for a picture."""
    if not data:
        return "empty"
    if data.lstrip()[:16].lower().startswith(_PAGES):
        return "a web page"
    if data[257:262] == b"ustar":  # POSIX's place of it in a tar's first header
        return "a tar archive"
    return next((name for sign, name in _SIGNS if data.startswith(sign)), None)


def _open(data: bytes) -> Image.Image:
    brands = _brands(data)
    heif = brands & _HEIF_BRANDS and not brands & _AVIF_BRANDS
    if heif:
        try:
            importlib.import_module("pillow_heif").register_heif_opener()
        except ImportError:
            raise _NoPictureError("HEIC is read by pillow-heif: pip install pillow-heif") from None
    if brands & _AVIF_BRANDS and ".avif" not in Image.registered_extensions():
        raise _NoPictureError("AVIF is read by Pillow from 11.3 on: pip install --upgrade pillow")
    try:
        return Image.open(io.BytesIO(data), formats=["HEIF"] if heif else None)
    except UnidentifiedImageError:
        raise _NoPictureError(f"it is {kind_of(data) or 'no picture of a known format'}") from None


def _brands(data: bytes) -> set[bytes]:
    if data[4:8] != b"ftyp":
        return set()
    box = data[8 : min(int.from_bytes(data[:4]), _LONGEST_BOX)]
    return {box[start : start + 4] for start in range(0, len(box), 4)}


def _strips(picture: Image.Image, mode: str) -> Iterator[tuple[int, Image.Image]]:
    """The picture's strips from top to bottom in RGB or L, with the row at which each begins."""
    width, height = picture.size
    rows = max(_STRIP // width, 1)
    for top in range(0, height, rows):
        yield top, _flattened(picture.crop((0, top, width, min(top + rows, height))), mode)


def _flattened(picture: Image.Image, mode: str) -> Image.Image:
    if picture.has_transparency_data:
        # Whatever hides behind transparent pixels was never meant to be seen: white, as on paper.
        layer = picture.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        picture = Image.alpha_composite(paper, layer)
    # By way of RGB, so that one colour has one grey, whether it comes from a palette or not.
    return picture.convert("RGB").convert(mode)


def _is_deep(mode: str) -> bool:
    return mode in {"I", "F"} or mode.startswith("I;16")


def _grey(picture: Image.Image) -> Image.Image:
    """A deep grey picture in L. Of 16 bits the upper 8 are kept, as Pillow does with colours."""
    values = np.asarray(picture)
    tags: dict[int, Any] = getattr(picture, "tag_v2", {})
    white = _white(picture, values, tags)
    levels = np.rint(values * 255.0) if white == 1 else values // ((white + 1) // 256)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        levels = 255 - levels
    if "transparency" in picture.info:  # PNG: the one value that is not to be seen
        levels = np.where(values == picture.info["transparency"], 255, levels)
    return Image.fromarray(levels.astype(np.uint8))


def _white(picture: Image.Image, values: np.ndarray[Any, Any], tags: dict[int, Any]) -> int:
    """The value of white in a deep grey picture.

    Of 16 bits it is 65,535, of TIFF's 12 bits 4,095: the format says so. 32 bits have none of their own: floats from
    0 to 1 have 1, as photographs do; whole numbers have 255 or 65,535, whichever is the first to hold all, as these
    are the greys that Pillow writes so.

    Raises:
        _NoPictureError: nothing says it.
    """
    if picture.mode.startswith("I;16"):
        return int(2 ** tags.get(_BITS, (16,))[0] - 1)
    if picture.mode == "I" and picture.format in {"PNG", "PPM"}:
        return 65_535
    if tags.get(_SAMPLES, ())[:1] == (_SIGNED,) and tags.get(_BITS) == (16,):
        raise _NoPictureError("its greys are 16-bit numbers with a sign, so what is white isn't known")
    least, most = float(values.min()), float(values.max())  # not a number, where one of them is
    if picture.mode == "F" and least >= 0 and most <= 1:
        return 1
    if least >= 0 and most <= 65_535 and (values == np.floor(values)).all():
        return 255 if most <= 255 else 65_535
    raise _NoPictureError(
        f"its greys go from {least:g} to {most:g}, so what is white isn't known: floats must lie between 0 and 1, "
        "whole numbers between 0 and 65535"
    )
