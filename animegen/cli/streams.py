"""stdout and stderr of a command: what goes to stdout arrives whole or is an error, and lost talk harms nothing.

Python's own streams count a short write as a whole one where they are unbuffered, give up on a pipe that doesn't block,
and can't say what the encoding of a redirected stdout lacks. These write to the descriptor itself.
"""

from __future__ import annotations

import codecs
import io
import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, TextIO, cast

from animegen.errors import OutputError

if TYPE_CHECKING:
    from typing_extensions import Buffer

READER_GONE = 141  # the exit status that a shell gives a command whose reader went away: 128 + SIGPIPE
_ESCAPES = "animegen.escapes"


class StdoutError(OutputError):
    """stdout can't be written. Its exit status is EX_IOERR of sysexits.h, as 1 is an answer of some commands."""

    exit_status = 74


class _Descriptor(io.RawIOBase):
    """A file descriptor that takes every byte, however many calls and however much waiting that needs."""

    def __init__(self, descriptor: int | None) -> None:
        super().__init__()
        self._descriptor = descriptor

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """The descriptor."""
        if self._descriptor is None:
            raise io.UnsupportedOperation("fileno")
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._descriptor is not None and os.isatty(self._descriptor)

    def write(self, data: Buffer, /) -> int:
        """Write all of the bytes."""
        if self._descriptor is None:
            raise OSError(0, "it is closed")
        rest = memoryview(data).cast("B")
        size = len(rest)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                _wait_for_room(self._descriptor)
        return size


class _Stdout(_Descriptor):
    """stdout: a fault of it is one line, and a reader that went away ends the command without a word."""

    def write(self, data: Buffer, /) -> int:
        """Write all of the bytes.

        Raises:
            StdoutError: not all of them could be written.
        """
        try:
            return super().write(data)
        except BrokenPipeError:
            raise SystemExit(READER_GONE) from None
        except OSError as error:
            raise StdoutError(f"stdout can't be written: {error.strerror}") from error


class _Stderr(_Descriptor):
    """stderr: work goes on when nobody hears of it, as when its terminal was closed."""

    def write(self, data: Buffer, /) -> int:
        """Write the bytes, if that is possible."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _wait_for_room(descriptor: int) -> None:
    try:
        select.select([], [descriptor], [], 1)
    except (OSError, ValueError):  # Windows selects sockets only, and no system a descriptor above 1023
        time.sleep(0.01)


@contextmanager
def whole_streams() -> Iterator[None]:
    """Let the process's own stdout and stderr be such streams inside the `with`; what stands in for them stays."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _whole(sys.stdout, _Stdout), _whole(sys.stderr, _Stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _whole(stream: TextIO | None, kind: type[_Descriptor]) -> TextIO:
    if stream is None:
        _keep_standard_descriptors()
        return _text(kind(None), "utf-8")
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return stream
    if sys.platform == "win32" and stream.isatty():  # a console takes text, by a way of its own
        return stream
    stream.flush()
    return _text(kind(descriptor), stream.encoding)


def _text(raw: _Descriptor, encoding: str) -> TextIO:
    """Text as bytes at once; what the encoding lacks is written as an escape, so that nothing is lost."""
    codecs.register_error(_ESCAPES, _escape)
    return io.TextIOWrapper(cast("IO[bytes]", raw), encoding, _ESCAPES, write_through=True)


def _escape(error: UnicodeError) -> tuple[str, int]:
    """As `backslashreplace`, but a byte of a name that is no UTF-8 is that byte: `\\xe9` in place of `\\udce9`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(map(_escaped, signs)), error.end


def _escaped(sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":  # how Python keeps a byte of a name
        return f"\\x{ord(sign) - 0xDC00:02x}"
    return sign.encode("ascii", "backslashreplace").decode("ascii")


def _keep_standard_descriptors() -> None:
    """Take up the descriptors 0 to 2 that are closed, so that no file that is opened becomes stdout."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < 2:
        pass
    if descriptor > 2:
        os.close(descriptor)
