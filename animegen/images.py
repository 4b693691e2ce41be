"""Images as arrays: grids of them, and the bytes and files they become. uint8, channels last."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animegen.errors import UsageError
from animegen.files import replacing

Images = NDArray[np.uint8]

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_GAP = 2  # pixels between the images of a grid: enough to tell neighbours apart at 64×64
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
    shape = (rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, channels)
    sheet = np.full(shape, _PAPER, dtype=np.uint8)
    for k, image in enumerate(images):
        top, left = k // columns * (height + _GAP), k % columns * (width + _GAP)
        sheet[top : top + height, left : left + width] = image
    return sheet


def to_pillow(image: Images) -> Image.Image:
    """A Pillow image of uint8 [H, W, C] with one channel (grey) or three (RGB)."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def encode(image: Images, form: str = "PNG") -> bytes:
    """The bytes of uint8 [H, W, C] as a file of one of the `FORMATS`. JPEG and WebP at quality 95."""
    buffer = io.BytesIO()
    options = {} if form == "PNG" else {"quality": 95}
    to_pillow(image).save(buffer, format=form, **options)
    return buffer.getvalue()


def save(image: Images, path: Path) -> None:
    """Write uint8 [H, W, C] to `path` in the format of its extension; on an error nothing is left there.

    Raises:
        UsageError: an unknown extension.
        OutputError: the path can't be written.
    """
    data = encode(image, format_of(path))
    with replacing(path) as temporary:
        temporary.write_bytes(data)
