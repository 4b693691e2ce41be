"""Nothing is ever left half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from animegen import DataError, OutputError
from animegen.files import read_npz, replacing, replacing_folder, write_npz


def test_the_new_file_takes_the_old_one_s_place(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_no_other(error: type[BaseException], tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error), replacing(target) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with pytest.raises(OutputError, match=r"a\.txt can't be written: No space left"), replacing(target):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_file_s_place(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"), replacing(tmp_path):
        pass


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new"
    with pytest.raises(ValueError, match="stop"), replacing_folder(target) as temporary:
        (temporary / "half").write_text("half")
        raise ValueError("stop")
    assert not list(tmp_path.iterdir())
    with replacing_folder(target) as temporary:
        (temporary / "whole").write_text("whole")
    assert [path.name for path in target.iterdir()] == ["whole"]
    with pytest.raises(OutputError, match="already exists"), replacing_folder(target):
        pass
    assert [path.name for path in target.iterdir()] == ["whole"]


@pytest.mark.parametrize("compress", [False, True])
def test_an_npz_is_read_by_numpy_and_the_same_arrays_make_the_same_bytes(compress: bool, tmp_path: Path) -> None:
    arrays = {"columns": np.arange(12.0).reshape(3, 4).T, "count": np.array(7), "name": np.array("faces")}
    for name in ("a.npz", "b.npz"):
        write_npz(tmp_path / name, arrays, compress=compress)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as read:
        assert read.files == list(arrays)
        for name, values in arrays.items():
            np.testing.assert_array_equal(read[name], values)


def test_what_no_npz_can_hold_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        write_npz(tmp_path / "a.npz", {"any": np.array([object()])})
    assert not list(tmp_path.iterdir())


def test_an_npz_is_read_whole_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_npz(path, {"numbers": np.arange(300), "name": "faces"}, compress=True)
    arrays = read_npz(path)
    assert (arrays["numbers"].tolist(), str(arrays["name"])) == (list(range(300)), "faces")
    whole = path.read_bytes()
    for damaged in (b"", b"words", whole[:200], whole.replace(whole[60:100], bytes(40))):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.npz can't be read as an npz \(.+\): make it again"):
            read_npz(path)
    np.savez(path, run=np.array([print]), allow_pickle=True)
    with pytest.raises(DataError, match="allow_pickle=False"):
        read_npz(path)
    with pytest.raises(DataError, match="does not exist"):
        read_npz(tmp_path / "none.npz")
