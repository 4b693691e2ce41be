"""Images as arrays: grids of them, and the bytes and files they become. uint8, channels last."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animegen.errors import UsageError
from animegen.files import replacing
from animegen.images.formats import LARGEST_PICTURE, still_format
from animegen.images.metadata import save_options
from animegen.seeds import whole_number

if TYPE_CHECKING:
    from PIL import ImageFont

Images = NDArray[np.uint8]

GAP = 2  # pixels between the images of a grid: enough to tell neighbours apart at 64×64
LABEL = 12  # height of a label's strip
_PAPER = 255  # the grid's background: white, as on the page that it will stand on
_OPTIONS: dict[str, dict[str, Any]] = {
    # zlib's run lengths (3, Z_RLE): faces, grids, captions and enlarged pixels take half the time of Pillow's default,
    # in as many bytes or fewer.
    "PNG": {"compress_level": 1, "compress_type": 3},
    # Full colours everywhere: at 64 pixels a subsampled colour is an eye's whole iris.
    "JPEG": {"quality": 95, "subsampling": 0},
    # exact: colours stay where nothing of them is seen. Method 0 takes 0.2 ms a face for 6, and 4 % more bytes.
    "WEBP": {"lossless": True, "exact": True, "method": 0},
}


def columns_for(n: int) -> int:
    """The number of columns that makes `n` images as square a grid as can be, never taller than wide."""
    return math.ceil(math.sqrt(n))


def grid_shape(
    n: int, columns: int | None, image_shape: tuple[int, int, int], *, labels: bool = False
) -> tuple[int, int, int]:
    """The shape [H, W, C] of the grid of `n` images [H, W, C], before any of them is made.

    Raises:
        UsageError: no images, fewer than one column, or a grid of more than 256 MiB.
    """
    if n < 1:
        raise UsageError(f"a grid has {n} images and must have at least one")
    columns = columns_for(n) if columns is None else whole_number("columns", columns)
    height, width, channels = image_shape
    across = min(columns, n)
    cell = height + (LABEL if labels else 0) + GAP
    shape = (math.ceil(n / across) * cell - GAP, across * (width + GAP) - GAP, channels)
    if math.prod(shape) > LARGEST_PICTURE:
        raise UsageError(
            f"the grid of {n:,} images is {shape[1]:,}×{shape[0]:,} pixels and must take at most "
            f"{LARGEST_PICTURE // 2**20} MiB: ask for fewer images"
        )
    return shape


def check_grid(
    n: int,
    columns: int | None,
    image_shape: tuple[int, int, int],
    form: str = "PNG",
    *,
    labels: bool = False,
    scale: int = 1,
) -> None:
    """Refuse a grid of `n` images [H, W, C], enlarged, that the format can't hold, before any of them is made.

    Raises:
        UsageError: as `grid_shape`, `enlarge` and `encode`.
    """
    _check_sheet(grid_shape(n, columns, image_shape, labels=labels), f"the grid of {n:,} images", form, scale)


def table_shape(
    rows: Sequence[object], columns: Sequence[object], image_shape: tuple[int, int, int]
) -> tuple[int, int, int]:
    """The shape [H, W, C] of a `table` of images of a shape.

    Raises:
        UsageError: as `grid_shape`.
    """
    height, width, channels = grid_shape(len(rows) * len(columns), len(columns), image_shape)
    return height + LABEL, width + _margin(_row_names(rows)), channels


def check_table(
    rows: Sequence[object],
    columns: Sequence[object],
    image_shape: tuple[int, int, int],
    form: str = "PNG",
    *,
    scale: int = 1,
) -> None:
    """Refuse a table of images [H, W, C], enlarged, that the format can't hold, before any of them is made.

    Raises:
        UsageError: as `check_grid`.
    """
    what = f"the table of {len(rows) * len(columns):,} images"
    _check_sheet(table_shape(rows, columns, image_shape), what, form, scale)


def _check_sheet(shape: tuple[int, int, int], what: str, form: str, scale: int) -> None:
    height, width, channels = shape
    _check_enlarged(height, width, channels, scale)
    still_format(_as_path(form)).check_side(height * scale, width * scale, what, "ask for fewer images")


def grid(images: Images, columns: int | None = None, labels: Sequence[object] | None = None) -> Images:
    """Lay uint8 [N, H, W, C] out row by row as one picture: uint8 [rows·H + gaps, columns·W + gaps, C].

    Cells left over in the last row stay white. Without `columns` the grid is as square as can be. `labels`, one an
    image, stand under their images, black on white; one that is wider than its image is made smaller until it fits.

    Raises:
        UsageError: no images or none of that shape, fewer than one column, a grid of more than 256 MiB, or another
            number of labels than of images.
    """
    _check_pixels(images, "[N, H, W, 1, 3 or 4]")
    sheet = np.full(grid_shape(len(images), columns, images.shape[1:], labels=labels is not None), _PAPER, np.uint8)
    if labels is not None:
        images = _labelled(images, labels)
    n, height, width, _ = images.shape
    columns = min(columns_for(n) if columns is None else whole_number("columns", columns), n)
    for k, image in enumerate(images):
        top, left = k // columns * (height + GAP), k % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = image
    return sheet


def table(images: Images, rows: Sequence[object], columns: Sequence[object]) -> Images:
    """Lay uint8 [rows·columns, H, W, C] out row by row, the rows' names at the left and the columns' above, on white.

    A column's name that is wider than its images is made smaller until it fits.

    Raises:
        UsageError: another number of images than of cells, or as `grid`.
    """
    if len(images) != len(rows) * len(columns):
        raise UsageError(f"{len(images)} images stand for {len(rows)} rows of {len(columns)} and must be one for each")
    sheet = grid(images, len(columns))
    _, height, width, _ = images.shape
    names = _row_names(rows)
    left = _margin(names)
    paper = Image.new("L", (left + sheet.shape[1], LABEL + sheet.shape[0]), _PAPER)
    for k, name in enumerate(names):
        paper.paste(name, (left - GAP - name.width, LABEL + k * (height + GAP) + (height - LABEL) // 2))
    for k, column in enumerate(columns):
        paper.paste(_caption(str(column), width), (left + k * (width + GAP), 0))
    whole = np.full((*np.asarray(paper).shape, sheet.shape[2]), _PAPER, np.uint8)
    whole[..., :3] = np.asarray(paper)[..., None]
    whole[LABEL:, left:] = sheet
    return whole


def _row_names(rows: Sequence[object]) -> list[Image.Image]:
    return [_caption(str(name), None) for name in rows]


def _margin(names: Sequence[Image.Image]) -> int:
    return max(name.width for name in names) + 2 * GAP


def _caption(text: str, width: int | None) -> Image.Image:
    """Black on white, in the middle of a strip of that width, or of the text's own."""
    from PIL import ImageDraw

    text = " ".join(text.split())  # of one line
    draw = ImageDraw.Draw(Image.new("L", (1, 1)))
    sizes = range(LABEL - 1, 5, -1)
    size = next((size for size in sizes if width is None or draw.textlength(text, _font(size)) <= width), 5)
    strip = Image.new("L", (width or math.ceil(draw.textlength(text, _font(size))), LABEL), _PAPER)
    ImageDraw.Draw(strip).text((strip.width / 2, LABEL / 2), text, fill=0, font=_font(size), anchor="mm")
    return strip


def _labelled(images: Images, labels: Sequence[object]) -> Images:
    """Each image with a strip of paper under it that holds its label: uint8 [N, H + 12, W, C]."""
    n, height, width, channels = images.shape
    if len(labels) != n:
        raise UsageError(f"{len(labels)} labels stand for {n} images and must be one for each")
    taller = np.full((n, height + LABEL, width, channels), _PAPER, np.uint8)
    taller[:, :height] = images
    for image, label in zip(taller, map(str, labels), strict=True):
        image[height:, :, :3] = np.asarray(_caption(label, width))[..., None]
    return taller


def enlarge(image: Images, scale: int) -> Images:
    """A picture uint8 [H, W, C] with a square of `scale`² pixels for each of its own: uint8 [scale·H, scale·W, C].

    Raises:
        UsageError: an array of another shape or type, a scale below 1, or a result of more than 256 MiB.
    """
    _check_pixels(image, "[H, W, 1, 3 or 4]")
    scale = whole_number("scale", scale)
    height, width, channels = image.shape
    _check_enlarged(height, width, channels, scale)
    return image if scale == 1 else image.repeat(scale, axis=0).repeat(scale, axis=1)


def _check_enlarged(height: int, width: int, channels: int, scale: int) -> None:
    if height * width * channels * scale**2 > LARGEST_PICTURE:
        raise UsageError(
            f"the picture at {scale}× is {width * scale:,}×{height * scale:,} pixels and must take at most "
            f"{LARGEST_PICTURE // 2**20} MiB: make it smaller"
        )


def to_pillow(image: Images) -> Image.Image:
    """A Pillow image of uint8 [H, W, C] with one channel (grey), three (RGB) or four (RGBA).

    Raises:
        UsageError: an array of another shape or type.
    """
    _check_pixels(image, "[H, W, 1, 3 or 4]")
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def flatten(picture: Image.Image) -> Image.Image:
    """A picture without transparency: as it is seen on white."""
    if picture.mode != "RGBA":
        return picture
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def encode(image: Images, form: str = "PNG", *, metadata: Mapping[str, Any] | None = None) -> bytes:
    """The bytes of uint8 [H, W, C] as a PNG, JPEG or WebP file. PNG and WebP without loss, JPEG at quality 95.

    A JPEG has no transparency: it shows the image on white. `metadata` is what the file says of itself: whatever JSON
    holds, which `read_metadata` gives back.

    Raises:
        UsageError: an unknown format, an array that is no image, or one with more pixels on a side than the format has;
            metadata that JSON can't hold.
    """
    kind = still_format(_as_path(form))
    picture = to_pillow(image)
    kind.check_side(picture.height, picture.width, "the picture", "make it smaller or take another format")
    buffer = io.BytesIO()
    if kind.name == "JPEG":
        picture = flatten(picture)
    picture.save(buffer, kind.name, **_OPTIONS.get(kind.name, {}), **save_options(kind.name, metadata))
    return buffer.getvalue()


def save_image(image: Images, path: str | Path, *, metadata: Mapping[str, Any] | None = None) -> None:
    """Write uint8 [H, W, C] to `path` in the format of its extension; on an error nothing is left there.

    `metadata` is as in `encode`.

    Raises:
        UsageError: an unknown extension, or as `encode`.
        OutputError: the path can't be written.
    """
    path = Path(path)
    data = encode(image, still_format(path).name, metadata=metadata)
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def _as_path(form: str) -> Path:
    """A file name that has a format's name, such as PNG or jpg, as its extension."""
    return Path(f"picture.{form}")


def _check_pixels(images: NDArray[Any], shape: str) -> None:
    axes = 4 if "N" in shape else 3
    if images.dtype != np.uint8 or images.ndim != axes or images.shape[-1] not in {1, 3, 4} or 0 in images.shape[-3:]:
        raise UsageError(f"images are {images.dtype} {list(images.shape)} and must be uint8 {shape}")


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)
