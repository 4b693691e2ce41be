"""Where many images go: a folder of pictures, a zip of them, or one npz array. Memory stays constant.

A sink is a context manager that takes pairs of a seed and its image. On a clean exit its file is finished and put in
place; on an error nothing is left of it. (A folder keeps the pictures that were finished: each is whole.)
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from array import array
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self

import numpy as np

from animegen.errors import DataError, OutputError, UsageError
from animegen.files import check_parent, make_folder, many_files, replacing, status
from animegen.images.formats import STILLS
from animegen.images.metadata import of_whole_picture, to_text
from animegen.images.stills import Images, encode
from animegen.runtime.machine import available_cpus

Existing = Literal["refuse", "overwrite", "skip"]
Pairs = Iterable[tuple[int, Images]]
Describe = Callable[[int | None], Mapping[str, Any]]  # the metadata of a seed's picture, or with None of them all

_SAME_IMAGES = frozenset(("software", "model"))  # facts that may differ: a model is what its hash says
_WAITING = 4  # encoded images in flight for each worker: enough to keep it busy, few enough to stay small


def picture_name(seed: int, form: str = "png", suffix: str = "") -> str:
    """The file name of a seed's picture, such as seed00000042.png, or with a suffix seed00000042-hair-blue.png."""
    return f"seed{seed:08d}{suffix}.{form}"


def _seeds_in(names: Iterable[str], form: str, suffix: str = "") -> set[int]:
    """The seeds whose pictures have one of these names."""
    matches = (re.fullmatch(rf"seed(\d{{8,10}}){re.escape(suffix)}\.{re.escape(form)}", name) for name in names)
    return {int(match[1]) for match in matches if match}


def _refuse_existing(path: Path, ways: str) -> None:
    if status(path) is not None:
        raise OutputError(f"{path} is there already: {ways} what exists, or name another")


def _is_done(data: bytes, name: str, wanted: Mapping[str, Any] | None) -> bool:
    """Whether a picture that is there is whole, so that it need not be made again.

    Raises:
        OutputError: it says that another model or other options made it; one that says nothing is taken as it is.
    """
    record = of_whole_picture(data)
    if record and wanted is not None:
        wanted = json.loads(to_text(wanted))
        record, wanted = _without_engine(record), _without_engine(wanted)
        keys = (record.keys() | wanted.keys()) - _SAME_IMAGES
        if different := sorted(key for key in keys if record.get(key) != wanted.get(key)):
            changes = "; ".join(f"{key} is {record.get(key)} and would be {wanted.get(key)}" for key in different)
            raise OutputError(f"{name} was made otherwise ({changes}): overwrite what exists, or name another")
    return record is not None


def _without_engine(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without what computed the images, which `auto` may choose anew, and which no eye tells apart."""
    options = record.get("options")
    if not isinstance(options, Mapping):
        return dict(record)
    return {**record, "options": {name: value for name, value in options.items() if name != "engine"}}


class Sink(ABC):
    """A place for images, each with the seed that names it."""

    def __init__(self) -> None:
        self._open = ExitStack()

    @abstractmethod
    def missing(self, seeds: Iterable[int]) -> Iterable[int]:
        """Those of `seeds` that are still to be made, in their order."""

    @abstractmethod
    def write(self, pairs: Pairs) -> Generator[int, None, None]:
        """Store images uint8 [H, W, C] with their seeds; yields each seed once its image is stored."""

    def finish(self) -> None:  # noqa: B027 (a folder has nothing to finish)
        """Complete the file; called on a clean exit."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._open:
            if error is not None:
                raise error
            self.finish()


class Folder(Sink):
    """A folder of pictures named by their seeds, each written beside its name: several processes may fill one folder.

    Raises:
        OutputError: the folder can't be made, or holds one of the pictures and `existing` is `refuse`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        form: str = "png",
        existing: Existing = "refuse",
        suffix: str = "",
        metadata: Describe | None = None,
    ) -> None:
        super().__init__()
        self._metadata = metadata
        path = Path(path)
        check_parent(path)
        make_folder(path)
        self._path, self._form, self._existing, self._suffix = path, form, existing, suffix

    def missing(self, seeds: Iterable[int]) -> Iterable[int]:
        """Those whose picture isn't there yet; all of them where pictures are overwritten."""
        if self._existing == "overwrite":
            return seeds
        if self._existing == "skip":
            return (seed for seed in seeds if not self._has(seed))
        there = _seeds_in((entry.name for entry in os.scandir(self._path)), self._form, self._suffix)
        if there:
            seeds = seeds if isinstance(seeds, Sequence) else list(seeds)
            if (taken := next((seed for seed in seeds if seed in there), None)) is not None:
                raise OutputError(
                    f"{self._target(taken)} is there already: skip or overwrite what exists, or name another"
                )
        return seeds

    def write(self, pairs: Pairs) -> Generator[int, None, None]:
        """Write one picture after the other."""
        with many_files(self._path) as write:
            for seed, data in encode_ahead(pairs, self._form, metadata=self._metadata):
                write(picture_name(seed, self._form, self._suffix), data)
                yield seed

    def _has(self, seed: int) -> bool:
        target = self._target(seed)
        try:
            data = target.read_bytes()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise OutputError(f"{target} is there and can't be read: {error.strerror or error}") from error
        return _is_done(data, str(target), self._metadata(seed) if self._metadata else None)

    def _target(self, seed: int) -> Path:
        return self._path / picture_name(seed, self._form, self._suffix)


class Zip(Sink):
    """A zip of pictures named by their seeds. They are stored as they are: a PNG doesn't shrink any more.

    With `existing="skip"` an earlier zip's pictures are kept and the others added; with "overwrite" it is replaced.

    Raises:
        OutputError: the path can't be written, or is there and `existing` is `refuse`.
        DataError: the file to be continued is no zip.
        OutputError: it holds pictures that were made otherwise.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        form: str = "png",
        existing: Existing = "refuse",
        suffix: str = "",
        metadata: Describe | None = None,
    ) -> None:
        super().__init__()
        self._metadata = metadata
        path = Path(path)
        if existing == "refuse":
            _refuse_existing(path, "skip or overwrite")
        self._form, self._suffix = form, suffix
        self._there: set[int] = set()
        goes_on = existing == "skip" and status(path) is not None
        if goes_on and not zipfile.is_zipfile(path):
            raise DataError(f"{path} exists and must be a zip file to be continued: remove it or name another")
        with ExitStack() as opening:
            temporary = opening.enter_context(replacing(path))
            self._archive = opening.enter_context(zipfile.ZipFile(temporary, "w"))
            if goes_on:
                self._take_over(path)
            self._open = opening.pop_all()

    def _take_over(self, earlier: Path) -> None:
        try:
            with zipfile.ZipFile(earlier) as archive:
                for name in archive.namelist():
                    data, seeds = archive.read(name), _seeds_in([name], self._form, self._suffix)
                    wanted = self._metadata(*seeds) if self._metadata and seeds else None
                    if not seeds or _is_done(data, f"{name} in {earlier}", wanted):
                        self._add(name, data)
                        self._there |= seeds
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error) as error:
            raise DataError(
                f"{earlier} is damaged ({error}) and can't be continued: remove it or name another"
            ) from error

    def missing(self, seeds: Iterable[int]) -> Iterable[int]:
        """Those whose picture the zip doesn't hold yet."""
        return (seed for seed in seeds if seed not in self._there)

    def write(self, pairs: Pairs) -> Generator[int, None, None]:
        """Add one picture after the other; a seed that comes twice is stored once."""
        for seed, data in encode_ahead(pairs, self._form, metadata=self._metadata):
            if seed not in self._there:
                self._add(picture_name(seed, self._form, self._suffix), data)
                self._there.add(seed)
            yield seed

    def _add(self, name: str, data: bytes) -> None:
        # ZipInfo's own date, 1 January 1980: without a date of its own the same files make the same bytes.
        self._archive.writestr(zipfile.ZipInfo(name), data)

    def finish(self) -> None:
        """Write the zip's directory."""
        self._archive.close()


class Npz(Sink):
    """One .npz with `images` uint8 [N, H, W, C] and `seeds` uint32 [N], in the order they were asked for.

    With metadata it has the text `metadata` too.

    An array's length stands before its values, so the rows wait in an unnamed file beside until it is known.

    Raises:
        OutputError: the path can't be written, or is there and `existing` is `refuse`.
    """

    def __init__(self, path: str | Path, *, existing: Existing = "refuse", metadata: Describe | None = None) -> None:
        super().__init__()
        self._metadata = metadata
        path = Path(path)
        if existing == "refuse":
            _refuse_existing(path, "overwrite")
        with ExitStack() as opening:
            self._target = opening.enter_context(replacing(path))
            self._rows: IO[bytes] = opening.enter_context(tempfile.TemporaryFile(dir=path.parent))
            self._open = opening.pop_all()
        self._seeds = array("I")
        self._shape: tuple[int, ...] = (0, 0, 0)

    def missing(self, seeds: Iterable[int]) -> Iterable[int]:
        """All of them."""
        return seeds

    def write(self, pairs: Pairs) -> Generator[int, None, None]:
        """Add one row after the other."""
        for seed, image in pairs:
            self._shape = image.shape
            self._rows.write(image.tobytes())
            self._seeds.append(seed)
            yield seed

    def finish(self) -> None:
        """Put the rows into the npz, behind their number."""
        self._rows.seek(0)
        seeds = np.array(self._seeds, np.uint32)
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(seeds), *self._shape)}
        with zipfile.ZipFile(self._target, "w") as archive:
            # A fixed date, as numpy does: the same seeds make the same bytes. Zip64: it may pass 4 GiB.
            with archive.open(zipfile.ZipInfo("images.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array_header_1_0(entry, header)
                shutil.copyfileobj(self._rows, entry, 2**20)
            with archive.open(zipfile.ZipInfo("seeds.npy"), "w") as entry:
                np.lib.format.write_array(entry, seeds, allow_pickle=False)
            if self._metadata is not None:
                with archive.open(zipfile.ZipInfo("metadata.npy"), "w") as entry:
                    np.lib.format.write_array(entry, np.array(to_text(self._metadata(None))), allow_pickle=False)


def open_sink(
    path: str | Path,
    *,
    form: str = "png",
    existing: Existing = "refuse",
    suffix: str = "",
    metadata: Describe | None = None,
) -> Sink:
    """The sink that a path stands for: a .zip, an .npz, or else a folder.

    `suffix` stands behind the seed in the pictures' names. `existing` says what becomes of pictures that are there.
    With `skip` those stay that are whole, and one that says that it was made otherwise than `metadata` says of its seed
    is an error.

    Raises:
        UsageError: an unknown picture format, or an .npz that would have to be continued.
        OutputError, DataError: as the sinks.
    """
    if f".{form}" not in STILLS:
        raise UsageError(f"form is {form!r} and must be {', '.join(name[1:] for name in STILLS)}")
    path = Path(path)
    if path.suffix.lower() == ".zip":
        return Zip(path, form=form, existing=existing, suffix=suffix, metadata=metadata)
    if path.suffix.lower() == ".npz":
        if existing == "skip":
            raise UsageError(f"{path} is written in one go and can't be continued: name a folder or a .zip")
        return Npz(path, existing=existing, metadata=metadata)
    return Folder(path, form=form, existing=existing, suffix=suffix, metadata=metadata)


def encode_ahead(
    pairs: Pairs, form: str, workers: int | None = None, *, metadata: Describe | None = None
) -> Iterator[tuple[int, bytes]]:
    """Encode images on other threads while the next ones are made; yields seeds and bytes in the given order."""
    workers = workers or available_cpus()
    waiting: deque[tuple[int, Future[bytes]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="encode") as pool:
        for seed, image in pairs:
            said = metadata(seed) if metadata is not None else None
            waiting.append((seed, pool.submit(encode, image, form, metadata=said)))
            if len(waiting) > _WAITING * workers:
                yield _taken(waiting)
        while waiting:
            yield _taken(waiting)


def _taken(waiting: deque[tuple[int, Future[bytes]]]) -> tuple[int, bytes]:
    seed, data = waiting.popleft()
    return seed, data.result()
