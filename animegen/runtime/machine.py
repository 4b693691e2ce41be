"""What this process may use of the machine it runs on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from animegen.errors import DataError

# Each waits by spinning: on 2 CPUs, 64 threads take some 15 times as long as 2, and thousands never come to an end.
_MOST_THREADS = 64
_MEMINFO = Path("/proc/meminfo")
_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def available_cpus() -> int:
    """How many CPUs this process may keep busy: its affinity, and below it a container's quota.

    ONNX Runtime by itself counts the host's cores, and in a container starts far too many threads.
    """
    granted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(_CGROUPS, _MEMBERSHIP)
    return granted if quota is None else max(1, min(granted, round(quota)))


def processor() -> str:
    """The CPU's name, as its maker gives it where the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def most_threads() -> int:
    """The most threads that anything here may be asked to compute with."""
    return max(_MOST_THREADS, 4 * (os.cpu_count() or 1))


def available_memory() -> int | None:
    """How many bytes this process may still take: what the system has left, and below it a container's limit.

    None where neither says.
    """
    left = [value for value in (_system_memory(_MEMINFO), memory_left(_CGROUPS, _MEMBERSHIP)) if value is not None]
    return min(left, default=None)


def check_memory(needed: int, what: str) -> None:
    """Refuse work that would not fit, before it begins.

    Raises:
        DataError: `what` needs more bytes than are left; the message says how many of each.
    """
    left = available_memory()
    if left is not None and needed > left:
        raise DataError(
            f"{what} take some {needed / 1e9:.1f} GB of memory, and {left / 1e9:.1f} GB are left: ask for fewer"
        )


def memory_left(cgroups: Path, membership: Path) -> int | None:
    """The bytes left under the tightest memory limit of this process's cgroup (v2) and those above it."""
    left = []
    for place in _places(cgroups, membership):
        try:
            most, used = (place / "memory.max").read_text().strip(), int((place / "memory.current").read_text())
        except (OSError, ValueError):
            continue
        if most != "max":
            left.append(max(0, int(most) - used))
    return min(left, default=None)


def _system_memory(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def cpu_quota(cgroups: Path, membership: Path) -> float | None:
    """The tightest CPU quota, in CPUs, of this process's cgroup (v2) and those above it; None where there is none."""
    quotas = []
    for place in _places(cgroups, membership):
        try:
            allowed, period = (place / "cpu.max").read_text().split()
        except (OSError, ValueError):
            continue
        if allowed != "max":
            quotas.append(int(allowed) / int(period))
    return min(quotas, default=None)


def _places(cgroups: Path, membership: Path) -> list[Path]:
    """The folders of this process's cgroup and those above it, as far as they are mounted."""
    try:
        entry = next(line for line in membership.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return []
    folder = cgroups / entry.removeprefix("0::").strip("/")
    return [place for place in (folder, *folder.parents) if place.is_relative_to(cgroups)]
