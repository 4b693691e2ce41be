"""Zips written front to back, as zipfile reads them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from animegen import archive
from animegen.archive import StoredZip

NAMES = st.text(st.characters(exclude_characters="\0/\\", exclude_categories=["Cs"]), min_size=1, max_size=20)


def write(path: Path, files: dict[str, bytes]) -> None:
    made = StoredZip(path)
    for name, data in files.items():
        made.add(name, data)
    made.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(NAMES, st.binary(max_size=100), max_size=6))
def test_what_goes_in_comes_out(files: dict[str, bytes], tmp_path: Path) -> None:
    write(tmp_path / "a.zip", files)
    with zipfile.ZipFile(tmp_path / "a.zip") as read:
        assert read.testzip() is None
        assert {name: read.read(name) for name in read.namelist()} == files


def test_the_bytes_are_zipfile_s_own(tmp_path: Path) -> None:
    files = {"seed00000000.png": b"abc", "seed00000001.png": b""}
    write(tmp_path / "a.zip", files)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as other:
        for name, data in files.items():
            other.writestr(zipfile.ZipInfo(name), data)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_more_files_than_sixteen_bits_count(tmp_path: Path) -> None:
    write(tmp_path / "a.zip", {f"{k}": b"" for k in range(70_000)})
    with zipfile.ZipFile(tmp_path / "a.zip") as read:
        names = read.namelist()
    assert (len(names), names[-1]) == (70_000, "69999")


def test_offsets_of_more_than_thirty_two_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The bound is set lower in place of writing 4 GiB; zipfile reads the same records.
    files = {f"{k}": bytes([k]) * 50 for k in range(9)}
    monkeypatch.setattr(archive, "_MOST_32", 200)

    def pack(form: str, *values: int | bytes) -> bytes:
        full = tuple(0xFFFFFFFF if value == 200 else value for value in values)
        return true_pack(form, *full)

    true_pack = archive.struct.pack
    monkeypatch.setattr(archive.struct, "pack", pack)
    write(tmp_path / "a.zip", files)
    monkeypatch.undo()
    with zipfile.ZipFile(tmp_path / "a.zip") as read:
        assert read.testzip() is None
        assert {name: read.read(name) for name in read.namelist()} == files
