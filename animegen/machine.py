"""What this process may use of the machine it runs on."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def available_cpus() -> int:
    """How many CPUs this process may keep busy: its affinity, and below it a container's quota.

    ONNX Runtime by itself counts the host's cores, and in a container starts far too many threads.
    """
    granted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(_CGROUPS, _OWN_CGROUP)
    return granted if quota is None else max(1, min(granted, round(quota)))


def cpu_quota(cgroups: Path, own: Path) -> float | None:
    """The tightest CPU quota, in CPUs, of this process's cgroup (v2) and those above it; None where there is none."""
    try:
        entry = next(line for line in own.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    folder = cgroups / entry.removeprefix("0::").strip("/")
    quotas = []
    for place in (folder, *folder.parents):
        if not place.is_relative_to(cgroups):
            break
        try:
            allowed, period = (place / "cpu.max").read_text().split()
        except (OSError, ValueError):
            continue
        if allowed != "max":
            quotas.append(int(allowed) / int(period))
    return min(quotas, default=None)
