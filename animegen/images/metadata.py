"""What a picture says of itself, as one JSON object: PNG text, EXIF in JPEG and WebP, a comment in GIF and MP4."""

from __future__ import annotations

import io
import json
import logging
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, PngImagePlugin

from animegen.errors import DataError, UsageError
from animegen.images.formats import ANIMATIONS, STILLS

_KEY = "animegen"  # of the PNG's text
_EXIF, _COMMENT = 0x8769, 0x9286  # the EXIF block, and the user comment in it
_ASCII = b"ASCII\0\0\0"  # a user comment begins with its character code
_LARGEST_IN_JPEG = 65_000  # bytes: a JPEG's segment has 65,533 for the whole of the EXIF block

logger = logging.getLogger(__name__)


def to_text(metadata: Mapping[str, Any]) -> str:
    """The one line of JSON, in ASCII, which every format holds.

    Raises:
        UsageError: no table, or a value that JSON can't hold.
    """
    if not isinstance(metadata, Mapping):
        raise UsageError(f'metadata is {type(metadata).__name__} and must be a table such as {{"seed": 7}}')
    try:
        return json.dumps(dict(metadata), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"metadata must be texts, finite numbers, lists and tables: {error}") from error


def save_options(form: str, metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """What Pillow's `save` is given for a format to hold the metadata."""
    if metadata is None:
        return {}
    text = to_text(metadata)
    if form == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_text(_KEY, text)
        return {"pnginfo": chunks}
    if form == "GIF":
        return {"comment": text.encode()}
    if form == "JPEG" and len(text) > _LARGEST_IN_JPEG:
        logger.warning(
            f"the picture's metadata has {len(text):,} bytes and a JPEG holds {_LARGEST_IN_JPEG:,}: it is left out; "
            "a PNG or WebP holds it"
        )
        return {}
    exif = Image.Exif()
    exif[_EXIF] = {_COMMENT: _ASCII + text.encode()}
    return {"exif": exif.tobytes()}


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What a picture, an animation or an npz of pictures says of itself.

    Raises:
        DataError: it can't be read, or says nothing.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            text = _READERS.get(path.suffix.lower(), _picture_text)(file)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: name a picture") from error
    except (OSError, ValueError, SyntaxError, zipfile.BadZipFile, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or "it is no picture"
        raise DataError(f"{path} can't be read: {reason}") from error
    record = _parsed(text)
    if record is None:
        raise DataError(
            f"{path} says nothing of where it comes from: another program made or changed it, or it has no metadata"
        )
    return record


def suffix_of(path: Path) -> str:
    """The suffix, such as .webp, that a picture's own format has, whatever the file is called."""
    with Image.open(path) as picture:
        return next((suffix for suffix, form in (STILLS | ANIMATIONS).items() if form.name == picture.format), "")


def of_whole_picture(data: bytes) -> dict[str, Any] | None:
    """What a picture's bytes say of themselves: an empty table if nothing, and None if the picture isn't whole."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            # A PNG's checksums are looked at without decoding it.
            picture.verify() if picture.format == "PNG" else picture.load()
        return _parsed(_picture_text(io.BytesIO(data))) or {}
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _parsed(text: str | bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _picture_text(file: IO[bytes]) -> str | bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # its pixels are never decoded
        with Image.open(file) as picture:
            if picture.format == "PNG":
                return str(picture.info.get(_KEY, ""))
            if picture.format == "GIF":
                comment = picture.info.get("comment", b"")
            else:
                comment = picture.getexif().get_ifd(_EXIF).get(_COMMENT, b"")
    return comment.removeprefix(_ASCII) if isinstance(comment, bytes) else ""


def _mp4_comment(file: IO[bytes]) -> str:
    try:
        import av
    except ImportError:
        return ""
    try:
        with av.open(file) as container:
            return str(container.metadata.get("comment", ""))
    except av.FFmpegError as error:
        raise ValueError(str(error)) from error


def _npz_text(file: IO[bytes]) -> str:
    with np.load(file, allow_pickle=False) as arrays:
        return str(arrays["metadata"]) if "metadata" in arrays else ""


_READERS: dict[str, Callable[[IO[bytes]], str | bytes]] = {".mp4": _mp4_comment, ".npz": _npz_text}
