"""Where images come from: a folder or a zip of picture files, in an order that never changes."""

from __future__ import annotations

import heapq
import lzma
import os
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from pathlib import Path, PurePosixPath

from PIL import Image

from animegen.errors import DataError
from animegen.files import is_file, status
from animegen.images.decoding import decode, kind_of, reason

EXTENSIONS = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg"}
    | {".png", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
)
_LARGEST_FILE = 256 * 2**20  # bytes: what unpacks to more than this is no picture to train on
_TOO_LARGE = "it is larger than 256 MiB"

# Folders of copies that nobody put there: each would be a picture twice, or one that was thrown away.
_SHADOWS = {
    ".ipynb_checkpoints": "Jupyter's copies",
    "__macosx": "a Mac's resource forks",
    ".appledouble": "a Mac's resource forks",  # as netatalk keeps them
    ".thumbnails": "thumbnails",  # of Linux desktops and Android
    ".xvpics": "thumbnails",  # of xv and GIMP
    "@eadir": "Synology's thumbnails",
    ".@__thumb": "QNAP's thumbnails",
    ".picasaoriginals": "Picasa's originals of what was edited",
    ".stversions": "Syncthing's old versions",
    "$recycle.bin": "deleted files",  # Windows
    "#recycle": "deleted files",  # Synology
    "@recycle": "deleted files",  # QNAP
    ".dtrash": "deleted files",  # digiKam
}
_TRASH = ".trash"  # how macOS and freedesktop.org begin the name of theirs: .Trashes, .Trash-1000
_MAC_SHADOW = "._"  # a Mac's zip or share holds a shadow "._face.jpg" for every face
_OTHERS = "with another extension"

# What zipfile raises for one that is damaged, beside its own error.
_DAMAGED = (OSError, zipfile.BadZipFile, RuntimeError, EOFError, ValueError, struct.error, zlib.error, lzma.LZMAError)
_ENCRYPTED = 1  # a member's flag


@dataclass(frozen=True)
class Broken:
    """A file that has a picture's extension and can't be decoded, or a folder, with a slash behind, of no access."""

    name: str
    why: str


class Source:
    """The picture files under a folder (any depth, links followed) or inside a zip, sorted by name.

    A folder is read once, however many links lead to it, and under its own name if it has one here. A link to a folder
    that the link lies in leads nowhere new.

    Attributes:
        names: relative names with forward slashes, in the order in which `read` yields them; a folder that can't be
            read is among them, with a slash at its end. What is no UTF-8 is written as `\\xe9`.
        left_out: how many files were taken for no pictures, by what they are.
        unread: what is known to be broken before anything is decoded, such as folders.

    Raises:
        DataError: `path` is neither a folder nor a whole zip file, or can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        facts = status(path)
        if facts is None:
            raise DataError(f"{path} does not exist: name a folder or a zip file of images")
        self._in_folder = stat.S_ISDIR(facts.st_mode)
        entries = _walk(path) if self._in_folder else _members(path)
        reasons = [_left_out(name) for name, _ in entries]
        self.left_out = Counter(why for why in reasons if why)
        pictures = (entry for entry, why in zip(entries, reasons, strict=True) if not why)
        self._entries = sorted(pictures, key=itemgetter(0))
        self.names = [readable(name) for name, _ in self._entries]
        self.unread = [entry for _, entry in self._entries if isinstance(entry, Broken)]

    @property
    def ignored(self) -> int:
        """How many files were left out."""
        return self.left_out.total()

    def __len__(self) -> int:
        return len(self.names)

    def read(self) -> Iterator[Image.Image | Broken]:
        """Decode one file after the other, as `decoding.decode` does; what is broken is yielded as `Broken`."""
        for name, data in self._files():
            if isinstance(data, Broken):
                yield data
                continue
            try:
                yield decode(data)
            except Exception as error:  # noqa: BLE001 (Pillow's decoders raise any kind, SyntaxError among them)
                yield Broken(name, reason(error))

    def _files(self) -> Iterator[tuple[str, bytes | Broken]]:
        if self._in_folder:
            for name, (place, entry) in zip(self.names, self._entries, strict=True):
                yield name, entry if isinstance(entry, Broken) else _content(self.path / place, name)
            return
        with zipfile.ZipFile(self.path) as archive:
            for name, (_, entry) in zip(self.names, self._entries, strict=True):
                assert isinstance(entry, zipfile.ZipInfo)
                yield name, _unpacked(archive, entry, name)


_Entry = zipfile.ZipInfo | Broken | None  # None: a file of a folder


def readable(name: str) -> str:
    """A file's name as text that any encoding, JSON and a line hold: bytes that are no UTF-8 are written as `\\xe9`."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f]", lambda sign: f"\\x{ord(sign[0]):02x}", text)


def _walk(root: Path) -> list[tuple[str, _Entry]]:
    """All files under a folder by their relative names, links followed; folders that can't be read as `Broken`."""
    files: list[tuple[str, _Entry]] = []
    seen: set[str] = set()
    folders, links = [""], list[str]()
    while folders or links:
        # A folder's own name comes before the names that links give it.
        here = folders.pop() if folders else heapq.heappop(links)
        real = os.path.realpath(root / here)
        if real in seen:
            continue
        seen.add(real)
        for name, entry in _listed(root, here):
            if entry is not None or not name.endswith("/"):
                files.append((name, entry))
                continue
            target = os.path.realpath(root / name)
            if Path(target) == Path(real, PurePosixPath(name).name):
                folders.append(name)
            elif not _holds(target, real):
                heapq.heappush(links, name)
    return files


def _listed(root: Path, here: str) -> list[tuple[str, _Entry]]:
    """What is in the folder `here` under `root`: files by their relative names, folders with a slash at the end."""
    try:
        with os.scandir(root / here) as entries:
            return [_entry(here + entry.name, entry) for entry in entries]
    except OSError as error:
        if not here:
            raise DataError(f"{root} can't be read ({reason(error)}): make it readable") from error
        return [(here, Broken(readable(here), f"the folder can't be read: {reason(error)}"))]


def _entry(name: str, entry: os.DirEntry[str]) -> tuple[str, _Entry]:
    try:
        if entry.is_dir():
            return f"{name}/", None
        if entry.is_file():
            return name, None
        entry.stat()  # of a link to nothing the two above say no, and this raises
    except OSError as error:
        if PurePosixPath(name).suffix:
            return name, Broken(readable(name), reason(error))
        return f"{name}/", Broken(readable(f"{name}/"), f"the link leads nowhere: {reason(error)}")
    return name, Broken(readable(name), "it is neither a file nor a folder")


def _holds(folder: str, place: str) -> bool:
    """Whether a real path lies in a folder of a real path, or is it."""
    return f"{place}{os.sep}".startswith(folder.rstrip(os.sep) + os.sep)


def _members(path: Path) -> list[tuple[str, _Entry]]:
    """All files in a zip.

    Raises:
        DataError: it is none, or not whole; what it is instead is said.
    """
    if not is_file(path):
        raise DataError(f"{path} is neither a folder nor a zip file of images")
    try:
        with path.open("rb") as file:
            whole = zipfile.is_zipfile(file)
            file.seek(0)
            kind = kind_of(file.read(512))
    except OSError as error:
        raise DataError(f"{path} can't be read ({reason(error)}): make it readable") from error
    if not whole:
        raise DataError(f"{path} {_instead_of_zip(kind)}")
    try:
        with zipfile.ZipFile(path) as archive:
            return [(member.filename, member) for member in archive.infolist() if not member.is_dir()]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is a zip file with names that are no UTF-8 and say they are: pack it again") from error
    except _DAMAGED as error:
        raise DataError(f"{path} is a damaged zip file ({reason(error)}): get a whole copy") from error


def _instead_of_zip(kind: str | None) -> str:
    """What a file is that was named as a source and is no zip, and what to do."""
    if kind == "a zip file":
        return "is cut off: it begins as a zip file, and its end is missing; get a whole copy"
    if kind == "empty":
        return "is empty: get a whole copy"
    if kind == "a web page":
        return "is a web page and no zip file, so the download gave an error or a form: fetch it again"
    if kind and kind.endswith("archive"):
        return f"is {kind} and must be a folder or a zip file of images: unpack it, and name the folder"
    return f"is {kind + ', ' if kind else ''}neither a folder nor a zip file of images"


def _left_out(name: str) -> str | None:
    """Why a file is taken for no picture, as words behind "files"; None if it is one."""
    *folders, last = name.split("/")
    for folder in folders:
        if what := _shadow(folder):
            return f"in {folder} ({what})"
    if not last:  # a folder that can't be read
        return None
    if last.startswith(_MAC_SHADOW):
        return f"called {_MAC_SHADOW}* (a Mac's resource forks)"
    return None if PurePosixPath(last).suffix.lower() in EXTENSIONS else _OTHERS


@lru_cache
def _shadow(folder: str) -> str | None:
    name = folder.lower()
    return "deleted files" if name.startswith(_TRASH) else _SHADOWS.get(name)


def _content(file: Path, name: str) -> bytes | Broken:
    try:
        return file.read_bytes() if file.stat().st_size <= _LARGEST_FILE else Broken(name, _TOO_LARGE)
    except OSError as error:
        return Broken(name, reason(error))


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> bytes | Broken:
    if member.file_size > _LARGEST_FILE:
        return Broken(name, _TOO_LARGE)
    if member.flag_bits & _ENCRYPTED:
        return Broken(name, "it is encrypted")
    try:
        return archive.read(member)
    except NotImplementedError:
        return Broken(name, "it is compressed in an unknown way")
    except _DAMAGED:
        return Broken(name, "it is damaged in the zip file")
