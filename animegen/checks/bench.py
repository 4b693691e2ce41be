"""How fast a model runs here, in figures that say how they were taken."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from animegen import latents
from animegen.errors import ModelError
from animegen.generator import Generator
from animegen.runtime.machine import available_cpus, processor


@dataclass(frozen=True)
class Speed:
    """One batch size: the time of a call in milliseconds over `calls` calls after a warm-up, and images a second."""

    batch_size: int
    calls: int
    median_ms: float
    fastest_ms: float
    slowest_ms: float
    images_per_second: float


@dataclass(frozen=True)
class Start:
    """A new process that makes one image: wall time, the median of `runs`, and its peak memory if that is known."""

    runs: int
    seconds: float
    peak_megabytes: float | None


def machine() -> dict[str, str | int]:
    """What the figures were taken on."""
    return {"processor": processor(), "cpus": available_cpus(), "system": platform.platform(),
            "python": platform.python_version()}  # fmt: skip


def measure(generator: Generator, batch_size: int, seconds: float) -> Speed:
    """Call the model with one batch again and again for about `seconds`, at least 5 times, after 2 calls unmeasured."""
    z = latents.from_seeds(range(batch_size), generator.card.z_dim)
    for _ in range(2):
        generator(z, batch_size=batch_size)
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 5 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        generator(z, batch_size=batch_size)
        times.append(time.perf_counter() - start)
    median = statistics.median(times)
    return Speed(
        batch_size=batch_size,
        calls=len(times),
        median_ms=round(median * 1000, 6),
        fastest_ms=round(min(times) * 1000, 6),
        slowest_ms=round(max(times) * 1000, 6),
        images_per_second=round(batch_size / median, 1),
    )


def cold_start(arguments: Sequence[str], runs: int = 3) -> Start:
    """Start `animegen sample --n 1` with these arguments in new processes.

    Raises:
        ModelError: one of them ends in an error.
    """
    command = [sys.executable, "-m", "animegen", "sample", "--n", "1", "--out", "-", *arguments]
    times, peaks = [], []
    for _ in range(runs):
        start = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            if hasattr(os, "wait4"):  # its usage is this child's alone; not on Windows
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                peaks.append(usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10))
            else:
                process.wait()
        if process.returncode:
            raise ModelError(f"animegen sample {' '.join(arguments)} ends with the status {process.returncode}")
        times.append(time.perf_counter() - start)
    return Start(runs, round(statistics.median(times), 3), round(max(peaks), 1) if peaks else None)
