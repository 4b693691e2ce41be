"""Images as arrays: grids of them, and the bytes and files they become. uint8, channels last."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from animegen.errors import UsageError
from animegen.files import replacing

Images = NDArray[np.uint8]

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
GAP = 2  # pixels between the images of a grid: enough to tell neighbours apart at 64×64
_LABEL = 12  # height of a label's strip
_LARGEST_SHEET = 2**28  # bytes of a grid: 256 MiB, some 20,000 images of 64×64
_LARGEST_SIDES = {"JPEG": 65_535, "WEBP": 16_383}  # what the formats themselves can hold
_PAPER = 255  # the grid's background: white, as on the page that it will stand on


def format_of(path: Path) -> str:
    """Pillow's name of the picture format that the extension of `path` stands for.

    Raises:
        UsageError: an unknown extension; the known ones are named.
    """
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        given = f"the extension {path.suffix!r}" if path.suffix else "a name without an extension"
        raise UsageError(f"{path} has {given}, and a picture is one of {', '.join(FORMATS)}") from None


def columns_for(n: int) -> int:
    """The number of columns that makes `n` images as square a grid as can be, never taller than wide."""
    return math.ceil(math.sqrt(n))


def grid(images: Images, columns: int | None = None) -> Images:
    """Lay uint8 [N, H, W, C] out row by row as one picture: uint8 [rows·H + gaps, columns·W + gaps, C].

    Cells left over in the last row stay white. Without `columns` the grid is as square as can be.

    Raises:
        UsageError: no images, or fewer than one column.
    """
    n, height, width, channels = images.shape
    if n == 0:
        raise UsageError("a grid needs at least one image")
    if columns is None:
        columns = columns_for(n)
    if columns < 1:
        raise UsageError(f"columns is {columns}: a grid has at least one")
    columns = min(columns, n)
    rows = math.ceil(n / columns)
    shape = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels)
    sheet = np.full(shape, _PAPER, dtype=np.uint8)
    for k, image in enumerate(images):
        top, left = k // columns * (height + GAP), k % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = image
    return sheet


def check_sheet(n: int, columns: int | None, image_shape: tuple[int, int, int], form: str = "PNG") -> None:
    """Refuse a grid of `n` images [C, H, W] that no viewer could show, before any of them is made.

    Raises:
        UsageError: the grid's size, and what to do with so many images.
    """
    channels, height, width = image_shape
    across = min(columns or columns_for(n), n)
    down = math.ceil(n / across)
    size = (across * (width + GAP) - GAP, down * (height + GAP) - GAP)
    largest_side = _LARGEST_SIDES.get(form, _LARGEST_SHEET)
    if size[0] * size[1] * channels > _LARGEST_SHEET or max(size) > largest_side:
        raise UsageError(
            f"a {form} grid of {n} images would have {size[0]:,}×{size[1]:,} pixels: ask for fewer, or for a folder, "
            "a .zip or an .npz, which take any number"
        )


def labelled(images: Images, labels: Sequence[str]) -> Images:
    """Write a label under each of uint8 [N, H, W, C]: uint8 [N, H + 12, W, C], black on white, centred.

    A label that is wider than its image is made smaller until it fits.
    """
    n, height, width, channels = images.shape
    taller = np.full((n, height + _LABEL, width, channels), _PAPER, np.uint8)
    taller[:, :height] = images
    for image, label in zip(taller, labels, strict=True):
        strip = Image.new("L", (width, _LABEL), _PAPER)
        draw = ImageDraw.Draw(strip)
        size = next((size for size in range(_LABEL - 1, 5, -1) if draw.textlength(label, _font(size)) <= width), 5)
        draw.text((width / 2, _LABEL / 2), label, fill=0, font=_font(size), anchor="mm")
        image[height:] = np.asarray(strip)[..., None]
    return taller


def to_pillow(image: Images) -> Image.Image:
    """A Pillow image of uint8 [H, W, C] with one channel (grey) or three (RGB)."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def encode(image: Images, form: str = "PNG") -> bytes:
    """The bytes of uint8 [H, W, C] as a file of one of the `FORMATS`. PNG and WebP without loss, JPEG at quality 95."""
    buffer = io.BytesIO()
    # Full colours everywhere: at 64 pixels a subsampled colour is an eye's whole iris.
    options: dict[str, dict[str, int]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
    to_pillow(image).save(buffer, format=form, **options.get(form, {}))
    return buffer.getvalue()


def save(image: Images, path: str | Path) -> None:
    """Write uint8 [H, W, C] to `path` in the format of its extension; on an error nothing is left there.

    Raises:
        UsageError: an unknown extension.
        OutputError: the path can't be written.
    """
    path = Path(path)
    data = encode(image, format_of(path))
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
