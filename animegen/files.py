"""Writing without half files: everything is written beside its target and renamed into place. Npz files, and hashes."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animegen.errors import DataError, OutputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def check_parent(target: Path) -> None:
    """Raise OutputError if the folder that `target` would stand in isn't there.

    Called before hours of work as well as before a write: no folder is made behind the user's back.
    """
    folder = target.parent
    if not folder.is_dir():
        raise OutputError(f"{folder} is not a folder, so {target.name} can't be written there: make it first")


def check_new_folder(target: Path) -> None:
    """As `check_parent`, and raise OutputError if `target` is there and not an empty folder."""
    check_parent(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputError(f"{target} already exists: remove it or name another")


@contextmanager
def replacing(target: Path, *, flush: bool = True) -> Iterator[Path]:
    """Yield the path of a new, empty file beside `target`; on a clean exit it takes the target's place.

    On any error the new file is removed and the target stays as it was. The rename is atomic on one
    file system, and the data is flushed to the disk before it, so a power cut leaves the old or the new.
    Without `flush` that holds for a crash of the process only: for files that are cheap to make again.

    Raises:
        OutputError: the folder is missing or unwritable, or the disk is full.
    """
    check_parent(target)
    if target.is_dir():
        raise OutputError(f"{target} is a folder: name a file")
    temporary: Path | None = None
    try:
        temporary = _beside(target)
        temporary.touch(exist_ok=False)
        yield temporary
        if flush:
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
        temporary.replace(target)
    except OSError as error:
        raise OutputError(f"{target} can't be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """Like `replacing`, for a folder that doesn't exist yet or is empty.

    Raises:
        OutputError: the parent is missing or unwritable, the target holds something, or the disk is full.
    """
    check_new_folder(target)
    temporary: Path | None = None
    try:
        temporary = _beside(target)
        temporary.mkdir()
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise OutputError(f"{target} can't be written: {error.strerror or error}") from error
    finally:
        if temporary is not None and temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")


def write_npz(path: Path, arrays: Mapping[str, ArrayLike], *, compress: bool = False) -> None:
    """Write arrays by name as one npz, which `numpy.load` reads; the same arrays make the same bytes.

    Raises:
        OutputError: as `replacing`.
    """
    import numpy as np

    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, values in arrays.items():
            # ZipInfo's own date, 1 January 1980, as numpy's: a date of today would change the bytes.
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            with archive.open(entry, "w", force_zip64=True) as file:  # an array may pass 4 GiB
                np.lib.format.write_array(file, np.asarray(values, order="C"), allow_pickle=False)


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an npz by their names. Pickles, which could run code, are refused.

    Raises:
        DataError: no such file, or none that can be read whole.
    """
    import numpy as np

    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is no zip file")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                return {name: np.asarray(archive[name]) for name in archive.files}
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: name an npz file") from error
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise DataError(f"{path} can't be read as an npz ({reason}): make it again") from error


def sha256(path: Path) -> str:
    """The hash of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
