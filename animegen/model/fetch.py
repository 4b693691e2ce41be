"""Models from elsewhere: an https or hf:// address, fetched once into the user's cache and pinned by its sha256.

The download is pooch's: into a temporary file, checked, then moved into place.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from animegen.errors import MissingPackageError, ModelError, UsageError
from animegen.files import is_file, replacing, sha256

INSTALL = "pip install 'animegen[fetch]'"
_HUB = "https://huggingface.co"
_LARGEST = 2 * 2**30  # bytes: what an ONNX file with its weights inside can hold at all
_TIMEOUT = 30  # seconds without a byte
_PIN = "pin.json"
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Address:
    """A model's place on the network.

    Attributes:
        text: as the user wrote it, without the checksum.
        url: where it is fetched.
        name: the file's name, which ends in .onnx.
        sha256: the checksum that the user gave, or None.
    """

    text: str
    url: str
    name: str
    sha256: str | None

    @property
    def folder(self) -> Path:
        """Where the cache keeps it."""
        return cache() / hashlib.sha256(self.url.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Cached:
    """A model in the cache."""

    path: Path
    address: str
    sha256: str


def cache() -> Path:
    """The folder of fetched models: `ANIMEGEN_CACHE`, or the user's cache folder of this system.

    Raises:
        ModelError: there is none, as the system knows no home of this user.
    """
    folder = cache_folder()
    if folder is None:
        raise ModelError("this user has no home to keep fetched files in: name a folder by ANIMEGEN_CACHE")
    return folder


def cache_folder() -> Path | None:
    """As `cache`, and None where there is none."""
    if folder := os.environ.get("ANIMEGEN_CACHE"):
        return Path(folder)
    name, usual = ("LOCALAPPDATA", "AppData/Local") if os.name == "nt" else ("XDG_CACHE_HOME", ".cache")
    inside = Path("animegen", "cache") if os.name == "nt" else Path("animegen")
    given = Path(os.environ.get(name, ""))
    if given.is_absolute():
        return given / inside
    try:
        return Path.home() / usual / inside
    except RuntimeError:
        return None


def is_address(model: str) -> bool:
    """Whether a model is named by an address rather than by a name or a path."""
    return re.match(r"(?i)[a-z][a-z0-9+.]+://", model) is not None


def parse(model: str) -> Address:
    """Read `https://host/face.onnx` or `hf://owner/repo/face.onnx`, either with `#sha256:…` behind it.

    `hf://owner/repo@revision/…` takes a branch, tag or commit; the default is `main`.

    Raises:
        UsageError: another scheme or form, or something else than a checksum behind the #.
    """
    text, _, checksum = model.partition("#")
    match = re.fullmatch(r"(?:sha256:([0-9a-fA-F]{64}))?", checksum)
    if match is None:
        raise UsageError(
            f"{model} has {checksum!r} behind the # and must have sha256: and 64 hexadecimal digits, or nothing"
        )
    parts = urlsplit(text)
    if parts.scheme == "hf":
        path = re.fullmatch(r"hf://([\w.-]+)/([\w.-]+)(?:@([\w.-]+))?/([\w./-]+)", text, re.ASCII)
        if path is None or ".." in text:
            raise UsageError(f"{text} must have the form hf://owner/repo/file.onnx")
        owner, repository, revision, file = path.groups()
        hub = os.environ.get("HF_ENDPOINT", _HUB).rstrip("/")  # the hub's own variable, for mirrors
        url = f"{hub}/{owner}/{repository}/resolve/{revision or 'main'}/{file}"
    elif parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        url = text
    else:
        raise UsageError(f"{text} must begin with https:// or hf://, as a model's address does")
    name = PurePosixPath(urlsplit(url).path).name
    if not re.fullmatch(r"[\w.-]+\.onnx", name, re.ASCII):
        raise UsageError(f"{text} must end in the name of an .onnx file")
    return Address(text, url, name, match[1].lower() if match[1] else None)


def fetch(address: Address) -> Path:
    """The cached file of an address, which is fetched if it isn't there, or isn't what was pinned.

    A download is logged before it begins.

    Raises:
        ModelError: it can't be fetched, or isn't what the checksum says.
        MissingPackageError: pooch is not installed.
        OutputError: the cache can't be written.
    """
    path = address.folder / address.name
    pin = _pin(address.folder)
    pinned = address.sha256 or (pin["sha256"] if pin else None)
    if is_file(path, ModelError) and pinned is not None:
        if sha256(path) == pinned:
            return path
        logger.warning("%s is damaged: fetching %s again", path, address.text)
    else:
        logger.info("fetching %s", address.text)
    _download(address, pinned)
    digest = sha256(path)
    with replacing(address.folder / _PIN) as temporary:
        temporary.write_text(
            json.dumps({"address": address.text, "url": address.url, "sha256": digest}), encoding="utf-8"
        )
    return path


def cached() -> list[Cached]:
    """What the cache holds."""
    models = []
    where = cache_folder()
    for folder in sorted(path.parent for path in where.glob(f"*/{_PIN}")) if where else ():
        pin = _pin(folder)
        path = folder / PurePosixPath(urlsplit(pin["url"]).path).name if pin else folder
        if pin and is_file(path, ModelError):
            models.append(Cached(path, pin["address"], pin["sha256"]))
    return models


def _pin(folder: Path) -> dict[str, str] | None:
    """What was noted at the first fetch; None where there is no note, or none that can be read."""
    try:
        pin = json.loads((folder / _PIN).read_text(encoding="utf-8"))
        return {key: str(pin[key]) for key in ("address", "url", "sha256")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _download(address: Address, sha256: str | None) -> None:
    try:
        import pooch
        import requests
    except ImportError as error:
        raise MissingPackageError(
            f"fetching {address.text} needs pooch: {INSTALL}, or give the path of a file"
        ) from error
    pooch.get_logger().setLevel(logging.ERROR)  # it would tell of every download, as this module does
    try:
        address.folder.mkdir(parents=True, exist_ok=True)
        # An old file whose checksum nobody knows is worth nothing, and pooch would take it as it is.
        if sha256 is None:
            (address.folder / address.name).unlink(missing_ok=True)
        pooch.retrieve(
            address.url,
            known_hash=f"sha256:{sha256}" if sha256 else None,
            fname=address.name,
            path=address.folder,
            downloader=_bounded(pooch),
        )
    except requests.HTTPError as error:
        raise ModelError(f"{address.text} can't be fetched: the server answers {error.response.status_code}") from error
    except requests.RequestException as error:
        reason = "interrupted" if isinstance(error, requests.exceptions.ChunkedEncodingError) else "no connection"
        raise ModelError(
            f"{address.text} can't be fetched ({reason}): try again online, or give a file's path"
        ) from error
    except ValueError as error:  # pooch's, of a checksum
        raise ModelError(
            f"{address.text} is not the file of sha256 {sha256}, which was given or pinned at its first fetch: "
            f"check the address; if the new file is right, remove {address.folder}"
        ) from error
    except OSError as error:
        raise ModelError(
            f"{address.folder} can't be written: {error.strerror or error}: name another folder by ANIMEGEN_CACHE"
        ) from error


def _bounded(pooch: Any) -> Any:
    """Pooch's downloader over HTTP, with an end to its patience and to a file's size."""
    plain = pooch.HTTPDownloader(timeout=_TIMEOUT)

    def download(url: str, output_file: str, caller: object) -> None:
        with open(output_file, "wb") as file:  # noqa: PTH123 (pooch gives a string)
            plain(url, _Bounded(file), caller)

    return download


class _Bounded:
    """A file that refuses to grow without end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = _LARGEST

    def write(self, data: bytes) -> int:
        self._left -= len(data)
        if self._left < 0:
            raise ModelError(
                f"the download has more than {_LARGEST:,} bytes, the most of an ONNX file: it was given up"
            )
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()
