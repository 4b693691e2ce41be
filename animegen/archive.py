"""A zip of stored files whose directory waits on the disk: zipfile keeps some 300 bytes of each file in memory.

The format is PKWARE's APPNOTE 6.3.10; sections are named at each record. Nothing is compressed: pictures are already.
"""

from __future__ import annotations

import shutil
import struct
import tempfile
import zlib
from pathlib import Path
from typing import IO

_PLAIN, _ZIP64 = 20, 45  # the versions of the format that an entry needs
_UNIX = 3 << 8
_UTF8 = 1 << 11
_STORED = 0
_DAY_ONE = (0, (1 << 5) | 1)  # midnight, 1 January 1980: without a date of its own the same files make the same bytes
_ATTRIBUTES = 0o600 << 16  # as zipfile's
_MOST_16, _MOST_32 = 0xFFFF, 0xFFFFFFFF


class StoredZip:
    """Writes a zip front to back into `path`; `close` completes it. The caller gives no name twice."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("wb")
        self._directory: IO[bytes] = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 (closed with the zip)
        self._count = 0

    def add(self, name: str, data: bytes) -> None:
        """Store a file of less than 4 GiB (sections 4.3.7 and 4.3.12)."""
        offset, encoded = self._file.tell(), name.encode()
        flags = 0 if name.isascii() else _UTF8
        common = (flags, _STORED, *_DAY_ONE, zlib.crc32(data), len(data), len(data), len(encoded))
        self._file.write(struct.pack("<4s5H3L2H", b"PK\3\4", _PLAIN, *common, 0) + encoded + data)
        far = offset >= _MOST_32
        version = _ZIP64 if far else _PLAIN
        extra = struct.pack("<2HQ", 1, 8, offset) if far else b""  # section 4.5.3
        rest = (len(extra), 0, 0, 0, _ATTRIBUTES, min(offset, _MOST_32))
        entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", _UNIX | version, version, *common, *rest)
        self._directory.write(entry + encoded + extra)
        self._count += 1

    def close(self) -> None:
        """Write the directory and its end (sections 4.3.14 to 4.3.16)."""
        with self._file, self._directory:
            start = self._file.tell()
            self._directory.seek(0)
            shutil.copyfileobj(self._directory, self._file, 2**20)
            end = self._file.tell()
            size, count = end - start, self._count
            if count >= _MOST_16 or start >= _MOST_32 or size >= _MOST_32:
                true = (0, 0, count, count, size, start)
                self._file.write(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, _UNIX | _ZIP64, _ZIP64, *true))
                self._file.write(struct.pack("<4sLQL", b"PK\6\7", 0, end, 1))
            count = min(count, _MOST_16)
            shown = (0, 0, count, count, min(size, _MOST_32), min(start, _MOST_32), 0)
            self._file.write(struct.pack("<4s4H2LH", b"PK\5\6", *shown))

    def abandon(self) -> None:
        """Let go of an unfinished zip."""
        self._file.close()
        self._directory.close()
