"""Where images come from: a folder or a zip of picture files, in an order that never changes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image, ImageOps

from animegen.errors import DataError

EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_LARGEST_FILE = 256 * 2**20  # bytes: what unpacks to more than this is no picture to train on


@dataclass(frozen=True)
class Broken:
    """A file that has a picture's extension and can't be decoded."""

    name: str
    why: str


class Source:
    """The picture files under a folder (any depth) or inside a zip, sorted by name.

    Attributes:
        names: relative names with forward slashes, in the order in which `read` yields them.
        ignored: how many files have another extension.

    Raises:
        DataError: `path` is neither a folder nor a whole zip file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            files = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
        elif path.is_file() and zipfile.is_zipfile(path):
            try:
                with zipfile.ZipFile(path) as archive:
                    files = [member.filename for member in archive.infolist() if not member.is_dir()]
            except zipfile.BadZipFile as error:
                raise DataError(f"{path} is a damaged zip file ({error}): get a whole copy") from error
        elif path.exists():
            raise DataError(f"{path} is neither a folder nor a zip file of images")
        else:
            raise DataError(f"{path} does not exist: name a folder or a zip file of images")
        self.names = sorted(name for name in files if _is_picture(PurePosixPath(name)))
        self.ignored = len(files) - len(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def read(self) -> Iterator[Image.Image | Broken]:
        """Decode one file after the other, upright and in RGB; a broken one is yielded as `Broken`."""
        for name, data in self._files():
            if isinstance(data, Broken):
                yield data
                continue
            try:
                yield _decode(data)
            except Exception as error:  # noqa: BLE001 (Pillow's decoders raise any kind, SyntaxError among them)
                yield Broken(name, _reason(error))

    def _files(self) -> Iterator[tuple[str, bytes | Broken]]:
        if self.path.is_dir():
            for name in self.names:
                file = self.path / name
                try:
                    too_large = file.stat().st_size > _LARGEST_FILE
                    yield name, Broken(name, "too large") if too_large else file.read_bytes()
                except OSError as error:
                    yield name, Broken(name, _reason(error))
            return
        with zipfile.ZipFile(self.path) as archive:
            for name in self.names:
                try:
                    too_large = archive.getinfo(name).file_size > _LARGEST_FILE
                    yield name, Broken(name, "too large") if too_large else archive.read(name)
                # RuntimeError: an encrypted member, or one of an unknown compression.
                except (OSError, zipfile.BadZipFile, RuntimeError, EOFError, ValueError) as error:
                    yield name, Broken(name, _reason(error))


def _is_picture(name: PurePosixPath) -> bool:
    # A Mac's zip holds a shadow "._face.jpg" for every face, which is no picture.
    return name.suffix.lower() in EXTENSIONS and not name.name.startswith("._")


def _decode(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as opened:
        upright = ImageOps.exif_transpose(opened)
        if upright.has_transparency_data:
            # Whatever hides behind transparent pixels was never meant to be seen: white, as on paper.
            layer = upright.convert("RGBA")
            paper = Image.new("RGBA", layer.size, "white")
            return Image.alpha_composite(paper, layer).convert("RGB")
        return upright.convert("RGB")


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return " ".join(text.split())[:200]
