"""Nothing is ever left half-written."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from conftest import COMMAND

from animegen import DataError, OutputError
from animegen.files import clear, make_folder, many_files, read_npz, replacing, replacing_folder, write_npz


def test_the_new_file_takes_the_old_one_s_place(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_many_files_are_whole_and_leave_nothing_beside_them(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "taken").mkdir()
    with many_files(tmp_path) as write:
        write("a", b"new")
        (part,) = (path for path in tmp_path.iterdir() if path.name.endswith(".part"))
        write("b", b"")
        with pytest.raises(OutputError, match=f"{tmp_path / 'taken'} can't be written: "):
            write("taken", b"more")
        clear(tmp_path)
        assert part.is_dir()  # it is locked
        write("c", b"after an error")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == {
        "a": b"new", "b": b"", "c": b"after an error",
    }  # fmt: skip
    assert not part.exists()
    with pytest.raises(OutputError, match="gone can't be written"), many_files(tmp_path / "gone"):
        pass


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


def test_a_name_as_long_as_the_system_takes(tmp_path: Path) -> None:
    for name in ("n" * 255, "雪" * 85, "n" * 241):
        with replacing(tmp_path / name) as temporary:
            temporary.write_text("whole")
        assert (tmp_path / name).read_text() == "whole"
        (tmp_path / name).unlink()
    with replacing_folder(tmp_path / ("f" * 250)) as folder:
        (folder / "a").touch()
    for function in (replacing, replacing_folder):
        with pytest.raises(OutputError, match="can't be written: File name too long"), function(tmp_path / ("n" * 256)):
            pass
    with pytest.raises(OutputError, match="File name too long"):
        make_folder(tmp_path / ("n" * 256))
    assert [path.name for path in tmp_path.iterdir()] == ["f" * 250]


@pytest.mark.parametrize("function", [replacing, replacing_folder])
def test_a_clean_up_that_fails_hides_no_message(
    function: Callable[[Path], AbstractContextManager[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("unlink", "rmdir", "open", "mkdir"):
        monkeypatch.setattr(os, name, refuse)
    with (
        pytest.raises(OutputError, match=r"a\.txt can't be written: Read-only file system"),
        function(tmp_path / "a.txt"),
    ):
        pass
    monkeypatch.undo()
    with pytest.raises(ValueError, match="the fault itself"), function(tmp_path / "b.txt"):
        monkeypatch.setattr(os, "unlink", refuse)
        monkeypatch.setattr(os, "rmdir", refuse)
        raise ValueError("the fault itself")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root alone mounts")
def test_read_only_and_busy_mounts(tmp_path: Path, tiny_model: Path) -> None:
    """In a name space of mounts that ends with the shell."""
    (tmp_path / "grid.png").touch()
    (tmp_path / "folder").mkdir()
    script = (
        f"mount -t tmpfs -o ro none {tmp_path}/folder && mount --bind {tiny_model} {tmp_path}/grid.png || exit 99\n"
        f"for out in folder/a.png folder/f/ grid.png; do {COMMAND} sample --n 1 --device cpu --model {tiny_model} "
        "--out $out; echo $? >&2; done"
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip("no mounts here")
    assert done.stderr.splitlines() == [
        "error: folder/a.png can't be written: Read-only file system", "1",
        "error: folder/f can't be made: Read-only file system", "1",
        "error: grid.png can't be written: Device or resource busy", "1",
    ]  # fmt: skip


def test_a_fault_of_the_path_is_not_one_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / ("n" * 256)):
        with pytest.raises(DataError, match=r"can't be read: (Is a directory|File name too long)"):
            read_npz(path)


HOLDS = """
import sys, time
from pathlib import Path
from animegen.files import replacing, replacing_folder
with {function}(Path({target!r})) as temporary:
    {fill}
    print(temporary, flush=True)
    time.sleep(100)
"""
FILL = {"replacing": "temporary.write_bytes(b'half')", "replacing_folder": "(temporary / 'half').touch()"}


@pytest.mark.skipif(sys.platform == "win32", reason="it keeps no locks there, and removes nothing")
@pytest.mark.parametrize("function", FILL)
def test_a_new_run_removes_what_a_dead_one_left_and_never_a_live_one_s(function: str, tmp_path: Path) -> None:
    holders = []
    for name in ("dead", "live"):
        script = HOLDS.format(function=function, target=str(tmp_path / name), fill=FILL[function])
        holder = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert holder.stdout
        holders.append((holder, Path(holder.stdout.readline().strip())))
    (dead, left), (live, kept) = holders
    others = [tmp_path / name for name in (".a.12.part", ".a.0123abcd.part", "notes.part", ".dead.1-2-3.part~")]
    for other in others:
        other.touch()
    try:
        dead.kill()
        dead.communicate()
        assert left.exists()
        with replacing(tmp_path / "new"):
            pass
        assert not left.exists()
        assert kept.exists()
    finally:
        live.send_signal(signal.SIGINT)
        live.communicate()
    assert sorted(tmp_path.iterdir()) == sorted([*others, tmp_path / "new"])


@pytest.mark.skipif(sys.platform == "win32", reason="it keeps no locks there, and removes nothing")
def test_a_number_that_lives_again_and_one_of_another_machine(tmp_path: Path) -> None:
    """In a container each process is number 1; a lock says who lives, whatever the numbers say."""
    with replacing(tmp_path / "a") as live:
        _, number, rest = live.name.rsplit(".", 2)
        assert number.startswith(f"{os.getpid()}-")
        stale = tmp_path / f".a.{os.getpid()}-00000000-1.part"  # of an earlier process with our number
        stale.touch()
        script = f"from pathlib import Path; from animegen.files import clear; clear(Path({str(tmp_path)!r}))"
        foreign = live.with_name(f".a.{2**22 + 1}-00000000-1.{rest}")  # a live one that another machine counts
        live.rename(foreign)
        subprocess.run([sys.executable, "-c", script], check=True)
        assert foreign.exists()
        foreign.rename(live)
        clear(tmp_path)
        assert live.exists()
        assert not stale.exists()
