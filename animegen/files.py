"""Writing without half files: everything is written beside its target and renamed into place. And their hash."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from animegen.errors import OutputError


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


def sha256(path: Path) -> str:
    """The hash of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
