"""Writing without half files: everything is written beside its target and renamed into place. Npz files, and hashes.

What is half written is a part: `.NAME.PROCESS-TOKEN-NUMBER.part`, locked for as long as its process lives. A process
that is killed leaves its parts, and the next one that writes into their folder removes them.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import secrets
import shutil
import stat
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animegen.errors import AnimegenError, DataError, OutputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


_PART = re.compile(r"\..+\.(?P<process>\d{1,7})-(?P<token>[0-9a-f]{8})-\d+\.part", re.DOTALL)
_NAME_BYTES = 100  # of a part's target in its name: file systems take 255 in all, and encrypting ones 143
_numbers = itertools.count()


def status(path: Path, wrong: type[AnimegenError] = DataError) -> os.stat_result | None:
    """What is at a path; None where nothing is.

    `Path.exists`, `is_file` and `is_dir` raise the system's own error where a folder on the way may not be entered.

    Raises:
        AnimegenError: of the class `wrong`: it may not be looked at.
    """
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last: a name with a zero byte
        return None
    except OSError as error:
        raise wrong(f"{path} can't be read ({error.strerror or error}): make it readable") from error


def is_file(path: Path, wrong: type[AnimegenError] = DataError) -> bool:
    """Whether a file is at a path.

    Raises:
        AnimegenError: as `status`.
    """
    found = status(path, wrong)
    return found is not None and stat.S_ISREG(found.st_mode)


def is_folder(path: Path, wrong: type[AnimegenError] = DataError) -> bool:
    """Whether a folder is at a path.

    Raises:
        AnimegenError: as `status`.
    """
    found = status(path, wrong)
    return found is not None and stat.S_ISDIR(found.st_mode)


def check_parent(target: Path) -> None:
    """Raise OutputError if the folder that `target` would stand in isn't there.

    Called before hours of work as well as before a write: no folder is made behind the user's back.
    """
    folder = target.parent
    with _in_one_line(target, "written"):
        if not folder.is_dir():
            raise OutputError(f"{folder} is not a folder, so {target.name} can't be written there: make it first")


def check_file(target: Path) -> None:
    """As `check_parent`, and raise OutputError if `target` is a folder, where no file can be written."""
    check_parent(target)
    with _in_one_line(target, "written"):
        if target.is_dir():
            raise OutputError(f"{target} is a folder: name a file")


def check_new_folder(target: Path) -> None:
    """As `check_parent`, and raise OutputError if `target` is there and not an empty folder."""
    check_parent(target)
    with _in_one_line(target, "written"):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise OutputError(f"{target} already exists: remove it or name another")


def make_folder(path: Path, *, parents: bool = False) -> None:
    """Make a folder, if it isn't there yet; with `parents`, those that it stands in too.

    Raises:
        OutputError: the path is a file's, or no folder can be made there.
    """
    try:
        path.mkdir(exist_ok=True, parents=parents)
    except FileExistsError as error:
        raise OutputError(f"{path} can't be made: it is a file and must be a folder; name another") from error
    except OSError as error:
        raise OutputError(f"{path} can't be made: {error.strerror or error}") from error


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield the path of a new, empty file beside `target`; on a clean exit it takes the target's place.

    On any error the new file is removed and the target stays as it was. The rename is atomic on one
    file system, and the data is flushed to the disk before it, so a power cut leaves the old or the new.

    Raises:
        OutputError: the folder is missing or unwritable, or the disk is full.
    """
    check_file(target)
    with _in_one_line(target, "written"):
        temporary, lock = _beside(target), None
        try:
            temporary.touch(exist_ok=False)
            lock = _locked(temporary, os.O_RDWR)
            yield temporary
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            temporary.replace(target)
        finally:
            with suppress(OSError):  # where nothing can be written nothing can be removed: the first error is the one
                temporary.unlink(missing_ok=True)
            _let_go(lock)


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """Like `replacing`, for a folder that doesn't exist yet or is empty.

    Raises:
        OutputError: the parent is missing or unwritable, the target holds something, or the disk is full.
    """
    check_new_folder(target)
    with _in_one_line(target, "written"):
        temporary, lock = _beside(target), None
        try:
            temporary.mkdir()
            lock = _locked(temporary, os.O_RDONLY)
            yield temporary
            temporary.replace(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            _let_go(lock)


@contextmanager
def many_files(folder: Path) -> Iterator[Callable[[str, bytes], None]]:
    """Yield a function that writes the file of a name in `folder`, which others see whole or not at all.

    For many small files that are cheap to make again: one part, a folder, serves all of them, and nothing is flushed to
    the disk, which takes a quarter of the time.

    Raises:
        OutputError: the folder is missing or unwritable. Of the function: the file can't be written.
    """
    with _in_one_line(folder, "written"):
        part, lock = _beside(folder / "files"), None
        part.mkdir()
    try:
        lock = _locked(part, os.O_RDONLY)
        new = part / "new"

        def write(name: str, data: bytes) -> None:
            target = folder / name
            with _in_one_line(target, "written"):
                new.write_bytes(data)
                new.replace(target)

        yield write
    finally:
        shutil.rmtree(part, ignore_errors=True)
        _let_go(lock)


def clear(folder: Path) -> None:
    """Remove the parts that dead processes left in `folder`.

    A part stays while anyone holds its lock, or a process with its number runs here: another machine or container may
    fill the same folder, and not every file system has locks. Without locks, as on Windows, every part stays.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in list(entries):
            if (part := _PART.fullmatch(entry.name)) and not _lives(int(part["process"]), part["token"]):
                _remove_unlocked(Path(entry.path), is_folder=entry.is_dir(follow_symlinks=False))


@contextmanager
def _in_one_line(target: Path, done: str) -> Iterator[None]:
    """Turn the system's faults in the `with` into one of `target`, which names another path that it was about."""
    try:
        yield
    except OSError as error:
        name = error.filename if isinstance(error.filename, str) else ""
        about = f" ({name})" if name and Path(name) != target and not _PART.search(name) else ""
        raise OutputError(f"{target} can't be {done}: {error.strerror or error}{about}") from error


def _beside(target: Path) -> Path:
    """A new part's path. The first of a folder also clears it."""
    _clear_once(target.parent.absolute())
    name = target.name
    while len(os.fsencode(name)) > _NAME_BYTES:
        name = name[:-1]
    return target.with_name(f".{name}.{os.getpid()}-{_token()}-{next(_numbers)}.part")


@lru_cache(maxsize=1024)
def _clear_once(folder: Path) -> None:
    """Not for each picture of a folder of many: each would look through all."""
    clear(folder)


@lru_cache(maxsize=1)
def _token() -> str:
    """What tells this process from earlier ones of its number: in a container each is number 1."""
    return secrets.token_hex(4)


def _lives(process: int, token: str) -> bool:
    """Whether a process of this number runs here; of our own number only we do."""
    if process == os.getpid():
        return token == _token()
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def _locked(path: Path, flags: int) -> int | None:
    """A descriptor of `path` that holds its lock; None where there are no locks or another process has it."""
    if sys.platform == "win32":
        return None
    import fcntl

    descriptor = os.open(path, flags)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _let_go(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


def _remove_unlocked(part: Path, *, is_folder: bool) -> None:
    with suppress(OSError):
        lock = _locked(part, os.O_RDONLY if is_folder else os.O_RDWR)
        if lock is None:
            return
        try:
            shutil.rmtree(part) if is_folder else part.unlink()
        finally:
            os.close(lock)


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
        file = path.open("rb")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: name an npz file") from error
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error
    try:
        with file:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is no zip file")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                return {name: np.asarray(archive[name]) for name in archive.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise DataError(f"{path} can't be read as an npz ({reason}): make it again") from error


def sha256(path: Path) -> str:
    """The hash of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
