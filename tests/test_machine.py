"""CPUs and memory that this process may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from animegen import DataError
from animegen.runtime import machine


@pytest.mark.parametrize(
    ("limits", "membership", "expected"),
    [
        ({"": "max 100000"}, "0::/\n", None),
        ({"": "150000 100000"}, "0::/\n", 1.5),
        ({"a": "400000 100000", "a/b": "max 100000"}, "1:cpu:/old\n0::/a/b\n", 4.0),
        ({"a": "50000 100000", "a/b": "400000 100000"}, "0::/a/b\n", 0.5),
        ({}, "0::/a\n", None),
        ({"": "nonsense"}, "0::/\n", None),
        ({}, "4:cpu:/only/version/one\n", None),
    ],
)
def test_the_quota_is_the_tightest_on_the_way_up(
    limits: dict[str, str], membership: str, expected: float | None, tmp_path: Path
) -> None:
    for folder, text in limits.items():
        (tmp_path / "cgroup" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / folder / "cpu.max").write_text(text)
    (tmp_path / "membership").write_text(membership)
    assert machine.cpu_quota(tmp_path / "cgroup", tmp_path / "membership") == expected


def test_no_cgroups(tmp_path: Path) -> None:
    assert machine.cpu_quota(tmp_path, tmp_path / "nothing") is None


def test_a_quota_bounds_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for quota, expected in ((None, 8), (2.5, 2), (0.2, 1), (64.0, 8)):
        monkeypatch.setattr(machine, "cpu_quota", lambda *_, quota=quota: quota)
        assert machine.available_cpus() == expected


@pytest.mark.parametrize(
    ("limits", "membership", "expected"),
    [
        ({"": ("max", "100")}, "0::/\n", None),
        ({"": ("1000", "300")}, "0::/\n", 700),
        ({"a": ("5000", "100"), "a/b": ("900", "400")}, "0::/a/b\n", 500),
        ({"a": ("100", "300"), "a/b": ("max", "200")}, "0::/a/b\n", 0),
        ({}, "0::/a\n", None),
    ],
)
def test_memory_is_what_the_tightest_limit_leaves(
    limits: dict[str, tuple[str, str]], membership: str, expected: int | None, tmp_path: Path
) -> None:
    for folder, (most, used) in limits.items():
        (tmp_path / "cgroup" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / folder / "memory.max").write_text(f"{most}\n")
        (tmp_path / "cgroup" / folder / "memory.current").write_text(f"{used}\n")
    (tmp_path / "membership").write_text(membership)
    assert machine.memory_left(tmp_path / "cgroup", tmp_path / "membership") == expected


def test_work_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    machine.check_memory(1, "one byte")
    monkeypatch.setattr(machine, "available_memory", lambda: 2_000_000_000)
    with pytest.raises(DataError, match=r"70,000 images take some 3\.0 GB of memory, and 2\.0 GB are left"):
        machine.check_memory(3_000_000_000, "70,000 images")
    monkeypatch.setattr(machine, "available_memory", lambda: None)
    machine.check_memory(10**15, "what nobody can tell")
